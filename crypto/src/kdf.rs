//! Derivation of keys for a labelled purpose: HKDF-SHA-512 (RFC 5869) with unambiguous inputs.

use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::secret::{Secret, scrub_stack};

/// Derives `N` secret bytes from `secret` for the purpose `label`, bound to every part of `context`.
///
/// The output is HKDF-SHA-512 with an empty salt and
/// `info = "veilsum.kdf.v1" || 0x00 || u32(len(label)) || label || u64(len(part)) || part || ...`, lengths big-endian,
/// so that no two (label, context) pairs share an info. `secret` must have at least 128 bits of entropy; it need not be
/// uniform (a Diffie-Hellman result will do). Labels are constants of the program: `"veilsum.federated.mask.v1"`.
///
/// ```
/// use veilsum_crypto::kdf;
/// let shared = [7; 32]; // from a key agreement
/// let mask = kdf::derive::<32>(&shared, "example.mask.v1", &[b"round 3", b"alice"]);
/// assert_ne!(mask, kdf::derive(&shared, "example.mask.v1", &[b"round 3a", b"lice"]));
/// ```
///
/// # Panics
/// Never: `N` above 16,320, the most that HKDF-SHA-512 gives, does not compile.
pub fn derive<const N: usize>(secret: &[u8], label: &'static str, context: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 64, "HKDF-SHA-512 gives at most 16,320 bytes") };
    let label_length = (label.len() as u32).to_be_bytes();
    let lengths: Vec<[u8; 8]> = context.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let mut info: Vec<&[u8]> = vec![b"veilsum.kdf.v1\0", &label_length, label.as_bytes()];
    for (length, part) in lengths.iter().zip(context) {
        info.push(length);
        info.push(part);
    }
    Secret::filled_by(|output| {
        Hkdf::<Sha512>::new(None, secret).expand_multi_info(&info, output).expect("N is at most 255 blocks");
    })
}

/// HKDF-Expand with SHA-512 and `key` itself as the pseudo-random key (RFC 5869, section 2.3).
///
/// The crate `hkdf` asks for a pseudo-random key of at least a hash's length; HMAC pads shorter ones with zeros
/// (RFC 2104), so padding here changes nothing.
pub(crate) fn expand(key: &[u8; 32], info: &[&[u8]], output: &mut [u8]) {
    let mut padded = Zeroizing::new([0; 64]);
    padded[..32].copy_from_slice(key);
    Hkdf::<Sha512>::from_prk(&padded[..])
        .expect("64 bytes are a hash's length")
        .expand_multi_info(info, output)
        .expect("callers ask for a few blocks");
    scrub_stack();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_parts_do_not_run_together() {
        let outputs = [
            derive::<32>(b"ikm", "ab", &[b"c"]),
            derive::<32>(b"ikm", "a", &[b"bc"]),
            derive::<32>(b"ikm", "ab", &[b"c", b""]),
            derive::<32>(b"ikm", "ab", &[b"", b"c"]),
            derive::<32>(b"ikm", "abc", &[]),
            derive::<32>(b"ikn", "ab", &[b"c"]),
        ];
        for (i, a) in outputs.iter().enumerate() {
            for b in &outputs[..i] {
                assert_ne!(a, b);
            }
        }
    }
}

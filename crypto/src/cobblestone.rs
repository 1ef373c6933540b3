//! C2SP chunked encryption, <https://c2sp.org/chunked-encryption>: the bytes after every header of ours.
//!
//! ```text
//! key || base nonce || commitment = HKDF-Expand-SHA-512(input key,
//!     "c2sp.org/chunked-encryption@v1+" || AEAD || 0x00 || salt || context)
//! message = salt (24) || commitment (32) || chunk 0 || chunk 1 || ... || final chunk
//! chunk i = AEAD(key, base nonce xor i, 16 KiB of plaintext), the final one shorter than 16 KiB and maybe empty
//! ```

use std::ops::Range;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::aead::{ChunkCipher, Suite, TAG};
use crate::error::Error;
use crate::kdf;
use crate::threads::Threads;

#[cfg(test)]
mod two_keys;

/// Plaintext bytes of every chunk but the last.
pub(crate) const CHUNK: usize = 16 * 1024;
/// Ciphertext bytes of every chunk but the last.
pub(crate) const SEALED_CHUNK: usize = CHUNK + TAG;
pub(crate) const SALT: usize = 24;
pub(crate) const COMMITMENT: usize = 32;
/// Bytes before the first chunk.
pub(crate) const PREFIX: usize = SALT + COMMITMENT;
/// Chunks are numbered below this.
const MOST_CHUNKS: u64 = 1 << 38;

/// Length of what `plaintext` bytes become, prefix included; `None` above the scheme's 4 PiB or what this machine
/// addresses.
pub(crate) fn sealed_length(plaintext: usize) -> Option<usize> {
    let chunks = plaintext / CHUNK + 1;
    if chunks as u64 > MOST_CHUNKS {
        return None;
    }
    plaintext.checked_add(PREFIX)?.checked_add(chunks.checked_mul(TAG)?)
}

/// Length of what `sealed` bytes (prefix included) open to; `None` if no message has that length.
pub(crate) fn opened_length(sealed: usize) -> Option<usize> {
    let body = sealed.checked_sub(PREFIX)?;
    let last = (body % SEALED_CHUNK).checked_sub(TAG)?;
    Some(body / SEALED_CHUNK * CHUNK + last)
}

/// The derived key, base nonce and commitment of one message.
pub(crate) struct Cobblestone {
    cipher: Box<dyn ChunkCipher>,
    base_nonce: [u8; 12],
    commitment: [u8; COMMITMENT],
}

impl Cobblestone {
    /// Derives them for the message that begins with `salt`; the parts of `context` are concatenated.
    pub(crate) fn derive(suite: Suite, key: &[u8; 32], salt: &[u8; SALT], context: &[&[u8]]) -> Self {
        let mut info: Vec<&[u8]> = vec![b"c2sp.org/chunked-encryption@v1+", suite.name(), b"\0", salt];
        info.extend_from_slice(context);
        let mut output = Zeroizing::new([0; 32 + 12 + COMMITMENT]);
        kdf::expand(key, &info, &mut output[..]);
        let (message_key, rest) = output.split_first_chunk::<32>().expect("76 bytes hold a key");
        let (base_nonce, commitment) = rest.split_first_chunk::<12>().expect("44 bytes hold a nonce");
        let commitment = commitment.try_into().expect("32 bytes are left");
        Self { cipher: suite.cipher(message_key), base_nonce: *base_nonce, commitment }
    }

    /// Derives them for a message whose prefix was received, and checks the commitment in constant time.
    pub(crate) fn check(suite: Suite, key: &[u8; 32], prefix: &[u8; PREFIX], context: &[&[u8]]) -> Result<Self, Error> {
        let (salt, commitment) = prefix.split_first_chunk::<SALT>().expect("56 bytes hold a salt");
        let scheme = Self::derive(suite, key, salt, context);
        if scheme.commitment.ct_eq(commitment).into() { Ok(scheme) } else { Err(Error::Rejected) }
    }

    pub(crate) fn commitment(&self) -> &[u8; COMMITMENT] {
        &self.commitment
    }

    fn nonce(&self, index: u64) -> Result<[u8; 12], Error> {
        if index >= MOST_CHUNKS {
            return Err(Error::KeyExhausted { limit: "4 PiB in one message" });
        }
        let mut nonce = self.base_nonce;
        for (byte, count) in nonce[4..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= count;
        }
        Ok(nonce)
    }

    /// Seals chunk `index` from `plaintext` into `sealed`, which is [`TAG`] bytes longer.
    pub(crate) fn seal_chunk(&self, index: u64, plaintext: &[u8], sealed: &mut [u8]) -> Result<(), Error> {
        let nonce = self.nonce(index)?;
        let (text, tag) = sealed.split_at_mut(plaintext.len());
        tag.copy_from_slice(&self.cipher.seal_into(&nonce, plaintext, text));
        Ok(())
    }

    /// Seals chunk `index` where it lies: `buffer` is the plaintext and [`TAG`] more bytes.
    pub(crate) fn seal_chunk_in_place(&self, index: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let nonce = self.nonce(index)?;
        let (text, tag) = buffer.split_at_mut(buffer.len() - TAG);
        tag.copy_from_slice(&self.cipher.seal(&nonce, text));
        Ok(())
    }

    /// Opens chunk `index` from `sealed` into `plaintext`, which is [`TAG`] bytes shorter. `sealed` is copied first and
    /// read once, so that memory which others can write yields what was authenticated or nothing.
    pub(crate) fn open_chunk(&self, index: u64, sealed: &[u8], plaintext: &mut [u8]) -> Result<(), Error> {
        let nonce = self.nonce(index).map_err(|_| Error::Rejected)?;
        let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Rejected)?;
        if text.len() != plaintext.len() {
            return Err(Error::Rejected);
        }
        plaintext.copy_from_slice(text);
        let tag = *tag;
        self.cipher.open(&nonce, plaintext, &tag)
    }

    /// Opens chunk `index` where it lies and returns its plaintext.
    pub(crate) fn open_chunk_in_place<'b>(&self, index: u64, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        let nonce = self.nonce(index).map_err(|_| Error::Rejected)?;
        let (text, tag) = buffer.split_last_chunk_mut::<TAG>().ok_or(Error::Rejected)?;
        self.cipher.open(&nonce, text, tag)?;
        Ok(text)
    }

    /// Seals a whole message, `head || tail`, into `body` of [`sealed_length`] minus [`PREFIX`] bytes.
    ///
    /// `tail` is for the few bytes (a signature) that follow a payload which lies elsewhere.
    pub(crate) fn seal_body(&self, head: &[u8], tail: &[u8], body: &mut [u8], threads: Threads) -> Result<(), Error> {
        let whole = head.len() / CHUNK;
        let (full, rest) = head.split_at(whole * CHUNK);
        let (full_body, rest_body) = body.split_at_mut(whole * SEALED_CHUNK);
        let mut jobs = Vec::new();
        let mut left = full_body;
        for Range { start, end } in threads.runs(whole) {
            let (now, later) = left.split_at_mut((end - start) * SEALED_CHUNK);
            jobs.push((start as u64, &full[start * CHUNK..end * CHUNK], now));
            left = later;
        }
        crate::threads::run_all(jobs, |(first, plaintext, sealed)| {
            (first..)
                .zip(plaintext.chunks_exact(CHUNK))
                .zip(sealed.chunks_exact_mut(SEALED_CHUNK))
                .try_for_each(|((index, plaintext), sealed)| self.seal_chunk(index, plaintext, sealed))
        })?;
        let mut ending = Zeroizing::new(Vec::with_capacity(rest.len() + tail.len()));
        ending.extend_from_slice(rest);
        ending.extend_from_slice(tail);
        self.seal_ending(whole as u64, &ending, rest_body)
    }

    fn seal_ending(&self, mut index: u64, mut ending: &[u8], mut body: &mut [u8]) -> Result<(), Error> {
        while let Some((chunk, later)) = ending.split_at_checked(CHUNK) {
            let (sealed, later_body) = body.split_at_mut(SEALED_CHUNK);
            self.seal_chunk(index, chunk, sealed)?;
            (index, ending, body) = (index + 1, later, later_body);
        }
        self.seal_chunk(index, ending, body)
    }

    /// Opens a whole message's chunks into `plaintext`, the final chunk (which fixes the length) first. On a refusal
    /// `plaintext` is wiped.
    pub(crate) fn open_body(&self, body: &[u8], plaintext: &mut [u8], threads: Threads) -> Result<(), Error> {
        let opened = self.open_chunks(body, plaintext, threads);
        if opened.is_err() {
            plaintext.zeroize();
        }
        opened
    }

    fn open_chunks(&self, body: &[u8], plaintext: &mut [u8], threads: Threads) -> Result<(), Error> {
        let whole = body.len() / SEALED_CHUNK;
        let (full, last) = body.split_at(whole * SEALED_CHUNK);
        let (full_text, last_text) = plaintext.split_at_mut_checked(whole * CHUNK).ok_or(Error::Rejected)?;
        self.open_chunk(whole as u64, last, last_text)?;
        let mut jobs = Vec::new();
        let mut left = full_text;
        for Range { start, end } in threads.runs(whole) {
            let (now, later) = left.split_at_mut((end - start) * CHUNK);
            jobs.push((start as u64, &full[start * SEALED_CHUNK..end * SEALED_CHUNK], now));
            left = later;
        }
        crate::threads::run_all(jobs, |(first, sealed, plaintext)| {
            (first..)
                .zip(sealed.chunks_exact(SEALED_CHUNK))
                .zip(plaintext.chunks_exact_mut(CHUNK))
                .try_for_each(|((index, sealed), plaintext)| self.open_chunk(index, sealed, plaintext))
        })
    }
}

impl Cobblestone {
    /// Seals full chunks where they lie, the first of them numbered `first`.
    pub(crate) fn seal_chunks_in_place(&self, first: u64, chunks: &mut [u8], threads: Threads) -> Result<(), Error> {
        each_in_place(first, chunks, threads, |index, chunk| self.seal_chunk_in_place(index, chunk))
    }

    /// Opens full chunks where they lie, the first of them numbered `first`.
    pub(crate) fn open_chunks_in_place(&self, first: u64, chunks: &mut [u8], threads: Threads) -> Result<(), Error> {
        each_in_place(first, chunks, threads, |index, chunk| self.open_chunk_in_place(index, chunk).map(drop))
    }

    /// Seals a whole message in one buffer: `length` bytes of plaintext at its beginning become the body, which fills
    /// `body` from `at` on.
    pub(crate) fn seal_body_in_place(
        &self,
        body: &mut [u8],
        at: usize,
        length: usize,
        threads: Threads,
    ) -> Result<(), Error> {
        let whole = length / CHUNK;
        for chunk in (0..=whole).rev() {
            let end = length.min((chunk + 1) * CHUNK);
            body.copy_within(chunk * CHUNK..end, at + chunk * SEALED_CHUNK);
        }
        let (full, last) = body[at..].split_at_mut(whole * SEALED_CHUNK);
        self.seal_chunks_in_place(0, full, threads)?;
        self.seal_chunk_in_place(whole as u64, last)
    }

    /// Opens a whole body in one buffer: the plaintext, of [`opened_length`] bytes, moves to its beginning.
    pub(crate) fn open_body_in_place(&self, body: &mut [u8], at: usize, threads: Threads) -> Result<usize, Error> {
        let whole = (body.len() - at) / SEALED_CHUNK;
        let (full, last) = body[at..].split_at_mut(whole * SEALED_CHUNK);
        let text = self.open_chunk_in_place(whole as u64, last)?.len();
        self.open_chunks_in_place(0, full, threads)?;
        for chunk in 0..=whole {
            let start = at + chunk * SEALED_CHUNK;
            let length = if chunk == whole { text } else { CHUNK };
            body.copy_within(start..start + length, chunk * CHUNK);
        }
        Ok(whole * CHUNK + text)
    }
}

/// Does `work` on full sealed chunks, in runs that share the threads.
fn each_in_place(
    first: u64,
    chunks: &mut [u8],
    threads: Threads,
    work: impl Fn(u64, &mut [u8]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let mut jobs = Vec::new();
    let mut left = chunks;
    for run in threads.runs(left.len() / SEALED_CHUNK) {
        let (now, later) = left.split_at_mut(run.len() * SEALED_CHUNK);
        jobs.push((first + run.start as u64, now));
        left = later;
    }
    crate::threads::run_all(jobs, |(first, run)| {
        (first..).zip(run.chunks_exact_mut(SEALED_CHUNK)).try_for_each(|(index, chunk)| work(index, chunk))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk number at the end of the scheme's range is refused in both directions, and one below it is not.
    #[test]
    fn the_chunk_counter_ends_where_the_standard_says() {
        let scheme = Cobblestone::derive(Suite::default(), &[1; 32], &[2; 24], &[b"context"]);
        let mut sealed = [0; 3 + TAG];
        scheme.seal_chunk(MOST_CHUNKS - 1, b"abc", &mut sealed).expect("the last chunk");
        let mut opened = [0; 3];
        scheme.open_chunk(MOST_CHUNKS - 1, &sealed, &mut opened).expect("the last chunk");
        assert_eq!(&opened, b"abc");
        for index in [MOST_CHUNKS, MOST_CHUNKS + 1, u64::MAX] {
            assert!(matches!(scheme.seal_chunk(index, b"abc", &mut sealed), Err(Error::KeyExhausted { .. })));
            assert_eq!(scheme.open_chunk(index, &sealed, &mut opened), Err(Error::Rejected));
        }
    }

    #[test]
    fn lengths_are_inverse_and_impossible_ones_are_refused() {
        for plaintext in (0..200).chain(CHUNK - 40..CHUNK + 40).chain(5 * CHUNK - 3..5 * CHUNK + 3) {
            let sealed = sealed_length(plaintext).expect("small");
            assert_eq!(opened_length(sealed), Some(plaintext));
        }
        for impossible in (0..PREFIX + TAG).chain(PREFIX + SEALED_CHUNK..PREFIX + SEALED_CHUNK + TAG) {
            assert_eq!(opened_length(impossible), None, "{impossible}");
        }
        assert_eq!(sealed_length(usize::MAX), None);
    }
}

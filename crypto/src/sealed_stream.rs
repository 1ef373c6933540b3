//! Streams sealed to recipients: the same bytes as [`Identity::seal_to`] gives, in bounded memory.
//!
//! The signature over the whole follows the data, so **who sent a stream is known at its end alone**: until
//! [`SealedReader::finish`] has answered, what was read may come from any co-recipient.

use std::borrow::Borrow;
use std::fmt;
use std::io::{self, Read, Write};

use zeroize::{Zeroize, Zeroizing};

use crate::envelope::Kind;
use crate::error::Error;
use crate::identity::Identity;
use crate::key::Key;
use crate::peer::Peer;
use crate::peers::PeerSet;
use crate::seal::{self, FIXED, MessageId, Opener, Preamble, Recipients, TRAILER};
use crate::secret::Secret;
use crate::stream::{Reader, Writer, read_or};
use crate::threads::Threads;
use crate::time::UnixTime;

impl Identity {
    /// A stream to `recipients`, signed when it is [finished](SealedWriter::finish).
    ///
    /// # Errors
    /// [`Error`] inside an [`io::Error`], or the sink's own.
    pub fn sealing_writer<W: Write>(
        &self,
        recipients: &Recipients<'_>,
        sink: W,
        context: &[u8],
        threads: Threads,
    ) -> io::Result<SealedWriter<&Self, W>> {
        SealedWriter::start(self, recipients, sink, context, threads)
    }

    /// The stream to this identity that `source` holds, from one of `peers` that is valid at `now`.
    ///
    /// # Errors
    /// [`Error`] inside an [`io::Error`], or the source's own.
    pub fn opening_reader<R: Read>(
        &self,
        peers: &PeerSet,
        now: UnixTime,
        mut source: R,
        context: &[u8],
        threads: Threads,
    ) -> io::Result<SealedReader<R>> {
        let mut public = vec![0; FIXED];
        read_or(&mut source, &mut public, Error::malformed("the message ends within its header"))?;
        let (_, _, stanzas) = Preamble::parse_fixed(&public, Kind::Signed)?;
        public.resize(FIXED + stanzas, 0);
        let short = Error::malformed("the message ends within its list of recipients");
        read_or(&mut source, &mut public[FIXED..], short)?;
        let (preamble, _) = Preamble::parse(&public, Kind::Signed)?;
        let key = preamble.file_key(&Opener::from(self))?;
        let inner = Reader::start(source, &key, &[&public, context], threads)?;
        Ok(SealedReader {
            inner,
            peers: peers.clone(),
            now,
            public,
            context: context.to_vec(),
            digest: blake3::Hasher::new(),
            held: Zeroizing::new(Vec::with_capacity(HELD)),
            start: 0,
            ended: None,
        })
    }
}

/// Seals what is written to it to recipients. See [`Identity::sealing_writer`]. The identity may be borrowed or shared.
pub struct SealedWriter<I: Borrow<Identity>, W: Write> {
    identity: I,
    inner: Writer<W>,
    public: Vec<u8>,
    context: Vec<u8>,
    digest: blake3::Hasher,
}

impl<I: Borrow<Identity>, W: Write> SealedWriter<I, W> {
    /// As [`Identity::sealing_writer`], for an identity that is shared.
    ///
    /// # Errors
    /// [`Error`] inside an [`io::Error`], or the sink's own.
    pub fn start(
        identity: I,
        recipients: &Recipients<'_>,
        mut sink: W,
        context: &[u8],
        threads: Threads,
    ) -> io::Result<Self> {
        let file_key = Secret::random()?;
        let public = recipients.preamble(Kind::Signed, &file_key)?;
        sink.write_all(&public)?;
        let key = Key::from_secret(file_key, recipients.suite());
        let inner = Writer::start(sink, &key, &[&public, context], threads)?;
        Ok(Self { identity, inner, public, context: context.to_vec(), digest: blake3::Hasher::new() })
    }

    /// Signs, seals the final chunk, flushes the sink and gives it back. Without this call the stream is cut.
    ///
    /// # Errors
    /// As for writing.
    pub fn finish(mut self) -> io::Result<W> {
        let (length, digest) = (self.digest.count(), self.digest.finalize());
        let commitment = *self.inner.commitment();
        let trailer = seal::trailer(self.identity.borrow(), &self.public, &commitment, &self.context, length, &digest);
        self.inner.write_all(&trailer)?;
        self.inner.finish()
    }
}

impl<I: Borrow<Identity>, W: Write> Write for SealedWriter<I, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.digest.update(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<I: Borrow<Identity>, W: Write> fmt::Debug for SealedWriter<I, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedWriter").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Bytes that a reader holds at a time, the trailer's among them.
const HELD: usize = 64 * 1024 + TRAILER;

/// Opens what it reads. See [`Identity::opening_reader`].
pub struct SealedReader<R: Read> {
    inner: Reader<R>,
    peers: PeerSet,
    now: UnixTime,
    public: Vec<u8>,
    context: Vec<u8>,
    digest: blake3::Hasher,
    /// Opened bytes that are not handed out yet, from `start`; the last of them may be the trailer.
    held: Zeroizing<Vec<u8>>,
    start: usize,
    ended: Option<Result<(Peer, MessageId), Error>>,
}

impl<R: Read> SealedReader<R> {
    /// Who sent the stream, once it was read to its end and verified.
    pub fn sender(&self) -> Option<&Peer> {
        self.ended.as_ref()?.as_ref().ok().map(|(peer, _)| peer)
    }

    /// Reads to the end if that has not happened, and says who sent the stream.
    ///
    /// # Errors
    /// As for reading; [`Error::Rejected`] if no listed peer signed all of it.
    pub fn finish(mut self) -> io::Result<(Peer, MessageId)> {
        let mut rest = Zeroizing::new(vec![0; 16 * 1024]);
        while self.read(&mut rest)? > 0 {}
        self.ended.take().unwrap_or(Err(Error::Rejected)).map_err(Into::into)
    }

    /// Makes room in `held` and fills it.
    fn refill(&mut self) -> io::Result<()> {
        let kept = self.held.len() - self.start;
        self.held.copy_within(self.start.., 0);
        self.start = 0;
        self.held.resize(HELD, 0);
        let read = self.inner.read(&mut self.held[kept..]);
        self.held.truncate(kept + read.as_ref().map_or(0, |read| *read));
        if read? == 0 {
            let ended = self.verify();
            let answer = ended.as_ref().map(drop).map_err(Clone::clone);
            self.ended = Some(ended);
            answer?;
        }
        Ok(())
    }

    fn verify(&self) -> Result<(Peer, MessageId), Error> {
        let trailer = self.held[self.start..].try_into().map_err(|_| Error::Rejected)?;
        let commitment = self.inner.commitment();
        let (length, digest) = (self.digest.count(), self.digest.finalize());
        let sender =
            seal::sender(trailer, &self.peers, self.now, &self.public, commitment, &self.context, length, &digest)?;
        Ok((sender, MessageId(*commitment)))
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(ended) = &self.ended {
                return ended.as_ref().map(|_| 0).map_err(|error| error.clone().into());
            }
            let free = (self.held.len() - self.start).saturating_sub(TRAILER);
            if free > 0 {
                let taken = free.min(data.len());
                data[..taken].copy_from_slice(&self.held[self.start..self.start + taken]);
                self.digest.update(&data[..taken]);
                self.start += taken;
                return Ok(taken);
            }
            if let Err(error) = self.refill() {
                self.held.zeroize();
                self.start = 0;
                self.ended = Some(Err(Error::inside(&error).cloned().unwrap_or(Error::Rejected)));
                return Err(error);
            }
        }
    }
}

impl<R: Read> fmt::Debug for SealedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedReader").field("inner", &self.inner).finish_non_exhaustive()
    }
}

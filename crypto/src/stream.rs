//! Streams of any length over [`Write`] and [`Read`], in bounded memory: the same bytes as [`Key::seal`] gives.
//!
//! A [`Reader`] hands out only what was authenticated, chunk by chunk. That the stream was *whole* is known at its end
//! alone: act on nothing irrevocably before `read` has returned `Ok(0)`. A stream that was cut fails there.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use zeroize::Zeroize;

use crate::cobblestone::{CHUNK, Cobblestone, PREFIX, SEALED_CHUNK};
use crate::envelope::{self, HEADER, Kind};
use crate::error::Error;
use crate::key::{Key, Usage};
use crate::random;
use crate::threads::Threads;

/// Chunks that one thread works on at a time: 256 KiB, which stay in its cache.
const BATCH: usize = 16;
/// Chunks at a time where several threads share them: 4 MiB.
const SHARED_BATCH: usize = 256;

impl Key {
    /// A stream into `sink`. Nothing is complete until [`Writer::finish`]. The salt is hedged as
    /// for [`seal`](Key::seal), without the payload, which is not known yet: **no claim is made for virtual machines
    /// that are cloned while they stream**.
    ///
    /// # Errors
    /// [`Error`] inside an [`io::Error`] (see [`Error::inside`]), or the sink's own.
    pub fn writer<W: Write>(&self, mut sink: W, context: &[u8], threads: Threads) -> io::Result<Writer<W>> {
        let header = envelope::header(Kind::Key, self.suite());
        sink.write_all(&header)?;
        Writer::start(sink, self, &[&header, context], threads)
    }

    /// The stream that `source` holds, from where it stands to its end.
    ///
    /// # Errors
    /// [`Error`] inside an [`io::Error`], or the source's own.
    pub fn reader<R: Read>(&self, mut source: R, context: &[u8], threads: Threads) -> io::Result<Reader<R>> {
        let mut header = [0; HEADER];
        read_or(&mut source, &mut header, Error::malformed("the message is shorter than a header"))?;
        if envelope::parse_header(&header, Kind::Key)? != self.suite() {
            return Err(Error::Rejected.into());
        }
        Reader::start(source, self, &[&header, context], threads)
    }
}

/// Seals what is written to it. See [`Key::writer`].
pub struct Writer<W: Write> {
    sink: W,
    scheme: Cobblestone,
    usage: Arc<Usage>,
    threads: Threads,
    /// Chunks at distances of `SEALED_CHUNK`: plaintext where it is not sealed yet.
    batch: Buffer,
    /// Chunks of the batch that are full.
    full: usize,
    /// Bytes in the chunk after them.
    partial: usize,
    /// The number of the batch's first chunk.
    first: u64,
    failed: bool,
}

impl<W: Write> Writer<W> {
    /// Writes salt and commitment; the header is already out.
    pub(crate) fn start(mut sink: W, key: &Key, context: &[&[u8]], threads: Threads) -> io::Result<Self> {
        key.usage().charge(0)?;
        let salt = random::hedged_salt(key.secret().expose(), context, None)?;
        let scheme = Cobblestone::derive(key.suite(), key.secret().expose(), &salt, context);
        sink.write_all(&salt)?;
        sink.write_all(scheme.commitment())?;
        let batch = Buffer::of_chunks(threads);
        Ok(Self {
            sink,
            scheme,
            usage: Arc::clone(key.usage()),
            threads,
            batch,
            full: 0,
            partial: 0,
            first: 0,
            failed: false,
        })
    }

    pub(crate) fn commitment(&self) -> &[u8; 32] {
        self.scheme.commitment()
    }

    /// Seals the final chunk, flushes the sink and gives it back. Without this call the stream is cut.
    ///
    /// # Errors
    /// As for writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        Ok(self.sink)
    }

    /// Seals the final chunk and flushes the sink. Nothing can be written after it.
    ///
    /// # Errors
    /// As for writing.
    pub fn end(&mut self) -> io::Result<()> {
        self.alive()?;
        self.send_full_chunks()?;
        self.failed = true;
        let length = self.partial + crate::aead::TAG;
        let last = self.batch.chunk_mut(0, length);
        self.scheme.seal_chunk_in_place(self.first, last)?;
        self.sink.write_all(last)?;
        self.sink.flush()
    }

    fn alive(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the stream has ended or failed: start another"));
        }
        Ok(())
    }

    /// Seals and writes the batch's full chunks; the partial one becomes the first.
    fn send_full_chunks(&mut self) -> io::Result<()> {
        if self.full == 0 {
            return Ok(());
        }
        self.failed = true;
        let sealed = &mut self.batch.bytes[..self.full * SEALED_CHUNK];
        if self.threads.shares(SHARED_BATCH) {
            self.scheme.seal_chunks_in_place(self.first, sealed, self.threads)?;
        }
        self.sink.write_all(sealed)?;
        self.first += self.full as u64;
        let start = self.full * SEALED_CHUNK;
        self.batch.bytes.copy_within(start..start + self.partial, 0);
        self.full = 0;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, mut data: &[u8]) -> io::Result<usize> {
        self.alive()?;
        self.usage.charge_bytes(data.len() as u64)?;
        let length = data.len();
        while !data.is_empty() {
            let taken = data.len().min(CHUNK - self.partial);
            let (now, later) = data.split_at(taken);
            let chunk = self.batch.chunk_mut(self.full, SEALED_CHUNK);
            chunk[self.partial..self.partial + taken].copy_from_slice(now);
            self.partial += taken;
            data = later;
            if self.partial == CHUNK {
                // Alone, a chunk is sealed while it is in the cache; with others, a batch is worth sharing.
                if !self.threads.shares(SHARED_BATCH) {
                    let sealed = self.scheme.seal_chunk_in_place(self.first + self.full as u64, chunk);
                    self.failed = sealed.is_err();
                    sealed?;
                }
                self.full += 1;
                self.partial = 0;
                if self.full == self.batch.chunks() {
                    self.send_full_chunks()?;
                }
            }
        }
        Ok(length)
    }

    /// Seals and writes every full chunk. What follows them waits: a chunk is never sealed twice.
    fn flush(&mut self) -> io::Result<()> {
        self.alive()?;
        self.send_full_chunks()?;
        self.sink.flush()
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("chunk", &self.first).finish_non_exhaustive()
    }
}

/// Opens what it reads. See [`Key::reader`]. It seeks where its source seeks.
pub struct Reader<R: Read> {
    source: R,
    scheme: Cobblestone,
    threads: Threads,
    /// Chunks at distances of `SEALED_CHUNK`: `opened` plaintexts, then sealed bytes up to `filled`.
    batch: Buffer,
    filled: usize,
    opened: usize,
    /// The number of the batch's first chunk.
    first: u64,
    /// The chunk of the batch, and the offset in it, that is read next.
    next: usize,
    offset: usize,
    /// The plaintext length of the batch's last opened chunk, if that is the stream's final one.
    ending: Option<usize>,
    /// Where the source's first chunk is, once a seek has found out.
    start: u64,
    /// Plaintext length, once a seek has authenticated it.
    length: Option<u64>,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads salt and commitment; the header is already read.
    pub(crate) fn start(mut source: R, key: &Key, context: &[&[u8]], threads: Threads) -> io::Result<Self> {
        let mut prefix = [0; PREFIX];
        read_or(&mut source, &mut prefix, Error::Rejected)?;
        let scheme = Cobblestone::check(key.suite(), key.secret().expose(), &prefix, context)?;
        Ok(Self {
            source,
            scheme,
            threads,
            batch: Buffer::of_chunks(threads),
            filled: 0,
            opened: 0,
            first: 0,
            next: 0,
            offset: 0,
            ending: None,
            start: 0,
            length: None,
            failed: false,
        })
    }

    pub(crate) fn commitment(&self) -> &[u8; 32] {
        self.scheme.commitment()
    }

    /// The source.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The plaintext position that is read next.
    pub fn position(&self) -> u64 {
        (self.first + self.next as u64) * CHUNK as u64 + self.offset as u64
    }

    fn chunk_length(&self, chunk: usize) -> usize {
        match self.ending {
            Some(length) if chunk + 1 == self.opened => length,
            _ => CHUNK,
        }
    }

    /// Reads and opens at least one more chunk, or leaves the ending in place.
    fn refill(&mut self) -> Result<(), io::Error> {
        let used = self.opened * SEALED_CHUNK;
        self.batch.bytes.copy_within(used..self.filled, 0);
        self.filled -= used;
        self.first += self.opened as u64;
        (self.opened, self.next, self.offset) = (0, 0, 0);
        loop {
            let room = &mut self.batch.room(self.filled)[..];
            let read = match self.source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            self.filled += read;
            if read == 0 {
                let last = &mut self.batch.bytes[..self.filled];
                let text = self.scheme.open_chunk_in_place(self.first, last)?;
                (self.opened, self.ending) = (1, Some(text.len()));
                return Ok(());
            }
            let complete = self.filled / SEALED_CHUNK;
            if complete > 0 {
                let sealed = &mut self.batch.bytes[..complete * SEALED_CHUNK];
                self.scheme.open_chunks_in_place(self.first, sealed, self.threads)?;
                self.opened = complete;
                return Ok(());
            }
        }
    }

    fn fail<T>(&mut self, error: io::Error) -> io::Result<T> {
        self.failed = true;
        self.batch.wipe();
        Err(error)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(Error::Rejected.into());
        }
        if data.is_empty() {
            return Ok(0);
        }
        loop {
            if self.next < self.opened {
                let left = self.chunk_length(self.next) - self.offset;
                if left > 0 {
                    let taken = left.min(data.len());
                    let start = self.next * SEALED_CHUNK + self.offset;
                    data[..taken].copy_from_slice(&self.batch.bytes[start..start + taken]);
                    self.offset += taken;
                    return Ok(taken);
                }
                if self.ending.is_some() && self.next + 1 == self.opened {
                    return Ok(0);
                }
                (self.next, self.offset) = (self.next + 1, 0);
            } else if let Err(error) = self.refill() {
                return self.fail(error);
            }
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// The plaintext's length, authenticated: the final chunk is opened at the place that the source's length says.
    ///
    /// # Errors
    /// As for reading.
    pub fn length(&mut self) -> io::Result<u64> {
        if let Some(length) = self.length {
            return Ok(length);
        }
        let here = self.position();
        match self.measure() {
            Ok(length) => {
                self.length = Some(length);
                self.go_to(here)?;
                Ok(length)
            }
            Err(error) => self.fail(error),
        }
    }

    fn measure(&mut self) -> io::Result<u64> {
        // The source stands after the bytes that are in the batch.
        let read = self.first * SEALED_CHUNK as u64 + self.filled as u64;
        let body_start = self.source.stream_position()?.checked_sub(read).ok_or(Error::Rejected)?;
        let end = self.source.seek(SeekFrom::End(0))?;
        let body = end.checked_sub(body_start).ok_or(Error::Rejected)?;
        let (whole, last) = (body / SEALED_CHUNK as u64, (body % SEALED_CHUNK as u64) as usize);
        let text = last.checked_sub(crate::aead::TAG).ok_or(Error::Rejected)?;
        self.source.seek(SeekFrom::Start(body_start + whole * SEALED_CHUNK as u64))?;
        self.batch.wipe();
        let sealed = self.batch.chunk_mut(0, last);
        read_or(&mut self.source, sealed, Error::Rejected)?;
        self.scheme.open_chunk_in_place(whole, sealed)?;
        self.start = body_start;
        Ok(whole * CHUNK as u64 + text as u64)
    }

    /// Forgets the batch and stands at plaintext byte `position`, which may lie behind the end.
    fn go_to(&mut self, position: u64) -> io::Result<()> {
        let length = self.length.expect("measured before any seek");
        let inside = position.min(length);
        let chunk = inside / CHUNK as u64;
        self.source.seek(SeekFrom::Start(self.start + chunk * SEALED_CHUNK as u64))?;
        (self.first, self.filled, self.opened, self.next, self.ending) = (chunk, 0, 0, 0, None);
        self.offset = 0;
        let skipped = (inside % CHUNK as u64) as usize;
        if let Err(error) = self.refill() {
            return self.fail(error);
        }
        self.offset = skipped;
        Ok(())
    }
}

impl<R: Read + Seek> Seek for Reader<R> {
    /// Moves to a plaintext position, after authenticating the length once. A position behind the end is the end.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.failed {
            return Err(Error::Rejected.into());
        }
        let length = self.length()?;
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position().checked_add_signed(by),
            SeekFrom::End(by) => length.checked_add_signed(by),
        };
        let target = target
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek before the beginning of the stream"))?
            .min(length);
        self.go_to(target)?;
        Ok(target)
    }
}

impl<R: Read> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("chunk", &self.first).finish_non_exhaustive()
    }
}

/// Room for a batch of sealed chunks; what was written to it is wiped on drop.
struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    fn of_chunks(threads: Threads) -> Self {
        let chunks = if threads.shares(SHARED_BATCH) { SHARED_BATCH } else { BATCH };
        Self { bytes: vec![0; chunks * SEALED_CHUNK], used: 0 }
    }

    fn chunks(&self) -> usize {
        self.bytes.len() / SEALED_CHUNK
    }

    fn chunk_mut(&mut self, chunk: usize, length: usize) -> &mut [u8] {
        let start = chunk * SEALED_CHUNK;
        self.used = self.used.max(start + length);
        &mut self.bytes[start..start + length]
    }

    fn room(&mut self, from: usize) -> &mut [u8] {
        self.used = self.bytes.len();
        &mut self.bytes[from..]
    }

    fn wipe(&mut self) {
        self.bytes[..self.used].zeroize();
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Fills `bytes`, or gives `short` if the source ends first.
pub(crate) fn read_or(source: &mut impl Read, bytes: &mut [u8], short: Error) -> io::Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => short.into(),
        _ => error,
    })
}

//! Canonical bytes: big-endian integers and length-prefixed strings in the manner of TLS (RFC 8446, section 3).

use crate::Error;

/// Appends fields.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// With room for `bytes`, so that secrets are not left behind by growth.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Bytes whose length the reader knows.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Bytes behind a 32-bit length.
    pub(crate) fn opaque(&mut self, value: &[u8]) -> &mut Self {
        self.u32(value.len() as u32).bytes(value)
    }

    /// One bit a client, least significant first.
    pub(crate) fn bitmap(&mut self, members: &[bool]) -> &mut Self {
        for eight in members.chunks(8) {
            self.u8(eight.iter().enumerate().fold(0, |byte, (bit, &member)| byte | (u8::from(member) << bit)));
        }
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off the front, and refuses what is left over.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, message }
    }

    pub(crate) fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed { message: self.message, why }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.malformed("it is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn opaque(&mut self, most: usize) -> Result<&'a [u8], Error> {
        let length = self.u32()? as usize;
        if length > most {
            return Err(self.malformed("a field is longer than this round allows"));
        }
        self.take(length)
    }

    /// A list of at most `most` items, each read by `item`. Memory follows what is there, not what is announced.
    pub(crate) fn list<T>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.u32()? as usize;
        if count > most {
            return Err(self.malformed("a list is longer than this round allows"));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(crate) fn bitmap(&mut self, clients: usize) -> Result<Vec<bool>, Error> {
        let bytes = self.take(clients.div_ceil(8))?;
        let bit = |client: usize| bytes[client / 8] >> (client % 8) & 1 == 1;
        if (clients..8 * bytes.len()).any(bit) {
            return Err(self.malformed("a list of clients has bits beyond the roster"));
        }
        Ok((0..clients).map(bit).collect())
    }

    /// The rest, whatever its length.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes are left over")) }
    }
}

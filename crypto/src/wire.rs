//! Reading public bytes from front to back: every length is checked before anything is done with it.

use crate::error::Error;

/// What is left of the bytes, and what to say when they run out.
pub(crate) struct Bytes<'b> {
    left: &'b [u8],
    short: &'static str,
}

impl<'b> Bytes<'b> {
    pub(crate) fn new(bytes: &'b [u8], short: &'static str) -> Self {
        Self { left: bytes, short }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'b [u8], Error> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(Error::malformed(self.short))?;
        self.left = left;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'b [u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("taken at this length"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(*self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(*self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(*self.array()?))
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'b [u8] {
        self.left
    }

    /// Nothing may be left.
    pub(crate) fn end(self, otherwise: &'static str) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::malformed(otherwise)) }
    }
}

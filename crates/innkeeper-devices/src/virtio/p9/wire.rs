//! Messages of 9P as bytes: numbers are little-endian, strings have their length before them.

use std::io;

use super::sys::error;

/// Size, type and tag.
pub const HEADER: usize = 7;
/// What the shortest answer to anything takes: an error.
pub const ERROR_BYTES: usize = HEADER + 4;

/// Takes a message apart. What is not there is an error.
pub struct Reader<'message> {
    rest: &'message [u8],
}

impl<'message> Reader<'message> {
    pub fn new(rest: &'message [u8]) -> Self {
        Self { rest }
    }

    pub fn bytes(&mut self, length: usize) -> io::Result<&'message [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| error(libc::EBADMSG))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub fn byte(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn half(&mut self) -> io::Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn word(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn long(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn text(&mut self) -> io::Result<&'message [u8]> {
        let length = self.half()?;
        self.bytes(length.into())
    }

    /// The name of a directory's entry.
    pub fn name(&mut self) -> io::Result<&'message [u8]> {
        self.text().and_then(plain)
    }
}

/// A name that is neither a path nor a way up.
pub fn plain(name: &[u8]) -> io::Result<&[u8]> {
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|&byte| matches!(byte, 0 | b'/')) {
        return Err(error(libc::EINVAL));
    }
    Ok(name)
}

/// An answer that grows.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn half(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn word(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn long(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// # Errors
    /// Longer than a string can be.
    pub fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.half(u16::try_from(text.len()).map_err(|_| error(libc::ENAMETOOLONG))?);
        self.bytes.extend(text);
        Ok(())
    }

    pub fn qid(&mut self, qid: Qid) {
        self.byte(qid.kind);
        self.word(qid.version);
        self.long(qid.path);
    }
}

/// What a server knows a file by, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qid {
    pub kind: u8,
    pub version: u32,
    pub path: u64,
}

impl Qid {
    pub const BYTES: usize = 13;
    pub const DIRECTORY: u8 = 0x80;
    pub const SYMLINK: u8 = 0x02;
    pub const FILE: u8 = 0;
}

//! What images lie on: a file or block device of the host, or a test's recorder of one.
//!
//! A [`Medium`] knows nothing of formats. It can be longer than any image needs, has no granularity, and reads
//! as zeroes past its end.

use std::io::{self, IoSlice, IoSliceMut};

mod file;
pub mod lock;
mod memory;

pub use file::HostFile;
pub use memory::Memory;

/// What a range of a medium holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub length: u64,
    /// A hole: reads as zeroes and takes no space.
    pub hole: bool,
}

/// Bytes that images are made of. Called from any thread, several at a time.
pub trait Medium: Send + Sync {
    /// For messages: a path, mostly.
    fn name(&self) -> &str;
    fn is_read_only(&self) -> bool;
    /// Device and inode, of a file of the host's.
    fn identity(&self) -> Option<(u64, u64)> {
        None
    }
    /// Whether writing beyond the end extends it, and what is new there reads as zeroes.
    fn grows(&self) -> bool;
    /// # Errors
    /// What the host answered.
    fn size(&self) -> io::Result<u64>;
    /// What lies beyond the end reads as zeroes.
    ///
    /// # Errors
    /// What the host answered.
    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()>;
    /// # Errors
    /// What the host answered.
    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()>;
    /// Everything written before the call, and the size, is durable when it returns.
    ///
    /// # Errors
    /// What the host answered. What was written since the last flush may then be lost, and a later flush does
    /// not bring it back.
    fn flush(&self) -> io::Result<()>;
    /// The range reads as zeroes from now on; its space is given back if `unmap` and the host can.
    /// Beyond the end it extends what [`Self::grows`].
    ///
    /// # Errors
    /// What the host answered.
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()>;
    /// Gives space back. The range then reads as it did or as zeroes.
    ///
    /// # Errors
    /// What the host answered; a host that cannot is none.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;
    /// # Errors
    /// What the host answered; `Unsupported` unless it [`Self::grows`].
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Takes the range's space now, so that writing there cannot fail for lack of it. Contents stay, new ones are
    /// zeroes; extends what [`Self::grows`].
    ///
    /// # Errors
    /// What the host answered, `Unsupported` among it.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    /// What the bytes from `offset` on are, as far as they are alike. Beyond the end is a hole without end.
    ///
    /// # Errors
    /// What the host answered.
    fn stretch(&self, offset: u64) -> io::Result<Stretch>;

    /// [`Self::read`] into one buffer.
    ///
    /// # Errors
    /// What the host answered.
    fn read_exact(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read(offset, &mut [IoSliceMut::new(buffer)])
    }

    /// [`Self::write`] of one buffer.
    ///
    /// # Errors
    /// What the host answered.
    fn write_all(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, &[IoSlice::new(bytes)])
    }
}

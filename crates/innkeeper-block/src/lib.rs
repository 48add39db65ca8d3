//! Disk images as guests and tools see them: one [`Disk`] whatever the format, the file and its backing chain.

use std::io::{self, IoSlice, IoSliceMut};

mod buffers;
pub mod counted;
pub mod error;
pub mod filter;
pub mod jobs;
pub mod medium;
pub mod open;
pub mod probe;
pub mod qcow2;
pub mod range;
pub mod raw;
pub mod reopen;
pub mod switch;
#[cfg(test)]
mod testing;
pub mod tools;

pub use counted::{Count, Counted, Traffic};
pub use error::{Error, Result};
pub use filter::{Cache, DetectZeroes, Rules};
pub use jobs::{Job, Mirror};
pub use open::{Format, Image, Options, open, open_image};
pub use qcow2::Qcow2;
pub use switch::{Move, Switch, move_all, snapshot_all};

/// What some bytes of a disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
    /// Reads as zeroes.
    pub zero: bool,
    /// Held by the image itself rather than by one that it is backed by.
    pub here: bool,
}

/// The bytes of a virtual disk. Called from any thread, several at a time; offsets and lengths are bytes.
///
/// What was written is durable only after [`Self::flush`]. Every range must lie within [`Self::size`], else
/// the error is `InvalidInput` and nothing happens.
pub trait Disk: Send + Sync {
    /// In bytes, a multiple of 512.
    fn size(&self) -> u64;
    fn is_read_only(&self) -> bool;
    /// # Errors
    /// What the host answered; the buffers' contents are then undefined.
    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()>;
    /// # Errors
    /// What the host answered; the range's contents are then undefined, and nothing else is.
    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()>;
    /// Returns when everything that was written before the call survives a loss of power.
    ///
    /// # Errors
    /// What the host answered; nothing is promised of what was written since the last flush.
    fn flush(&self) -> io::Result<()>;
    /// The same, and leaves the file as closing it would: nothing is written there until the next request.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    fn settle(&self) -> io::Result<()> {
        self.flush()
    }
    /// The range reads as zeroes from now on. Its space may be given back if `unmap`.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()>;
    /// The range's contents are needed no more: a hint.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;
    /// What the bytes from `offset` on are, as far as they are alike, and at most `length`.
    ///
    /// # Errors
    /// What the host answered.
    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent>;
    /// Makes it larger while it is in use; what is new reads as zeroes.
    ///
    /// # Errors
    /// `InvalidInput` unless `size` is a multiple of 512 and not less than [`Self::size`]; `Unsupported` where it cannot
    /// be while the image is open; what the host answered.
    fn grow(&self, _size: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the disk cannot change its size while it is in use"))
    }
    /// The same where it is qcow2, whatever else lies around it.
    fn as_qcow2(&self) -> Option<&Qcow2> {
        None
    }
    /// The file that it is in, by device and inode, if it is in one.
    fn identity(&self) -> Option<(u64, u64)> {
        None
    }
}

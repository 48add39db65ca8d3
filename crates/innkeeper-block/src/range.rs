//! Ranges of a disk, checked once for every format.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};

/// Sizes of disks are multiples of this.
pub const SECTOR: u64 = 512;

/// # Errors
/// `InvalidInput` unless the range lies within a disk of this size.
pub fn check(offset: u64, length: u64, size: u64) -> io::Result<()> {
    if length <= size && offset <= size - length {
        return Ok(());
    }
    let text = format!("{length} bytes at {offset} do not lie within the disk's {size}");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// # Errors
/// `InvalidInput` unless a disk of size `old` may grow to `new`.
pub fn check_growth(old: u64, new: u64) -> io::Result<()> {
    let why = if new < old {
        format!("a disk in use only grows, and {new} bytes are less than its {old}")
    } else if new.is_multiple_of(SECTOR) {
        return Ok(());
    } else {
        format!("a disk's size is a multiple of {SECTOR}, which {new} is not")
    };
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

#[must_use]
pub fn read_only() -> io::Error {
    io::Error::new(ErrorKind::ReadOnlyFilesystem, "the disk is read-only")
}

#[must_use]
pub fn total(buffers: &[IoSlice<'_>]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

#[must_use]
pub fn total_mut(buffers: &[IoSliceMut<'_>]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

//! A raw image: the disk's bytes as they are.
//!
//! A file whose length is no multiple of 512 counts as one that is zero-padded to the next; a write there
//! extends it, as in QEMU.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::medium::Medium;
use crate::range::{self, SECTOR};
use crate::{Disk, Extent};

pub struct Raw {
    medium: Arc<dyn Medium>,
    size: u64,
}

impl Raw {
    /// # Errors
    /// The host does not tell its size.
    pub fn open(medium: Arc<dyn Medium>) -> Result<Self> {
        let size = medium.size().map_err(Error::host(format!("find the size of {}", medium.name())))?;
        Ok(Self { size: size.next_multiple_of(SECTOR), medium })
    }

    fn check(&self, offset: u64, length: u64, writes: bool) -> io::Result<()> {
        range::check(offset, length, self.size)?;
        if writes && self.medium.is_read_only() { Err(range::read_only()) } else { Ok(()) }
    }
}

impl Disk for Raw {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.medium.is_read_only()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.check(offset, range::total_mut(buffers), false)?;
        self.medium.read(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.check(offset, range::total(buffers), true)?;
        self.medium.write(offset, buffers)
    }

    fn flush(&self) -> io::Result<()> {
        self.medium.flush()
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.check(offset, length, true)?;
        self.medium.write_zeroes(offset, length, unmap)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check(offset, length, true)?;
        self.medium.discard(offset, length)
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.check(offset, length, false)?;
        let stretch = self.medium.stretch(offset)?;
        Ok(Extent { offset, length: stretch.length.min(length), zero: stretch.hole, here: true })
    }
}

//! A raw image: the disk's bytes as they are.
//!
//! A file whose length is no multiple of 512 counts as one that is zero-padded to the next; a write there
//! extends it, as in QEMU.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::medium::Medium;
use crate::range::{self, SECTOR};
use crate::{Disk, Extent};

pub struct Raw {
    medium: Arc<dyn Medium>,
    size: AtomicU64,
    growing: Mutex<()>,
}

impl Raw {
    /// # Errors
    /// The host does not tell its size.
    pub fn open(medium: Arc<dyn Medium>) -> Result<Self> {
        let size = medium.size().map_err(Error::host(format!("find the size of {}", medium.name())))?;
        Ok(Self { size: size.next_multiple_of(SECTOR).into(), medium, growing: Mutex::default() })
    }

    fn check(&self, offset: u64, length: u64, writes: bool) -> io::Result<()> {
        range::check(offset, length, self.size())?;
        if writes && self.medium.is_read_only() { Err(range::read_only()) } else { Ok(()) }
    }
}

impl Disk for Raw {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn is_read_only(&self) -> bool {
        self.medium.is_read_only()
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.medium.identity()
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

    /// A block device is as large as it is: of that the disk may have more.
    fn grow(&self, size: u64) -> io::Result<()> {
        let _one_at_a_time = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        range::check_growth(self.size(), size)?;
        if self.medium.is_read_only() {
            return Err(range::read_only());
        }
        if self.medium.grows() {
            self.medium.set_size(size)?;
        } else if self.medium.size()? < size {
            let why = format!("{} has {} bytes, less than {size}", self.medium.name(), self.medium.size()?);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.size.store(size, Ordering::Release);
        Ok(())
    }
}

//! What options make of a disk's requests before its format sees them.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::probe::{self, Guess};
use crate::{Disk, Extent, Qcow2, buffers, range};

/// When writes become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cache {
    /// When the guest flushes.
    #[default]
    Writeback,
    /// With each write.
    Writethrough,
    /// When the guest flushes; data goes past the host's page cache.
    None,
    /// With each write, and past the host's page cache.
    Directsync,
    /// When the host likes: for disks that may be lost.
    Unsafe,
}

impl Cache {
    /// # Errors
    /// A sentence with the modes that there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "writeback" => Ok(Self::Writeback),
            "writethrough" => Ok(Self::Writethrough),
            "none" => Ok(Self::None),
            "directsync" => Ok(Self::Directsync),
            "unsafe" => Ok(Self::Unsafe),
            _ => Err(Error::Refused(format!(
                "cache mode {name:?} is unknown, the modes are writeback, writethrough, none, directsync and unsafe"
            ))),
        }
    }

    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::None | Self::Directsync)
    }

    fn syncs_writes(self) -> bool {
        matches!(self, Self::Writethrough | Self::Directsync)
    }
}

/// What becomes of zeroes that a guest writes as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DetectZeroes {
    #[default]
    Off,
    /// They are zeroes rather than data.
    On,
    /// And their space is given back.
    Unmap,
}

impl DetectZeroes {
    /// # Errors
    /// A sentence with the values that there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "unmap" => Ok(Self::Unmap),
            _ => Err(Error::Refused(format!("detect_zeroes {name:?} is unknown, it is off, on or unmap"))),
        }
    }
}

/// Options that differ from what formats do by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    pub cache: Cache,
    pub detect_zeroes: DetectZeroes,
    pub ignore_discard: bool,
    /// The disk is raw only because nothing else was recognised.
    pub guessed_raw: bool,
}

pub struct Filter {
    inner: Arc<dyn Disk>,
    rules: Rules,
}

impl Filter {
    /// The disk itself if there is nothing to do.
    #[must_use]
    pub fn around(inner: Arc<dyn Disk>, rules: Rules) -> Arc<dyn Disk> {
        if rules == Rules::default() { inner } else { Arc::new(Self { inner, rules }) }
    }

    /// # Errors
    /// The write would make a disk that was guessed to be raw look like something else.
    fn guard_start(&self, offset: u64, data: &[IoSlice<'_>]) -> io::Result<()> {
        if !self.rules.guessed_raw || offset >= probe::LENGTH as u64 {
            return Ok(());
        }
        let size = self.inner.size().min(probe::LENGTH as u64) as usize;
        let mut start = vec![0; size];
        self.inner.read(0, &mut [IoSliceMut::new(&mut start)])?;
        let mut at = offset as usize;
        for buffer in buffers::part(data, 0, (size - at.min(size)) as u64) {
            start[at..at + buffer.len()].copy_from_slice(&buffer);
            at += buffer.len();
        }
        if probe::probe(&start) == Guess::Raw {
            return Ok(());
        }
        let text = "the guest wrote an image format's header to a disk whose format was guessed to be raw; \
                    if it shall, open the disk with format=raw";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }

    fn written(&self) -> io::Result<()> {
        if self.rules.cache.syncs_writes() { self.inner.flush() } else { Ok(()) }
    }
}

fn all_zero(data: &[IoSlice<'_>]) -> bool {
    data.iter().all(|buffer| {
        // SAFETY: every pattern of bits is a u64.
        let (head, words, tail) = unsafe { buffer.align_to::<u64>() };
        head.iter().chain(tail).all(|byte| *byte == 0) && words.iter().all(|word| *word == 0)
    })
}

impl Disk for Filter {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.inner.read(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.guard_start(offset, buffers)?;
        let length = range::total(buffers);
        if self.rules.detect_zeroes != DetectZeroes::Off && length > 0 && all_zero(buffers) {
            let unmap = self.rules.detect_zeroes == DetectZeroes::Unmap && !self.rules.ignore_discard;
            self.inner.write_zeroes(offset, length, unmap)?;
        } else {
            self.inner.write(offset, buffers)?;
        }
        self.written()
    }

    fn flush(&self) -> io::Result<()> {
        if self.rules.cache == Cache::Unsafe { Ok(()) } else { self.inner.flush() }
    }

    fn settle(&self) -> io::Result<()> {
        self.inner.settle()
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.inner.write_zeroes(offset, length, unmap && !self.rules.ignore_discard)?;
        self.written()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.rules.ignore_discard {
            return self.inner.discard(offset, length);
        }
        range::check(offset, length, self.size())?;
        if self.is_read_only() { Err(range::read_only()) } else { Ok(()) }
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.inner.extent(offset, length)
    }

    fn as_qcow2(&self) -> Option<&Qcow2> {
        self.inner.as_qcow2()
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.inner.identity()
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.inner.grow(size)?;
        self.written()
    }
}

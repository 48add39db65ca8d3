//! A disk that counts what is asked of it, and how long that took.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Instant;

use crate::{Disk, Extent, range};

/// Requests of one kind that were answered without an error.
#[derive(Default)]
struct Counter {
    requests: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub bytes: u64,
    pub nanoseconds: u64,
}

/// All of a disk's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub read: Count,
    pub written: Count,
    pub flushed: Count,
    pub failed: u64,
    /// What the host answered to the last request if that failed: its number, or `OTHER`; 0 if it did not.
    pub error: i32,
}

/// An error without a number.
pub const OTHER: i32 = -1;

pub struct Counted {
    inner: Arc<dyn Disk>,
    read: Counter,
    written: Counter,
    flushed: Counter,
    failed: AtomicU64,
    error: AtomicI32,
}

impl Counter {
    fn count(&self) -> Count {
        Count {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        let (read, written, flushed) = Default::default();
        Self { inner, read, written, flushed, failed: AtomicU64::new(0), error: AtomicI32::new(0) }
    }

    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            read: self.read.count(),
            written: self.written.count(),
            flushed: self.flushed.count(),
            failed: self.failed.load(Ordering::Relaxed),
            error: self.error.load(Ordering::Relaxed),
        }
    }

    fn count<T>(&self, counter: &Counter, bytes: u64, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let begun = Instant::now();
        let result = act();
        let error = result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(OTHER));
        self.error.store(error, Ordering::Relaxed);
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            counter.requests.fetch_add(1, Ordering::Relaxed);
            counter.bytes.fetch_add(bytes, Ordering::Relaxed);
            counter.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        }
        result
    }
}

impl Disk for Counted {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.count(&self.read, range::total_mut(buffers), || self.inner.read(offset, buffers))
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.count(&self.written, range::total(buffers), || self.inner.write(offset, buffers))
    }

    fn flush(&self) -> io::Result<()> {
        self.count(&self.flushed, 0, || self.inner.flush())
    }

    fn settle(&self) -> io::Result<()> {
        self.inner.settle()
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.count(&self.written, length, || self.inner.write_zeroes(offset, length, unmap))
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.discard(offset, length)
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.inner.extent(offset, length)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.inner.grow(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Memory;
    use crate::raw::Raw;
    use crate::testing::{read, write};

    #[test]
    fn what_is_done_and_what_fails_is_counted() {
        let disk = Counted::new(Arc::new(Raw::open(Arc::new(Memory::new(&[0; 4096]))).unwrap()));
        write(&disk, 0, &[1; 512]).unwrap();
        write(&disk, 512, &[1; 1024]).unwrap();
        read(&disk, 0, 100).unwrap();
        read(&disk, 4096, 1).unwrap_err();
        assert_eq!(disk.traffic().error, OTHER);
        disk.flush().unwrap();
        assert_eq!(disk.traffic().error, 0);
        let traffic = disk.traffic();
        assert_eq!((traffic.written.requests, traffic.written.bytes), (2, 1536));
        assert_eq!((traffic.read.requests, traffic.read.bytes, traffic.failed), (1, 100, 1));
        assert_eq!(traffic.flushed.requests, 1);
    }

    #[test]
    fn a_raw_disk_grows_and_what_is_new_is_zero() {
        let disk = Counted::new(Arc::new(Raw::open(Arc::new(Memory::new(&[7; 1000]))).unwrap()));
        assert!(disk.grow(512).is_err() && disk.grow(2000).is_err());
        disk.grow(4096).unwrap();
        assert_eq!(disk.size(), 4096);
        assert_eq!(read(&disk, 999, 3097).unwrap(), [vec![7], vec![0; 3096]].concat());
        write(&disk, 4095, &[9]).unwrap();
    }
}

//! A medium in memory: for tests, fuzzing and measuring. Sparse: pages that were never written take no space.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{PoisonError, RwLock};

use super::{Medium, Stretch};

const PAGE: u64 = 4096;

#[derive(Default)]
struct Contents {
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    size: u64,
}

#[derive(Default)]
pub struct Memory {
    contents: RwLock<Contents>,
}

/// `[offset, offset + length)` cut at pages: page, offset in it, length.
fn pieces(mut offset: u64, length: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length;
    std::iter::from_fn(move || {
        let within = offset % PAGE;
        let piece = (PAGE - within).min(end - offset);
        let here = (offset / PAGE, within as usize, piece as usize);
        offset += piece;
        (piece > 0).then_some(here)
    })
}

impl Contents {
    fn check(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).filter(|end| *end <= i64::MAX as u64);
        self.size = self.size.max(end.ok_or_else(|| io::Error::from_raw_os_error(libc::EFBIG))?);
        Ok(())
    }

    fn zero(&mut self, offset: u64, length: u64) {
        let (first, last) = (offset / PAGE, (offset + length) / PAGE);
        let inner: Vec<u64> = self.pages.range(first..=last).map(|(page, _)| *page).collect();
        for page in inner {
            let (start, end) = (offset.max(page * PAGE), (offset + length).min((page + 1) * PAGE));
            if end - start == PAGE {
                self.pages.remove(&page);
            } else if let Some(bytes) = self.pages.get_mut(&page).filter(|_| start < end) {
                bytes[(start % PAGE) as usize..][..(end - start) as usize].fill(0);
            }
        }
    }
}

impl Memory {
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let memory = Self::default();
        memory.write_all(0, bytes).expect("memory takes what memory holds");
        memory
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size().expect("memory has a size") as usize];
        self.read_exact(0, &mut bytes).expect("memory is readable");
        bytes
    }
}

impl Medium for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn grows(&self) -> bool {
        true
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.contents.read().unwrap_or_else(PoisonError::into_inner).size)
    }

    fn read(&self, mut offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        for buffer in buffers {
            let mut at = 0;
            for (page, within, length) in pieces(offset, buffer.len() as u64) {
                let out = &mut buffer[at..at + length];
                match contents.pages.get(&page) {
                    Some(bytes) => out.copy_from_slice(&bytes[within..within + length]),
                    None => out.fill(0),
                }
                at += length;
            }
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    fn write(&self, mut offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        for buffer in buffers {
            contents.check(offset, buffer.len() as u64)?;
            let mut at = 0;
            for (page, within, length) in pieces(offset, buffer.len() as u64) {
                let bytes = contents.pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]));
                bytes[within..within + length].copy_from_slice(&buffer[at..at + length]);
                at += length;
            }
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        contents.check(offset, length)?;
        contents.zero(offset, length);
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(length).min(contents.size);
        contents.zero(offset.min(end), end - offset.min(end));
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let old = contents.size;
        if size < old {
            contents.zero(size, old - size);
        }
        contents.size = size;
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner).check(offset, length)
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let page = offset / PAGE;
        if offset >= contents.size {
            return Ok(Stretch { length: u64::MAX - offset, hole: true });
        }
        let end = match contents.pages.range(page..).next() {
            Some((next, _)) if *next == page => (page + 1) * PAGE,
            Some((next, _)) => next * PAGE,
            None => return Ok(Stretch { length: u64::MAX - offset, hole: true }),
        };
        Ok(Stretch { length: end - offset, hole: !contents.pages.contains_key(&page) })
    }
}

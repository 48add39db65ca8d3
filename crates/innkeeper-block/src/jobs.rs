//! Work on the disk of a machine that runs on: what lies below it is taken over (pull), what it has is written into what lies
//! below (commit), or it is copied elsewhere; then the machine may move there.
//!
//! A pull changes what an image holds and never what it shows. A commit from the image in use, and a copy, put a [`Mirror`] into
//! the disk's [`Switch`]: each write goes to both from then on, and when all that was there before is copied both are the same at every
//! moment. Whatever is cut off, the image that was in use is complete until the machine has moved.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::qcow2::traffic::Claims;
use crate::{Disk, Extent, Qcow2};

/// As much as is copied while the guest's writes there wait.
const CHUNK: u64 = 4 << 20;

/// A disk whose every write also goes to another one.
pub struct Mirror {
    pub source: Arc<dyn Disk>,
    pub target: Arc<dyn Disk>,
    claims: Claims,
    /// A write that the target refuses is refused.
    pub(crate) strict: AtomicBool,
    /// Why the target is not the same any more.
    failure: Mutex<Option<String>>,
}

impl Mirror {
    #[must_use]
    pub fn new(source: Arc<dyn Disk>, target: Arc<dyn Disk>) -> Self {
        let (claims, failure) = Default::default();
        Self { source, target, claims, strict: AtomicBool::new(false), failure }
    }

    /// Why the target is not the same any more, if it is not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn follow(&self, act: impl FnOnce(&dyn Disk) -> io::Result<()>) -> io::Result<()> {
        if self.failure().is_some() {
            return Ok(());
        }
        match act(&*self.target) {
            Err(error) if self.strict.load(Ordering::SeqCst) => Err(error),
            Err(error) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Disk for Mirror {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn is_read_only(&self) -> bool {
        self.source.is_read_only()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.source.read(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let length = crate::range::total(buffers);
        let _claim = self.claims.take(offset..offset.saturating_add(length));
        self.source.write(offset, buffers)?;
        self.follow(|target| target.write(offset, buffers))
    }

    fn flush(&self) -> io::Result<()> {
        self.source.flush()?;
        self.follow(|target| target.flush())
    }

    fn settle(&self) -> io::Result<()> {
        self.source.settle()?;
        self.follow(|target| target.settle())
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let _claim = self.claims.take(offset..offset.saturating_add(length));
        self.source.write_zeroes(offset, length, unmap)?;
        self.follow(|target| target.write_zeroes(offset, length, unmap))
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let _claim = self.claims.take(offset..offset.saturating_add(length));
        self.source.discard(offset, length)?;
        // Whatever it reads as now, the other one shall read as that too.
        let (mut at, end) = (offset, offset.saturating_add(length).min(self.size()));
        self.follow(|target| {
            while at < end {
                at += copy(&*self.source, target, at, (end - at).min(CHUNK), false)?;
            }
            Ok(())
        })
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.source.extent(offset, length)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.source.grow(size)?;
        self.follow(|target| target.grow(size))
    }

    fn as_qcow2(&self) -> Option<&Qcow2> {
        self.source.as_qcow2()
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.source.identity()
    }
}

/// Copies some bytes from `at` on, at most `length`; returns how many. A `blank` target reads as zeroes where nothing was written.
fn copy(source: &dyn Disk, target: &dyn Disk, at: u64, length: u64, blank: bool) -> io::Result<u64> {
    let extent = source.extent(at, length)?;
    if extent.zero {
        if !blank {
            target.write_zeroes(at, extent.length, true)?;
        }
        return Ok(extent.length);
    }
    let mut bytes = vec![0; extent.length.min(CHUNK) as usize];
    source.read(at, &mut [IoSliceMut::new(&mut bytes)])?;
    target.write(at, &[IoSlice::new(&bytes)])?;
    Ok(bytes.len() as u64)
}

/// What shall be done to each part of a disk.
pub enum Work {
    /// The image holds it by itself; `hides` as in [`Qcow2::populate`].
    Pull { hides: bool },
    /// It is written into `target`.
    Commit { target: Arc<dyn Disk>, mirror: Option<Arc<Mirror>> },
    /// The same of all that the image shows, where the target does not show it already.
    Copy { mirror: Arc<Mirror>, blank: bool },
}

/// One piece of work, from the disk's beginning to its end.
pub struct Job {
    /// Whose parts it is about, from the one on top down: those that only lower images hold are none of its business.
    /// All parts are, if there are none.
    pub layers: Vec<Arc<dyn Disk>>,
    pub disk: Arc<dyn Disk>,
    pub work: Work,
}

impl Job {
    /// `watch` is told how far it is, between two parts, and ends it by an error.
    ///
    /// # Errors
    /// That of `watch`, or the host's answer; the disk shows what it did.
    pub fn run<E: From<io::Error>>(&self, mut watch: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
        let size = self.disk.size();
        let mut at = 0;
        while at < size {
            watch(at, size)?;
            self.check_mirror()?;
            at += self.step(at, (size - at).min(CHUNK))?;
        }
        self.check_mirror()?;
        match &self.work {
            Work::Pull { .. } => {}
            Work::Commit { target, .. } => target.flush()?,
            Work::Copy { mirror, .. } => mirror.target.flush()?,
        }
        watch(size, size)
    }

    fn check_mirror(&self) -> io::Result<()> {
        match self.mirror().and_then(Mirror::failure) {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(()),
        }
    }

    fn mirror(&self) -> Option<&Mirror> {
        match &self.work {
            Work::Pull { .. } => None,
            Work::Commit { mirror, .. } => mirror.as_deref(),
            Work::Copy { mirror, .. } => Some(mirror),
        }
    }

    fn step(&self, at: u64, length: u64) -> io::Result<u64> {
        let _claim = self.mirror().map(|mirror| mirror.claims.take(at..at + length));
        let (length, held) =
            if self.layers.is_empty() { (length, true) } else { held(&self.layers, at, length)? };
        if !held {
            return Ok(length);
        }
        match &self.work {
            Work::Pull { hides } => {
                let Some(image) = self.disk.as_qcow2() else {
                    return Err(io::Error::other("the disk is no overlay any more"));
                };
                image.populate(at..at + length, *hides)?;
                Ok(length)
            }
            Work::Commit { target, .. } => copy(&*self.disk, &**target, at, length, false),
            Work::Copy { mirror, blank } => copy(&*self.disk, &*mirror.target, at, length, *blank),
        }
    }
}

/// How many bytes from `at` on are alike, and whether one of these layers holds them.
fn held(layers: &[Arc<dyn Disk>], at: u64, length: u64) -> io::Result<(u64, bool)> {
    let mut length = length;
    for layer in layers {
        if at >= layer.size() {
            return Ok((length, true)); // where a layer has ended, it and what lies below reads as zeroes
        }
        let extent = layer.extent(at, length.min(layer.size() - at))?;
        length = extent.length;
        if extent.here {
            return Ok((length, true));
        }
    }
    Ok((length, false))
}

/// An image and what lies below it, downwards.
#[must_use]
pub fn layers(top: &Arc<dyn Disk>) -> Vec<Arc<dyn Disk>> {
    let mut found = vec![Arc::clone(top)];
    while let Some(below) = found.last().and_then(|last| last.as_qcow2()).and_then(Qcow2::backing) {
        found.push(below);
    }
    found
}

#[cfg(test)]
mod tests;

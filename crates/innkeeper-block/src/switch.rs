//! A disk in use that can be moved onto an overlay: what it held stays, and what is written from then on goes elsewhere.
//!
//! Several disks move at one moment: requests that are under way end first, those that come wait, and all that was
//! answered is durable in what is left behind. The overlay is read through the disk as it is open already, so
//! nobody else can write below it. It may also be mirrored for a while, and then be moved to what it was mirrored to (`jobs.rs`).

mod snapshots;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::error::{Error, Result};
use crate::filter::{Filter, Rules};
use crate::medium::{HostFile, Medium, lock};
use crate::open::resolve;
use crate::qcow2::{Qcow2, Use, read_header};
use crate::{Disk, Extent, Mirror};

pub(crate) use snapshots::Lost;
pub use snapshots::snapshot_all;

/// Who moves disks has all of them to himself, so that two cannot wait for each other.
static MOVING: Mutex<()> = Mutex::new(());

pub struct Switch {
    /// Read-locked by each request until it is answered.
    now: RwLock<Arc<dyn Disk>>,
}

/// One disk, and the overlay that it is to be moved onto.
pub struct Move<'a> {
    pub disk: &'a Switch,
    /// The file that the disk is in now.
    pub base: &'a Path,
    pub overlay: &'a Path,
    pub rules: Rules,
}

impl Switch {
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { now: RwLock::new(disk) }
    }

    fn now(&self) -> RwLockReadGuard<'_, Arc<dyn Disk>> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the disk is now.
    #[must_use]
    pub fn current(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.now())
    }

    /// Does something while no request is under way.
    pub fn quietly<T>(&self, act: impl FnOnce(&mut Arc<dyn Disk>) -> T) -> T {
        act(&mut self.now.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on each write goes to `target` too.
    #[must_use]
    pub fn mirror(&self, target: Arc<dyn Disk>) -> Arc<Mirror> {
        self.quietly(|now| {
            let mirror = Arc::new(Mirror::new(Arc::clone(now), target));
            *now = Arc::clone(&mirror) as _;
            mirror
        })
    }

    /// From now on a write that the target refuses is refused; or no longer.
    ///
    /// # Errors
    /// The target has refused one already.
    pub fn be_strict(&self, mirror: &Mirror, strict: bool) -> io::Result<()> {
        self.quietly(|_| match mirror.failure() {
            Some(why) if strict => Err(io::Error::other(why)),
            _ => {
                mirror.strict.store(strict, Ordering::SeqCst);
                Ok(())
            }
        })
    }

    /// Ends mirroring: the disk is what it was, or with `pivot` what it was mirrored to, in which all is durable then.
    ///
    /// # Errors
    /// The two are not the same, or the host's answer; it is still mirrored.
    pub fn leave(&self, mirror: &Arc<Mirror>, pivot: bool) -> io::Result<()> {
        self.quietly(|now| {
            if !std::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(mirror)) {
                return Ok(()); // it has been left before
            }
            if pivot {
                if let Some(why) = mirror.failure() {
                    return Err(io::Error::other(why));
                }
                mirror.source.flush()?;
                mirror.target.flush()?;
            }
            *now = Arc::clone(if pivot { &mirror.target } else { &mirror.source });
            Ok(())
        })
    }
}

/// Moves all disks, or none. Each overlay is an empty qcow2 image that lies over the file its disk is in.
///
/// # Errors
/// One sentence: which overlay cannot be one, or what the host answered.
pub fn move_all(moves: &[Move<'_>]) -> Result<()> {
    let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    for (index, each) in moves.iter().enumerate() {
        if moves[..index].iter().any(|other| std::ptr::eq(other.disk, each.disk)) {
            return Err(Error::Refused(format!("{} would have two overlays", each.base.display())));
        }
    }
    let overlays: Vec<Arc<dyn Disk>> = moves.iter().map(open_overlay).collect::<Result<_>>()?;
    let mut held: Vec<_> =
        moves.iter().map(|each| each.disk.now.write().unwrap_or_else(PoisonError::into_inner)).collect();
    for ((disk, overlay), each) in held.iter().zip(&overlays).zip(moves) {
        if disk.size() != overlay.size() {
            return Err(Error::Refused(format!(
                "{} has {} bytes, and the disk below it {}",
                each.overlay.display(),
                overlay.size(),
                disk.size()
            )));
        }
        disk.flush().map_err(Error::host(format!("write {}", each.base.display())))?;
    }
    for (disk, overlay) in held.iter_mut().zip(overlays) {
        **disk = overlay;
    }
    Ok(())
}

fn open_overlay(wanted: &Move<'_>) -> Result<Arc<dyn Disk>> {
    let shown = wanted.overlay.display();
    let mut file = HostFile::open(wanted.overlay, false)?;
    lock::take(file.file(), file.name(), true)?;
    if wanted.rules.cache.is_direct() {
        file.go_direct()?;
    }
    let medium: Arc<dyn Medium> = Arc::new(file);
    let header = read_header(&*medium)?;
    let below = header.backing_file.as_deref().map(|name| resolve(wanted.overlay, name)).transpose()?;
    if !below.is_some_and(|below| same(&below, wanted.base)) {
        return Err(Error::Refused(format!("{shown} does not lie over {}", wanted.base.display())));
    }
    let how = Use { read_only: false, unmap: !wanted.rules.ignore_discard };
    let base = Arc::clone(&wanted.disk.now());
    let disk = Arc::new(Qcow2::open(medium, Some(base), how)?);
    Ok(Filter::around(disk, Rules { guessed_raw: false, ..wanted.rules }))
}

fn same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

impl Disk for Switch {
    fn size(&self) -> u64 {
        self.now().size()
    }

    fn is_read_only(&self) -> bool {
        self.now().is_read_only()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.now().read(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.now().write(offset, buffers)
    }

    fn flush(&self) -> io::Result<()> {
        self.now().flush()
    }

    fn settle(&self) -> io::Result<()> {
        self.now().settle()
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.now().write_zeroes(offset, length, unmap)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.now().discard(offset, length)
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.now().extent(offset, length)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.now().grow(size)
    }
}

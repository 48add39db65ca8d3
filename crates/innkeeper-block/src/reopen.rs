//! An image in the middle of a chain, opened again while the disk above it is in use: so that it can be written, or is only read again.
//!
//! An image has one opener at a time that caches its tables. So the one that there is is closed first; file and way back are open and
//! locked by then, and nothing that the guest sees depends on a path any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Disk;
use crate::error::{Error, Result};
use crate::filter::Rules;
use crate::jobs::layers;
use crate::medium::{HostFile, Medium, lock};
use crate::qcow2::{Qcow2, Use};
use crate::raw::Raw;
use crate::switch::Lost;

/// What lies directly below `overlay`, which is at `path`, so that it can be written; it stays below. No request may be under way.
///
/// # Errors
/// One sentence: another file is there now, somebody else uses it, or the host's answer. Then all is as it was,
/// but what neither way can be opened any more cannot be read.
pub fn for_writing(overlay: &Qcow2, path: &Path, rules: Rules) -> Result<Arc<dyn Disk>> {
    again(overlay, path, rules, false)
}

/// Has all that lies below a disk in use be only read from now on, so that others can read it too. `chain` are the files, from the disk's own
/// down. No request may be under way.
///
/// # Errors
/// As for [`for_writing`]; then the first that cannot be, and what lies below it, stays as it was.
pub fn rest_for_reading(disk: &Arc<dyn Disk>, chain: &[PathBuf], rules: Rules) -> Result<()> {
    for (depth, path) in chain.iter().enumerate().skip(1) {
        let mut all = layers(disk);
        all.truncate(depth); // who reads the next must be known to be alone
        if let Some(overlay) = all.pop().as_ref().and_then(|above| above.as_qcow2()) {
            again(overlay, path, rules, true)?;
        }
    }
    Ok(())
}

fn again(overlay: &Qcow2, path: &Path, rules: Rules, read_only: bool) -> Result<Arc<dyn Disk>> {
    let shown = path.display();
    let old = overlay.backing().ok_or_else(|| Error::Refused(format!("nothing lies below {shown}")))?;
    if old.is_read_only() == read_only {
        return Ok(old);
    }
    let (mut wanted, mut back) = (HostFile::open(path, read_only)?, HostFile::open(path, !read_only)?);
    if wanted.identity() != old.identity() || back.identity() != old.identity() {
        return Err(Error::Refused(format!(
            "{shown} is another file than the one in use; put that back first"
        )));
    }
    if rules.cache.is_direct() {
        wanted.go_direct()?;
        back.go_direct()?;
    }
    let how = |read_only| Use { read_only, unmap: !rules.ignore_discard };
    let below = Below { qcow2: old.as_qcow2().is_some(), below: old.as_qcow2().and_then(Qcow2::backing) };
    let size = old.size();
    overlay.set_backing(None);
    let ready = if Arc::strong_count(&old) > 1 {
        Err(Error::Busy(format!("{shown} is being read for something else; wait until that is done")))
    } else {
        lock::claim(wanted.file(), wanted.name(), !read_only)
            .and_then(|()| complete(&*old, &shown.to_string()))
    };
    if let Err(error) = ready {
        overlay.set_backing(Some(old));
        return Err(error);
    }
    drop(old);
    let opened = lock::check(wanted.file(), wanted.name(), !read_only)
        .and_then(|()| below.open(Arc::new(wanted), how(read_only)));
    match opened {
        Ok(disk) => {
            overlay.set_backing(Some(Arc::clone(&disk)));
            Ok(disk)
        }
        Err(error) => {
            // A lock that is not there any more keeps nobody from reading what is there.
            let _ = lock::take(back.file(), back.name(), read_only);
            let name = back.name().to_owned();
            let again = below.open(Arc::new(back), how(!read_only));
            // Without anything below, the guest would read zeroes.
            overlay.set_backing(Some(again.unwrap_or_else(|_| Arc::new(Lost::new(name, size)))));
            Err(error)
        }
    }
}

/// Has the file hold all that was written to it, before somebody else opens it.
fn complete(disk: &dyn Disk, shown: &str) -> Result<()> {
    let done = match disk.as_qcow2() {
        _ if disk.is_read_only() => Ok(()),
        Some(qcow2) => qcow2.hand_over().map(drop),
        None => disk.flush(),
    };
    done.map_err(Error::host(format!("write {shown}")))
}

struct Below {
    qcow2: bool,
    below: Option<Arc<dyn Disk>>,
}

impl Below {
    fn open(&self, medium: Arc<dyn Medium>, how: Use) -> Result<Arc<dyn Disk>> {
        Ok(if self.qcow2 {
            Arc::new(Qcow2::open(medium, self.below.clone(), how)?)
        } else {
            Arc::new(Raw::open(medium)?)
        })
    }
}

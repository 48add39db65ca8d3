//! An image in the middle of a chain, opened again so that it can be written, while the disk above it is in use.
//!
//! An image has one opener at a time that caches its tables. So the one that only reads is closed first, which lets go of its lock
//! too; file and way back are open by then, and nothing that the guest sees depends on a path any more.

use std::path::Path;
use std::sync::Arc;

use crate::Disk;
use crate::error::{Error, Result};
use crate::filter::Rules;
use crate::medium::{HostFile, Medium, lock};
use crate::qcow2::{Qcow2, Use};
use crate::raw::Raw;

/// What lies directly below `overlay`, which is at `path`, so that it can be written; it stays below. No request may be under way.
///
/// # Errors
/// One sentence: another file is there now, somebody else uses it, or the host's answer. Then all is as it was.
pub fn for_writing(overlay: &Qcow2, path: &Path, rules: Rules) -> Result<Arc<dyn Disk>> {
    let shown = path.display();
    let old = overlay.backing().ok_or_else(|| Error::Refused(format!("nothing lies below {shown}")))?;
    if !old.is_read_only() {
        return Ok(old);
    }
    let (mut writable, mut readable) = (HostFile::open(path, false)?, HostFile::open(path, true)?);
    if writable.identity() != old.identity() || readable.identity() != old.identity() {
        return Err(Error::Refused(format!(
            "{shown} is another file than the one in use; put that back first"
        )));
    }
    if rules.cache.is_direct() {
        writable.go_direct()?;
        readable.go_direct()?;
    }
    let unmap = !rules.ignore_discard;
    let below = Below { qcow2: old.as_qcow2().is_some(), below: old.as_qcow2().and_then(Qcow2::backing) };
    overlay.set_backing(None);
    if Arc::strong_count(&old) > 1 {
        overlay.set_backing(Some(old));
        return Err(Error::Busy(format!(
            "{shown} is being read for something else; wait until that is done"
        )));
    }
    drop(old);
    let opened = lock::take(writable.file(), writable.name(), true)
        .and_then(|()| below.open(Arc::new(writable), Use { read_only: false, unmap }));
    match opened {
        Ok(disk) => {
            overlay.set_backing(Some(Arc::clone(&disk)));
            Ok(disk)
        }
        Err(error) => {
            // A lock that is not there any more keeps nobody from reading what is there.
            let _ = lock::take(readable.file(), readable.name(), false);
            overlay.set_backing(Some(below.open(Arc::new(readable), Use { read_only: true, unmap })?));
            Err(error)
        }
    }
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

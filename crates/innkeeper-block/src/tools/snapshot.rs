//! Internal snapshots: made, gone back to, forgotten.
//!
//! Each is one change of the whole image ([`super::image`]), so a cut leaves the image with it or without.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::image::{Change, Image};
use super::layer::{Access, find_snapshot, guess, open_file, read_header, read_snapshots};
use super::{Progress, Result, ToolError};
use crate::Format;
use crate::medium::Medium;
use crate::qcow2::Snapshot;
use crate::qcow2::header::MAX_SNAPSHOTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Apply,
    Delete,
}

/// # Errors
/// The host's answer, or what is wrong with the image.
pub fn list(path: &Path, access: Access) -> Result<Vec<Snapshot>> {
    let medium = open_file(path, access)?;
    needs_qcow2(&medium)?;
    read_snapshots(&medium, &read_header(&medium)?)
}

/// # Errors
/// One sentence; then the image is as it was.
pub fn act(path: &Path, action: Action, name: &str, progress: &Progress) -> Result<()> {
    let medium = open_file(path, Access::Write)?;
    needs_qcow2(&medium)?;
    act_on(Arc::new(medium), action, name, progress)
}

/// The same on any medium.
pub fn act_on(medium: Arc<dyn Medium>, action: Action, name: &str, progress: &Progress) -> Result<()> {
    let mut change = Change::begin(Image::open(medium)?, progress)?;
    match action {
        Action::Create => create(&mut change, name)?,
        Action::Apply => apply(&mut change, name)?,
        Action::Delete => {
            let at = find(&change.image, name)?;
            change.image.snapshots.remove(at);
        }
    }
    change.finish(progress).map(drop)
}

fn needs_qcow2(medium: &dyn Medium) -> Result<()> {
    if guess(medium)? == Format::Qcow2 {
        return Ok(());
    }
    Err(ToolError::refused(medium.name(), "a raw image cannot have snapshots; convert it to qcow2"))
}

fn find(image: &Image, name: &str) -> Result<usize> {
    let snapshots: Vec<Snapshot> = image.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect();
    find_snapshot(&snapshots, name, image.medium.name())
}

fn create(change: &mut Change, name: &str) -> Result<()> {
    let image = &mut change.image;
    if name.is_empty() || image.snapshots.iter().any(|(snapshot, _)| snapshot.name == name) {
        let why = if name.is_empty() {
            "a snapshot needs a name".into()
        } else {
            format!("it has a snapshot {name:?} already")
        };
        return Err(ToolError::refused(image.medium.name(), why));
    }
    if image.snapshots.len() >= MAX_SNAPSHOTS as usize {
        return Err(ToolError::refused(
            image.medium.name(),
            format!("it has {MAX_SNAPSHOTS} snapshots, the most"),
        ));
    }
    let numbers = image.snapshots.iter().filter_map(|(snapshot, _)| snapshot.id.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let snapshot = Snapshot {
        id: (numbers.max().unwrap_or(0) + 1).to_string(),
        name: name.to_owned(),
        l1_offset: 0,
        l1_size: 0,
        seconds: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
        nanoseconds: now.subsec_nanos(),
        vm_clock: 0,
        vm_state_size: 0,
        disk_size: Some(image.header.size),
        icount: Some(0),
        further: Vec::new(),
    };
    image.snapshots.push((snapshot, image.l1.clone()));
    Ok(())
}

fn apply(change: &mut Change, name: &str) -> Result<()> {
    let at = find(&change.image, name)?;
    change.drop_bitmaps();
    let image = &mut change.image;
    let (snapshot, l1) = &image.snapshots[at];
    image.header.size = snapshot.disk_size.unwrap_or(image.header.size);
    // Beyond the disk may be the state of a machine, which is not the disk's.
    let entries = image.geometry.l1_entries(image.header.size) as usize;
    image.l1.clone_from(l1);
    image.l1.resize(entries, 0);
    let size = image.header.size;
    super::resize::forget_beyond(change, size)
}

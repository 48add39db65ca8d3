//! Another size for a disk.

use std::path::Path;
use std::sync::Arc;

use super::chain::Chain;
use super::create;
use super::image::{Change, Image};
use super::layer::{Access, Place, guess, open_file};
use super::raw::{self, Preallocation};
use super::{Progress, Result, ToolError};
use crate::Format;
use crate::medium::{HostFile, Medium};
use crate::qcow2::header::MAX_L1_TABLE;
use crate::qcow2::tables::{COPIED, OFFSET, ZERO};
use crate::range::SECTOR;

#[derive(Clone, Copy, Debug)]
pub struct Resize {
    pub size: u64,
    pub shrink: bool,
    pub preallocation: Preallocation,
}

/// # Errors
/// One sentence; then the image is as it was.
pub fn resize(path: &Path, format: Option<Format>, wanted: Resize, progress: &Progress) -> Result<()> {
    let medium = open_file(path, Access::Write)?;
    let format = match format {
        Some(format) => format,
        None => guess(&medium)?,
    };
    match format {
        Format::Raw => resize_raw(path, &medium, wanted, progress),
        Format::Qcow2 => resize_qcow2(path, Arc::new(medium), wanted, progress),
    }
}

fn may_shrink(name: &str, old: u64, wanted: Resize) -> Result<()> {
    if wanted.size < old && !wanted.shrink {
        let why = format!(
            "{} bytes are less than the {old} that the disk has; what lies beyond would be lost, which --shrink allows",
            wanted.size
        );
        return Err(ToolError::refused(name, why));
    }
    if wanted.size < old && wanted.preallocation != Preallocation::Off {
        return Err(ToolError::refused(name, "a disk that shrinks gets no space; leave --preallocation out"));
    }
    Ok(())
}

fn resize_raw(path: &Path, medium: &HostFile, wanted: Resize, progress: &Progress) -> Result<()> {
    let old = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
    may_shrink(medium.name(), old, wanted)?;
    raw::has_no_metadata(path, wanted.preallocation)?;
    raw::set_size(medium, wanted.size)?;
    if wanted.size > old
        && let Err(error) = raw::fill(medium, old..wanted.size, wanted.preallocation, progress)
    {
        // As it was: what was added had nothing in it.
        raw::set_size(medium, old)?;
        return Err(error);
    }
    medium.flush().map_err(ToolError::host("write", medium.name()))
}

/// The same of a qcow2 image on any medium; where it has a backing file, `path` says from where.
pub fn resize_qcow2(path: &Path, medium: Arc<dyn Medium>, wanted: Resize, progress: &Progress) -> Result<()> {
    let wanted = Resize { size: wanted.size.next_multiple_of(SECTOR), ..wanted };
    let image = Image::open(medium)?;
    let old = image.header.size;
    may_shrink(image.medium.name(), old, wanted)?;
    let entries = image.geometry.l1_entries(wanted.size);
    if entries * 8 > MAX_L1_TABLE {
        let why =
            format!("{} bytes are too many for clusters of {}", wanted.size, image.geometry.cluster_size());
        return Err(ToolError::refused(image.medium.name(), why));
    }
    if image.header.version == 2 && !image.snapshots.is_empty() {
        let why = "a version 2 image with snapshots cannot change its size; delete them or convert it";
        return Err(ToolError::refused(image.medium.name(), why));
    }
    if image.header.backing_file.is_some() && wanted.preallocation != Preallocation::Off {
        let why = "preallocated clusters would hide its backing file";
        return Err(ToolError::refused(image.medium.name(), why));
    }
    let mut change = Change::begin(image, progress)?;
    if wanted.size != old {
        change.drop_bitmaps();
    }
    // Whatever lies beyond the old end, a machine's state for one, shall not show.
    forget_beyond(&mut change, old.min(wanted.size))?;
    change.image.l1.resize(entries as usize, 0);
    if wanted.size > old {
        hide_backing(&mut change, path, old, wanted.size)?;
        if wanted.preallocation != Preallocation::Off {
            preallocate(&mut change, old, wanted, progress)?;
        }
    }
    change.image.header.size = wanted.size;
    change.finish(progress).map(drop)
}

/// Removes what the active tables have beyond the disk's end. The last cluster stays, whole.
pub fn forget_beyond(change: &mut Change, size: u64) -> Result<()> {
    let image = &mut change.image;
    let geometry = image.geometry;
    let end = size.next_multiple_of(geometry.cluster_size());
    image.l1.truncate(geometry.l1_entries(size) as usize);
    if end.trailing_zeros() >= geometry.l1_entry_bits() {
        return Ok(());
    }
    let Some(entry) = image.l1.get(geometry.l1_index(end)).copied() else { return Ok(()) };
    if entry & OFFSET == 0 {
        return Ok(());
    }
    let mut table = image.l2(entry & OFFSET)?;
    let from = geometry.l2_index(end) * if geometry.extended_l2 { 2 } else { 1 };
    if table[from..].iter().all(|word| *word == 0) {
        return Ok(());
    }
    table[from..].fill(0);
    own(change, geometry.l1_index(end), table);
    Ok(())
}

/// Gives the active disk an L2 table of its own, with these words.
fn own(change: &mut Change, index: usize, table: Vec<u64>) {
    let at = change.image.l1[index] & OFFSET;
    let shared = change.image.snapshots.iter().any(|(_, l1)| l1.iter().any(|entry| entry & OFFSET == at));
    let place = if shared || at == 0 { change.take(1) } else { at };
    change.image.l1[index] = place;
    change.image.changed.insert(place, table);
}

/// What is added reads as zeroes, although the backing image may have something there.
fn hide_backing(change: &mut Change, path: &Path, old: u64, new: u64) -> Result<()> {
    if change.image.header.backing_file.is_none() {
        return Ok(());
    }
    let chain = Chain::open(path, Some(Format::Qcow2), Access::Look)?;
    let below = chain.layers.get(1).map_or(0, |layer| layer.size);
    let geometry = change.image.geometry;
    let cluster = geometry.cluster_size();
    let end = below.min(new).next_multiple_of(cluster);
    let mut at = old / cluster * cluster;
    while at < end {
        let length = cluster.min(chain.size().saturating_sub(at));
        let here = length > 0 && chain.top().status(at, length)?.place != Place::Below;
        if at < old && !here {
            let place = change.take_at_end(1)?;
            let mut bytes = vec![0; cluster as usize];
            chain.read(at, &mut bytes[..length as usize])?;
            let medium = &change.image.medium;
            medium.write_all(place, &bytes).map_err(ToolError::host("write", medium.name()))?;
            set(change, at, place | COPIED, 0xFFFF_FFFF)?;
        } else if at >= old && change.image.header.version > 2 {
            let entry = if geometry.extended_l2 { 0 } else { ZERO };
            set(change, at, entry, 0xFFFF_FFFF << 32)?;
        } else if at >= old {
            let place = change.take_at_end(1)?;
            create::extend(&*change.image.medium, place + cluster)?;
            set(change, at, place | COPIED, 0xFFFF_FFFF)?;
        }
        at += cluster;
    }
    Ok(())
}

/// Gives every cluster that is added its place.
fn preallocate(change: &mut Change, old: u64, wanted: Resize, progress: &Progress) -> Result<()> {
    let cluster = change.image.geometry.cluster_size();
    let first = old.next_multiple_of(cluster);
    let clusters = wanted.size.next_multiple_of(cluster).saturating_sub(first) / cluster;
    let start = change.take_at_end(clusters)?;
    for index in 0..clusters {
        set(change, first + index * cluster, (start + index * cluster) | COPIED, 0xFFFF_FFFF)?;
    }
    let medium = &*change.image.medium;
    create::extend(medium, start + clusters * cluster)?;
    raw::fill(medium, start..start + clusters * cluster, wanted.preallocation, progress)
}

fn set(change: &mut Change, guest: u64, entry: u64, bitmap: u64) -> Result<()> {
    let geometry = change.image.geometry;
    let (l1_index, l2_index) = (geometry.l1_index(guest), geometry.l2_index(guest));
    let at = change.image.l1[l1_index] & OFFSET;
    if at == 0 {
        own(change, l1_index, vec![0; (geometry.cluster_size() / 8) as usize]);
    } else if !change.image.changed.contains_key(&at) {
        let table = change.image.l2(at)?;
        own(change, l1_index, table);
    }
    let at = change.image.l1[l1_index] & OFFSET;
    let Some(table) = change.image.changed.get_mut(&at) else { return Ok(()) };
    if geometry.extended_l2 {
        table[2 * l2_index] = entry;
        table[2 * l2_index + 1] = bitmap;
    } else {
        table[l2_index] = entry;
    }
    Ok(())
}

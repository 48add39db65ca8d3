//! Backing an overlay by another image.
//!
//! First whatever the two backing images have differently is copied into the overlay, which changes its disk at no
//! moment; then one sector of the header names the new one.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::chain::{self, Chain};
use super::convert::is_zero;
use super::image::{self, Image};
use super::layer::{Access, Layer, Place, open_file};
use super::{Progress, Result, ToolError};
use crate::medium::Medium;
use crate::{Disk, Format, Options, open};

const CHUNK: u64 = 1 << 20;

/// What an overlay shall be backed by: a name as it will be recorded, and its format.
pub type Backing<'a> = Option<(&'a str, Format)>;

/// # Errors
/// One sentence; the overlay's disk is then what it was.
pub fn rebase(path: &Path, backing: Backing<'_>, unsafely: bool, progress: &Progress) -> Result<()> {
    if !unsafely {
        take_over(path, backing, progress)?;
    }
    record(Arc::new(open_file(path, Access::Write)?), backing)
}

/// Writes the name alone.
pub fn record(medium: Arc<dyn Medium>, backing: Backing<'_>) -> Result<()> {
    let mut image = Image::open(medium)?;
    image.header.backing_file = backing.map(|(name, _)| name.to_owned());
    image.header.backing_format = backing.map(|(_, format)| format.name().to_owned());
    image::write_header(&image)?;
    image.medium.flush().map_err(ToolError::host("write", image.medium.name()))
}

/// Copies into the overlay what its old backing image has and the new one has not.
fn take_over(path: &Path, backing: Backing<'_>, progress: &Progress) -> Result<()> {
    let overlay = Layer::open(path, Some(Format::Qcow2), Access::Look)?;
    let mut old = Chain { layers: vec![overlay] };
    old.complete(Access::Look)?;
    let new = match backing {
        Some((name, format)) => {
            let chain = Chain::open(&chain::resolve(path, name)?, Some(format), Access::Read)?;
            if chain.layers.iter().any(|layer| chain::identity(&layer.path) == chain::identity(path)) {
                let why = format!("{name} is this image or is backed by it");
                return Err(ToolError::refused(path.display(), why));
            }
            chain
        }
        None => Chain { layers: Vec::new() },
    };
    let disk = open(path, &Options { format: Some(Format::Qcow2), ..Options::default() })?;
    copy(&old, &new, &*disk, progress)?;
    disk.flush().map_err(ToolError::host("write", path.display()))
}

fn copy(old: &Chain, new: &Chain, disk: &dyn Disk, progress: &Progress) -> Result<()> {
    let size = old.size();
    progress.expect(size);
    let mut buffers = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    let mut at = 0;
    while at < size {
        let top = old.top().status(at, size - at)?;
        let length = if top.place == Place::Below {
            let (had, has) = (behind(old, 1, at, top.length)?, behind(new, 0, at, top.length)?);
            let length = had.length.min(has.length);
            if had.is_as(&has) {
                length
            } else {
                let length = length.min(CHUNK);
                let pair = (&mut buffers.0[..length as usize], &mut buffers.1[..length as usize]);
                keep(old, new, at, pair, disk)?;
                length
            }
        } else {
            top.length
        };
        progress.advance(length)?;
        at += length;
    }
    Ok(())
}

/// Where some bytes come from behind the overlay.
struct Behind {
    length: u64,
    /// The file and the place in it; `None` for zeroes.
    place: Option<((u64, u64), Place)>,
}

impl Behind {
    /// Whether they are the same without looking.
    fn is_as(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

fn behind(chain: &Chain, first: usize, at: u64, length: u64) -> Result<Behind> {
    if chain.layers.len() <= first {
        return Ok(Behind { length, place: None });
    }
    let (depth, status) = chain.status_within(first, chain.layers.len(), at, length)?;
    let place = match status.place {
        Place::Below | Place::Zero { .. } => None,
        place => chain::identity(&chain.layers[depth].path).map(|file| (file, place)),
    };
    Ok(Behind { length: status.length, place })
}

/// Keeps in the overlay what differs, in pieces that are cheap to have.
fn keep(
    old: &Chain,
    new: &Chain,
    at: u64,
    (had, has): (&mut [u8], &mut [u8]),
    disk: &dyn Disk,
) -> Result<()> {
    const PIECE: usize = 1 << 16;
    old.read_from(1, at, had)?;
    new.read_from(0, at, has)?;
    let failed = |error| ToolError::host("write", old.top().path.display())(error);
    for (index, (had, has)) in had.chunks(PIECE).zip(has.chunks(PIECE)).enumerate() {
        let offset = at + (index * PIECE) as u64;
        if had == has {
            continue;
        }
        if is_zero(had) && may_be_mapped(old, offset, had.len() as u64) {
            disk.write_zeroes(offset, had.len() as u64, false).map_err(failed)?;
        } else {
            disk.write(offset, &[IoSlice::new(had)]).map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether zeroes can be said by a table: whole clusters, where the old backing image has something that they hide.
/// Elsewhere the disk would see that they read as zeroes already, and do nothing.
fn may_be_mapped(old: &Chain, offset: u64, length: u64) -> bool {
    let Some(tables) = &old.top().qcow2 else { return false };
    let covered = old.layers.get(1).is_some_and(|layer| offset + length <= layer.size);
    let whole = tables.geometry.is_aligned(offset) && tables.geometry.is_aligned(length);
    covered && whole && tables.header.version > 2
}

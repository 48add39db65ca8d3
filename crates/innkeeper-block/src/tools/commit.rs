//! Writing what an overlay has into an image that it is backed by.
//!
//! The overlay stays as it is until all of it is durable below; so a cut at any moment leaves the overlay's disk what
//! it was. Other overlays of the same image, and snapshots within this one, see its new contents: as with qemu-img.

use std::path::Path;
use std::sync::Arc;

use super::chain::{self, Chain};
use super::image::{Change, Image};
use super::layer::{Access, Layer, Place};
use super::resize::{self, Resize};
use super::{Preallocation, Progress, Result, ToolError};
use crate::medium::Medium;
use crate::{Disk, Format, Options, open};

const CHUNK: u64 = 1 << 20;

/// # Errors
/// One sentence; the overlay's disk is then what it was.
pub fn commit(
    path: &Path,
    format: Option<Format>,
    base: Option<&Path>,
    keep: bool,
    progress: &Progress,
) -> Result<()> {
    // Held until the end: nobody else may change it meanwhile. The rest of the chain is locked by those who use it.
    let overlay = Layer::open(path, format, Access::Write)?;
    let medium = Arc::clone(&overlay.medium);
    let mut chain = Chain { layers: vec![overlay] };
    chain.complete(Access::Look)?;
    let depth = base_of(&chain, base)?;
    let (target, target_format) = (chain.layers[depth].path.clone(), chain.layers[depth].format());
    if chain.layers[depth].size < chain.size() {
        let wanted = Resize { size: chain.size(), shrink: false, preallocation: Preallocation::Off };
        resize::resize(&target, Some(target_format), wanted, progress)?;
    }
    let options = Options { format: Some(target_format), ..Options::default() };
    let disk = open(&target, &options)?;
    copy(&chain, depth, &*disk, progress)?;
    disk.flush().map_err(ToolError::host("write", target.display()))?;
    drop(disk);
    if depth == 1 && !keep { empty(medium, progress) } else { Ok(()) }
}

/// Which layer of the chain to write into.
fn base_of(chain: &Chain, base: Option<&Path>) -> Result<usize> {
    let name = chain.top().path.display();
    if chain.layers.len() < 2 {
        return Err(ToolError::refused(name, "it has no backing file to commit to"));
    }
    let Some(base) = base else { return Ok(1) };
    let wanted = chain::identity(base).or_else(|| {
        let beside = chain.top().path.parent().unwrap_or(Path::new("")).join(base);
        chain::identity(&beside)
    });
    let found = chain
        .layers
        .iter()
        .skip(1)
        .position(|layer| wanted.is_some() && chain::identity(&layer.path) == wanted);
    found.map(|index| index + 1).ok_or_else(|| {
        let names: Vec<String> =
            chain.layers.iter().skip(1).map(|layer| layer.path.display().to_string()).collect();
        ToolError::refused(
            name,
            format!("it is not backed by {}, but by {}", base.display(), names.join(", ")),
        )
    })
}

fn copy(chain: &Chain, depth: usize, disk: &dyn Disk, progress: &Progress) -> Result<()> {
    let size = chain.size();
    progress.expect(size);
    let mut buffer = vec![0; CHUNK as usize];
    let mut at = 0;
    while at < size {
        let (_, status) = chain.status_within(0, depth, at, size - at)?;
        let length = match status.place {
            Place::Below => status.length,
            Place::Zero { .. } => {
                disk.write_zeroes(at, status.length, true)
                    .map_err(ToolError::host("write", "the backing image"))?;
                status.length
            }
            Place::Data { .. } | Place::Compressed { .. } => {
                let length = status.length.min(CHUNK);
                let bytes = &mut buffer[..length as usize];
                chain.read(at, bytes)?;
                disk.write(at, &[std::io::IoSlice::new(bytes)])
                    .map_err(ToolError::host("write", "the backing image"))?;
                length
            }
        };
        progress.advance(length)?;
        at += length;
    }
    Ok(())
}

/// Leaves nothing in an overlay, so that all of its disk is the backing image's.
fn empty(medium: Arc<dyn Medium>, progress: &Progress) -> Result<()> {
    let mut change = Change::begin(Image::open(medium)?, progress)?;
    change.drop_bitmaps();
    change.image.l1.fill(0);
    change.finish(progress).map(drop)
}

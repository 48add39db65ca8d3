//! New images of either format.

use std::path::Path;

use super::build::{Builder, Layout};
use super::chain::{self, Chain};
use super::layer::Access;
use super::raw::{self, Preallocation};
use super::staged::Staged;
use super::{Progress, Result, ToolError};
use crate::Format;
use crate::medium::Medium;

/// What shall be made.
#[derive(Clone, Debug)]
pub struct NewImage {
    pub format: Format,
    /// Of the disk in bytes; that of the backing image's if `None`.
    pub size: Option<u64>,
    pub layout: Layout,
    pub preallocation: Preallocation,
    /// Whether the backing image must be there.
    pub open_backing: bool,
}

/// Makes an image; the size of its disk.
///
/// # Errors
/// One sentence; then nothing has changed.
pub fn create(path: &Path, new: &NewImage, progress: &Progress) -> Result<u64> {
    let backing = backing_size(path, new)?;
    let Some(size) = new.size.or(backing) else {
        return Err(ToolError::refused(path.display(), "its size is not given"));
    };
    if new.format == Format::Raw {
        raw::create(path, size, new.preallocation, progress)?;
        return Ok(size);
    }
    let staged = Staged::new(path)?;
    let builder = Builder::new(staged.medium(), &new.layout, size)?;
    if new.preallocation == Preallocation::Off {
        builder.finish()?;
    } else {
        let (start, length) = map_all(builder, path, &new.layout, size)?;
        let medium = staged.medium();
        extend(&*medium, start + length)?;
        raw::fill(&*medium, start..start + length, new.preallocation, progress)?;
    }
    staged.publish()?;
    Ok(size)
}

/// Finishes an image all of whose clusters have their place, in one piece: where it is and how long.
pub fn map_all(mut builder: Builder, path: &Path, layout: &Layout, size: u64) -> Result<(u64, u64)> {
    if layout.backing_file.is_some() {
        let why = "preallocated clusters would hide its backing file; leave one of the two out";
        return Err(ToolError::refused(path.display(), why));
    }
    let cluster = builder.geometry().cluster_size();
    let clusters = size.div_ceil(cluster);
    let start = builder.take(clusters);
    for index in 0..clusters {
        builder.map(index * cluster, start + index * cluster);
        if (index * cluster).trailing_zeros() >= builder.geometry().l1_entry_bits() {
            builder.done_below(index * cluster)?;
        }
    }
    builder.finish()?;
    Ok((start, clusters * cluster))
}

/// Makes sure that a file reaches so far.
pub fn extend(medium: &dyn Medium, end: u64) -> Result<()> {
    let size = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
    if size < end { raw::set_size(medium, end) } else { Ok(()) }
}

fn backing_size(path: &Path, new: &NewImage) -> Result<Option<u64>> {
    let Some(name) = &new.layout.backing_file else { return Ok(None) };
    if !new.open_backing {
        return Ok(None);
    }
    let backing = chain::resolve(path, name)?;
    if chain::identity(&backing).is_some_and(|found| chain::identity(path) == Some(found)) {
        return Err(ToolError::refused(path.display(), "an image cannot be its own backing file"));
    }
    let format = new.layout.backing_format.as_deref().map(Format::named).transpose()?;
    let chain = Chain::open(&backing, format, Access::Look)?;
    if chain
        .layers
        .iter()
        .any(|layer| chain::identity(&layer.path).is_some_and(|found| chain::identity(path) == Some(found)))
    {
        let why = format!("the backing file {name} is itself backed by this image");
        return Err(ToolError::refused(path.display(), why));
    }
    Ok(Some(chain.size()))
}

//! What an image says of itself.

use std::os::unix::fs::MetadataExt;

use super::Result;
use super::chain::Chain;
use super::layer::{Layer, read_snapshots};
use crate::qcow2::{Header, Snapshot};

/// One image of a chain.
#[derive(Clone, Debug)]
pub struct ImageInfo {
    pub path: String,
    pub format: &'static str,
    /// Of the disk, in bytes.
    pub size: u64,
    /// What the file takes of the host's disk, in bytes.
    pub taken: u64,
    pub qcow2: Option<(Header, Vec<Snapshot>)>,
    /// The path of the file that it is backed by.
    pub backing: Option<String>,
}

/// # Errors
/// The host's answer, or what is wrong with the table of snapshots.
pub fn info(layer: &Layer) -> Result<ImageInfo> {
    let taken = std::fs::metadata(&layer.path).map_or(0, |found| found.blocks() * 512);
    let qcow2 = match &layer.qcow2 {
        Some(tables) => Some((tables.header.clone(), read_snapshots(&*layer.medium, &tables.header)?)),
        None => None,
    };
    let name = qcow2.as_ref().and_then(|(header, _)| header.backing_file.as_ref());
    let backing = name.map(|name| {
        // An address is not resolved; whoever opens it says that it cannot be.
        super::chain::resolve(&layer.path, name)
            .map_or_else(|_| name.clone(), |path| path.display().to_string())
    });
    Ok(ImageInfo {
        path: layer.path.display().to_string(),
        format: layer.format().name(),
        size: layer.size,
        taken,
        qcow2,
        backing,
    })
}

/// # Errors
/// As for [`info`].
pub fn chain(chain: &Chain) -> Result<Vec<ImageInfo>> {
    chain.layers.iter().map(info).collect()
}

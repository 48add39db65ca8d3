//! An image and all that it is backed by, for reading.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layer::{Access, Layer, Place, Status};
use super::{Result, ToolError};
use crate::{Format, open};

/// More images in a row than anybody has.
const DEPTH: usize = 200;

pub struct Chain {
    /// The image itself, then what it is backed by.
    pub layers: Vec<Layer>,
}

impl Chain {
    /// # Errors
    /// A sentence with the name of the image that cannot be opened, and of the one that names it.
    pub fn open(path: &Path, format: Option<Format>, access: Access) -> Result<Self> {
        let mut chain = Self::alone(path, format, access)?;
        chain.complete(access)?;
        Ok(chain)
    }

    /// The image without what it is backed by.
    pub fn alone(path: &Path, format: Option<Format>, access: Access) -> Result<Self> {
        Ok(Self { layers: vec![Layer::open(path, format, access)?] })
    }

    /// Opens whatever the last layer is backed by, and so on.
    pub fn complete(&mut self, access: Access) -> Result<()> {
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for layer in &self.layers {
            seen.extend(identity(&layer.path));
        }
        while let Some((path, format)) = self.next_backing()? {
            let overlay =
                self.layers.last().map(|layer| layer.path.display().to_string()).unwrap_or_default();
            let loops = identity(&path).is_some_and(|found| seen.contains(&found));
            if loops || self.layers.len() > DEPTH {
                let why = format!("its backing file {} is backed by the image itself", path.display());
                return Err(ToolError::corrupt(overlay, why));
            }
            seen.extend(identity(&path));
            let layer =
                Layer::open(&path, format, access).map_err(|error| backing_of(error, &overlay, &path))?;
            self.layers.push(layer);
        }
        Ok(())
    }

    fn next_backing(&self) -> Result<Option<(PathBuf, Option<Format>)>> {
        let Some(last) = self.layers.last() else { return Ok(None) };
        let Some(header) = last.qcow2.as_ref().map(|tables| &tables.header) else { return Ok(None) };
        let Some(name) = &header.backing_file else { return Ok(None) };
        let format = header.backing_format.as_deref().map(Format::named).transpose();
        let format = format.map_err(|_| {
            let format = header.backing_format.as_deref().unwrap_or_default();
            let why = format!("its backing file {name} is said to be {format:?}; known are raw and qcow2");
            ToolError::unsupported(last.path.display(), why)
        })?;
        Ok(Some((resolve(&last.path, name)?, format)))
    }

    #[must_use]
    pub fn top(&self) -> &Layer {
        &self.layers[0]
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers[0].size
    }

    /// Where bytes are, in the first of the layers from `first` up to but not including `end` that has them: its
    /// depth and what it says. [`Place::Below`] where none has.
    pub fn status_within(
        &self,
        first: usize,
        end: usize,
        offset: u64,
        length: u64,
    ) -> Result<(usize, Status)> {
        let mut length = length;
        let mut deepest = first;
        for (depth, layer) in self.layers.iter().enumerate().take(end).skip(first) {
            deepest = depth;
            if offset >= layer.size {
                // A short layer ends here: zeroes follow, whatever is further below.
                if depth == first {
                    return Ok((depth, Status { length, place: Place::Below }));
                }
                return Ok((depth, Status { length, place: Place::Zero { host: None } }));
            }
            let status = layer.status(offset, length.min(layer.size - offset))?;
            if status.place != Place::Below {
                return Ok((depth, status));
            }
            length = status.length;
        }
        Ok((deepest, Status { length, place: Place::Below }))
    }

    /// The same of all layers.
    pub fn status(&self, offset: u64, length: u64) -> Result<(usize, Status)> {
        self.status_within(0, self.layers.len(), offset, length)
    }

    /// Reads from the layers from `first` on; what none of them has is zeroes, and so is what lies beyond them.
    pub fn read_from(&self, first: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let rest = (buffer.len() - done) as u64;
            let (depth, status) = self.status_within(first, self.layers.len(), at, rest)?;
            let piece = &mut buffer[done..done + status.length as usize];
            match self.layers.get(depth) {
                Some(layer) => layer.read(at, status.place, piece)?,
                None => piece.fill(0),
            }
            done += status.length as usize;
        }
        Ok(())
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_from(0, offset, buffer)
    }
}

/// A file, whatever it is called.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The path that a backing file's name in the header of `overlay` means.
pub fn resolve(overlay: &Path, name: &str) -> Result<PathBuf> {
    Ok(open::resolve(overlay, name).map_err(|error| error.of(&overlay.display().to_string()))?)
}

fn backing_of(error: ToolError, overlay: &str, path: &Path) -> ToolError {
    match error {
        ToolError::Image(crate::Error::Host { source, .. }) => {
            let what = format!("open {}, which {overlay} is backed by", path.display());
            ToolError::Image(crate::Error::Host { what, source })
        }
        other => other,
    }
}

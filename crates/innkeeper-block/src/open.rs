//! Opening an image by its path: options, format, and what lies below it.

use std::path::Path;
use std::sync::Arc;

use crate::Disk;
use crate::error::{Error, Result};
use crate::medium::{HostFile, Medium};
use crate::qcow2::Header;
use crate::raw::Raw;

/// What an image's bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// # Errors
    /// A sentence with the formats that there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => Err(Error::Refused(format!("format {name:?} is unknown, the formats are raw and qcow2"))),
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// How an image is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `None`: find out.
    pub format: Option<Format>,
    pub read_only: bool,
}

/// # Errors
/// One sentence: which file, what is wrong with it.
pub fn open(path: &Path, options: &Options) -> Result<Arc<dyn Disk>> {
    let medium: Arc<dyn Medium> = Arc::new(HostFile::open(path, options.read_only)?);
    let name = medium.name().to_owned();
    let mut start = [0; 4];
    medium.read_exact(0, &mut start).map_err(Error::host(format!("read {name}")))?;
    let format = match options.format {
        Some(format) => format,
        None if Header::is_magic(&start) => Format::Qcow2,
        None => Format::Raw,
    };
    match format {
        Format::Raw => Ok(Arc::new(Raw::open(medium)?)),
        Format::Qcow2 => Err(Error::Unsupported(format!("{name}: qcow2 images cannot be opened yet"))),
    }
}

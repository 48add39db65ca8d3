//! Why a tool did not do what it was asked: an image's error, or nobody wants it any more.

use std::path::Path;
use std::{fmt, io};

use crate::Error;

pub type Result<T> = std::result::Result<T, ToolError>;

#[derive(Debug)]
pub enum ToolError {
    Image(Error),
    /// Whoever watches the progress wants no more of it.
    Cancelled,
}

impl ToolError {
    /// For `map_err`: `cannot {verb} {name}` and the host's answer.
    pub fn host(verb: &str, name: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{verb} {name}");
        move |source| {
            // What a disk found wrong with its image travels inside an error of no number.
            match source.downcast::<Error>() {
                Ok(error) => Self::Image(error),
                Err(source) => Self::Image(Error::Host { what, source }),
            }
        }
    }

    /// A sentence that begins with the image's name: the request cannot be.
    pub fn refused(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Image(Error::Refused(format!("{name}: {why}")))
    }

    /// A sentence that begins with the image's name: it is not what its format demands.
    pub fn corrupt(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Image(Error::Corrupt(format!("{name}: {why}")))
    }

    pub fn unsupported(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Image(Error::Unsupported(format!("{name}: {why}")))
    }

    pub(super) fn path(path: &Path, why: impl fmt::Display) -> Self {
        Self::refused(path.display(), why)
    }
}

impl From<Error> for ToolError {
    fn from(error: Error) -> Self {
        Self::Image(error)
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => error.fmt(out),
            Self::Cancelled => out.write_str("cancelled"),
        }
    }
}

impl std::error::Error for ToolError {}

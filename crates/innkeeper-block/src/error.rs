//! What can go wrong with a disk image, as one sentence for whoever opened it.

use std::{fmt, io};

/// Why an image cannot be opened, read or written.
#[derive(Debug)]
pub enum Error {
    /// The host refused: what was tried, and its answer.
    Host { what: String, source: io::Error },
    /// The image is not what its format demands.
    Corrupt(String),
    /// The image uses what Innkeeper does not have.
    Unsupported(String),
    /// What was asked for cannot be.
    Refused(String),
    /// Somebody else uses the image.
    Busy(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: the host's answer to `what`, as in "read disk.img".
    pub fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }

    /// The same error, said of `name`.
    #[must_use]
    pub fn of(self, name: &str) -> Self {
        match self {
            Self::Host { what, source } => Self::Host { what: format!("{what} of {name}"), source },
            Self::Corrupt(why) => Self::Corrupt(format!("{name}: {why}")),
            Self::Unsupported(why) => Self::Unsupported(format!("{name}: {why}")),
            Self::Refused(why) => Self::Refused(format!("{name}: {why}")),
            Self::Busy(why) => Self::Busy(format!("{name}: {why}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { what, source } => write!(f, "cannot {what}: {source}"),
            Self::Corrupt(why) | Self::Unsupported(why) | Self::Refused(why) | Self::Busy(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Host { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// For requests, whose callers want an errno or a kind.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Host { source, .. } => return source,
            Error::Corrupt(_) => io::ErrorKind::InvalidData,
            Error::Unsupported(_) => io::ErrorKind::Unsupported,
            Error::Refused(_) => io::ErrorKind::InvalidInput,
            Error::Busy(_) => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, error)
    }
}

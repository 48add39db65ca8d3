//! Raw images: the file is the disk.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::staged::Staged;
use super::{Progress, Result, ToolError};
use crate::medium::Medium;

const STEP: u64 = 1 << 21;
/// Reserved at once: seldom enough to be fast, often enough to be stopped.
const RESERVE_STEP: u64 = 1 << 30;

/// How much of an image's space is taken before it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    #[default]
    Off,
    /// The format's own tables are complete; a raw image has none.
    Metadata,
    /// Space is reserved, not written.
    Falloc,
    /// Space is written with zeroes.
    Full,
}

/// Makes a raw image of `size` bytes.
///
/// # Errors
/// What the host answered, and requests that cannot be; then nothing has changed.
pub fn create(path: &Path, size: u64, preallocation: Preallocation, progress: &Progress) -> Result<()> {
    has_no_metadata(path, preallocation)?;
    let staged = Staged::new(path)?;
    if staged.is_device() {
        return Err(ToolError::path(path, "a device is as large as it is; convert an image onto it instead"));
    }
    let medium = staged.medium();
    set_size(&*medium, size)?;
    fill(&*medium, 0..size, preallocation, progress)?;
    staged.publish()
}

/// # Errors
/// For the one preallocation that a raw image cannot have.
pub fn has_no_metadata(path: &Path, preallocation: Preallocation) -> Result<()> {
    if preallocation == Preallocation::Metadata {
        return Err(ToolError::path(path, "a raw image has no metadata to preallocate; use falloc or full"));
    }
    Ok(())
}

pub fn set_size(medium: &dyn Medium, size: u64) -> Result<()> {
    if i64::try_from(size).is_err() {
        return Err(ToolError::refused(medium.name(), format!("{size} bytes are more than a file can have")));
    }
    medium.set_size(size).map_err(ToolError::host(&format!("make {size} bytes of"), medium.name()))
}

/// Takes space for a range that is a hole so far.
pub fn fill(
    medium: &dyn Medium,
    range: Range<u64>,
    preallocation: Preallocation,
    progress: &Progress,
) -> Result<()> {
    let length = range.end.saturating_sub(range.start);
    match preallocation {
        Preallocation::Off | Preallocation::Metadata => Ok(()),
        Preallocation::Falloc => {
            progress.expect(length);
            for (at, step) in steps(range, RESERVE_STEP) {
                medium.allocate(at, step).map_err(|error| cannot_reserve(medium, error))?;
                progress.advance(step)?;
            }
            Ok(())
        }
        Preallocation::Full => {
            progress.expect(length);
            // A disk that is too small says so before a single byte is written.
            match medium.allocate(range.start, length) {
                Err(error) if !cannot(&error) => return Err(cannot_reserve(medium, error)),
                Ok(()) | Err(_) => {}
            }
            let zeroes = vec![0; STEP as usize];
            for (at, step) in steps(range, STEP) {
                let piece = &zeroes[..step as usize];
                medium.write_all(at, piece).map_err(ToolError::host("write", medium.name()))?;
                progress.advance(step)?;
            }
            Ok(())
        }
    }
}

fn cannot(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

fn cannot_reserve(medium: &dyn Medium, error: io::Error) -> ToolError {
    if cannot(&error) {
        let why = "its file system cannot reserve space; use preallocation=full";
        return ToolError::refused(medium.name(), why);
    }
    ToolError::host("reserve the space of", medium.name())(error)
}

/// A range in pieces: where each begins and how long it is.
pub fn steps(range: Range<u64>, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = range.end;
    let mut at = range.start;
    std::iter::from_fn(move || {
        let length = step.min(end.saturating_sub(at));
        let piece = (at, length);
        at += length;
        (length > 0).then_some(piece)
    })
}

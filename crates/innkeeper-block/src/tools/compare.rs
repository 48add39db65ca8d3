//! Whether two disks have the same contents.

use super::chain::Chain;
use super::convert::is_zero;
use super::layer::{Place, Status};
use super::{Progress, Result};

const CHUNK: u64 = 1 << 20;

/// The first difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Strictly: of the disks' sizes.
    Size(u64, u64),
    /// Strictly: one has space for it, the other not.
    Allocation(u64),
    Content(u64),
}

/// # Errors
/// The host's answer, or what is wrong with an image.
pub fn compare(
    first: &Chain,
    second: &Chain,
    strict: bool,
    progress: &Progress,
) -> Result<Option<Difference>> {
    let (one, other) = (first.size(), second.size());
    if strict && one != other {
        return Ok(Some(Difference::Size(one, other)));
    }
    let size = one.max(other);
    progress.expect(size);
    let mut buffers = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    let mut at = 0;
    while at < size {
        let (mine, theirs) = (status(first, at, size - at)?, status(second, at, size - at)?);
        let length = mine.length.min(theirs.length);
        let (here, there) = (reads_zero(mine.place), reads_zero(theirs.place));
        if strict && (mine.place == Place::Below) != (theirs.place == Place::Below) {
            return Ok(Some(Difference::Allocation(at)));
        }
        if here && there {
            progress.advance(length)?;
            at += length;
            continue;
        }
        let length = length.min(CHUNK);
        let (a, b) = (&mut buffers.0[..length as usize], &mut buffers.1[..length as usize]);
        if let Some(offset) = difference((first, here, a), (second, there, b), at)? {
            return Ok(Some(Difference::Content(offset)));
        }
        progress.advance(length)?;
        at += length;
    }
    Ok(None)
}

fn reads_zero(place: Place) -> bool {
    matches!(place, Place::Below | Place::Zero { .. })
}

fn status(chain: &Chain, at: u64, length: u64) -> Result<Status> {
    if at >= chain.size() {
        return Ok(Status { length, place: Place::Below });
    }
    Ok(chain.status(at, length.min(chain.size() - at))?.1)
}

/// Where the first bytes differ.
fn difference(
    (first, first_zero, a): (&Chain, bool, &mut [u8]),
    (second, second_zero, b): (&Chain, bool, &mut [u8]),
    at: u64,
) -> Result<Option<u64>> {
    if !first_zero {
        first.read(at, a)?;
    }
    if !second_zero {
        second.read(at, b)?;
    }
    let differ = match (first_zero, second_zero) {
        (true, _) if is_zero(b) => None,
        (_, true) if is_zero(a) => None,
        (true, _) => b.iter().position(|byte| *byte != 0),
        (_, true) => a.iter().position(|byte| *byte != 0),
        _ if a == b => None,
        _ => a.iter().zip(b.iter()).position(|(one, other)| one != other),
    };
    Ok(differ.map(|index| at + index as u64))
}

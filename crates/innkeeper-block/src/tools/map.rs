//! Where each part of a disk is, row by row.

use super::Result;
use super::chain::Chain;
use super::layer::{Place, Status};

/// Bytes of a disk that are alike, and together where they are anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub start: u64,
    pub length: u64,
    /// Which image of the chain says so; 0 is the image itself.
    pub depth: usize,
    /// Some image of the chain has them.
    pub present: bool,
    pub zero: bool,
    pub data: bool,
    pub compressed: bool,
    /// In that image's file.
    pub offset: Option<u64>,
}

impl Row {
    fn follows(&self, before: &Self) -> bool {
        let together = match (before.offset, self.offset) {
            (Some(before_at), Some(at)) => before_at + before.length == at,
            (None, None) => true,
            _ => false,
        };
        let alike = |row: &Self| (row.depth, row.present, row.zero, row.data, row.compressed);
        together && alike(before) == alike(self)
    }
}

/// The rows from `start` on, for at most `length` bytes.
///
/// # Errors
/// The host's answer, or what is wrong with an image's tables.
pub fn map(chain: &Chain, start: u64, length: u64) -> Result<Vec<Row>> {
    let end = chain.size().min(start.saturating_add(length));
    let mut rows: Vec<Row> = Vec::new();
    let mut at = start;
    while at < end {
        let (depth, status) = first_that_knows(chain, at, end - at)?;
        let (present, zero, data, compressed, offset) = match status.place {
            Place::Below => (false, true, false, false, None),
            Place::Zero { host } => (true, true, false, false, host),
            Place::Data { host } => (true, false, true, false, Some(host)),
            Place::Compressed { .. } => (true, false, true, true, None),
        };
        let row = Row { start: at, length: status.length, depth, present, zero, data, compressed, offset };
        match rows.last_mut() {
            Some(last) if row.follows(last) => last.length += row.length,
            _ => rows.push(row),
        }
        at += status.length;
    }
    Ok(rows)
}

/// The first layer that has the bytes, or that has nothing but zeroes below it: the one that qemu-img names.
fn first_that_knows(chain: &Chain, at: u64, length: u64) -> Result<(usize, Status)> {
    let mut length = length;
    for (depth, layer) in chain.layers.iter().enumerate() {
        let status = layer.status(at, length.min(layer.size - at))?;
        let ends_below = chain.layers.get(depth + 1).is_none_or(|next| at >= next.size);
        if status.place != Place::Below || ends_below {
            return Ok((depth, status));
        }
        length = status.length;
    }
    Ok((0, Status { length, place: Place::Below }))
}

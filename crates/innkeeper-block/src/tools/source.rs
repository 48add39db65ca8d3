//! The parts of a disk that are worth reading, handed out in order to whoever asks next.

use std::sync::{Mutex, PoisonError};

use super::chain::Chain;
use super::layer::Place;
use super::{Progress, Result};

const WORTH_SKIPPING: u64 = 1 << 16;

/// A part of the disk, within one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first is 0; what is left out counts not.
    pub number: u64,
    pub offset: u64,
    pub length: u64,
    /// Zeroes that must be told from what a backing image has there.
    pub zero: bool,
}

/// What may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing: every byte is read.
    Nothing,
    /// What reads as zeroes.
    Zeroes,
    /// What the image has not itself: its backing image's is the target's as well.
    Below,
}

pub struct Source<'a> {
    pub chain: &'a Chain,
    skip: Skip,
    /// Parts begin and end at multiples of this.
    unit: u64,
    chunk: u64,
    at: Mutex<(u64, u64)>,
}

impl<'a> Source<'a> {
    /// `chunk` is a multiple of `unit`.
    pub fn new(chain: &'a Chain, skip: Skip, unit: u64, chunk: u64) -> Self {
        Self { chain, skip, unit, chunk, at: Mutex::new((0, 0)) }
    }

    /// # Errors
    /// What the host answered, what is wrong with the image, or that it is not wanted any more.
    pub fn next(&self, progress: &Progress) -> Result<Option<Part>> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.chain.size();
        while at.0 < size {
            let offset = at.0;
            let (skipped, zero) = self.skippable(offset, size)?;
            if skipped > 0 && !zero {
                at.0 = offset + skipped;
                progress.advance(skipped)?;
                continue;
            }
            let end = if zero { offset + skipped } else { self.data_end(offset, size)? };
            *at = (end, at.1 + 1);
            return Ok(Some(Part { number: at.1 - 1, offset, length: end - offset, zero }));
        }
        Ok(None)
    }

    /// Where what must be read from here on ends: at a stretch that can be skipped, at the end of the chunk or the disk.
    fn data_end(&self, offset: u64, size: u64) -> Result<u64> {
        let limit = size.min(offset - offset % self.chunk + self.chunk);
        if self.skip == Skip::Nothing {
            return Ok(limit);
        }
        // Reading a few zeroes costs less than a part of their own; but what is below must stay below.
        let least = if self.skip == Skip::Below { self.unit } else { self.unit.max(WORTH_SKIPPING) };
        let mut end = offset;
        while end < limit {
            let (_, status) = self.chain.status_within(0, self.layers(), end, limit - end)?;
            let reach = end + status.length;
            let whole = end.next_multiple_of(self.unit);
            let skips = !matches!(status.place, Place::Data { .. } | Place::Compressed { .. });
            if skips && reach >= whole + least {
                return Ok(whole.max(offset + self.unit).min(limit));
            }
            end = reach;
        }
        Ok(limit)
    }

    fn layers(&self) -> usize {
        if self.skip == Skip::Below { 1 } else { self.chain.layers.len() }
    }

    /// How many bytes from here on need no reading, in whole units, and whether they are zeroes to be told of.
    fn skippable(&self, offset: u64, size: u64) -> Result<(u64, bool)> {
        if self.skip == Skip::Nothing {
            return Ok((0, false));
        }
        let mut end = offset;
        let mut found = None;
        while end < size {
            let (_, status) = self.chain.status_within(0, self.layers(), end, size - end)?;
            let kind = match status.place {
                Place::Below => false,
                Place::Zero { .. } => self.skip == Skip::Below,
                Place::Data { .. } | Place::Compressed { .. } => break,
            };
            if *found.get_or_insert(kind) != kind {
                break;
            }
            end += status.length;
        }
        let whole = if end >= size { size } else { end / self.unit * self.unit };
        Ok((whole.saturating_sub(offset), found == Some(true)))
    }
}

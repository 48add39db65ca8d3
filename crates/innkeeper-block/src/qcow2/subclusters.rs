//! Writing where L2 entries are extended: a cluster is held as a whole, and each of its 32 subclusters is data, zeroes
//! or not there by a bitmap beside the entry.
//!
//! `docs/interop/qcow2.rst`, "Extended L2 Entries". The lower half of the bitmap says which are data, the upper half
//! which read as zeroes.

use std::io::{self, IoSlice};

use super::disk::Qcow2;
use super::refcounts::Allocation;
use super::tables::{COPIED, L2Entry};
use super::write::Plan;
use crate::buffers;

/// All subclusters are data.
const ALL: u64 = 0xFFFF_FFFF;
/// All subclusters read as zeroes.
pub(super) const ALL_ZERO: u64 = ALL << 32;

impl Qcow2 {
    /// Writes as many of `left` bytes as one cluster takes; returns how many. 0 if there is no need to any more.
    pub(super) fn write_subclusters(
        &self,
        guest: u64,
        data: &[IoSlice<'_>],
        skip: u64,
        left: u64,
    ) -> io::Result<u64> {
        let cluster = self.geometry.cluster_size();
        let unit = 1u64 << self.geometry.unit_bits();
        let start = guest & !(cluster - 1);
        let end = (guest + left).min(start + cluster);
        let _claim = self.claims.take(start..start + cluster);
        self.own_table(start)?;
        let (entry, bitmap) = self.entries(start..start + cluster)?[0];
        let (first, last) = ((guest - start) / unit, (end - 1 - start) / unit);
        let touched = (ALL >> (31 - (last - first))) << first & ALL;
        let there = |subcluster: u64| bitmap >> subcluster & 1 == 1;
        let around = guest & !(unit - 1)..end.next_multiple_of(unit);
        let with_touched = (bitmap | touched) & !(touched << 32);
        let data = buffers::part(data, skip, end - guest);
        match self.geometry.l2_entry(entry).map_err(|error| self.failed(error))? {
            L2Entry::Data { offset, copied: true } => {
                if bitmap & touched == touched {
                    return Ok(0);
                }
                let bits = self.geometry.cluster_bits;
                self.refuse_tables(offset >> bits..(offset >> bits) + 1)?;
                // What is there already is not written around the request.
                let from = if there(first) { guest } else { around.start };
                let to = if there(last) { end } else { around.end };
                let place = Allocation { offset: offset + (from - start), count: 1, fresh: false };
                self.fill(&Plan::at(place), from..to, guest, &data)?;
                self.link(start, &[(entry, with_touched)])?;
            }
            kind => {
                // A cluster that others hold too, or a compressed one, moves as a whole.
                let moves = kind != L2Entry::Unallocated;
                let (range, bitmap) =
                    if moves { (start..start + cluster, ALL) } else { (around, with_touched) };
                let taken = self.allocate(1, true)?;
                let place = Allocation { offset: taken.offset + (range.start - start), ..taken };
                let done = self
                    .fill(&Plan::at(place), range, guest, &data)
                    .and_then(|()| self.link(start, &[(taken.offset | COPIED, bitmap)]));
                if let Err(error) = done {
                    self.give_back(taken);
                    return Err(error);
                }
                self.release(&[(entry, 0)]);
            }
        }
        Ok(end - guest)
    }
}

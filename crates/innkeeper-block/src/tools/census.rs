//! Who uses each cluster of a qcow2 file, found by following every table from the header on.
//!
//! `docs/interop/qcow2.rst`, "Host cluster management"; bitmaps as in "Bitmaps directory". What is found is what
//! refcounts should say; whatever cannot be is listed as a problem with its place, so that a repair can mend it.

use std::collections::BTreeMap;

use super::image::Image;
use super::layer::read_table;
use super::{Progress, Result, ToolError};
use crate::qcow2::header::{BITMAPS, EXTENSION_BITMAPS};
use crate::qcow2::tables::{COMPRESSED, COPIED, L2Entry, OFFSET};

/// More clusters than a file is looked through for.
const MOST_CLUSTERS: u64 = 1 << 30;
const MAX_BITMAP_DIRECTORY: u64 = 65535 * 1024;

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An L1 entry of the active table (`None`) or of a snapshot leads nowhere.
    L1 {
        snapshot: Option<usize>,
        index: usize,
        entry: u64,
    },
    /// An entry of the L2 table at this offset leads nowhere.
    L2 {
        table: u64,
        index: usize,
        entry: u64,
    },
    /// A cluster of metadata has another use as well.
    Overlap {
        cluster: u64,
        first: Use,
        second: Use,
    },
    /// A flag of the active tables is not what the count demands; entry `None`: of the L1 table.
    Copied {
        table: Option<u64>,
        index: usize,
        count: u64,
    },
    Bitmaps {
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Use {
    None,
    Header,
    Refcounts,
    L1,
    L2,
    Snapshots,
    Bitmaps,
    Data,
}

impl Use {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Header => "the header",
            Self::Refcounts => "refcounts",
            Self::L1 => "an L1 table",
            Self::L2 => "an L2 table",
            Self::Snapshots => "the snapshot table",
            Self::Bitmaps => "bitmaps",
            Self::Data => "guest data",
        }
    }
}

#[derive(Default)]
pub struct Census {
    counts: Vec<u32>,
    uses: Vec<u8>,
    end: u64,
    pub problems: Vec<Problem>,
    /// Of the active disk.
    pub allocated: u64,
    pub compressed: u64,
    pub fragmented: u64,
}

impl Census {
    pub fn count(&self, cluster: u64) -> u64 {
        usize::try_from(cluster)
            .ok()
            .and_then(|index| self.counts.get(index))
            .map_or(0, |count| u64::from(*count))
    }

    /// The first cluster that nobody uses, nor any after it.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn add_range(&mut self, first: u64, clusters: u64) {
        self.reach(first + clusters);
        for cluster in first..first + clusters {
            self.counts[cluster as usize] = self.counts[cluster as usize].saturating_add(1);
        }
    }

    pub fn move_count(&mut self, from: u64, to: u64) {
        self.reach(to + 1);
        self.counts[to as usize] = std::mem::take(&mut self.counts[from as usize]);
    }

    fn reach(&mut self, end: u64) {
        if self.counts.len() < end as usize {
            self.counts.resize(end as usize, 0);
            self.uses.resize(end as usize, 0);
        }
        self.end = self.end.max(end);
    }

    fn add(&mut self, first: u64, clusters: u64, times: u32, as_what: Use) {
        self.reach(first + clusters);
        for cluster in first..first + clusters {
            let index = cluster as usize;
            let before = USES[usize::from(self.uses[index])];
            if before == Use::None {
                self.uses[index] = as_what as u8;
            } else if before != Use::Data || as_what != Use::Data {
                self.problems.push(Problem::Overlap { cluster, first: before, second: as_what });
            }
            self.counts[index] = self.counts[index].saturating_add(times);
        }
    }
}

const USES: [Use; 8] =
    [Use::None, Use::Header, Use::Refcounts, Use::L1, Use::L2, Use::Snapshots, Use::Bitmaps, Use::Data];

/// An L2 table: how often L1 tables refer to it, and where in the disk it is first seen.
struct Seen {
    times: u32,
    active: bool,
}

struct Walk<'a> {
    image: &'a Image,
    census: Census,
    clusters: u64,
}

/// Follows every table. Of the refcounts themselves only those of the header are followed, not those being made.
///
/// # Errors
/// What the host answered; a file too large to be looked through.
pub fn take(image: &Image, progress: &Progress) -> Result<Census> {
    walk(image, false, progress)
}

/// The same, with the clusters of the refcounts themselves: what refcounts of a file as it is must say.
///
/// # Errors
/// As for [`take`].
pub fn take_with_refcounts(image: &Image, progress: &Progress) -> Result<Census> {
    walk(image, true, progress)
}

fn walk(image: &Image, whole: bool, progress: &Progress) -> Result<Census> {
    let size = image.medium.size().map_err(ToolError::host("find the size of", image.medium.name()))?;
    let clusters = size.div_ceil(image.geometry.cluster_size());
    if clusters > MOST_CLUSTERS {
        let why =
            format!("its file has {clusters} clusters, and at most {MOST_CLUSTERS} can be looked through");
        return Err(ToolError::refused(image.medium.name(), why));
    }
    let mut walk = Walk { image, census: Census::default(), clusters };
    walk.census.reach(clusters);
    walk.census.end = 0;
    walk.census.add(0, 1, 1, Use::Header);
    if whole {
        walk.refcounts()?;
        walk.tables_in_place();
    }
    walk.bitmaps()?;
    let seen = walk.l1_tables();
    progress.expect((seen.len() as u64) << image.geometry.cluster_bits);
    for (at, seen) in &seen {
        walk.l2_table(*at, seen)?;
        progress.advance(image.geometry.cluster_size())?;
    }
    if whole {
        walk.copied(&seen)?;
    }
    Ok(walk.census)
}

impl Walk<'_> {
    fn bits(&self) -> u32 {
        self.image.geometry.cluster_bits
    }

    /// Whether these bytes are whole clusters of the file, after the header.
    fn is_there(&self, offset: u64, clusters: u64) -> bool {
        let first = offset >> self.bits();
        self.image.geometry.is_aligned(offset)
            && first > 0
            && first.checked_add(clusters).is_some_and(|end| end <= self.clusters)
    }

    fn refcounts(&mut self) -> Result<()> {
        let header = &self.image.header;
        let (at, clusters) = (header.refcount_table_offset, u64::from(header.refcount_table_clusters));
        if !self.is_there(at, clusters) {
            return Ok(());
        }
        self.census.add(at >> self.bits(), clusters, 1, Use::Refcounts);
        let entries = (clusters << self.bits()) / 8;
        for entry in read_table(&*self.image.medium, at, entries)? {
            let block = entry & !511;
            if block != 0 && self.is_there(block, 1) {
                self.census.add(block >> self.bits(), 1, 1, Use::Refcounts);
            }
        }
        Ok(())
    }

    /// L1 tables and the snapshot table where the file has them.
    fn tables_in_place(&mut self) {
        let cluster = self.image.geometry.cluster_size();
        let header = &self.image.header;
        let active = (header.l1_offset, u64::from(header.l1_size));
        let kept = self
            .image
            .snapshots
            .iter()
            .map(|(snapshot, _)| (snapshot.l1_offset, u64::from(snapshot.l1_size)));
        for (at, entries) in kept.chain([active]).filter(|(_, entries)| *entries > 0) {
            let clusters = (entries * 8).div_ceil(cluster);
            if self.is_there(at, clusters) {
                self.census.add(at >> self.bits(), clusters, 1, Use::L1);
            }
        }
        let snapshots: Vec<_> = self.image.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect();
        let length =
            crate::qcow2::Snapshot::serialise_table(&snapshots).map_or(0, |bytes| bytes.len() as u64);
        if length > 0 {
            let clusters = length.div_ceil(cluster);
            if self.is_there(header.snapshots_offset, clusters) {
                self.census.add(header.snapshots_offset >> self.bits(), clusters, 1, Use::Snapshots);
            }
        }
    }

    fn l1_tables(&mut self) -> BTreeMap<u64, Seen> {
        let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
        let kept = self.image.snapshots.iter().enumerate().map(|(index, (_, l1))| (Some(index), l1));
        for (snapshot, l1) in kept.chain([(None, &self.image.l1)]) {
            for (index, entry) in l1.iter().enumerate().filter(|(_, entry)| **entry & OFFSET != 0) {
                let at = entry & OFFSET;
                if self.is_there(at, 1) {
                    let found = seen.entry(at).or_insert(Seen { times: 0, active: false });
                    found.times = found.times.saturating_add(1);
                    found.active |= snapshot.is_none();
                } else {
                    self.census.problems.push(Problem::L1 { snapshot, index, entry: *entry });
                }
            }
        }
        seen
    }

    fn l2_table(&mut self, at: u64, seen: &Seen) -> Result<()> {
        let geometry = self.image.geometry;
        self.census.add(at >> geometry.cluster_bits, 1, seen.times, Use::L2);
        let step = if geometry.extended_l2 { 2 } else { 1 };
        let mut follows = None;
        for (index, entry) in self.image.l2(at)?.into_iter().step_by(step).enumerate() {
            let clusters = match geometry.l2_entry(entry) {
                Ok(L2Entry::Unallocated | L2Entry::Zero { offset: 0, .. }) => continue,
                Ok(L2Entry::Zero { offset, .. } | L2Entry::Data { offset, .. }) => {
                    self.is_there(offset, 1).then_some((offset >> geometry.cluster_bits, 1, offset))
                }
                Ok(L2Entry::Compressed { offset, length }) => self.packed(offset, length),
                Err(_) => None,
            };
            let Some((first, count, place)) = clusters else {
                self.census.problems.push(Problem::L2 { table: at, index, entry });
                continue;
            };
            self.census.add(first, count, seen.times, Use::Data);
            if seen.active {
                let packed = entry & COMPRESSED != 0;
                self.census.allocated += 1;
                self.census.compressed += u64::from(packed);
                // As qemu-img counts them: compressed clusters are never where the one before ends.
                self.census.fragmented += u64::from(packed || follows.is_some_and(|next| next != place));
                follows = Some(place + geometry.cluster_size());
            }
        }
        Ok(())
    }

    /// The clusters of compressed data: its last sector may lie beyond the file's end, its first may not.
    fn packed(&self, offset: u64, length: u64) -> Option<(u64, u64, u64)> {
        let first = offset >> self.bits();
        let last = (offset + length - 1) >> self.bits();
        (first > 0 && last < self.clusters).then_some((first, last - first + 1, offset))
    }

    fn copied(&mut self, seen: &BTreeMap<u64, Seen>) -> Result<()> {
        let (bits, image) = (self.bits(), self.image);
        for (index, entry) in image.l1.iter().enumerate().filter(|(_, entry)| **entry & OFFSET != 0) {
            let count = self.census.count((entry & OFFSET) >> bits);
            if seen.contains_key(&(entry & OFFSET)) && (entry & COPIED != 0) != (count == 1) {
                self.census.problems.push(Problem::Copied { table: None, index, count });
            }
        }
        let step = if image.geometry.extended_l2 { 2 } else { 1 };
        for (at, _) in seen.iter().filter(|(_, seen)| seen.active) {
            for (index, entry) in image.l2(*at)?.into_iter().step_by(step).enumerate() {
                let place = entry & OFFSET;
                if entry & COMPRESSED != 0 || place == 0 || !self.is_there(place, 1) {
                    continue;
                }
                let count = self.census.count(place >> bits);
                if (entry & COPIED != 0) != (count == 1) {
                    self.census.problems.push(Problem::Copied { table: Some(*at), index, count });
                }
            }
        }
        Ok(())
    }

    fn bitmaps(&mut self) -> Result<()> {
        let header = &self.image.header;
        if header.autoclear & BITMAPS == 0 {
            return Ok(());
        }
        let Some(extension) = header.extensions.iter().find(|found| found.kind == EXTENSION_BITMAPS) else {
            return Ok(());
        };
        if let Err(why) = self.bitmap_directory(&extension.data)? {
            self.census.problems.push(Problem::Bitmaps { why });
        }
        Ok(())
    }

    fn bitmap_directory(&mut self, data: &[u8]) -> Result<std::result::Result<(), String>> {
        let word = |bytes: &[u8], at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let (Some(length), Some(at)) = (word(data, 8), word(data, 16)) else {
            return Ok(Err("the bitmaps' header extension is too short".into()));
        };
        let cluster = self.image.geometry.cluster_size();
        if length > MAX_BITMAP_DIRECTORY || !self.is_there(at, length.div_ceil(cluster)) {
            return Ok(Err(format!("the bitmap directory at {at:#x} is not in the file")));
        }
        self.census.add(at >> self.bits(), length.div_ceil(cluster), 1, Use::Bitmaps);
        let mut bytes = vec![0; length as usize];
        self.image
            .medium
            .read_exact(at, &mut bytes)
            .map_err(ToolError::host("read", self.image.medium.name()))?;
        let mut position = 0;
        while position + 24 <= bytes.len() {
            let entry = &bytes[position..];
            let table = word(entry, 0).unwrap_or(0);
            let half = |at: usize| u64::from(u16::from_be_bytes([entry[at], entry[at + 1]]));
            let quad = |at: usize| half(at) << 16 | half(at + 2);
            if let Err(why) = self.bitmap(table, quad(8))? {
                return Ok(Err(why));
            }
            position += (24 + half(18) + quad(20)).next_multiple_of(8) as usize;
        }
        Ok(Ok(()))
    }

    fn bitmap(&mut self, table: u64, entries: u64) -> Result<std::result::Result<(), String>> {
        let clusters = (entries * 8).div_ceil(self.image.geometry.cluster_size());
        if !self.is_there(table, clusters) {
            return Ok(Err(format!("a bitmap's table at {table:#x} is not in the file")));
        }
        self.census.add(table >> self.bits(), clusters, 1, Use::Bitmaps);
        for entry in read_table(&*self.image.medium, table, entries)? {
            let at = entry & OFFSET;
            if at != 0 && !self.is_there(at, 1) {
                return Ok(Err(format!("a bitmap's cluster at {at:#x} is not in the file")));
            }
            if at != 0 {
                self.census.add(at >> self.bits(), 1, 1, Use::Bitmaps);
            }
        }
        Ok(Ok(()))
    }
}

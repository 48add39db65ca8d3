//! A qcow2 image that is changed where it is, all at once.
//!
//! Everything that the header leads to is written anew into space that neither the old image nor the new one uses:
//! changed L2 tables, L1 tables, the snapshot table, refcounts. Then one sector of the header makes all of it the
//! image. So a cut at any moment leaves the image before or the image after, both with exact refcounts; no journal,
//! no dirty bit, no order of small writes to get wrong. Guest data never moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::refcount_extent;
use super::census::{self, Census, Problem};
use super::layer::{read_header, read_snapshots, read_table};
use super::raw;
use super::{Progress, Result, ToolError};
use crate::medium::Medium;
use crate::qcow2::header::{
    BITMAPS, CORRUPT, DIRTY, EXTENSION_BITMAPS, EXTENSION_FEATURE_NAMES, EXTERNAL_DATA, MAX_REFCOUNT_TABLE,
};
use crate::qcow2::tables::{self, COMPRESSED, COPIED, Geometry, OFFSET};
use crate::qcow2::{Header, Snapshot};

/// What storage writes at once or not at all.
const SECTOR: usize = 512;

pub struct Image {
    pub medium: Arc<dyn Medium>,
    pub header: Header,
    pub geometry: Geometry,
    pub l1: Vec<u64>,
    /// Each with its L1 table.
    pub snapshots: Vec<(Snapshot, Vec<u64>)>,
    /// L2 tables that are not as the file has them, by the offset that L1 entries have.
    pub changed: BTreeMap<u64, Vec<u64>>,
}

impl Image {
    /// # Errors
    /// The host's answer, or what is wrong with the image.
    pub fn open(medium: Arc<dyn Medium>) -> Result<Self> {
        let header = read_header(&*medium)?;
        if header.incompatible & EXTERNAL_DATA != 0 {
            let why = "its data is in an external file, which the image tools cannot change";
            return Err(ToolError::unsupported(medium.name(), why));
        }
        let geometry = header.geometry();
        let l1 = read_table(&*medium, header.l1_offset, u64::from(header.l1_size))?;
        let mut snapshots = Vec::new();
        for snapshot in read_snapshots(&*medium, &header)? {
            let table = read_table(&*medium, snapshot.l1_offset, u64::from(snapshot.l1_size))?;
            snapshots.push((snapshot, table));
        }
        Ok(Self { medium, header, geometry, l1, snapshots, changed: BTreeMap::new() })
    }

    /// An L2 table as it is now.
    pub fn l2(&self, at: u64) -> Result<Vec<u64>> {
        match self.changed.get(&at) {
            Some(table) => Ok(table.clone()),
            None => read_table(&*self.medium, at, self.geometry.cluster_size() / 8),
        }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.medium.write_all(at, bytes).map_err(ToolError::host("write", self.medium.name()))
    }

    fn flush(&self) -> Result<()> {
        self.medium.flush().map_err(ToolError::host("write", self.medium.name()))
    }
}

/// An image being changed, and the space that may be used for it.
pub struct Change {
    pub image: Image,
    /// As the file's tables refer to clusters, before.
    before: Census,
    /// What has been handed out since.
    taken: BTreeSet<u64>,
    search: u64,
}

impl Change {
    /// # Errors
    /// If the image is not consistent: then nothing but a repair may change it.
    pub fn begin(image: Image, progress: &Progress) -> Result<Self> {
        let before = census::take_with_refcounts(&image, progress)?;
        // Flags and refcounts are made anew by every change; whatever else is wrong would be built upon.
        let broken = before.problems.iter().any(|problem| !matches!(problem, Problem::Copied { .. }));
        if image.header.incompatible & CORRUPT != 0 || broken {
            let why = "the image is corrupt; repair it first: inn image check -r all";
            return Err(ToolError::corrupt(image.medium.name(), why));
        }
        Ok(Self::of(image, before))
    }

    pub fn of(image: Image, before: Census) -> Self {
        Self { image, before, taken: BTreeSet::new(), search: 1 }
    }

    /// What writes guest data must not keep: bitmaps that say which parts have changed.
    pub fn drop_bitmaps(&mut self) {
        self.image.header.autoclear &= !BITMAPS;
        self.image.header.extensions.retain(|extension| extension.kind != EXTENSION_BITMAPS);
    }

    /// So many clusters in a row that neither the image before nor the one after uses; the offset of the first.
    pub fn take(&mut self, clusters: u64) -> u64 {
        let mut first = self.search;
        let mut found = 0;
        while found < clusters {
            let cluster = first + found;
            if self.before.count(cluster) > 0 || self.taken.contains(&cluster) {
                first = cluster + 1;
                found = 0;
            } else {
                found += 1;
            }
        }
        self.taken.extend(first..first + clusters);
        if clusters == 1 {
            self.search = first + 1;
        }
        first << self.image.geometry.cluster_bits
    }

    /// The same beyond everything that the file has: for guest data, which may be much, and which reads as zeroes there.
    pub fn take_at_end(&mut self, clusters: u64) -> Result<u64> {
        let medium = &self.image.medium;
        let size = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
        let last = self.taken.last().map_or(0, |cluster| cluster + 1);
        let first = last.max(self.before.end()).max(size.div_ceil(self.image.geometry.cluster_size()));
        self.taken.extend(first..first + clusters);
        Ok(first << self.image.geometry.cluster_bits)
    }

    /// Makes the change: all of it, or nothing.
    ///
    /// # Errors
    /// What the host answered; the image is as it was.
    pub fn finish(mut self, progress: &Progress) -> Result<Image> {
        self.write_l2_tables()?;
        let mut counts = census::take(&self.image, progress)?;
        self.settle_copied(&mut counts)?;
        self.write_l1_tables(&mut counts)?;
        self.write_snapshots(&mut counts)?;
        let end = self.write_refcounts(&mut counts)?;
        let size = self.image.medium.size().map_err(ToolError::host("read", self.image.medium.name()))?;
        if size < end {
            raw::set_size(&*self.image.medium, end)?;
        }
        self.image.flush()?;
        self.image.header.incompatible &= !DIRTY;
        write_header(&self.image)?;
        self.image.flush()?;
        self.give_back(&counts, end)?;
        Ok(self.image)
    }

    fn write_l2_tables(&mut self) -> Result<()> {
        for (old, table) in std::mem::take(&mut self.image.changed) {
            let new = if self.taken.contains(&(old >> self.image.geometry.cluster_bits)) {
                old
            } else {
                self.take(1)
            };
            self.image.write(new, &tables::bytes(&table))?;
            self.moved(old, new);
        }
        Ok(())
    }

    /// All L1 entries that led to one place lead to another.
    fn moved(&mut self, old: u64, new: u64) {
        let tables = self.image.snapshots.iter_mut().map(|(_, l1)| l1).chain([&mut self.image.l1]);
        for entry in tables.flatten().filter(|entry| **entry & OFFSET == old) {
            *entry = *entry & !OFFSET | new;
        }
    }

    /// Makes the flags of the active tables say which clusters have one user only.
    fn settle_copied(&mut self, counts: &mut Census) -> Result<()> {
        let bits = self.image.geometry.cluster_bits;
        let active: BTreeSet<u64> =
            self.image.l1.iter().map(|entry| entry & OFFSET).filter(|at| *at != 0).collect();
        for at in active {
            let table = self.image.l2(at)?;
            let settled = settle(&table, &self.image.geometry, counts);
            if settled == table {
                continue;
            }
            let mine = self.taken.contains(&(at >> bits));
            let new = if mine { at } else { self.take(1) };
            self.image.write(new, &tables::bytes(&settled))?;
            if !mine {
                counts.move_count(at >> bits, new >> bits);
                self.moved(at, new);
            }
        }
        for entry in &mut self.image.l1 {
            let at = *entry & OFFSET;
            *entry = if at != 0 && counts.count(at >> bits) == 1 { at | COPIED } else { at };
        }
        Ok(())
    }

    fn write_l1_tables(&mut self, counts: &mut Census) -> Result<()> {
        let active = std::mem::take(&mut self.image.l1);
        (self.image.header.l1_offset, self.image.header.l1_size) = self.write_l1(&active, counts)?;
        self.image.l1 = active;
        let mut snapshots = std::mem::take(&mut self.image.snapshots);
        for (snapshot, l1) in &mut snapshots {
            for entry in l1.iter_mut() {
                *entry &= !COPIED;
            }
            (snapshot.l1_offset, snapshot.l1_size) = self.write_l1(l1, counts)?;
        }
        self.image.snapshots = snapshots;
        Ok(())
    }

    fn write_l1(&mut self, l1: &[u64], counts: &mut Census) -> Result<(u64, u32)> {
        let at = self.place(&tables::bytes(l1), counts)?;
        Ok((at, l1.len() as u32))
    }

    fn write_snapshots(&mut self, counts: &mut Census) -> Result<()> {
        let snapshots: Vec<Snapshot> =
            self.image.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect();
        let table =
            Snapshot::serialise_table(&snapshots).map_err(|error| error.of(self.image.medium.name()))?;
        self.image.header.snapshot_count = snapshots.len() as u32;
        self.image.header.snapshots_offset = self.place(&table, counts)?;
        Ok(())
    }

    /// Writes a table that has one user; 0 for an empty one.
    fn place(&mut self, bytes: &[u8], counts: &mut Census) -> Result<u64> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let cluster = self.image.geometry.cluster_size();
        let clusters = (bytes.len() as u64).div_ceil(cluster);
        let at = self.take(clusters);
        let mut padded = bytes.to_vec();
        padded.resize((clusters * cluster) as usize, 0);
        self.image.write(at, &padded)?;
        counts.add_range(at >> self.image.geometry.cluster_bits, clusters);
        Ok(at)
    }

    /// Writes all refcounts; where the image ends.
    fn write_refcounts(&mut self, counts: &mut Census) -> Result<u64> {
        let geometry = self.image.geometry;
        let bits = geometry.cluster_bits;
        // Room for as many blocks as there would be if the image ended behind all that has been taken so far.
        let far = counts.end().max(self.taken.last().map_or(0, |last| last + 1)).max(self.before.end());
        let (blocks, clusters) = refcount_extent(&geometry, far);
        if clusters << bits > MAX_REFCOUNT_TABLE.max(geometry.cluster_size()) {
            let why = "its refcount table would become too large; convert it to larger clusters";
            return Err(ToolError::refused(self.image.medium.name(), why));
        }
        let table_at = self.take(clusters);
        let block_at: Vec<u64> = (0..blocks).map(|_| self.take(1)).collect();
        counts.add_range(table_at >> bits, clusters);
        for at in &block_at {
            counts.add_range(at >> bits, 1);
        }
        let per_block = 1u64 << geometry.refcount_block_bits();
        for (index, at) in block_at.iter().enumerate() {
            let first = index as u64 * per_block;
            let mut block = vec![0; 1 << bits];
            for cluster in first..(first + per_block).min(counts.end()) {
                let count = counts.count(cluster);
                if count > geometry.max_refcount() {
                    let why = format!(
                        "a cluster would have {count} users, and refcounts of {} bits end at {}; convert it to wider ones",
                        1u32 << geometry.refcount_order,
                        geometry.max_refcount()
                    );
                    return Err(ToolError::refused(self.image.medium.name(), why));
                }
                tables::set_refcount(&mut block, geometry.refcount_order, (cluster - first) as usize, count);
            }
            self.image.write(*at, &block)?;
        }
        let mut table = block_at;
        table.resize((clusters << bits) as usize / 8, 0);
        self.image.write(table_at, &tables::bytes(&table))?;
        self.image.header.refcount_table_offset = table_at;
        self.image.header.refcount_table_clusters = clusters as u32;
        Ok(counts.end() << bits)
    }

    /// Gives the host back what only the image before used. The image after is complete already, so whatever the
    /// host answers, nothing is lost but space.
    fn give_back(&self, counts: &Census, end: u64) -> Result<()> {
        let bits = self.image.geometry.cluster_bits;
        let medium = &*self.image.medium;
        let mut cluster = 1;
        let last = self.before.end().min(counts.end());
        while cluster < last {
            let first = cluster;
            while cluster < last && self.before.count(cluster) > 0 && counts.count(cluster) == 0 {
                cluster += 1;
            }
            if cluster > first {
                medium
                    .discard(first << bits, (cluster - first) << bits)
                    .map_err(ToolError::host("give space back of", medium.name()))?;
            } else {
                cluster += 1;
            }
        }
        if medium.grows() && medium.size().map_err(ToolError::host("read", medium.name()))? > end {
            raw::set_size(medium, end)?;
        }
        Ok(())
    }
}

/// An L2 table with the flags that refcounts demand.
fn settle(table: &[u64], geometry: &Geometry, counts: &Census) -> Vec<u64> {
    let step = if geometry.extended_l2 { 2 } else { 1 };
    let mut settled = table.to_vec();
    for entry in settled.iter_mut().step_by(step) {
        let at = *entry & OFFSET;
        if *entry & COMPRESSED != 0 {
            *entry &= !COPIED;
        } else if at != 0 && counts.count(at >> geometry.cluster_bits) == 1 {
            *entry |= COPIED;
        } else {
            *entry &= !COPIED;
        }
    }
    settled
}

/// Writes the header so that it is the old one or the new one, whenever the host is cut off.
pub fn write_header(image: &Image) -> Result<()> {
    let mut header = image.header.clone();
    let name = image.medium.name();
    let serialise = |header: &Header| header.serialise().map_err(|error| error.of(name));
    let fixed_end = |bytes: &[u8]| -> usize {
        let at = u64::from_be_bytes(bytes[8..16].try_into().unwrap_or_default());
        if at == 0 { bytes.len() } else { at as usize }
    };
    let mut bytes = serialise(&header)?;
    if fixed_end(&bytes) > SECTOR {
        // The names of features are for people; without them all but the backing file's name is in one sector.
        header.extensions.retain(|extension| extension.kind != EXTENSION_FEATURE_NAMES);
        bytes = serialise(&header)?;
    }
    let mut start = vec![0; image.geometry.cluster_size() as usize];
    image.medium.read_exact(0, &mut start).map_err(ToolError::host("read", name))?;
    if bytes.len() <= SECTOR {
        bytes.resize(SECTOR, 0);
        return image.write(0, &bytes);
    }
    let end = fixed_end(&bytes);
    let backing = bytes.split_off(end);
    // The name goes where the old header has nothing, and counts only once the first sector says so.
    let old_end = old_name_end(&start).max(SECTOR);
    let same = start.get(old_name_start(&start)..).is_some_and(|old| old.starts_with(&backing));
    let place = if same && old_name_start(&start) >= end { old_name_start(&start) } else { old_end.max(end) };
    let place = if place + backing.len() > start.len() { end.max(SECTOR) } else { place };
    if place + backing.len() > start.len() {
        let why = "its first cluster has no room for the backing file's name";
        return Err(ToolError::refused(name, why));
    }
    if !backing.is_empty() {
        image.write(place as u64, &backing)?;
        image.flush()?;
        bytes[8..16].copy_from_slice(&(place as u64).to_be_bytes());
    }
    bytes.resize(bytes.len().max(SECTOR), 0);
    image.write(0, &bytes)
}

fn old_name_start(start: &[u8]) -> usize {
    usize::try_from(u64::from_be_bytes(start[8..16].try_into().unwrap_or_default())).unwrap_or(0)
}

fn old_name_end(start: &[u8]) -> usize {
    let length = u32::from_be_bytes(start[16..20].try_into().unwrap_or_default()) as usize;
    old_name_start(start).saturating_add(length).min(start.len())
}

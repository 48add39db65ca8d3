//! How often each cluster of an image is used, and finding clusters that are not.
//!
//! `docs/interop/qcow2.rst`, "Host cluster management". What a caller does with it survives a loss of power if
//! it makes increments durable ([`Refcounts::write_back`], then a flush) before writing what points at the
//! clusters, and decrements only after what pointed at them is durably gone. Blocks and tables that this module
//! adds are durable before anything points at them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::header::{Header, MAX_REFCOUNT_TABLE};
use super::tables::{self, Geometry};
use crate::error::{Error, Result};
use crate::medium::Medium;

/// Refcount blocks in memory, in bytes at most (and at least four of them).
const CACHE: usize = 4 << 20;
/// Where the header says where the refcount table is.
const TABLE_FIELD: u64 = 48;
/// Files grow in steps of this, so that few allocations resize them.
const GROWTH: u64 = 1 << 20;
/// So many clusters beyond a file's end may be counted: a loss of power can lose the file's growth, but not that much.
const BEYOND: u64 = 1 << 20;

struct Block {
    bytes: Vec<u8>,
    dirty: bool,
    used: bool,
}

/// Clusters taken by [`Refcounts::allocate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub offset: u64,
    /// In clusters.
    pub count: u64,
    /// Never written before: a file reads as zeroes there.
    pub fresh: bool,
}

/// The refcount table and its blocks. A cluster is named by its index: its offset over the cluster size.
pub struct Refcounts {
    medium: Arc<dyn Medium>,
    geometry: Geometry,
    /// Offsets of blocks, 0 for none.
    table: Vec<u64>,
    table_offset: u64,
    table_clusters: u32,
    blocks: HashMap<usize, Block>,
    /// No cluster below it is free.
    first_free: u64,
    /// No cluster from here on was ever used.
    end: u64,
    /// Of the medium, in bytes.
    medium_size: u64,
    /// Clusters of tables: never data, whatever the counts claim.
    metadata: HashSet<u64>,
    /// Those that were added since it was asked for.
    added: Vec<u64>,
}

fn clusters(offset: u64, bytes: u64, geometry: &Geometry) -> Range<u64> {
    offset >> geometry.cluster_bits..(offset + bytes).div_ceil(geometry.cluster_size())
}

impl Refcounts {
    /// Reads the table; blocks are read when they are needed.
    ///
    /// # Errors
    /// The host's answer, or what is wrong with the table.
    pub fn load(medium: Arc<dyn Medium>, header: &Header) -> Result<Self> {
        let geometry = header.geometry();
        let bytes = u64::from(header.refcount_table_clusters) << geometry.cluster_bits;
        let mut table = vec![0; bytes as usize];
        let failed = || format!("read the refcount table of {}", medium.name());
        medium.read_exact(header.refcount_table_offset, &mut table).map_err(Error::host(failed()))?;
        let table: Vec<u64> = tables::words(&table)
            .map(|entry| tables::refcount_block_offset(entry, &geometry))
            .collect::<Result<_>>()
            .map_err(|error| error.of(medium.name()))?;
        let medium_size = medium.size().map_err(Error::host(failed()))?;
        let mut metadata = HashSet::from([0]);
        metadata.extend(clusters(header.refcount_table_offset, bytes, &geometry));
        metadata.extend(clusters(header.l1_offset, u64::from(header.l1_size) * 8, &geometry));
        metadata
            .extend(table.iter().filter(|block| **block != 0).map(|block| block >> geometry.cluster_bits));
        Ok(Self { table, metadata, ..Self::none(medium, header, medium_size) })
    }

    /// Of an image that is only read.
    #[must_use]
    pub fn none(medium: Arc<dyn Medium>, header: &Header, medium_size: u64) -> Self {
        Self {
            geometry: header.geometry(),
            table: Vec::new(),
            table_offset: header.refcount_table_offset,
            table_clusters: header.refcount_table_clusters,
            blocks: HashMap::new(),
            first_free: 0,
            end: medium_size.div_ceil(header.geometry().cluster_size()),
            medium_size,
            metadata: HashSet::new(),
            added: Vec::new(),
            medium,
        }
    }

    /// Where the table is, for whoever writes the whole header.
    #[must_use]
    pub fn table_location(&self) -> (u64, u32) {
        (self.table_offset, self.table_clusters)
    }

    /// Offsets of all refcount blocks.
    pub fn block_offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.table.iter().copied().filter(|offset| *offset != 0)
    }

    /// The first cluster beyond all that were ever used.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// In bytes.
    #[must_use]
    pub fn medium_size(&self) -> u64 {
        self.medium_size
    }

    /// This cluster holds a table and shall not be given away whatever its count.
    pub fn protect(&mut self, cluster: u64) {
        self.metadata.insert(cluster);
    }

    /// Its counterpart, when a table is given up.
    pub fn unprotect(&mut self, cluster: u64) {
        self.metadata.remove(&cluster);
    }

    #[must_use]
    pub fn is_metadata(&self, cluster: u64) -> bool {
        self.metadata.contains(&cluster)
    }

    /// All clusters known to hold tables.
    pub fn metadata(&self) -> impl Iterator<Item = u64> + '_ {
        self.metadata.iter().copied()
    }

    /// Clusters that became refcount tables or blocks since the last call.
    pub fn take_added(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.added)
    }

    fn place(&self, cluster: u64) -> (usize, usize) {
        let bits = self.geometry.refcount_block_bits();
        (usize::try_from(cluster >> bits).unwrap_or(usize::MAX), (cluster & ((1 << bits) - 1)) as usize)
    }

    fn host<T>(&self, what: &str, answer: std::io::Result<T>) -> Result<T> {
        answer.map_err(Error::host(format!("{what} of {}", self.medium.name())))
    }

    /// The block of a table entry that is not 0.
    fn block(&mut self, entry: usize) -> Result<&mut Block> {
        if !self.blocks.contains_key(&entry) {
            let offset = self.table[entry];
            if offset >= self.medium_size {
                let text = format!(
                    "{}: a refcount block lies at {offset:#x}, beyond the image's end",
                    self.medium.name()
                );
                return Err(Error::Corrupt(text));
            }
            self.make_room()?;
            let mut bytes = vec![0; self.geometry.cluster_size() as usize];
            let answer = self.medium.read_exact(offset, &mut bytes);
            self.host("read a refcount block", answer)?;
            self.blocks.insert(entry, Block { bytes, dirty: false, used: true });
        }
        let block = self.blocks.get_mut(&entry).expect("just put there");
        block.used = true;
        Ok(block)
    }

    /// Writes one block out and forgets it if there are too many: one that was not used lately.
    fn make_room(&mut self) -> Result<()> {
        let limit = (CACHE >> self.geometry.cluster_bits).max(4);
        if self.blocks.len() < limit {
            return Ok(());
        }
        let idle = self.blocks.iter().find(|(_, block)| !block.used).map(|(entry, _)| *entry);
        if idle.is_none() {
            self.blocks.values_mut().for_each(|block| block.used = false);
        }
        let victim = idle.or_else(|| self.blocks.keys().next().copied()).expect("a full cache holds blocks");
        self.write_block(victim)?;
        self.blocks.remove(&victim);
        Ok(())
    }

    fn write_block(&mut self, entry: usize) -> Result<()> {
        let Some(block) = self.blocks.get(&entry).filter(|block| block.dirty) else { return Ok(()) };
        let answer = self.medium.write_all(self.table[entry], &block.bytes);
        self.host("write a refcount block", answer)?;
        self.blocks.get_mut(&entry).expect("it was there").dirty = false;
        Ok(())
    }

    /// Hands all that changed to the medium; durable after the medium's next flush.
    ///
    /// # Errors
    /// The host's answer; what is not written stays changed.
    pub fn write_back(&mut self) -> Result<()> {
        let mut dirty: Vec<usize> =
            self.blocks.iter().filter(|(_, block)| block.dirty).map(|(entry, _)| *entry).collect();
        dirty.sort_unstable();
        dirty.into_iter().try_for_each(|entry| self.write_block(entry))
    }

    /// # Errors
    /// The host's answer.
    pub fn get(&mut self, cluster: u64) -> Result<u64> {
        let (entry, index) = self.place(cluster);
        if self.table.get(entry).is_none_or(|offset| *offset == 0) {
            return Ok(0);
        }
        let order = self.geometry.refcount_order;
        Ok(tables::refcount(&self.block(entry)?.bytes, order, index))
    }

    /// Makes the count what it is told.
    ///
    /// # Errors
    /// The host's answer; the count does not fit the image's refcounts; or there is no block for it, so that the
    /// cluster was not allocated here and nothing may use it.
    pub fn set(&mut self, cluster: u64, count: u64) -> Result<()> {
        if count > self.geometry.max_refcount() {
            let limit = self.geometry.max_refcount();
            let name = self.medium.name();
            return Err(Error::Refused(format!(
                "{name}: a cluster would be used {count} times, its refcounts end at {limit}"
            )));
        }
        let (entry, index) = self.place(cluster);
        if self.table.get(entry).is_none_or(|offset| *offset == 0) {
            if count == 0 {
                return Ok(());
            }
            // A block made here might take the very cluster that is counted.
            return Err(self.uncounted(cluster));
        }
        let order = self.geometry.refcount_order;
        let block = self.block(entry)?;
        tables::set_refcount(&mut block.bytes, order, index, count);
        block.dirty = true;
        if count == 0 {
            self.first_free = self.first_free.min(cluster);
        } else {
            self.end = self.end.max(cluster + 1);
        }
        Ok(())
    }

    /// One user more, or one less: the new count.
    ///
    /// # Errors
    /// As for [`Self::set`]; a count of 0 cannot be lessened.
    pub fn change(&mut self, cluster: u64, more: bool) -> Result<u64> {
        let count = self.get(cluster)?;
        let changed = if more { count.checked_add(1) } else { count.checked_sub(1) };
        let Some(changed) = changed else { return Err(self.uncounted(cluster)) };
        self.set(cluster, changed)?;
        Ok(changed)
    }

    fn uncounted(&self, cluster: u64) -> Error {
        let (offset, name) = (u128::from(cluster) << self.geometry.cluster_bits, self.medium.name());
        Error::Corrupt(format!(
            "{name}: the cluster at {offset:#x} is in use but counted as free; check and repair the image"
        ))
    }

    /// Takes one to `count` neighbouring free clusters, each counted once from now on.
    ///
    /// # Errors
    /// The host's answer, or the image is full or broken; then nothing is taken.
    pub fn allocate(&mut self, count: u64) -> Result<Allocation> {
        self.find(count, false)
    }

    /// As [`Self::allocate`], but all of `count`.
    ///
    /// # Errors
    /// As for [`Self::allocate`].
    pub fn allocate_all(&mut self, count: u64) -> Result<Allocation> {
        self.find(count, true)
    }

    fn find(&mut self, count: u64, all: bool) -> Result<Allocation> {
        let mut start = self.first_free;
        let mut length = 0;
        while length < count {
            let cluster = start + length;
            if start > self.end.max(self.medium_size >> self.geometry.cluster_bits) + BEYOND {
                let name = self.medium.name();
                return Err(Error::Corrupt(format!(
                    "{name}: clusters far beyond its end are counted as used; check and repair the image"
                )));
            }
            self.ensure_block(cluster)?;
            if self.get(cluster)? == 0 {
                length += 1;
            } else if length > 0 && !all {
                break;
            } else {
                start = cluster + 1;
                length = 0;
            }
        }
        self.take(start, length)
    }

    fn take(&mut self, start: u64, count: u64) -> Result<Allocation> {
        let bits = self.geometry.cluster_bits;
        (start..start + count).try_for_each(|cluster| self.refuse_metadata(cluster))?;
        let fresh = start >= self.end && self.medium.grows();
        self.grow_medium((start + count) << bits)?;
        for cluster in start..start + count {
            self.set(cluster, 1)?;
        }
        // Searches always begin there, so everything in between was seen to be in use.
        if self.first_free >= start || count == 1 || self.only_used_below(start) {
            self.first_free = self.first_free.max(start + count);
        }
        Ok(Allocation { offset: start << bits, count, fresh })
    }

    /// Whether nothing between the first free cluster and `start` is free.
    fn only_used_below(&mut self, start: u64) -> bool {
        (self.first_free..start).all(|cluster| matches!(self.get(cluster), Ok(1..)))
    }

    /// Makes the file long enough, so that what is allocated lies within it even before it is written.
    fn grow_medium(&mut self, end: u64) -> Result<()> {
        if end <= self.medium_size {
            return Ok(());
        }
        if !self.medium.grows() {
            let size = self.medium_size;
            let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
            return self.host(&format!("allocate up to {end:#x} on the {size:#x} bytes"), Err(full));
        }
        let size = end.next_multiple_of(GROWTH);
        let answer = self.medium.set_size(size);
        self.host("extend the file", answer)?;
        self.medium_size = size;
        Ok(())
    }

    /// Gives back what the last growth took too much.
    ///
    /// # Errors
    /// The host's answer.
    pub fn trim(&mut self) -> Result<()> {
        let size = self.end << self.geometry.cluster_bits;
        if self.medium.grows() && size < self.medium_size {
            let answer = self.medium.set_size(size);
            self.host("shorten the file", answer)?;
            self.medium_size = size;
        }
        Ok(())
    }

    fn ensure_block(&mut self, cluster: u64) -> Result<()> {
        let (entry, _) = self.place(cluster);
        if self.table.get(entry).is_none_or(|offset| *offset == 0) { self.add_block(cluster) } else { Ok(()) }
    }

    /// A block for the counts around `cluster`, which themselves say that it is there.
    fn add_block(&mut self, cluster: u64) -> Result<()> {
        let (entry, _) = self.place(cluster);
        if entry >= self.table.len() {
            self.grow_table(entry)?;
            if self.table[entry] != 0 {
                return Ok(()); // the larger table's own counts are there
            }
        }
        // Nothing in its range is counted, so its first cluster is free.
        let own = (entry as u64) << self.geometry.refcount_block_bits();
        self.refuse_metadata(own)?;
        let offset = own << self.geometry.cluster_bits;
        self.make_room()?;
        self.grow_medium(offset + self.geometry.cluster_size())?;
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        tables::set_refcount(&mut bytes, self.geometry.refcount_order, 0, 1);
        let written = self.medium.write_all(offset, &bytes).and_then(|()| self.medium.flush());
        self.host("write a refcount block", written)?;
        let answer = self.medium.write_all(self.table_offset + 8 * entry as u64, &offset.to_be_bytes());
        self.host("write the refcount table", answer)?;
        self.table[entry] = offset;
        self.blocks.insert(entry, Block { bytes, dirty: false, used: true });
        self.adopt(own..own + 1);
        Ok(())
    }

    fn refuse_metadata(&self, cluster: u64) -> Result<()> {
        if self.metadata.contains(&cluster) {
            return Err(self.uncounted(cluster));
        }
        Ok(())
    }

    fn adopt(&mut self, range: Range<u64>) {
        self.end = self.end.max(range.end);
        self.metadata.extend(range.clone());
        self.added.extend(range);
    }

    /// A table that has room for `entry`, behind all that the old one can count.
    fn grow_table(&mut self, entry: usize) -> Result<()> {
        let (bits, per_block) = (self.geometry.cluster_bits, 1 << self.geometry.refcount_block_bits());
        let start = (self.table.len() as u64 * per_block).max(self.end);
        let first = (start / per_block) as usize;
        let wanted = (entry + 1).max(self.table.len() * 3 / 2).max(first + 1);
        // Blocks must count themselves and the table; more of either needs more of the other.
        let (mut blocks, mut table) = (1, 0);
        loop {
            let entries = wanted.max(first + blocks as usize) as u64;
            table = u64::max(table, (entries * 8).div_ceil(1 << bits));
            let needed = (start + blocks + table).div_ceil(per_block) - first as u64;
            if needed == blocks {
                break;
            }
            blocks = needed;
        }
        if table << bits > MAX_REFCOUNT_TABLE.max(1 << bits) {
            let name = self.medium.name();
            return Err(Error::Refused(format!(
                "{name} is full: its refcount table has reached {MAX_REFCOUNT_TABLE} bytes"
            )));
        }
        self.install_table(start, blocks, table)
    }

    /// Writes `blocks` blocks from cluster `start` on and behind them the table of `table` clusters, then makes the
    /// header point there. Each step is durable before the next.
    fn install_table(&mut self, start: u64, blocks: u64, table: u64) -> Result<()> {
        let (bits, block_bits) = (self.geometry.cluster_bits, self.geometry.refcount_block_bits());
        let (size, order) = (self.geometry.cluster_size() as usize, self.geometry.refcount_order);
        let used = start..start + blocks + table;
        self.grow_medium(used.end << bits)?;
        let mut entries = self.table.clone();
        entries.resize((table as usize) << (bits - 3), 0);
        for number in 0..blocks {
            let entry = (start >> block_bits) as usize + number as usize;
            let mut bytes = vec![0; size];
            let counted = (entry as u64) << block_bits..(entry as u64 + 1) << block_bits;
            for cluster in used.start.max(counted.start)..used.end.min(counted.end) {
                tables::set_refcount(&mut bytes, order, (cluster - counted.start) as usize, 1);
            }
            entries[entry] = (start + number) << bits;
            let answer = self.medium.write_all(entries[entry], &bytes);
            self.host("write a refcount block", answer)?;
        }
        let offset = (start + blocks) << bits;
        let mut field = offset.to_be_bytes().to_vec();
        field.extend((table as u32).to_be_bytes());
        let done = self
            .medium
            .write_all(offset, &tables::bytes(&entries))
            .and_then(|()| self.medium.flush())
            .and_then(|()| self.medium.write_all(TABLE_FIELD, &field))
            .and_then(|()| self.medium.flush());
        self.host("move the refcount table", done)?;
        let old = self.table_offset >> bits..(self.table_offset >> bits) + u64::from(self.table_clusters);
        (self.table, self.table_offset, self.table_clusters) = (entries, offset, table as u32);
        self.adopt(used);
        for cluster in old {
            self.metadata.remove(&cluster);
            self.change(cluster, false)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! A new qcow2 image, written from its beginning to its end.
//!
//! Clusters are handed out one after the other and never taken back; L2 tables are written as soon as the guest
//! addresses below them are done with, everything else by [`Builder::finish`]. Whoever builds keeps the file without its
//! name until then ([`super::staged`]), so the order of writes is free.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Result, ToolError};
use crate::medium::Medium;
use crate::qcow2::header::{COMPRESSION_TYPE, EXTENDED_L2, LAZY_REFCOUNTS, MAX_L1_TABLE, MAX_REFCOUNT_TABLE};
use crate::qcow2::tables::{self, COPIED, Geometry, ZERO};
use crate::qcow2::{Compression, Extension, Header};
use crate::range::SECTOR;

/// How a new image is laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    pub version: u32,
    pub cluster_bits: u32,
    pub refcount_order: u32,
    pub lazy_refcounts: bool,
    pub extended_l2: bool,
    pub compression: Compression,
    pub backing_file: Option<String>,
    pub backing_format: Option<String>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            version: 3,
            cluster_bits: 16,
            refcount_order: 4,
            lazy_refcounts: false,
            extended_l2: false,
            compression: Compression::Zlib,
            backing_file: None,
            backing_format: None,
        }
    }
}

impl Layout {
    fn header(&self, size: u64) -> Header {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let named = self.version > 2 && self.cluster_bits > 9;
        Header {
            version: self.version,
            cluster_bits: self.cluster_bits,
            size,
            l1_size: 0,
            l1_offset: 0,
            refcount_table_offset: 0,
            refcount_table_clusters: 0,
            refcount_order: self.refcount_order,
            snapshot_count: 0,
            snapshots_offset: 0,
            incompatible: flag(self.compression != Compression::Zlib, COMPRESSION_TYPE)
                | flag(self.extended_l2, EXTENDED_L2),
            compatible: flag(self.lazy_refcounts, LAZY_REFCOUNTS),
            autoclear: 0,
            compression: self.compression,
            backing_file: self.backing_file.clone(),
            backing_format: self.backing_format.clone(),
            data_file: None,
            extensions: if named { vec![Extension::feature_names()] } else { Vec::new() },
            further: Vec::new(),
        }
    }
}

pub struct Builder {
    medium: Arc<dyn Medium>,
    header: Header,
    geometry: Geometry,
    l1: Vec<u64>,
    /// L2 tables that are not written yet.
    open: BTreeMap<usize, Vec<u64>>,
    /// The first byte of the file that nobody has.
    next: u64,
    /// Where compressed data goes on, within the cluster that ends at the next multiple of the cluster's size.
    packed: u64,
    /// Clusters that do not have a refcount of one.
    counts: BTreeMap<u64, u64>,
}

impl Builder {
    /// # Errors
    /// The disk is too large for clusters of this size.
    pub fn new(medium: Arc<dyn Medium>, layout: &Layout, size: u64) -> Result<Self> {
        let size = size.next_multiple_of(SECTOR);
        let header = layout.header(size);
        let geometry = header.geometry();
        let entries = geometry.l1_entries(size);
        if entries * 8 > MAX_L1_TABLE {
            let most = (MAX_L1_TABLE / 8) << geometry.l1_entry_bits();
            let why = format!(
                "a disk of {size} bytes is too large for clusters of {}, which reach {most}; use a larger cluster_size",
                geometry.cluster_size()
            );
            return Err(ToolError::refused(medium.name(), why));
        }
        let next = geometry.cluster_size();
        let l1 = vec![0; entries as usize];
        Ok(Self {
            medium,
            header,
            geometry,
            l1,
            open: BTreeMap::new(),
            next,
            packed: 0,
            counts: BTreeMap::new(),
        })
    }

    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// So many clusters in a row; the offset of the first.
    pub fn take(&mut self, clusters: u64) -> u64 {
        let at = self.next;
        self.next += clusters << self.geometry.cluster_bits;
        at
    }

    /// Room for compressed data, which may share a cluster with other such data.
    ///
    /// # Errors
    /// The image has become larger than entries of compressed clusters reach.
    pub fn place_packed(&mut self, guest: u64, length: u64) -> Result<u64> {
        let cluster = self.geometry.cluster_size();
        let end = self.packed.next_multiple_of(cluster);
        let shared = self.packed >> self.geometry.cluster_bits;
        let full = self.counts.get(&shared).copied().unwrap_or(1) >= self.geometry.max_refcount();
        let at = if self.packed == end || full || (self.packed + length > end && end != self.next) {
            self.take(1)
        } else {
            *self.counts.entry(shared).or_insert(1) += 1;
            if self.packed + length > end {
                self.take(1);
            }
            self.packed
        };
        self.packed = at + length;
        let entry =
            self.geometry.compressed_entry(at, length).map_err(|error| error.of(self.medium.name()))?;
        self.set(guest, entry, 0);
        Ok(at)
    }

    /// The guest's cluster is at this place.
    pub fn map(&mut self, guest: u64, host: u64) {
        self.set(guest, host | COPIED, 0xFFFF_FFFF);
    }

    /// The guest's cluster is zeroes, whatever the backing image has. Not in version 2.
    pub fn map_zero(&mut self, guest: u64) {
        let entry = if self.geometry.extended_l2 { 0 } else { ZERO };
        self.set(guest, entry, 0xFFFF_FFFF << 32);
    }

    #[must_use]
    pub fn has_zero_clusters(&self) -> bool {
        self.header.version > 2
    }

    fn set(&mut self, guest: u64, entry: u64, bitmap: u64) {
        let geometry = self.geometry;
        let words = (geometry.cluster_size() / 8) as usize;
        let table = self.open.entry(geometry.l1_index(guest)).or_insert_with(|| vec![0; words]);
        let index = geometry.l2_index(guest);
        if geometry.extended_l2 {
            table[2 * index] = entry;
            table[2 * index + 1] = bitmap;
        } else {
            table[index] = entry;
        }
    }

    /// Nothing below this guest address will be mapped any more.
    ///
    /// # Errors
    /// What the host answered.
    pub fn done_below(&mut self, guest: u64) -> Result<()> {
        let reached = self.geometry.l1_index(guest);
        while let Some(entry) = self.open.first_entry()
            && *entry.key() < reached
        {
            let (index, table) = entry.remove_entry();
            let at = self.take(1);
            self.write(at, &tables::bytes(&table))?;
            self.l1[index] = at | COPIED;
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.medium.write_all(at, bytes).map_err(ToolError::host("write", self.medium.name()))
    }

    /// Writes what is left, the header last.
    ///
    /// # Errors
    /// What the host answered; refcounts that do not fit their table.
    pub fn finish(mut self) -> Result<()> {
        self.done_below(u64::MAX)?;
        let cluster = self.geometry.cluster_size();
        self.header.l1_size = self.l1.len() as u32;
        if !self.l1.is_empty() {
            self.header.l1_offset = self.take((self.l1.len() as u64 * 8).div_ceil(cluster));
            self.write(self.header.l1_offset, &tables::bytes(&self.l1))?;
        }
        self.write_refcounts()?;
        // The last cluster is whole, so that its offsets lie within the file.
        let size = self.medium.size().map_err(ToolError::host("find the size of", self.medium.name()))?;
        if size < self.next {
            self.medium.set_size(self.next).map_err(ToolError::host("write", self.medium.name()))?;
        }
        let header = self.header.serialise().map_err(|error| error.of(self.medium.name()))?;
        self.write(0, &header)
    }

    fn write_refcounts(&mut self) -> Result<()> {
        let (bits, order) = (self.geometry.cluster_bits, self.geometry.refcount_order);
        let (blocks, clusters) = refcount_extent(&self.geometry, self.next >> bits);
        if clusters << bits > MAX_REFCOUNT_TABLE {
            let why = "too many clusters for its refcount table; use a larger cluster_size";
            return Err(ToolError::refused(self.medium.name(), why));
        }
        self.header.refcount_table_offset = self.take(clusters);
        self.header.refcount_table_clusters = clusters as u32;
        let first = self.take(blocks);
        let mut table: Vec<u64> = (0..blocks).map(|index| first + (index << bits)).collect();
        table.resize((clusters << bits) as usize / 8, 0);
        self.write(self.header.refcount_table_offset, &tables::bytes(&table))?;
        let used = self.next >> bits;
        let per_block = 1u64 << self.geometry.refcount_block_bits();
        for index in 0..blocks {
            let mut block = vec![0; 1 << bits];
            let from = index * per_block;
            for cluster in from..(from + per_block).min(used) {
                let count = self.counts.get(&cluster).copied().unwrap_or(1);
                tables::set_refcount(&mut block, order, (cluster - from) as usize, count);
            }
            self.write(first + (index << bits), &block)?;
        }
        Ok(())
    }
}

/// How many refcount blocks, and clusters of their table, count `used` clusters and themselves.
pub fn refcount_extent(geometry: &Geometry, used: u64) -> (u64, u64) {
    let (mut blocks, mut clusters) = (1, 1);
    loop {
        let needed = (used + blocks + clusters).div_ceil(1 << geometry.refcount_block_bits());
        let table = (needed * 8).div_ceil(geometry.cluster_size());
        if (needed, table) == (blocks, clusters) {
            return (blocks, clusters);
        }
        (blocks, clusters) = (needed.max(blocks), table.max(clusters));
    }
}

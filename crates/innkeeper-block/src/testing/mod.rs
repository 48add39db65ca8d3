//! What this crate's tests share: images made in memory, a medium that forgets what was not flushed, a check that
//! is not the one that is tested, random numbers.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use crate::Disk;
use crate::medium::{Medium, Memory};
use crate::qcow2::header::{self, Header};
use crate::qcow2::tables::{self, COPIED, Geometry, L2Entry};

mod recorder;

pub use recorder::{Event, Recorder};

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A header of an empty image: table in cluster 1, block in cluster 2, L1 from cluster 3 on.
pub fn blank(version: u32, cluster_bits: u32, refcount_order: u32, size: u64) -> Header {
    Header::empty(version, Geometry { cluster_bits, refcount_order, extended_l2: false }, size)
}

/// Writes an empty image to a medium.
pub fn create(medium: &dyn Medium, header: &Header) {
    let geometry = header.geometry();
    let bits = header.cluster_bits;
    let end = 3 + (u64::from(header.l1_size) * 8).div_ceil(1 << bits);
    medium.set_size(end << bits).unwrap();
    medium.write_all(0, &header.serialise().unwrap()).unwrap();
    medium.write_all(1 << bits, &(2u64 << bits).to_be_bytes()).unwrap();
    let mut block = vec![0; 1 << bits];
    assert!(end <= 1 << geometry.refcount_block_bits(), "the L1 table needs a second refcount block");
    (0..end).for_each(|cluster| tables::set_refcount(&mut block, header.refcount_order, cluster as usize, 1));
    medium.write_all(2 << bits, &block).unwrap();
}

pub fn read(disk: &dyn Disk, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xEE; length as usize];
    disk.read(offset, &mut [IoSliceMut::new(&mut bytes)])?;
    Ok(bytes)
}

pub fn write(disk: &dyn Disk, offset: u64, bytes: &[u8]) -> io::Result<()> {
    disk.write(offset, &[IoSlice::new(bytes)])
}

/// What is wrong with an image, and how many clusters are counted too often.
#[derive(Debug, Default)]
pub struct Findings {
    pub wrong: Vec<String>,
    pub leaks: u64,
}

struct Walk<'a> {
    medium: &'a dyn Medium,
    geometry: Geometry,
    used: HashMap<u64, u64>,
    wrong: Vec<String>,
}

/// Compares an image's refcounts and COPIED flags with what its tables lead to.
pub fn check(medium: &dyn Medium) -> Findings {
    let size = medium.size().unwrap();
    let mut bytes = vec![0; size.min(header::MAX_HEADER as u64) as usize];
    medium.read_exact(0, &mut bytes).unwrap();
    let header = match Header::parse(&bytes, size) {
        Ok(header) => header,
        Err(error) => return Findings { wrong: vec![error.to_string()], leaks: 0 },
    };
    let mut walk = Walk { medium, geometry: header.geometry(), used: HashMap::new(), wrong: vec![] };
    walk.uses(0, 1);
    walk.uses(header.l1_offset, u64::from(header.l1_size) * 8);
    walk.uses(header.refcount_table_offset, u64::from(header.refcount_table_clusters) << header.cluster_bits);
    let blocks = walk.words(
        header.refcount_table_offset,
        u64::from(header.refcount_table_clusters) << header.cluster_bits,
    );
    blocks.iter().filter(|block| **block != 0).for_each(|block| walk.uses(*block, 1));
    let l1 = walk.words(header.l1_offset, u64::from(header.l1_size) * 8);
    let flags = walk.tables(&l1);
    walk.compare(&blocks, &flags, size)
}

impl Walk<'_> {
    fn words(&self, offset: u64, length: u64) -> Vec<u64> {
        let mut bytes = vec![0; length as usize];
        self.medium.read_exact(offset, &mut bytes).unwrap();
        tables::words(&bytes).collect()
    }

    fn uses(&mut self, offset: u64, length: u64) {
        let bits = self.geometry.cluster_bits;
        for cluster in offset >> bits..=(offset + length.max(1) - 1) >> bits {
            *self.used.entry(cluster).or_default() += 1;
        }
    }

    /// The clusters that entries lead to, with their COPIED flags.
    fn tables(&mut self, l1: &[u64]) -> Vec<(u64, bool)> {
        let mut flags = vec![];
        for entry in l1.iter().filter(|entry| **entry != 0) {
            let table = entry & tables::OFFSET;
            self.uses(table, 1);
            flags.push((table, entry & COPIED != 0));
            let step = if self.geometry.extended_l2 { 2 } else { 1 };
            for entry in self.words(table, self.geometry.cluster_size()).into_iter().step_by(step) {
                match self.geometry.l2_entry(entry) {
                    Ok(L2Entry::Data { offset, copied } | L2Entry::Zero { offset: offset @ 1.., copied }) => {
                        self.uses(offset, 1);
                        flags.push((offset, copied));
                    }
                    Ok(L2Entry::Compressed { offset, length }) => self.uses(offset, length),
                    Ok(_) => {}
                    Err(error) => self.wrong.push(error.to_string()),
                }
            }
        }
        flags
    }

    fn compare(mut self, blocks: &[u64], flags: &[(u64, bool)], size: u64) -> Findings {
        let order = self.geometry.refcount_order;
        let mut counts = HashMap::new();
        for (number, block) in blocks.iter().enumerate().filter(|(_, block)| **block != 0) {
            let mut bytes = vec![0; self.geometry.cluster_size() as usize];
            self.medium.read_exact(*block, &mut bytes).unwrap();
            for index in 0..1usize << self.geometry.refcount_block_bits() {
                let count = tables::refcount(&bytes, order, index);
                if count > 0 {
                    counts.insert(
                        ((number as u64) << self.geometry.refcount_block_bits()) + index as u64,
                        count,
                    );
                }
            }
        }
        for (cluster, used) in &self.used {
            let count = counts.get(cluster).copied().unwrap_or(0);
            if count < *used {
                self.wrong.push(format!("cluster {cluster} is used {used} times, counted {count}"));
            }
            if cluster << self.geometry.cluster_bits >= size.next_multiple_of(self.geometry.cluster_size()) {
                self.wrong.push(format!("cluster {cluster} lies beyond the end at {size}"));
            }
        }
        for (offset, copied) in flags {
            let count = counts.get(&(offset >> self.geometry.cluster_bits)).copied().unwrap_or(0);
            if *copied && count != 1 {
                self.wrong.push(format!("COPIED at {offset:#x}, counted {count}"));
            }
        }
        let leaks = counts
            .iter()
            .map(|(cluster, count)| count.saturating_sub(self.used.get(cluster).copied().unwrap_or(0)))
            .sum();
        Findings { wrong: self.wrong, leaks }
    }
}

/// An empty image in memory.
pub fn memory(header: &Header) -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    create(&*memory, header);
    memory
}

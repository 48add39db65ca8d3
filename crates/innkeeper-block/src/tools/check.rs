//! Whether a qcow2 image is consistent, and making it so.
//!
//! Lost clusters are taken off their refcounts one by one, which is safe at any moment. Everything else is mended in
//! memory and made the image in one step ([`super::image`]): entries that lead nowhere read as zeroes from then on (as
//! they did), clusters with a second use are copied, all refcounts and flags are counted anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::census::{self, Census, Problem};
use super::image::{Change, Image};
use super::layer::{Access, open_file, read_table};
use super::{Progress, Result, ToolError};
use crate::medium::Medium;
use crate::qcow2::header::{CORRUPT, DIRTY};
use crate::qcow2::tables::{self, COMPRESSED, L2Entry, OFFSET, ZERO};

/// As many sentences as are kept; the numbers count all.
const MOST_FINDINGS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    Leaks,
    All,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub sentences: Vec<String>,
    pub corruptions: u64,
    pub leaks: u64,
    pub corruptions_fixed: u64,
    pub leaks_fixed: u64,
    /// Of the disk.
    pub total: u64,
    pub allocated: u64,
    pub fragmented: u64,
    pub compressed: u64,
    /// Where the image ends in its file.
    pub end: u64,
}

/// # Errors
/// What the host answered, or that the image cannot be opened at all.
pub fn check(path: &Path, repair: Option<Repair>, access: Access, progress: &Progress) -> Result<Findings> {
    let access = if repair.is_some() { Access::Write } else { access };
    let medium = Arc::new(open_file(path, access)?);
    check_medium(medium, repair, progress)
}

/// The same of an image on any medium.
pub fn check_medium(
    medium: Arc<dyn Medium>,
    repair: Option<Repair>,
    progress: &Progress,
) -> Result<Findings> {
    let image = Image::open(Arc::clone(&medium))?;
    let census = census::take_with_refcounts(&image, progress)?;
    let stored = Stored::read(&image)?;
    let before = report(&image, &census, &stored);
    let mended = match repair {
        Some(Repair::All) if before.corruptions > 0 || before.leaks > 0 || is_flagged(&image) => {
            mend(image, census, progress)?;
            true
        }
        Some(Repair::Leaks) if before.leaks > 0 => {
            take_off(&image, &census, &stored)?;
            true
        }
        _ => false,
    };
    if !mended {
        return Ok(before);
    }
    let image = Image::open(medium)?;
    let after = report(&image, &census::take_with_refcounts(&image, progress)?, &Stored::read(&image)?);
    Ok(Findings {
        sentences: before.sentences,
        corruptions_fixed: before.corruptions.saturating_sub(after.corruptions),
        leaks_fixed: before.leaks.saturating_sub(after.leaks),
        ..after
    })
}

fn is_flagged(image: &Image) -> bool {
    image.header.incompatible & (DIRTY | CORRUPT) != 0
}

/// The refcounts that the file has.
struct Stored {
    /// Of each block: its offset, or why it cannot be read.
    blocks: Vec<u64>,
    problems: Vec<String>,
    counts: Vec<u64>,
    /// Clusters beyond the file that are counted: a loss of power took back the file's growth. And the first of them.
    beyond: u64,
    first_beyond: Option<(u64, u64)>,
}

impl Stored {
    fn read(image: &Image) -> Result<Self> {
        let (header, geometry) = (&image.header, &image.geometry);
        let entries = (u64::from(header.refcount_table_clusters) << geometry.cluster_bits) / 8;
        let blocks = read_table(&*image.medium, header.refcount_table_offset, entries)?;
        let size = image.medium.size().map_err(ToolError::host("read", image.medium.name()))?;
        let clusters = size.div_ceil(geometry.cluster_size());
        let per_block = 1u64 << geometry.refcount_block_bits();
        let mut found = Self {
            blocks: Vec::new(),
            problems: Vec::new(),
            counts: Vec::new(),
            beyond: 0,
            first_beyond: None,
        };
        let mut block = vec![0; 1 << geometry.cluster_bits];
        for (index, entry) in blocks.into_iter().enumerate() {
            let at = entry & !511;
            let usable = at == 0 || (geometry.is_aligned(at) && at >> geometry.cluster_bits < clusters);
            if !usable {
                found.problems.push(format!("refcount block {index} at {at:#x} is not in the file"));
            }
            let at = if usable { at } else { 0 };
            found.blocks.push(at);
            let first = index as u64 * per_block;
            if at == 0 {
                continue;
            }
            image.medium.read_exact(at, &mut block).map_err(ToolError::host("read", image.medium.name()))?;
            for within in 0..per_block {
                let count = tables::refcount(&block, geometry.refcount_order, within as usize);
                if count > 0 && first + within < clusters {
                    found.counts.resize(found.counts.len().max((first + within) as usize + 1), 0);
                    found.counts[(first + within) as usize] = count;
                } else if count > 0 {
                    found.beyond += 1;
                    found.first_beyond.get_or_insert((first + within, count));
                }
            }
        }
        Ok(found)
    }

    fn count(&self, cluster: u64) -> u64 {
        self.counts.get(cluster as usize).copied().unwrap_or(0)
    }
}

fn report(image: &Image, census: &Census, stored: &Stored) -> Findings {
    let geometry = &image.geometry;
    let mut found = Findings {
        total: image.header.disk_size().div_ceil(geometry.cluster_size()),
        allocated: census.allocated,
        fragmented: census.fragmented,
        compressed: census.compressed,
        ..Findings::default()
    };
    let mut say = |sentence: String| {
        if found.sentences.len() < MOST_FINDINGS {
            found.sentences.push(sentence);
        }
    };
    for problem in &census.problems {
        say(describe(problem));
    }
    for problem in &stored.problems {
        say(format!("error: {problem}"));
    }
    found.corruptions = (census.problems.len() + stored.problems.len()) as u64;
    let mut end = 0;
    for cluster in 0..census.end().max(stored.counts.len() as u64) {
        let (counted, kept) = (census.count(cluster), stored.count(cluster));
        if counted > 0 || kept > 0 {
            end = cluster + 1;
        }
        if kept > counted {
            found.leaks += 1;
            say(format!("lost cluster {cluster}: refcount {kept}, {counted} users"));
        } else if kept < counted {
            found.corruptions += 1;
            say(format!("error: cluster {cluster} has refcount {kept}, and {counted} users"));
        }
    }
    if let Some((cluster, count)) = stored.first_beyond {
        found.leaks += stored.beyond;
        say(format!(
            "{} lost clusters beyond the file, the first is {cluster}: refcount {count}",
            stored.beyond
        ));
    }
    if image.header.incompatible & CORRUPT != 0 {
        say("the image is marked as corrupt".into());
    }
    found.end = end << geometry.cluster_bits;
    found
}

fn describe(problem: &Problem) -> String {
    match problem {
        Problem::L1 { snapshot, index, entry } => {
            let whose = snapshot.map_or("the active".into(), |number| format!("snapshot {}'s", number + 1));
            format!(
                "error: entry {index} of {whose} L1 table leads to {:#x}, where no L2 table can be",
                entry & OFFSET
            )
        }
        Problem::L2 { table, index, entry } => {
            format!(
                "error: entry {index} of the L2 table at {table:#x} is {entry:#x}, which leads to no cluster of the file"
            )
        }
        Problem::Overlap { cluster, first, second } => {
            format!("error: cluster {cluster} is both {} and {}", first.name(), second.name())
        }
        Problem::Copied { table: None, index, count } => {
            format!("error: entry {index} of the L1 table has the wrong flag for refcount {count}")
        }
        Problem::Copied { table: Some(table), index, count } => {
            format!(
                "error: entry {index} of the L2 table at {table:#x} has the wrong flag for refcount {count}"
            )
        }
        Problem::Bitmaps { why } => format!("error: {why}"),
    }
}

/// Lowers refcounts to what is counted.
fn take_off(image: &Image, census: &Census, stored: &Stored) -> Result<()> {
    let geometry = &image.geometry;
    let per_block = 1u64 << geometry.refcount_block_bits();
    let mut bytes = vec![0; 1 << geometry.cluster_bits];
    for (index, at) in stored.blocks.iter().enumerate().filter(|(_, at)| **at != 0) {
        let first = index as u64 * per_block;
        image.medium.read_exact(*at, &mut bytes).map_err(ToolError::host("read", image.medium.name()))?;
        let mut touched = false;
        for within in 0..per_block {
            let cluster = first + within;
            let counted = census.count(cluster);
            if tables::refcount(&bytes, geometry.refcount_order, within as usize) > counted {
                tables::set_refcount(&mut bytes, geometry.refcount_order, within as usize, counted);
                touched = true;
            }
        }
        if touched {
            image.medium.write_all(*at, &bytes).map_err(ToolError::host("write", image.medium.name()))?;
        }
    }
    image.medium.flush().map_err(ToolError::host("write", image.medium.name()))
}

/// Mends everything that can be.
fn mend(mut image: Image, census: Census, progress: &Progress) -> Result<()> {
    let mut overlaps = BTreeSet::new();
    let mut bitmaps = false;
    for problem in &census.problems {
        match problem {
            Problem::L1 { snapshot: None, index, .. } => image.l1[*index] = 0,
            Problem::L1 { snapshot: Some(number), index, .. } => image.snapshots[*number].1[*index] = 0,
            Problem::L2 { table, index, entry } => {
                let mut words = image.l2(*table)?;
                let step = if image.geometry.extended_l2 { 2 } else { 1 };
                words[index * step] = lost(&image, *entry);
                if step == 2 {
                    words[index * step + 1] = 0xFFFF_FFFF << 32;
                }
                image.changed.insert(*table, words);
            }
            Problem::Overlap { cluster, .. } => {
                overlaps.insert(*cluster);
            }
            Problem::Bitmaps { .. } => bitmaps = true,
            Problem::Copied { .. } => {}
        }
    }
    image.header.incompatible &= !CORRUPT;
    let mut change = Change::of(image, census);
    if bitmaps {
        change.drop_bitmaps();
    }
    separate(&mut change, &overlaps)?;
    change.finish(progress).map(drop)
}

/// What an entry that leads nowhere becomes: zeroes where the format can say so, else nothing.
fn lost(image: &Image, entry: u64) -> u64 {
    let zero = image.header.version > 2 && !image.geometry.extended_l2 && entry & COMPRESSED == 0;
    if zero { ZERO } else { 0 }
}

/// Gives guest data and L2 tables that lie where something else does a place of their own, with the bytes that are
/// there. All other metadata gets a new place in any case.
fn separate(change: &mut Change, overlaps: &BTreeSet<u64>) -> Result<()> {
    if overlaps.is_empty() {
        return Ok(());
    }
    let geometry = change.image.geometry;
    let step = if geometry.extended_l2 { 2 } else { 1 };
    let l1s = change.image.snapshots.iter().map(|(_, l1)| l1).chain([&change.image.l1]);
    let used: BTreeSet<u64> = l1s.flatten().map(|entry| entry & OFFSET).filter(|at| *at != 0).collect();
    for table in used {
        let mut words = change.image.l2(table)?;
        let mut touched = overlaps.contains(&(table >> geometry.cluster_bits));
        for entry in words.iter_mut().step_by(step) {
            let Ok(L2Entry::Data { offset, .. } | L2Entry::Zero { offset, .. }) = geometry.l2_entry(*entry)
            else {
                continue;
            };
            if offset == 0 || !overlaps.contains(&(offset >> geometry.cluster_bits)) {
                continue;
            }
            let place = change.take(1);
            let mut bytes = vec![0; geometry.cluster_size() as usize];
            let medium = &change.image.medium;
            medium.read_exact(offset, &mut bytes).map_err(ToolError::host("read", medium.name()))?;
            medium.write_all(place, &bytes).map_err(ToolError::host("write", medium.name()))?;
            *entry = *entry & !OFFSET | place;
            touched = true;
        }
        if touched {
            change.image.changed.insert(table, words);
        }
    }
    Ok(())
}

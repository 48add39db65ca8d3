//! Copying a disk into a new image.
//!
//! Several threads read, look for zeroes, compress and write, a part of the disk at a time. Places in a qcow2 file are
//! given to whoever is ready first: threads that waited for their turn would all be as slow as the one that the host
//! happens not to run. So parts lie in the file nearly in the disk's order, and exactly so with one thread.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::build::Builder;
use super::chain::{self, Chain};
use super::create::{self, NewImage};
use super::raw::{self, Preallocation};
use super::source::{Part, Skip, Source};
use super::staged::Staged;
use super::{Progress, Result, ToolError};
use crate::Format;
use crate::medium::{HostFile, Medium};
use crate::qcow2::codec;

/// What is written in one piece. Threads that write to one file wait for each other in the host: seldom is better.
const CHUNK: u64 = 4 << 20;
/// Where time goes into compressing instead.
const PACKED_CHUNK: u64 = 1 << 20;
/// Zeroes are looked for in pieces of this; smaller only if asked for.
const PAGE: u64 = 4096;

/// How a disk is copied.
#[derive(Clone, Debug)]
pub struct Request {
    pub new: NewImage,
    pub compress: bool,
    /// So many zeroes in a row are left out; none are if 0.
    pub sparse: u64,
    pub threads: usize,
}

/// Copies the disk of `chain` into a new image at `path`.
///
/// # Errors
/// One sentence; then nothing has changed.
pub fn convert(chain: &Chain, path: &Path, request: &Request, progress: &Progress) -> Result<()> {
    for layer in &chain.layers {
        if chain::identity(&layer.path).is_some_and(|found| chain::identity(path) == Some(found)) {
            let why = format!("it cannot be converted onto itself or onto {}", layer.path.display());
            return Err(ToolError::refused(path.display(), why));
        }
    }
    if request.compress && request.new.preallocation != Preallocation::Off {
        return Err(ToolError::refused(path.display(), "compressed clusters cannot be preallocated"));
    }
    progress.expect(chain.size());
    let staged = Staged::new(path)?;
    match request.new.format {
        Format::Raw => {
            raw::has_no_metadata(path, request.new.preallocation)?;
            to_raw(chain, &staged, request, progress)?;
        }
        Format::Qcow2 => to_qcow2(chain, path, &staged, request, progress)?,
    }
    staged.publish()
}

fn to_raw(chain: &Chain, staged: &Staged, request: &Request, progress: &Progress) -> Result<()> {
    let medium = staged.medium();
    if staged.is_device() {
        let room = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
        if room < chain.size() {
            let why = format!("the device has {room} bytes, the disk {}", chain.size());
            return Err(ToolError::refused(medium.name(), why));
        }
        medium.write_zeroes(0, chain.size(), true).map_err(ToolError::host("clear", medium.name()))?;
    } else {
        raw::set_size(&*medium, chain.size())?;
        raw::fill(&*medium, 0..chain.size(), request.new.preallocation, progress)?;
    }
    copy_flat(chain, &medium, 0, request, progress)
}

fn to_qcow2(
    chain: &Chain,
    path: &Path,
    staged: &Staged,
    request: &Request,
    progress: &Progress,
) -> Result<()> {
    let layout = &request.new.layout;
    let builder = Builder::new(staged.medium(), layout, chain.size())?;
    if request.new.preallocation != Preallocation::Off {
        let (start, length) = create::map_all(builder, path, layout, chain.size())?;
        let medium = staged.medium();
        create::extend(&*medium, start + length)?;
        raw::fill(&*medium, start..start + length, request.new.preallocation, progress)?;
        return copy_flat(chain, &medium, start, request, progress);
    }
    let skip = match (request.sparse, layout.backing_file.is_some()) {
        (0, _) => Skip::Nothing,
        (_, false) => Skip::Zeroes,
        (_, true) => Skip::Below,
    };
    let unit = builder.geometry().cluster_size();
    let chunk = if request.compress { PACKED_CHUNK } else { CHUNK };
    let source = Source::new(chain, skip, unit, chunk.max(unit));
    let packing = Packing {
        source,
        request,
        cluster: unit,
        keep_zeroes: skip == Skip::Below,
        plan: Mutex::new(Plan { builder, next: 0, ahead: BTreeMap::new() }),
        failed: AtomicBool::new(false),
        medium: staged.medium(),
    };
    in_threads(request.threads, || packing.run(progress))?;
    packing.plan.into_inner().unwrap_or_else(PoisonError::into_inner).builder.finish()
}

/// Runs the same in several threads; the first error.
fn in_threads(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(&work)).collect();
        let mut result = work();
        for other in others {
            let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(theirs);
        }
        result
    })
}

/// Copies to where every byte has its place already: `start` further on than in the disk.
fn copy_flat(
    chain: &Chain,
    medium: &Arc<HostFile>,
    start: u64,
    request: &Request,
    progress: &Progress,
) -> Result<()> {
    let (skip, unit) = match request.sparse {
        0 => (Skip::Nothing, PAGE),
        sparse => (Skip::Zeroes, sparse.min(PAGE)),
    };
    let source = Source::new(chain, skip, unit, CHUNK);
    let failed = AtomicBool::new(false);
    in_threads(request.threads, || {
        let mut buffer = vec![0; CHUNK as usize];
        stop_others(&failed, || {
            while !failed.load(Ordering::Relaxed)
                && let Some(part) = source.next(progress)?
            {
                let bytes = &mut buffer[..part.length as usize];
                chain.read(part.offset, bytes)?;
                for range in worth_writing(bytes, unit, request.sparse) {
                    let at = start + part.offset + range.start as u64;
                    medium.write_all(at, &bytes[range]).map_err(ToolError::host("write", medium.name()))?;
                }
                progress.advance(part.length)?;
            }
            Ok(())
        })
    })
}

fn stop_others(failed: &AtomicBool, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let result = work();
    if result.is_err() {
        failed.store(true, Ordering::Relaxed);
    }
    result
}

/// The file as far as it is laid out.
struct Plan {
    builder: Builder,
    /// The first part that has no places yet.
    next: u64,
    /// Parts after that which have: where each ends.
    ahead: BTreeMap<u64, u64>,
}

impl Plan {
    /// This part has its places: tables below the first that has not can be written.
    fn placed(&mut self, part: Part) -> Result<()> {
        self.ahead.insert(part.number, part.offset + part.length);
        let mut end = None;
        while let Some(passed) = self.ahead.remove(&self.next) {
            self.next += 1;
            end = Some(passed);
        }
        end.map_or(Ok(()), |end| self.builder.done_below(end))
    }
}

/// What the threads that fill a qcow2 file share.
struct Packing<'a> {
    source: Source<'a>,
    request: &'a Request,
    cluster: u64,
    /// Zeroes must be written as such: a backing image may have something there.
    keep_zeroes: bool,
    plan: Mutex<Plan>,
    failed: AtomicBool,
    medium: Arc<HostFile>,
}

/// One cluster of a part, read and looked at.
enum Content {
    Zero,
    Plain,
    Packed(Vec<u8>),
}

impl Packing<'_> {
    fn run(&self, progress: &Progress) -> Result<()> {
        stop_others(&self.failed, || self.fill(progress))
    }

    fn fill(&self, progress: &Progress) -> Result<()> {
        let mut buffer = vec![0; CHUNK.max(self.cluster) as usize];
        while !self.failed.load(Ordering::Relaxed)
            && let Some(part) = self.source.next(progress)?
        {
            if part.zero {
                let mut plan = self.plan();
                self.place_zeroes(&mut plan.builder, part)?;
                plan.placed(part)?;
            } else {
                let bytes = &mut buffer[..part.length.next_multiple_of(self.cluster) as usize];
                let (filled, padding) = bytes.split_at_mut(part.length as usize);
                self.source.chain.read(part.offset, filled)?;
                padding.fill(0);
                let contents = self.look_at(bytes);
                let mut plan = self.plan();
                let places = self.place(&mut plan.builder, part.offset, &contents)?;
                plan.placed(part)?;
                drop(plan);
                self.write(bytes, &contents, &places)?;
            }
            progress.advance(part.length)?;
        }
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at(&self, bytes: &[u8]) -> Vec<Content> {
        let clusters = bytes.len() / self.cluster as usize;
        let mut contents: Vec<Content> = (0..clusters).map(|_| Content::Zero).collect();
        for range in worth_writing(bytes, self.cluster, self.request.sparse) {
            for at in range.step_by(self.cluster as usize) {
                let cluster = &bytes[at..at + self.cluster as usize];
                let packed = self
                    .request
                    .compress
                    .then(|| codec::compress(self.request.new.layout.compression, cluster))
                    .flatten();
                contents[at / self.cluster as usize] = packed.map_or(Content::Plain, Content::Packed);
            }
        }
        contents
    }

    /// Gives each cluster its place in the file; 0 for none.
    fn place(&self, builder: &mut Builder, offset: u64, contents: &[Content]) -> Result<Vec<u64>> {
        let mut places = Vec::with_capacity(contents.len());
        for (index, content) in contents.iter().enumerate() {
            let guest = offset + index as u64 * self.cluster;
            places.push(match content {
                Content::Zero if !self.keep_zeroes => 0,
                Content::Zero if builder.has_zero_clusters() => {
                    builder.map_zero(guest);
                    0
                }
                Content::Zero | Content::Plain => {
                    let host = builder.take(1);
                    builder.map(guest, host);
                    host
                }
                Content::Packed(bytes) => builder.place_packed(guest, bytes.len() as u64)?,
            });
        }
        Ok(places)
    }

    /// A stretch of zeroes, whatever the backing image has there.
    fn place_zeroes(&self, builder: &mut Builder, part: Part) -> Result<()> {
        let end = part.offset + part.length;
        for guest in (part.offset..end).step_by(self.cluster as usize) {
            if builder.has_zero_clusters() {
                builder.map_zero(guest);
            } else {
                let host = builder.take(1);
                builder.map(guest, host);
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], contents: &[Content], places: &[u64]) -> Result<()> {
        let cluster = self.cluster as usize;
        let mut index = 0;
        while index < contents.len() {
            let (host, first) = (places[index], index);
            index += 1;
            if host == 0 {
                continue;
            }
            let data = if let Content::Packed(packed) = &contents[first] {
                &packed[..]
            } else {
                while index < contents.len()
                    && places[index] == host + ((index - first) as u64 * self.cluster)
                    && matches!(contents[index], Content::Plain | Content::Zero)
                {
                    index += 1;
                }
                &bytes[first * cluster..index * cluster]
            };
            self.medium
                .write(host, &[IoSlice::new(data)])
                .map_err(ToolError::host("write", self.medium.name()))?;
        }
        Ok(())
    }
}

/// The ranges of `bytes` that are not zeroes, in units; fewer zeroes in a row than `sparse` count as data.
fn worth_writing(bytes: &[u8], unit: u64, sparse: u64) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    if sparse == 0 {
        ranges.push(0..bytes.len());
        return ranges;
    }
    let unit = unit as usize;
    for start in (0..bytes.len()).step_by(unit) {
        let end = (start + unit).min(bytes.len());
        if is_zero(&bytes[start..end]) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if ((start - last.end) as u64) < sparse => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // A look at both ends tells most data from zeroes without reading all of it.
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return true };
    if *first != 0 || *last != 0 {
        return false;
    }
    let mut chunks = bytes.chunks_exact(64);
    chunks.all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
        && chunks.remainder().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_of_zeroes_are_data() {
        let mut bytes = vec![0; 64 << 10];
        bytes[0] = 1;
        bytes[16384] = 1;

        let found = |sparse| -> Vec<(usize, usize)> {
            worth_writing(&bytes, 4096, sparse).iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(found(4096), [(0, 4096), (16384, 20480)]);
        assert_eq!(found(16384), [(0, 20480)]);
        assert_eq!(found(0), [(0, 65536)]);
    }
}

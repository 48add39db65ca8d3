//! A qcow2 image as a disk: what is open, and reading it.
//!
//! Who holds what: `map` is read-locked for a lookup and written for a change of the mapping, never during
//! input or output of data. `space` is locked to allocate and count. A request that changes the mapping of
//! guest clusters claims them first. Locks are taken in the order claim, `flushing`, `tables`, `space`, `map`.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::codec;
use super::header::{self, Header};
use super::map::{Kind, Map, Miss, Run};
use super::refcounts::Refcounts;
use super::snapshot::{self, Snapshot};
use super::tables::{self, Geometry};
use super::traffic::{Claims, Epochs};
use crate::error::{Error, Result};
use crate::medium::Medium;
use crate::tools::ToolError;
use crate::tools::rebase::record;
use crate::{Disk, Extent, Format, buffers, range};

/// What is free and what is about to be.
pub(super) struct Space {
    pub refcounts: Refcounts,
    /// Clusters, each with one user less as soon as the mapping without them is durable.
    pub pending: Vec<Range<u64>>,
    /// The same once it is, with the epoch in which requests may still use them.
    pub leaving: Vec<(usize, Range<u64>)>,
    /// Where compressed clusters are appended: the offset, and as many bytes to the cluster's end.
    pub compressed: (u64, u64),
}

/// How an image is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    pub read_only: bool,
    /// Freed clusters' space is given back to the host.
    pub unmap: bool,
}

/// What an image is backed by, and how large that was when it came to lie there.
#[derive(Clone)]
struct Below {
    disk: Option<Arc<dyn Disk>>,
    size: u64,
}

impl Below {
    fn new(disk: Option<Arc<dyn Disk>>) -> Self {
        Self { size: disk.as_ref().map_or(0, |disk| disk.size()), disk }
    }
}

pub struct Qcow2 {
    pub(super) medium: Arc<dyn Medium>,
    below: RwLock<Below>,
    pub(super) header: Header,
    pub(super) geometry: Geometry,
    pub(super) size: AtomicU64,
    /// Entries of the L1 table; held by who makes it longer.
    pub(super) growing: Mutex<u64>,
    pub(super) how: Use,
    pub(super) map: RwLock<Map>,
    pub(super) space: Mutex<Space>,
    pub(super) claims: Claims,
    pub(super) epochs: Epochs,
    pub(super) tables: Mutex<()>,
    /// The number of the last flush that succeeded.
    pub(super) flushing: Mutex<u64>,
    /// The number of the last flush that began.
    pub(super) flushes: AtomicU64,
    /// So much waits for a flush that one is due.
    pub(super) strained: AtomicBool,
    /// Something in the image contradicts itself: it is written no more.
    broken: AtomicBool,
    /// Somebody else has the image now: what is known here is of no use any more.
    pub(super) handed_over: AtomicBool,
    /// The compressed cluster that was read last: its offset and contents.
    decompressed: Mutex<(u64, Arc<[u8]>)>,
}

/// Reads and checks the header.
///
/// # Errors
/// The host's answer, or what is wrong with it, said of the medium's name.
pub fn read_header(medium: &dyn Medium) -> Result<Header> {
    let name = medium.name();
    let size = medium.size().map_err(Error::host(format!("find the size of {name}")))?;
    let mut bytes = vec![0; size.min(header::MAX_HEADER as u64) as usize];
    medium.read_exact(0, &mut bytes).map_err(Error::host(format!("read {name}")))?;
    Header::parse(&bytes, size).map_err(|error| error.of(name))
}

impl Qcow2 {
    /// `backing`: what the header names, opened already.
    ///
    /// # Errors
    /// The host's answer, or what is wrong with the image or not supported, said of the medium's name.
    pub fn open(medium: Arc<dyn Medium>, backing: Option<Arc<dyn Disk>>, how: Use) -> Result<Self> {
        let mut header = read_header(&*medium)?;
        let how = Use { read_only: how.read_only || medium.is_read_only(), ..how };
        check_usable(&header, how).map_err(|error| error.of(medium.name()))?;
        let refcounts = Self::load_refcounts(&medium, &header, how)?;
        let map = Self::load_map(&*medium, &header, &refcounts)?;
        if !how.read_only {
            clear_autoclear(&*medium, &mut header)?;
        }
        let space = Space { refcounts, pending: Vec::new(), leaving: Vec::new(), compressed: (0, 0) };
        Ok(Self {
            geometry: header.geometry(),
            size: header.disk_size().into(),
            growing: Mutex::new(header.l1_size.into()),
            header,
            below: RwLock::new(Below::new(backing)),
            medium,
            how,
            map: RwLock::new(map),
            space: Mutex::new(space),
            claims: Claims::default(),
            epochs: Epochs::default(),
            tables: Mutex::new(()),
            flushing: Mutex::new(0),
            flushes: AtomicU64::new(0),
            strained: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            decompressed: Mutex::new((u64::MAX, Arc::from([]))),
        })
    }

    fn load_refcounts(medium: &Arc<dyn Medium>, header: &Header, how: Use) -> Result<Refcounts> {
        if how.read_only {
            let size = medium.size().map_err(Error::host(format!("find the size of {}", medium.name())))?;
            return Ok(Refcounts::none(Arc::clone(medium), header, size));
        }
        let mut refcounts = Refcounts::load(Arc::clone(medium), header)?;
        for cluster in snapshot_clusters(&**medium, header)? {
            refcounts.protect(cluster);
        }
        Ok(refcounts)
    }

    fn load_map(medium: &dyn Medium, header: &Header, refcounts: &Refcounts) -> Result<Map> {
        let (name, geometry) = (medium.name(), header.geometry());
        let mut bytes = vec![0; header.l1_size as usize * 8];
        medium.read_exact(header.l1_offset, &mut bytes).map_err(Error::host(format!("read {name}")))?;
        let l1: Vec<u64> = tables::words(&bytes).collect();
        for (number, entry) in l1.iter().enumerate() {
            let offset = tables::l1_offset(*entry, &geometry).map_err(|error| error.of(name))?;
            if offset >= refcounts.medium_size() {
                return Err(Error::Corrupt(format!(
                    "{name}: L1 entry {number} leads to {offset:#x}, beyond the image's end: it is cut short"
                )));
            }
            if offset != 0 && refcounts.is_metadata(offset >> geometry.cluster_bits) {
                return Err(Error::Corrupt(format!(
                    "{name}: L1 entry {number} leads to {offset:#x}, which is another table"
                )));
            }
        }
        let mut map = Map::new(geometry, l1, refcounts.medium_size());
        map.metadata.extend(refcounts.metadata());
        Ok(map)
    }

    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// For messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.medium.name()
    }

    /// Ends the use of the image, for tools that change it where it is: all is durable, and nothing is written from here
    /// any more. No request may be under way, and none may come. [`Self::taken_back`] follows.
    ///
    /// # Errors
    /// What the host answered; then it can be used on.
    pub fn hand_over(&self) -> io::Result<Arc<dyn Medium>> {
        self.check_write(0, 0)?;
        // The second makes what the first freed durable.
        self.flush_metadata().and_then(|()| self.flush_metadata())?;
        self.handed_over.store(true, Ordering::SeqCst);
        Ok(Arc::clone(&self.medium))
    }

    /// The same image as it is now, after [`Self::hand_over`].
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn taken_back(&self) -> Result<Self> {
        Self::open(Arc::clone(&self.medium), self.backing(), self.how)
    }

    pub(super) fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map_mut(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self) -> Below {
        self.below.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn backing_size(&self) -> u64 {
        self.below.read().unwrap_or_else(PoisonError::into_inner).size
    }

    /// What it is backed by.
    pub fn backing(&self) -> Option<Arc<dyn Disk>> {
        self.below().disk
    }

    /// Has it lie over something else that shows the same where it shows through; the header stays as it is. No request
    /// may be under way.
    pub fn set_backing(&self, backing: Option<Arc<dyn Disk>>) {
        *self.below.write().unwrap_or_else(PoisonError::into_inner) = Below::new(backing);
    }

    /// Writes into the header what it is backed by. No request may be under way.
    ///
    /// # Errors
    /// The host's answer; the header is then the old one or the new one.
    pub fn record_backing(&self, backing: Option<(&str, Format)>) -> Result<()> {
        let name = self.medium.name();
        self.flush_metadata().map_err(Error::host(format!("write {name}")))?;
        record(Arc::clone(&self.medium), backing).map_err(|error| match error {
            ToolError::Image(error) => error,
            ToolError::Cancelled => Error::Refused(format!("writing the header of {name} was cancelled")),
        })
    }

    pub(super) fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of a request. What contradicts itself is no longer written, and the image says so to whoever opens
    /// it next.
    pub(super) fn failed(&self, error: Error) -> io::Error {
        if !matches!(error, Error::Corrupt(_)) {
            return error.into();
        }
        if !self.how.read_only && !self.broken.swap(true, Ordering::SeqCst) && self.header.version == 3 {
            let features = (self.header.incompatible | header::CORRUPT).to_be_bytes();
            // The first error matters more than one in noting it.
            let _ = self
                .medium
                .write_all(header::INCOMPATIBLE_FIELD, &features)
                .and_then(|()| self.medium.flush());
        }
        let name = self.medium.name();
        let named = error.to_string().starts_with(name);
        if named { error.into() } else { error.of(name).into() }
    }

    pub(super) fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        range::check(offset, length, self.size())
    }

    pub(super) fn check_write(&self, offset: u64, length: u64) -> io::Result<()> {
        range::check(offset, length, self.size())?;
        if self.how.read_only || self.handed_over.load(Ordering::Relaxed) {
            return Err(range::read_only());
        }
        if self.broken.load(Ordering::Relaxed) {
            let text =
                format!("{} is corrupt and no longer written; check and repair it", self.medium.name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }

    /// What is at `guest`, with its slice loaded if need be.
    pub(super) fn find(&self, guest: u64, length: u64) -> io::Result<Run> {
        loop {
            let found = self.map().lookup(guest, length).map_err(|error| self.failed(error))?;
            match found {
                Ok(run) => return Ok(run),
                Err(miss) => self.load(miss)?,
            }
        }
    }

    /// Brings a slice into the cache.
    pub(super) fn load(&self, miss: Miss) -> io::Result<()> {
        loop {
            let (written, mut bytes) = {
                let map = self.map();
                if map.has(miss.key) {
                    return Ok(());
                }
                (map.written, vec![0; map.slice_size()])
            };
            self.medium.read_exact(miss.key, &mut bytes)?;
            let mut map = self.map_mut();
            if map.has(miss.key) {
                return Ok(());
            }
            // A flush since then may have written, and the cache dropped, something newer.
            if map.written == written && map.insert(miss, tables::words(&bytes).collect()) {
                return Ok(());
            }
            let full = map.written == written;
            drop(map);
            if full {
                self.flush_metadata()?;
            }
        }
    }

    /// Whether `length` bytes, all of one kind, read as zeroes without looking at data.
    pub(super) fn is_zero(&self, kind: Kind, guest: u64) -> bool {
        match kind {
            Kind::Zero => true,
            Kind::Unallocated => guest >= self.backing_size(),
            Kind::Data { .. } | Kind::Compressed { .. } => false,
        }
    }

    /// Reads from `guest` on, beyond the disk's end too, where there may be the rest of a cluster.
    pub(super) fn read_at(&self, guest: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let total = range::total_mut(buffers);
        let mut done = 0;
        while done < total {
            let run = self.find(guest + done, total - done)?;
            if run.length == total {
                self.read_run(run, guest, buffers)?;
            } else {
                self.read_run(run, guest + done, &mut buffers::part_mut(buffers, done, run.length))?;
            }
            done += run.length;
        }
        Ok(())
    }

    /// `buffers` are as long as the run.
    fn read_run(&self, run: Run, guest: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        match run.kind {
            Kind::Data { host, .. } => self.medium.read(host, buffers)?,
            Kind::Zero => buffers::fill(buffers, 0),
            Kind::Unallocated => self.read_backing(guest, run.length, buffers)?,
            Kind::Compressed { offset, length } => {
                let cluster = self.decompress(offset, length)?;
                let from = self.geometry.within_cluster(guest) as usize;
                buffers::scatter(buffers, &cluster[from..from + run.length as usize]);
            }
        }
        Ok(())
    }

    fn read_backing(&self, guest: u64, length: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let Below { disk, size } = self.below();
        let there = size.saturating_sub(guest).min(length);
        match &disk {
            Some(backing) if there == length => backing.read(guest, buffers),
            Some(backing) if there > 0 => {
                backing.read(guest, &mut buffers::part_mut(buffers, 0, there))?;
                buffers::fill(&mut buffers::part_mut(buffers, there, length - there), 0);
                Ok(())
            }
            _ => {
                buffers::fill(buffers, 0);
                Ok(())
            }
        }
    }

    fn decompress(&self, offset: u64, length: u64) -> io::Result<Arc<[u8]>> {
        {
            let last = self.decompressed.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0 == offset {
                return Ok(Arc::clone(&last.1));
            }
        }
        let mut bytes = vec![0; length as usize];
        self.medium.read_exact(offset, &mut bytes)?;
        let mut cluster: Arc<[u8]> = vec![0; self.geometry.cluster_size() as usize].into();
        let out = Arc::get_mut(&mut cluster).expect("nobody else has it yet");
        // Not `failed`: one unreadable cluster makes no writes elsewhere wrong.
        codec::decompress(self.header.compression, &bytes, out)
            .map_err(|error| error.of(&format!("{} at {offset:#x}", self.medium.name())))?;
        *self.decompressed.lock().unwrap_or_else(PoisonError::into_inner) = (offset, Arc::clone(&cluster));
        Ok(cluster)
    }

    /// A compressed cluster's place is about to be used for something else.
    pub(super) fn forget_decompressed(&self) {
        self.decompressed.lock().unwrap_or_else(PoisonError::into_inner).0 = u64::MAX;
    }

    /// One run as an extent.
    fn extent_at(&self, offset: u64, length: u64) -> io::Result<Extent> {
        let run = self.find(offset, length)?;
        let here = !matches!(run.kind, Kind::Unallocated);
        let zero = self.is_zero(run.kind, offset);
        if !here && !zero {
            let Below { disk, size } = self.below();
            let Some(backing) = disk.filter(|_| offset < size) else {
                return Ok(Extent { offset, length: run.length, zero: true, here });
            };
            let extent = backing.extent(offset, run.length.min(size - offset))?;
            return Ok(Extent { offset, length: extent.length, zero: extent.zero, here });
        }
        Ok(Extent { offset, length: run.length, zero, here })
    }
}

/// What keeps an image from being opened so.
fn check_usable(header: &Header, how: Use) -> Result<()> {
    if header.incompatible & header::EXTERNAL_DATA != 0 {
        return Err(Error::Unsupported(
            "the image keeps its data in an external file, which Innkeeper does not have: convert it".into(),
        ));
    }
    if how.read_only {
        return Ok(());
    }
    if header.incompatible & header::CORRUPT != 0 {
        return Err(Error::Corrupt(
            "the image is marked as corrupt: check and repair it, or open it read-only".into(),
        ));
    }
    if header.incompatible & header::DIRTY != 0 {
        return Err(Error::Corrupt(
            "the image was not closed and its refcounts may be wrong: check and repair it, or open it read-only".into(),
        ));
    }
    if header.refcount_table_clusters == 0 {
        return Err(Error::Corrupt(
            "the image has no refcount table: check and repair it, or open it read-only".into(),
        ));
    }
    Ok(())
}

/// Features that we do not keep up to date while writing, such as bitmaps of changes.
fn clear_autoclear(medium: &dyn Medium, header: &mut Header) -> Result<()> {
    if header.autoclear == 0 {
        return Ok(());
    }
    header.autoclear = 0;
    let written = medium.write_all(header::AUTOCLEAR_FIELD, &[0; 8]).and_then(|()| medium.flush());
    written.map_err(Error::host(format!("write the header of {}", medium.name())))
}

/// The clusters of the snapshot table and of the snapshots' L1 tables.
fn snapshot_clusters(medium: &dyn Medium, header: &Header) -> Result<Vec<u64>> {
    if header.snapshot_count == 0 {
        return Ok(Vec::new());
    }
    let (name, geometry) = (medium.name(), header.geometry());
    let size = medium.size().map_err(Error::host(format!("find the size of {name}")))?;
    let longest = u64::from(header.snapshot_count) * snapshot::MAX_ENTRY as u64;
    let length = (size - header.snapshots_offset.min(size)).min(longest).min(snapshot::MAX_TABLE as u64);
    let mut bytes = vec![0; length as usize];
    medium.read_exact(header.snapshots_offset, &mut bytes).map_err(Error::host(format!("read {name}")))?;
    let (snapshots, length) =
        Snapshot::parse_table(&bytes, header.snapshot_count, &geometry).map_err(|error| error.of(name))?;
    let mut clusters = Vec::new();
    let mut add = |offset: u64, length: u64| {
        clusters.extend(
            offset >> geometry.cluster_bits..offset.saturating_add(length).div_ceil(geometry.cluster_size()),
        );
    };
    add(header.snapshots_offset, length as u64);
    for snapshot in snapshots {
        if snapshot.l1_offset > size {
            return Err(Error::Corrupt(format!(
                "{name}: the L1 table of snapshot {:?} lies beyond the image's end",
                snapshot.name
            )));
        }
        add(snapshot.l1_offset, u64::from(snapshot.l1_size) * 8);
    }
    Ok(clusters)
}

impl Disk for Qcow2 {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn is_read_only(&self) -> bool {
        self.how.read_only
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.check(offset, range::total_mut(buffers))?;
        let _under_way = self.epochs.enter();
        self.read_at(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_write(offset, range::total(buffers))?;
        {
            let _under_way = self.epochs.enter();
            self.write_at(offset, buffers)?;
        }
        self.relieve()
    }

    fn flush(&self) -> io::Result<()> {
        if self.how.read_only { Ok(()) } else { self.flush_metadata() }
    }

    fn settle(&self) -> io::Result<()> {
        self.settle_metadata()
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.check_write(offset, length)?;
        {
            let _under_way = self.epochs.enter();
            self.zero_at(offset, length, unmap)?;
        }
        self.relieve()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check_write(offset, length)?;
        {
            let _under_way = self.epochs.enter();
            self.discard_at(offset, length)?;
        }
        self.relieve()
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.check(offset, length)?;
        let _under_way = self.epochs.enter();
        let mut all = self.extent_at(offset, length)?;
        while all.length < length {
            let next = self.extent_at(offset + all.length, length - all.length)?;
            if (next.zero, next.here) != (all.zero, all.here) {
                break;
            }
            all.length += next.length;
        }
        Ok(all)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.check_write(0, 0)?;
        self.grow_to(size)
    }

    fn as_qcow2(&self) -> Option<&Qcow2> {
        Some(self)
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.medium.identity()
    }
}

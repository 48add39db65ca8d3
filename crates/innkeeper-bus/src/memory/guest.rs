//! Guest RAM: one anonymous host mapping, seen by the guest through slots (GPA ranges). Behind the machine's RAM
//! it has room for that of devices.
//!
//! Beside the bytes it keeps, per page, a version number and a bitmap of the 64-byte chunks that
//! decoded blocks came from. A write to such a chunk raises the version, and that is how every
//! vCPU's block cache notices self- and cross-modifying code, DMA included. A third word per page says
//! which vCPUs may write to it unreported, so that only they are asked to stop when it becomes code, or is watched.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, RwLock};
use std::{fmt, io};

use super::layout::{Layout, Slot, Watcher};
use super::ram::Ram;
use super::writers::Watches;
use super::writes::CodeWrites;

/// Bytes in a small page.
pub const PAGE_SIZE: u64 = 4096;
pub(super) const PAGE_SHIFT: u32 = 12;
/// A code bitmap has one bit for each of these.
const CHUNK_SHIFT: u64 = 6;

/// Slots that lie in a PC's adapter area may move: chipsets put ROM and RAM there in turn.
const ADAPTER_AREA: std::ops::RangeInclusive<u64> = 0xA_0000..=0x10_0000;
/// Address space for devices' RAM: 64 MiB of framebuffer, and ROMs, several times over.
const DEVICE_BYTES: u64 = 256 << 20;

#[derive(Debug)]
pub enum MemoryError {
    /// The host refused the mapping.
    Map { bytes: u64, source: io::Error },
    /// A slot is empty, not page-aligned, or overlaps its neighbour.
    BadSlot { gpa: u64, size: u64 },
    /// `[gpa, gpa + length)` is not all RAM.
    OutOfRange { gpa: u64, length: u64 },
    /// `[offset, offset + length)` is not all in a piece of `size` bytes.
    OutOfRam { offset: u64, length: u64, size: u64 },
    /// There is no room for `size` bytes of device RAM.
    NoRoom { size: u64 },
    /// The engine cannot put memory there.
    Place { gpa: u64, size: u64, source: io::Error },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { bytes, source } => write!(out, "cannot map {bytes} bytes of guest memory: {source}"),
            Self::BadSlot { gpa, size } => {
                write!(out, "memory slot at {gpa:#x} with {size:#x} bytes is empty, unaligned or overlaps")
            }
            Self::OutOfRange { gpa, length } => {
                write!(out, "guest-physical {gpa:#x} + {length:#x} bytes is not all RAM")
            }
            Self::OutOfRam { offset, length, size } => {
                write!(out, "{offset:#x} + {length:#x} bytes go beyond a piece of RAM of {size:#x}")
            }
            Self::NoRoom { size } => {
                let most = DEVICE_BYTES >> 20;
                write!(
                    out,
                    "no room for {size:#x} bytes of device RAM, which are whole pages and at most {most} MiB"
                )
            }
            Self::Place { gpa, size, source } => {
                write!(out, "the engine cannot move {size:#x} bytes of memory at {gpa:#x}: {source}")
            }
        }
    }
}

impl std::error::Error for MemoryError {}

/// The RAM of one machine. Shared by all vCPUs and devices; dropped with the last of them.
pub struct GuestMemory {
    base: NonNull<u8>,
    bytes: u64,
    layout: Layout,
    movable: Vec<Slot>,
    /// Device RAM in use: offset and size, ascending.
    taken: Mutex<Vec<(u64, u64)>>,
    versions: Box<[AtomicU32]>,
    pub(super) code_chunks: Box<[AtomicU64]>,
    pub(super) writers: Box<[AtomicU64]>,
    pub(super) watches: Watches,
    /// Those who translate code, and must hear what is written to it. Set before the guest runs.
    translators: RwLock<Vec<Arc<CodeWrites>>>,
}

// SAFETY: `base` is a private anonymous mapping owned by this value; guest RAM is shared memory by
// nature, and every access below is a raw copy or an atomic, never a Rust reference into it.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

fn zeroed<T: Default>(count: usize) -> Box<[T]> {
    // Large zeroed vectors of zero-valued atomics come from untouched pages, so this costs no RAM.
    let layout = std::alloc::Layout::array::<T>(count.max(1)).expect("page count");
    // SAFETY: `T` is an atomic integer for both callers, valid as all zeroes; the layout is that of
    // a boxed slice of `count.max(1)` elements and is non-empty.
    unsafe {
        let raw = std::alloc::alloc_zeroed(layout).cast::<T>();
        assert!(!raw.is_null(), "out of memory");
        Box::from_raw(std::ptr::slice_from_raw_parts_mut(raw, count.max(1)))
    }
}

impl GuestMemory {
    /// Maps RAM for `ranges` of (gpa, size), each page-aligned and ascending. Those in a PC's adapter area
    /// (A0000 to FFFFF) may move.
    ///
    /// # Errors
    /// [`MemoryError::BadSlot`] or [`MemoryError::Map`].
    pub fn new(ranges: &[(u64, u64)]) -> Result<Self, MemoryError> {
        let (mut slots, mut bytes, mut last_end) = (Vec::new(), 0u64, 0u64);
        for &(gpa, size) in ranges {
            let bad = MemoryError::BadSlot { gpa, size };
            let Some(end) = gpa.checked_add(size) else { return Err(bad) };
            if size == 0 || (gpa | size) % PAGE_SIZE != 0 || gpa < last_end {
                return Err(bad);
            }
            slots.push(Slot { gpa, size, offset: bytes, read_only: false });
            (bytes, last_end) = (bytes + size, end);
        }
        let refused = |source| MemoryError::Map { bytes, source };
        let too_much = || refused(io::ErrorKind::OutOfMemory.into());
        let all = bytes.checked_add(DEVICE_BYTES).ok_or_else(too_much)?;
        let length = usize::try_from(all).map_err(|_| too_much())?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            return Err(refused(io::Error::last_os_error()));
        }
        let base = NonNull::new(raw.cast()).expect("mmap never returns null");
        let pages = (all >> PAGE_SHIFT) as usize;
        let adapters =
            |slot: &Slot| ADAPTER_AREA.contains(&slot.gpa) && ADAPTER_AREA.contains(&(slot.gpa + slot.size));
        let (movable, fixed): (Vec<_>, Vec<_>) = slots.into_iter().partition(adapters);
        Ok(Self {
            base,
            bytes,
            layout: Layout::new(fixed, movable.clone()),
            movable,
            taken: Mutex::default(),
            versions: zeroed(pages),
            code_chunks: zeroed(pages),
            writers: zeroed(pages),
            watches: Watches::default(),
            translators: RwLock::default(),
        })
    }

    /// Bytes of the machine's RAM, wherever they are mapped; without that of devices.
    pub fn size(&self) -> u64 {
        self.bytes
    }

    /// What the guest sees now, ascending.
    pub fn slots(&self) -> Vec<Slot> {
        self.layout.slots()
    }

    /// The host address of the whole mapping, for engines that hand it to the host's KVM.
    pub fn host_base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The slot that holds `gpa`.
    #[inline]
    pub fn slot(&self, gpa: u64) -> Option<Slot> {
        self.layout.slot(gpa)
    }

    /// The index of the page that holds `gpa`, the key of the code ledger.
    #[inline]
    pub fn page_index(&self, gpa: u64) -> Option<u32> {
        self.slot(gpa).map(|slot| ((gpa - slot.gpa + slot.offset) >> PAGE_SHIFT) as u32)
    }

    /// The guest-physical address of page `index`; all ones if it is not mapped.
    pub fn page_gpa(&self, index: u32) -> u64 {
        let offset = u64::from(index) << PAGE_SHIFT;
        self.layout.slot_of_offset(offset).map_or(u64::MAX, |slot| slot.gpa + (offset - slot.offset))
    }

    /// The host address of the first byte of page `index`.
    #[inline]
    pub fn page_pointer(&self, index: u32) -> *mut u8 {
        assert!((index as usize) < self.versions.len(), "page index beyond RAM");
        self.pointer(u64::from(index) << PAGE_SHIFT)
    }

    /// The host address of a byte of the mapping.
    pub(super) fn pointer(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset >> PAGE_SHIFT < self.versions.len() as u64);
        // SAFETY: callers stay within the mapping: they have checked a slot, a piece or a page number.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }

    // ---- memory that moves --------------------------------------------------------------------

    /// From now on `size` bytes of `ram`, from `from` on, are seen at `gpa`. Where they are `read_only`, guest
    /// writes go to the MMIO bus. The vCPUs learn of it at their next step between blocks, the one whose access
    /// this is behind its instruction.
    ///
    /// # Errors
    /// [`MemoryError`] if it is not whole pages of this memory, if the place is taken, or if the engine refuses.
    pub fn map_ram(
        &self,
        gpa: u64,
        ram: &Ram,
        from: u64,
        size: u64,
        read_only: bool,
    ) -> Result<(), MemoryError> {
        let inside = from <= ram.size() && size <= ram.size() - from;
        if !inside || !std::ptr::eq(self, &raw const **ram.memory()) {
            return Err(MemoryError::OutOfRam { offset: from, length: size, size: ram.size() });
        }
        self.layout.add(Slot { gpa, size, offset: ram.offset + from, read_only })
    }

    /// Takes away what was mapped from `gpa` on.
    ///
    /// # Errors
    /// [`MemoryError::BadSlot`] if nothing that moves starts there.
    pub fn unmap_ram(&self, gpa: u64) -> Result<(), MemoryError> {
        self.layout.remove(gpa)
    }

    /// Has an engine hear of every move. The one before hears no more. `first` gets the slots in place.
    ///
    /// # Errors
    /// What `first` gives; then nobody watches.
    pub fn watch_layout(
        &self,
        watcher: Box<Watcher>,
        first: impl FnOnce(&[Slot], &mut Watcher) -> io::Result<()>,
    ) -> io::Result<()> {
        self.layout.watch(watcher, first)
    }

    /// The slot that may move and started at `gpa` when the machine was made.
    pub(super) fn movable(&self, gpa: u64) -> Option<Slot> {
        self.movable.iter().find(|slot| slot.gpa == gpa).copied()
    }

    /// Finds room for device RAM; gives its offset.
    pub(super) fn take(&self, size: u64) -> Result<u64, MemoryError> {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::NoRoom { size });
        }
        let mut taken = self.taken.lock().expect("device RAM lock");
        let mut start = self.bytes;
        let mut at = taken.len();
        for (index, &(offset, length)) in taken.iter().enumerate() {
            if offset - start >= size {
                at = index;
                break;
            }
            start = offset + length;
        }
        if self.bytes + DEVICE_BYTES - start < size {
            return Err(MemoryError::NoRoom { size });
        }
        taken.insert(at, (start, size));
        Ok(start)
    }

    /// The piece is nobody's any more, and zeroed.
    pub(super) fn give_back(&self, offset: u64, size: u64) {
        // An engine that cannot take memory away has said so when it mattered; nobody is left to hear it now.
        let _ = self.layout.remove_backed_by(offset, size);
        self.zero(offset, size);
        self.taken.lock().expect("device RAM lock").retain(|&(taken, _)| taken != offset);
    }

    // ---- access -------------------------------------------------------------------------------

    /// `[gpa, gpa + length)` as pieces of slots; an error if any of it is not there.
    fn spans(&self, gpa: u64, length: u64) -> Result<Spans, MemoryError> {
        let outside = MemoryError::OutOfRange { gpa, length };
        let Some(slot) = self.slot(gpa) else { return Err(outside) };
        let offset = gpa - slot.gpa;
        let first = Span { offset: slot.offset + offset, length, read_only: slot.read_only };
        if length <= slot.size - offset {
            return Ok(Spans::One(first));
        }
        let mut all = vec![Span { length: slot.size - offset, ..first }];
        let mut done = slot.size - offset;
        while done < length {
            let at = gpa.checked_add(done);
            let Some(slot) = at.and_then(|at| self.slot(at)) else { return Err(outside) };
            let piece = slot.size.min(length - done);
            all.push(Span { offset: slot.offset, length: piece, read_only: slot.read_only });
            done += piece;
        }
        Ok(Spans::Many(all))
    }

    /// Copies RAM out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is copied then.
    pub fn read(&self, gpa: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        let spans = self.spans(gpa, out.len() as u64)?;
        let mut rest = out;
        for span in spans.as_slice() {
            let (piece, behind) = rest.split_at_mut(span.length as usize);
            // SAFETY: `spans` checked the range; source and destination cannot overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(self.pointer(span.offset), piece.as_mut_ptr(), piece.len());
            }
            rest = behind;
        }
        Ok(())
    }

    /// Copies bytes in, as a device or a loader does, and tells the code ledger. What hits ROM is lost.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is written then.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<(), MemoryError> {
        let spans = self.spans(gpa, data.len() as u64)?;
        let mut rest = data;
        for span in spans.as_slice() {
            let (piece, behind) = rest.split_at(span.length as usize);
            rest = behind;
            if span.read_only {
                continue;
            }
            // SAFETY: `spans` checked the range; source and destination cannot overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), self.pointer(span.offset), piece.len());
            }
            self.note_written(span.offset, span.length);
        }
        Ok(())
    }

    /// Zeroes the machine's RAM by giving its pages back to the host; devices' RAM is theirs to clear.
    pub fn clear(&self) {
        self.zero(0, self.bytes);
    }

    pub(super) fn zero(&self, offset: u64, size: u64) {
        // SAFETY: the range lies within our own private anonymous mapping.
        let rc = unsafe { libc::madvise(self.pointer(offset).cast(), size as usize, libc::MADV_DONTNEED) };
        assert_eq!(rc, 0, "madvise on our own mapping");
        self.note_written(offset, size);
    }

    /// Copies bytes of the mapping out, wherever guests see them. The caller has checked that they are there.
    pub(super) fn copy_mapping_out(&self, offset: u64, out: &mut [u8]) {
        // SAFETY: the caller's range lies within the mapping; nothing of ours overlaps it.
        unsafe { std::ptr::copy_nonoverlapping(self.pointer(offset), out.as_mut_ptr(), out.len()) }
    }

    /// The same inwards; the code ledger is told.
    pub(super) fn copy_mapping_in(&self, offset: u64, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer(offset), bytes.len()) }
        self.note_written(offset, bytes.len() as u64);
    }

    pub(super) fn note_written(&self, offset: u64, length: u64) {
        let mut at = offset;
        while at < offset + length {
            let in_page = (PAGE_SIZE - at % PAGE_SIZE).min(offset + length - at);
            self.code_written((at >> PAGE_SHIFT) as u32, at % PAGE_SIZE, in_page);
            at += in_page;
        }
    }

    // ---- the code ledger -------------------------------------------------------------------

    /// The version of a page's code: blocks decoded under another version are stale.
    #[inline]
    pub fn code_version(&self, page: u32) -> u32 {
        self.versions[page as usize].load(Ordering::Acquire)
    }

    /// Tells whether any block came from this page, so that writes to it must be reported.
    #[inline]
    pub fn has_code(&self, page: u32) -> bool {
        self.code_chunks[page as usize].load(Ordering::Acquire) != 0
    }

    /// Has every write to code told to those who translate it; those of the machine's last run hear no more.
    pub fn watch_code(&self, translators: Vec<Arc<CodeWrites>>) {
        *self.translators.write().expect("translators lock") = translators;
    }

    /// Reports a write to `[offset, offset + length)` of a page, after the bytes are in place.
    /// Tells whether blocks were made stale by it. If so, all that the interpreter decoded from the page
    /// are, and where nobody translates it is no code page any more: the bitmap empties before the
    /// version rises, so that a block decoded meanwhile under the new version has marked the page anew.
    ///
    /// Translations end by byte ranges. A single translator then says which chunks it still has code from
    /// (see [`Self::trim_code`]); where there are more, the chunks written to have none any more.
    pub fn code_written(&self, page: u32, offset: u64, length: u64) -> bool {
        let code = &self.code_chunks[page as usize];
        // The bytes are visible before the look at the bitmap; whoever marks it looks at the bytes after. The same for watches.
        fence(Ordering::SeqCst);
        self.tell_watches(page);
        let hit = code.load(Ordering::SeqCst) & chunks(offset, length);
        if hit == 0 {
            return false;
        }
        match self.translators.read().expect("translators lock").as_slice() {
            [] => {
                code.store(0, Ordering::SeqCst);
                self.versions[page as usize].fetch_add(1, Ordering::SeqCst);
            }
            [only] => {
                self.versions[page as usize].fetch_add(1, Ordering::SeqCst);
                only.tell(page, offset as u16, (offset + length) as u16);
            }
            all => {
                code.fetch_and(!hit, Ordering::SeqCst);
                self.versions[page as usize].fetch_add(1, Ordering::SeqCst);
                let (start, end) = (
                    offset & !((1 << CHUNK_SHIFT) - 1),
                    (offset + length).next_multiple_of(1 << CHUNK_SHIFT),
                );
                all.iter().for_each(|translator| translator.tell(page, start as u16, end as u16));
            }
        }
        true
    }

    /// A machine's only translator tells which byte ranges of a page its code comes from, after some of
    /// it was written to: the rest is no code any more.
    pub fn trim_code(&self, page: u32, ranges: &[(u16, u16)]) {
        if self.translators.read().expect("translators lock").len() != 1 {
            return;
        }
        let kept = |bits, &(start, end): &(u16, u16)| bits | chunks(start.into(), u64::from(end - start));
        self.code_chunks[page as usize].fetch_and(ranges.iter().fold(0, kept), Ordering::SeqCst);
    }
}

/// A piece of an access.
#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    length: u64,
    read_only: bool,
}

/// Almost every access stays in one slot, and then nothing is allocated.
enum Spans {
    One(Span),
    Many(Vec<Span>),
}

impl Spans {
    fn as_slice(&self) -> &[Span] {
        match self {
            Self::One(span) => std::slice::from_ref(span),
            Self::Many(all) => all,
        }
    }
}

/// The bits of the 64-byte chunks that `[offset, offset + length)` touches; both within one page.
pub(super) fn chunks(offset: u64, length: u64) -> u64 {
    debug_assert!(length > 0 && offset + length <= PAGE_SIZE);
    let (first, last) = (offset >> CHUNK_SHIFT, (offset + length - 1) >> CHUNK_SHIFT);
    (u64::MAX >> (63 - (last - first))) << first
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can hold `&self` any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.versions.len() << PAGE_SHIFT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: u64 = 2 * PAGE_SIZE;

    fn split() -> GuestMemory {
        GuestMemory::new(&[(0, LOW), (1 << 32, 4 * PAGE_SIZE)]).unwrap()
    }

    #[test]
    fn bytes_come_back_from_both_sides_of_the_hole() {
        let memory = split();
        for gpa in [0x10, (1 << 32) + 0x10] {
            memory.write(gpa, b"abc").unwrap();
            let mut out = [0; 3];
            memory.read(gpa, &mut out).unwrap();
            assert_eq!(&out, b"abc");
        }
    }

    #[test]
    fn a_page_knows_its_address_on_both_sides_of_the_hole() {
        let memory = split();
        for gpa in [0, PAGE_SIZE, 1 << 32, (1 << 32) + 3 * PAGE_SIZE] {
            assert_eq!(memory.page_gpa(memory.page_index(gpa + 5).unwrap()), gpa);
        }
    }

    #[test]
    fn ranges_that_leave_a_slot_are_refused() {
        let memory = split();
        assert!(memory.write(LOW - 1, &[1, 2]).is_err());
        assert!(memory.read(LOW, &mut [0]).is_err());
        assert!(memory.read(u64::MAX, &mut [0; 2]).is_err());
        assert!(GuestMemory::new(&[(0, LOW), (PAGE_SIZE, LOW)]).is_err());
        assert!(GuestMemory::new(&[(0, 12)]).is_err());
    }

    #[test]
    fn only_writes_to_code_chunks_raise_the_version() {
        let memory = split();
        memory.mark_code(1, 0x40, 0x41);
        memory.mark_code(1, 0xFC0, 0x40);
        memory.write(PAGE_SIZE, &[0; 0x40]).unwrap();
        assert_eq!(memory.code_version(1), 0);
        memory.write(PAGE_SIZE + 0x80, &[0]).unwrap();
        assert_eq!((memory.code_version(1), memory.has_code(1)), (1, false));
        memory.write(PAGE_SIZE + 0x80, &[0]).unwrap();
        assert_eq!(memory.code_version(1), 1);
        memory.mark_code(1, 0xFF, 1);
        memory.write(PAGE_SIZE - 4, &[0; 0x1000]).unwrap();
        assert_eq!(memory.code_version(1), 2);
    }

    #[test]
    fn clearing_zeroes_and_invalidates() {
        let memory = split();
        memory.write(0, &[7]).unwrap();
        memory.mark_code(0, 0, 1);
        memory.clear();
        let mut out = [9];
        memory.read(0, &mut out).unwrap();
        assert_eq!((out[0], memory.code_version(0)), (0, 1));
    }
}

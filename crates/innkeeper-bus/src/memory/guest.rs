//! Guest RAM: one anonymous host mapping, seen by the guest through slots (GPA ranges).
//!
//! Beside the bytes it keeps, per page, a version number and a bitmap of the 64-byte chunks that
//! decoded blocks came from. A write to such a chunk raises the version, and that is how every
//! vCPU's block cache notices self- and cross-modifying code, DMA included. A third word per page says
//! which vCPUs may write to it unreported, so that only they are asked to stop when it becomes code.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use super::writes::CodeWrites;

/// Bytes in a small page.
pub const PAGE_SIZE: u64 = 4096;
const PAGE_SHIFT: u32 = 12;
/// A code bitmap has one bit for each of these.
const CHUNK_SHIFT: u64 = 6;

/// A run of RAM: `size` bytes at guest-physical `gpa`, backed from `offset` in the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub gpa: u64,
    pub size: u64,
    pub offset: u64,
    /// Guest writes are dropped (ROM).
    pub read_only: bool,
}

#[derive(Debug)]
pub enum MemoryError {
    /// The host refused the mapping.
    Map { bytes: u64, source: io::Error },
    /// A slot is empty, not page-aligned, or overlaps its neighbour.
    BadSlot { gpa: u64, size: u64 },
    /// `[gpa, gpa + length)` is not all RAM.
    OutOfRange { gpa: u64, length: u64 },
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
        }
    }
}

impl std::error::Error for MemoryError {}

/// The RAM of one machine. Shared by all vCPUs and devices; dropped with the last of them.
pub struct GuestMemory {
    base: NonNull<u8>,
    bytes: u64,
    slots: Vec<Slot>,
    versions: Box<[AtomicU32]>,
    code_chunks: Box<[AtomicU64]>,
    writers: Box<[AtomicU64]>,
    /// Those who translate code, and must hear what is written to it. Set before the guest runs.
    translators: OnceLock<Vec<Arc<CodeWrites>>>,
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
    /// Maps RAM for `ranges` of (gpa, size), each page-aligned and ascending.
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
        let length = usize::try_from(bytes).map_err(|_| refused(io::ErrorKind::OutOfMemory.into()))?;
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
        let pages = (bytes >> PAGE_SHIFT) as usize;
        Ok(Self {
            base,
            bytes,
            slots,
            versions: zeroed(pages),
            code_chunks: zeroed(pages),
            writers: zeroed(pages),
            translators: OnceLock::new(),
        })
    }

    /// Bytes of RAM in all slots.
    pub fn size(&self) -> u64 {
        self.bytes
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Marks the slot that starts at `gpa` as ROM. Call before the guest runs.
    ///
    /// # Errors
    /// [`MemoryError::BadSlot`] if no slot starts there.
    pub fn set_read_only(&mut self, gpa: u64) -> Result<(), MemoryError> {
        let slot = self.slots.iter_mut().find(|slot| slot.gpa == gpa);
        slot.ok_or(MemoryError::BadSlot { gpa, size: 0 })?.read_only = true;
        Ok(())
    }

    /// The host address of the whole mapping, for engines that hand it to the host's KVM.
    pub fn host_base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The slot that holds `gpa`.
    #[inline]
    pub fn slot(&self, gpa: u64) -> Option<&Slot> {
        self.slots.iter().find(|slot| gpa.wrapping_sub(slot.gpa) < slot.size)
    }

    /// The index of the RAM page that holds `gpa`, the key of the code ledger.
    #[inline]
    pub fn page_index(&self, gpa: u64) -> Option<u32> {
        self.slot(gpa).map(|slot| ((gpa - slot.gpa + slot.offset) >> PAGE_SHIFT) as u32)
    }

    /// The guest-physical address of RAM page `index`.
    pub fn page_gpa(&self, index: u32) -> u64 {
        let offset = u64::from(index) << PAGE_SHIFT;
        let slot = self.slots.iter().find(|slot| offset.wrapping_sub(slot.offset) < slot.size);
        slot.map_or(u64::MAX, |slot| slot.gpa + (offset - slot.offset))
    }

    /// The host address of the first byte of RAM page `index`.
    #[inline]
    pub fn page_pointer(&self, index: u32) -> *mut u8 {
        assert!((index as usize) < self.versions.len(), "page index beyond RAM");
        // SAFETY: the index was just checked against the number of pages in the mapping.
        unsafe { self.base.as_ptr().add((index as usize) << PAGE_SHIFT) }
    }

    fn span(&self, gpa: u64, length: u64) -> Result<(*mut u8, u64), MemoryError> {
        let slot = self.slot(gpa).filter(|slot| length <= slot.size - (gpa - slot.gpa));
        let slot = slot.ok_or(MemoryError::OutOfRange { gpa, length })?;
        let offset = gpa - slot.gpa + slot.offset;
        // SAFETY: `offset + length` lies within the slot, and the slot within the mapping.
        Ok((unsafe { self.base.as_ptr().add(offset as usize) }, offset))
    }

    /// Copies RAM out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is copied then.
    pub fn read(&self, gpa: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        let (pointer, _) = self.span(gpa, out.len() as u64)?;
        // SAFETY: `span` checked the range; source and destination cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(pointer, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies bytes in, as a device or a loader does, and tells the code ledger. Ignores `read_only`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is written then.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<(), MemoryError> {
        let (pointer, offset) = self.span(gpa, data.len() as u64)?;
        // SAFETY: `span` checked the range; source and destination cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), pointer, data.len()) };
        self.note_written(offset, data.len() as u64);
        Ok(())
    }

    /// Zeroes all RAM by giving its pages back to the host.
    pub fn clear(&self) {
        // SAFETY: the range is exactly our own private anonymous mapping.
        let rc =
            unsafe { libc::madvise(self.base.as_ptr().cast(), self.bytes as usize, libc::MADV_DONTNEED) };
        assert_eq!(rc, 0, "madvise on our own mapping");
        self.note_written(0, self.bytes);
    }

    fn note_written(&self, offset: u64, length: u64) {
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

    /// Asks for leave to write to the page without reporting it, now and until the vCPU is told to
    /// drop its write access. False if the page has code: then each write must be reported.
    pub fn write_unreported(&self, page: u32, vcpu: u32) -> bool {
        let (writers, mine) = (&self.writers[page as usize], writer(vcpu));
        // Recorded before the look at the bitmap, while `mark_code` does it the other way round: one of
        // the two sees the other.
        if writers.load(Ordering::SeqCst) & mine == 0 {
            writers.fetch_or(mine, Ordering::SeqCst);
        }
        self.code_chunks[page as usize].load(Ordering::SeqCst) == 0
    }

    /// Records that a block came from `[offset, offset + length)` of the page. If this made the page
    /// a code page, gives the [`writer`]s that may have leave to write to it: they must drop it.
    pub fn mark_code(&self, page: u32, offset: u64, length: u64) -> u64 {
        let before = self.code_chunks[page as usize].fetch_or(chunks(offset, length), Ordering::SeqCst);
        if before == 0 { self.writers[page as usize].swap(0, Ordering::SeqCst) } else { 0 }
    }

    /// Has every write to code told to those who translate it. Only the first call counts: a memory
    /// belongs to one machine.
    pub fn watch_code(&self, translators: Vec<Arc<CodeWrites>>) {
        self.translators.get_or_init(|| translators);
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
        // The bytes are visible before the look at the bitmap; whoever marks it looks at the bytes after.
        fence(Ordering::SeqCst);
        let hit = code.load(Ordering::SeqCst) & chunks(offset, length);
        if hit == 0 {
            return false;
        }
        match self.translators.get().map(Vec::as_slice) {
            None | Some([]) => {
                code.store(0, Ordering::SeqCst);
                self.versions[page as usize].fetch_add(1, Ordering::SeqCst);
            }
            Some([only]) => {
                self.versions[page as usize].fetch_add(1, Ordering::SeqCst);
                only.tell(page, offset as u16, (offset + length) as u16);
            }
            Some(all) => {
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
        if self.translators.get().is_none_or(|all| all.len() != 1) {
            return;
        }
        let kept = |bits, &(start, end): &(u16, u16)| bits | chunks(start.into(), u64::from(end - start));
        self.code_chunks[page as usize].fetch_and(ranges.iter().fold(0, kept), Ordering::SeqCst);
    }
}

/// The bit of a vCPU among a page's writers. Where there are more than 64, some share one.
pub fn writer(vcpu: u32) -> u64 {
    1 << (vcpu % u64::BITS)
}

/// The bits of the 64-byte chunks that `[offset, offset + length)` touches; both within one page.
fn chunks(offset: u64, length: u64) -> u64 {
    debug_assert!(length > 0 && offset + length <= PAGE_SIZE);
    let (first, last) = (offset >> CHUNK_SHIFT, (offset + length - 1) >> CHUNK_SHIFT);
    (u64::MAX >> (63 - (last - first))) << first
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can hold `&self` any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes as usize) };
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
    fn a_page_that_becomes_code_names_those_who_wrote_to_it_since_it_last_did() {
        let memory = split();
        assert!(
            memory.write_unreported(1, 0) && memory.write_unreported(1, 3) && memory.write_unreported(0, 1)
        );
        assert_eq!(memory.mark_code(1, 0x40, 1), writer(0) | writer(3));
        assert_eq!(memory.mark_code(1, 0x80, 1), 0);
        assert!(!memory.write_unreported(1, 2));
        memory.write(PAGE_SIZE + 0x40, &[0]).unwrap();
        assert!(memory.write_unreported(1, 66));
        assert_eq!(memory.mark_code(1, 0, 1), writer(2));
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

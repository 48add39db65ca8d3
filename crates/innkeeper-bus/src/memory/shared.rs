//! Guest RAM for devices that read and write it in place: ring indices that the guest changes meanwhile, and
//! buffers that the host's system calls fill.
//!
//! Neither is ever a Rust reference. Who writes through a [`Buffer`] says so afterwards, for the code ledger.

use std::sync::atomic::{AtomicU16, Ordering};

use super::guest::{GuestMemory, MemoryError, PAGE_SIZE};

/// A run of RAM, checked: contiguous for the guest and for the host, and not ROM.
///
/// It does not keep the memory alive: who stores one also stores an `Arc` of its memory. It stays where it is in the
/// host's mapping when the guest moves what it sees there, as a transfer under way does on a board.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pointer: *mut u8,
    length: usize,
    /// In the mapping of all RAM.
    offset: u64,
}

// SAFETY: a pointer into guest RAM is good on every thread; its users copy or use atomics.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub fn pointer(&self) -> *mut u8 {
        self.pointer
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The part from `start` on, `length` bytes at most.
    pub fn part(&self, start: usize, length: usize) -> Self {
        let start = start.min(self.length);
        let length = length.min(self.length - start);
        // SAFETY: `start` is within the buffer, or one past its end.
        Self { pointer: unsafe { self.pointer.add(start) }, length, offset: self.offset + start as u64 }
    }
}

impl GuestMemory {
    /// Calls `each` with the pieces of `[gpa, gpa + length)`: one, unless it crosses from slot to slot.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] unless all of it is RAM, or if some is ROM and a device would write there.
    pub fn buffers(
        &self,
        gpa: u64,
        length: u64,
        device_writes: bool,
        mut each: impl FnMut(Buffer),
    ) -> Result<(), MemoryError> {
        let (mut at, mut left) = (gpa, length);
        while left > 0 {
            let slot = self.slot(at).filter(|slot| !(device_writes && slot.read_only));
            let slot = slot.ok_or(MemoryError::OutOfRange { gpa, length })?;
            let piece = left.min(slot.size - (at - slot.gpa));
            let offset = at - slot.gpa + slot.offset;
            let pointer = self.pointer(offset);
            each(Buffer { pointer, length: piece as usize, offset });
            left -= piece;
            at = at.wrapping_add(piece); // beyond the last slot if it wraps: nothing is left then, or no slot is found
        }
        Ok(())
    }

    /// The same for what must be in one piece, at a multiple of `align`.
    ///
    /// # Errors
    /// As above, or if it is not.
    pub fn structure(
        &self,
        gpa: u64,
        length: u64,
        align: u64,
        device_writes: bool,
    ) -> Result<Buffer, MemoryError> {
        let (mut found, mut pieces) = (None, 0);
        self.buffers(gpa, length, device_writes, |buffer| {
            found = Some(buffer);
            pieces += 1;
        })?;
        let aligned = gpa.is_multiple_of(align) && pieces == 1;
        found.filter(|_| aligned).ok_or(MemoryError::OutOfRange { gpa, length })
    }

    /// Tells the code ledger that a device has written this buffer.
    pub fn buffer_written(&self, buffer: &Buffer) {
        self.note_written(buffer.offset, buffer.length as u64);
    }

    /// Gives the pages that lie whole within `[gpa, gpa + length)` back to the host: they read as zeroes.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] unless all of it is RAM and no ROM.
    pub fn discard(&self, gpa: u64, length: u64) -> Result<(), MemoryError> {
        let mut pieces = Vec::new();
        self.buffers(gpa, length, true, |buffer| pieces.push(buffer))?;
        for buffer in pieces {
            self.discard_buffer(&buffer);
        }
        Ok(())
    }

    /// The same for what is in a buffer; gives how many bytes that were.
    pub fn discard_buffer(&self, buffer: &Buffer) -> u64 {
        let skipped = (PAGE_SIZE - buffer.offset % PAGE_SIZE) % PAGE_SIZE;
        let whole = buffer.part(skipped as usize, usize::MAX);
        let whole = whole.part(0, whole.len() & !(PAGE_SIZE as usize - 1));
        if !whole.is_empty() {
            // SAFETY: whole pages within our own private anonymous mapping, which stays mapped.
            let rc = unsafe { libc::madvise(whole.pointer.cast(), whole.length, libc::MADV_DONTNEED) };
            assert_eq!(rc, 0, "madvise on our own mapping");
            self.buffer_written(&whole);
        }
        whole.len() as u64
    }
}

/// Copies a buffer's beginning out; gives how many bytes.
pub fn copy_out(buffer: &Buffer, out: &mut [u8]) -> usize {
    let length = out.len().min(buffer.length);
    // SAFETY: both ranges are `length` bytes long, and ours is no guest RAM.
    unsafe { std::ptr::copy_nonoverlapping(buffer.pointer, out.as_mut_ptr(), length) };
    length
}

/// Copies into a buffer's beginning; gives how many bytes. The code ledger is not told.
pub fn copy_in(buffer: &Buffer, data: &[u8]) -> usize {
    let length = data.len().min(buffer.length);
    // SAFETY: both ranges are `length` bytes long, and ours is no guest RAM.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer.pointer, length) };
    length
}

fn word(buffer: &Buffer, at: usize) -> &AtomicU16 {
    assert!(
        at + 2 <= buffer.length && (buffer.offset as usize + at).is_multiple_of(2),
        "a word in the buffer"
    );
    // SAFETY: in bounds and aligned as just checked; guest RAM outlives the call, for who holds a buffer holds its
    // memory; the guest's own accesses are those of another processor, which atomics allow for.
    unsafe { AtomicU16::from_ptr(buffer.pointer.add(at).cast()) }
}

/// Reads a little-endian word that the guest may be writing.
pub fn load_u16(buffer: &Buffer, at: usize, order: Ordering) -> u16 {
    u16::from_le(word(buffer, at).load(order))
}

/// Writes a little-endian word that the guest may be reading. The code ledger is not told.
pub fn store_u16(buffer: &Buffer, at: usize, value: u16, order: Ordering) {
    word(buffer, at).store(value.to_le(), order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Ram;
    use std::sync::Arc;

    const LOW: u64 = 2 * PAGE_SIZE;

    /// Two slots without a hole between them, and ROM beyond.
    fn memory() -> Arc<GuestMemory> {
        let memory = Arc::new(GuestMemory::new(&[(0, LOW), (LOW, LOW)]).unwrap());
        let rom = Ram::take(&memory, LOW).unwrap();
        memory.map_ram(1 << 32, &rom, 0, LOW, true).unwrap();
        std::mem::forget(rom); // it would take its ROM away
        memory
    }

    fn lengths(memory: &GuestMemory, gpa: u64, length: u64, device_writes: bool) -> Option<Vec<usize>> {
        let mut lengths = Vec::new();
        memory.buffers(gpa, length, device_writes, |buffer| lengths.push(buffer.len())).ok()?;
        Some(lengths)
    }

    #[test]
    fn a_buffer_is_cut_where_slots_meet_and_refused_where_there_is_none() {
        let memory = memory();
        assert_eq!(lengths(&memory, LOW - 3, 10, true), Some(vec![3, 7]));
        assert_eq!(lengths(&memory, 2 * LOW - 3, 4, true), None);
        assert_eq!(lengths(&memory, u64::MAX, 1, false), None);
        assert_eq!(lengths(&memory, u64::MAX - 1, u64::MAX, false), None);
        assert_eq!(lengths(&memory, 1 << 32, 4, false), Some(vec![4]));
        assert_eq!(lengths(&memory, 1 << 32, 4, true), None);
        assert!(memory.structure(LOW - 3, 10, 1, true).is_err() && memory.structure(2, 8, 4, true).is_err());
        assert!(memory.structure(4, 8, 4, true).is_ok() && memory.structure(4, 0, 4, true).is_err());
    }

    #[test]
    fn what_a_device_writes_in_place_reaches_the_code_ledger() {
        let memory = memory();
        memory.mark_code(1, 0x40, 1);
        let buffer = memory.structure(PAGE_SIZE, 0x80, 4, true).unwrap();
        assert_eq!(copy_in(&buffer.part(0x40, 2), b"abc"), 2);
        assert_eq!(memory.code_version(1), 0);
        memory.buffer_written(&buffer.part(0, 0x40));
        assert_eq!(memory.code_version(1), 0);
        memory.buffer_written(&buffer);
        assert_eq!(memory.code_version(1), 1);
        assert_eq!(load_u16(&buffer, 0x40, Ordering::Acquire), u16::from_le_bytes(*b"ab"));
    }

    #[test]
    fn only_whole_pages_are_given_back() {
        let memory = memory();
        memory.write(0, &[7; LOW as usize]).unwrap();
        memory.write(LOW, &[7; PAGE_SIZE as usize]).unwrap();
        memory.discard(1, 2 * PAGE_SIZE).unwrap();
        let mut out = [9; 3 * PAGE_SIZE as usize];
        memory.read(0, &mut out[..LOW as usize]).unwrap();
        assert_eq!((out[0], out[PAGE_SIZE as usize - 1], out[PAGE_SIZE as usize]), (7, 7, 0));
        memory.read(LOW, &mut out[..1]).unwrap();
        assert_eq!(out[0], 7);
        assert!(memory.discard(1 << 32, PAGE_SIZE).is_err());
    }
}

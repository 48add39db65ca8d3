//! A piece of memory that has no fixed place: a framebuffer, a ROM, the RAM behind a PC's adapter area.
//!
//! It is part of the machine's one mapping, so that every engine runs from it as from any RAM; guests see it
//! where and while [`GuestMemory::map_ram`] says so. Whoever holds the handle reads and writes it either way.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use super::writers::pages;
use super::{GuestMemory, MemoryError};

/// The handle. What a device took goes back with it, and vanishes from guests' sight.
pub struct Ram {
    memory: Arc<GuestMemory>,
    pub(super) offset: u64,
    size: u64,
    taken: bool,
}

impl Ram {
    /// Takes `size` bytes, zeroed, from the room for device RAM.
    ///
    /// # Errors
    /// [`MemoryError::NoRoom`] if `size` is not a number of pages or there is no such room left.
    pub fn take(memory: &Arc<GuestMemory>, size: u64) -> Result<Self, MemoryError> {
        let offset = memory.take(size)?;
        Ok(Self { memory: Arc::clone(memory), offset, size, taken: true })
    }

    /// A slot of RAM that may move; it starts at `gpa`, unless it was moved away.
    ///
    /// # Errors
    /// [`MemoryError::BadSlot`] if no slot that may move started there when the machine was made.
    pub fn movable(memory: &Arc<GuestMemory>, gpa: u64) -> Result<Self, MemoryError> {
        let slot = memory.movable(gpa).ok_or(MemoryError::BadSlot { gpa, size: 0 })?;
        Ok(Self { memory: Arc::clone(memory), offset: slot.offset, size: slot.size, taken: false })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The memory that it is part of.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Its bytes, which guests may change at any time. Whoever writes here what could be code says so with
    /// [`Self::note_written`].
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the piece lies within the mapping, which `self.memory` keeps alive and which stays readable and
        // writable; bytes that others change are what atomics are for.
        unsafe { std::slice::from_raw_parts(self.memory.pointer(self.offset).cast(), self.size as usize) }
    }

    fn check(&self, offset: u64, length: u64) -> Result<(), MemoryError> {
        let inside = offset <= self.size && length <= self.size - offset;
        if inside { Ok(()) } else { Err(MemoryError::OutOfRam { offset, length, size: self.size }) }
    }

    /// The pages of the mapping that hold some of its bytes.
    pub(super) fn pages(&self, bytes: Range<u64>) -> Result<Range<u32>, MemoryError> {
        self.check(bytes.start, bytes.end.saturating_sub(bytes.start))?;
        Ok(pages(self.offset + bytes.start, self.offset + bytes.end))
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRam`]; nothing is copied then.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        self.check(offset, out.len() as u64)?;
        let from = self.memory.pointer(self.offset + offset);
        // SAFETY: the range was just checked; nothing of ours overlaps guest memory.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies bytes in, also where guests cannot write.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRam`]; nothing is written then.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), MemoryError> {
        self.check(offset, data.len() as u64)?;
        let to = self.memory.pointer(self.offset + offset);
        // SAFETY: the range was just checked; nothing of ours overlaps guest memory.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        self.memory.note_written(self.offset + offset, data.len() as u64);
        Ok(())
    }

    /// Tells the code ledger and watches of bytes that were written through [`Self::bytes`].
    ///
    /// # Errors
    /// [`MemoryError::OutOfRam`].
    pub fn note_written(&self, offset: u64, length: u64) -> Result<(), MemoryError> {
        self.check(offset, length)?;
        self.memory.note_written(self.offset + offset, length);
        Ok(())
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        if self.taken {
            self.memory.give_back(self.offset, self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Move, PAGE_SIZE, Watcher};
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    const ADAPTERS: u64 = 0xC_0000;

    fn memory() -> Arc<GuestMemory> {
        let ranges = [(0, 0xA_0000), (ADAPTERS, 0x4_0000), (1 << 20, PAGE_SIZE)];
        Arc::new(GuestMemory::new(&ranges).unwrap())
    }

    fn byte(memory: &GuestMemory, gpa: u64) -> Option<u8> {
        let mut out = [0];
        memory.read(gpa, &mut out).ok().map(|()| out[0])
    }

    #[test]
    fn device_ram_is_seen_where_it_is_mapped() {
        let memory = memory();
        let ram = Ram::take(&memory, 4 * PAGE_SIZE).unwrap();
        ram.write(PAGE_SIZE + 1, &[7]).unwrap();
        memory.map_ram(0xE000_0000, &ram, 0, ram.size(), false).unwrap();
        memory.map_ram(0xF000_0000, &ram, PAGE_SIZE, PAGE_SIZE, false).unwrap();
        assert_eq!(byte(&memory, 0xE000_1001), Some(7));
        assert_eq!(byte(&memory, 0xF000_0001), Some(7));
        memory.write(0xF000_0002, &[9]).unwrap();
        assert_eq!(ram.bytes()[PAGE_SIZE as usize + 2].load(Ordering::Relaxed), 9);
        memory.unmap_ram(0xE000_0000).unwrap();
        assert_eq!(byte(&memory, 0xE000_1001), None);
        drop(ram);
        assert_eq!(byte(&memory, 0xF000_0001), None);
        let again = Ram::take(&memory, 4 * PAGE_SIZE).unwrap();
        assert_eq!(again.bytes()[PAGE_SIZE as usize + 2].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_overlaps_or_does_not_fit_is_refused() {
        let memory = memory();
        let ram = Ram::take(&memory, 4 * PAGE_SIZE).unwrap();
        let refused = |gpa, offset, size| memory.map_ram(gpa, &ram, offset, size, false).is_err();
        assert!(refused(0, 0, PAGE_SIZE) && refused(ADAPTERS + 0x3_F000, 0, PAGE_SIZE));
        assert!(
            refused(0xE000_0000, 0, 5 * PAGE_SIZE) && refused(0xE000_0000, u64::MAX - 4095, 2 * PAGE_SIZE)
        );
        assert!(refused(0xE000_0010, 0, PAGE_SIZE) && refused(0xE000_0000, 0, 0));
        assert!(refused(u64::MAX - 4095, 0, 2 * PAGE_SIZE));
        memory.map_ram(0xE000_1000, &ram, 0, PAGE_SIZE, false).unwrap();
        assert!(refused(0xE000_0000, 0, 2 * PAGE_SIZE) && refused(0xE000_1000, 0, PAGE_SIZE));
        assert!(memory.unmap_ram(0).is_err() && memory.unmap_ram(0xE000_0000).is_err());
        let other = Arc::new(GuestMemory::new(&[(0, PAGE_SIZE)]).unwrap());
        assert!(other.map_ram(0xE000_0000, &ram, 0, PAGE_SIZE, false).is_err());
        assert!(Ram::take(&memory, 1 << 40).is_err() && Ram::take(&memory, 12).is_err());
        assert!(ram.read(4 * PAGE_SIZE, &mut [0]).is_err() && ram.write(u64::MAX, &[0]).is_err());
    }

    #[test]
    fn ram_of_the_adapter_area_moves_in_pieces() {
        let memory = memory();
        let shadow = Ram::movable(&memory, ADAPTERS).unwrap();
        memory.write(ADAPTERS + 0x4000, &[1]).unwrap();
        memory.unmap_ram(ADAPTERS).unwrap();
        assert_eq!(byte(&memory, ADAPTERS + 0x4000), None);
        let rom = Ram::take(&memory, 0x4000).unwrap();
        rom.write(0, &[0xEB]).unwrap();
        for piece in 0..16 {
            let at = 0x4000 * piece;
            match piece {
                1 => memory.map_ram(ADAPTERS + at, &rom, 0, 0x4000, true).unwrap(),
                _ => memory.map_ram(ADAPTERS + at, &shadow, at, 0x4000, false).unwrap(),
            }
        }
        assert_eq!(byte(&memory, ADAPTERS + 0x4000), Some(0xEB));
        // Across pieces; what hits the ROM is lost.
        memory.write(ADAPTERS + 0x3FFF, &[2; 0x4002]).unwrap();
        assert_eq!(byte(&memory, ADAPTERS + 0x3FFF), Some(2));
        assert_eq!(byte(&memory, ADAPTERS + 0x4000), Some(0xEB));
        assert_eq!(byte(&memory, ADAPTERS + 0x8000), Some(2));
        assert_eq!(shadow.bytes()[0x4000].load(Ordering::Relaxed), 1);
        assert!(Ram::movable(&memory, 0).is_err());
        assert_eq!(memory.size(), 0xA_0000 + 0x4_0000 + PAGE_SIZE);
    }

    #[test]
    fn a_watcher_hears_every_move_and_can_refuse_one() {
        let memory = memory();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&heard);
        let refusing = move |moved: Move| {
            list.lock().unwrap().push(moved);
            match moved {
                Move::Added(slot) if slot.read_only => Err(std::io::ErrorKind::Other.into()),
                _ => Ok(()),
            }
        };
        let first = |slots: &[_], _: &mut Watcher| {
            assert_eq!(slots.len(), 3);
            Ok(())
        };
        memory.watch_layout(Box::new(refusing), first).unwrap();

        let ram = Ram::take(&memory, PAGE_SIZE).unwrap();
        assert!(memory.map_ram(0xE000_0000, &ram, 0, PAGE_SIZE, true).is_err());
        memory.map_ram(0xE000_0000, &ram, 0, PAGE_SIZE, false).unwrap();
        drop(ram);
        let heard = heard.lock().unwrap();
        assert!(
            matches!(heard[..], [Move::Added(_), Move::Added(added), Move::Removed(gone)] if added == gone)
        );
    }
}

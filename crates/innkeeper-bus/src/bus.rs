//! Address → device. One `Bus` for ports, one for memory-mapped I/O; each device sees offsets into
//! its own region. An unclaimed read gives all ones, an unclaimed write is dropped.

use std::sync::{Arc, RwLock};

/// A guest-visible chip, as the bus sees it. `size` is 1, 2, 4 or 8 bytes.
pub trait Device: Send + Sync {
    /// Reads `size` bytes at `offset`, zero-extended.
    fn read(&self, offset: u64, size: u8) -> u64;
    /// Writes the low `size` bytes of `value` at `offset`.
    fn write(&self, offset: u64, size: u8, value: u64);
    /// Fills `out` with reads of `size` bytes at `offset`, one after the other: what INS with a repeat prefix does.
    fn read_string(&self, offset: u64, size: u8, out: &mut [u8]) {
        for element in out.chunks_exact_mut(usize::from(size)) {
            element.copy_from_slice(&self.read(offset, size).to_le_bytes()[..usize::from(size)]);
        }
    }
    /// Writes `data` in pieces of `size` bytes at `offset`, one after the other: OUTS with a repeat prefix.
    fn write_string(&self, offset: u64, size: u8, data: &[u8]) {
        for element in data.chunks_exact(usize::from(size)) {
            let mut bytes = [0; 8];
            bytes[..element.len()].copy_from_slice(element);
            self.write(offset, size, u64::from_le_bytes(bytes));
        }
    }
}

#[derive(Clone)]
struct Region {
    base: u64,
    size: u64,
    device: Arc<dyn Device>,
}

/// A region that overlaps one already claimed, or that is empty or wraps around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub base: u64,
    pub size: u64,
}

/// A set of non-overlapping regions, sorted by base.
#[derive(Default)]
pub struct Bus {
    regions: RwLock<Arc<Vec<Region>>>,
}

impl Bus {
    /// Claims `[base, base + size)` for `device`.
    ///
    /// # Errors
    /// [`Overlap`] if any of it is claimed already, or if it is empty or wraps.
    pub fn map(&self, base: u64, size: u64, device: Arc<dyn Device>) -> Result<(), Overlap> {
        let refused = Overlap { base, size };
        let end = base.checked_add(size).filter(|_| size > 0).ok_or(refused.clone())?;
        let mut guard = self.regions.write().expect("bus lock");
        let mut regions = Vec::clone(&guard);
        let at = regions.partition_point(|region| region.base < base);
        let before_ends = at.checked_sub(1).map_or(0, |i| regions[i].base + regions[i].size);
        let after_starts = regions.get(at).map_or(u64::MAX, |region| region.base);
        if before_ends > base || after_starts < end {
            return Err(refused);
        }
        regions.insert(at, Region { base, size, device });
        *guard = Arc::new(regions);
        Ok(())
    }

    /// Releases the region that starts at `base`; tells whether there was one.
    pub fn unmap(&self, base: u64) -> bool {
        let mut guard = self.regions.write().expect("bus lock");
        let mut regions = Vec::clone(&guard);
        let before = regions.len();
        regions.retain(|region| region.base != base);
        let found = regions.len() != before;
        *guard = Arc::new(regions);
        found
    }

    /// The device at `address` and the offset into its region.
    fn find(&self, address: u64, size: u8) -> Option<(Arc<dyn Device>, u64)> {
        let regions = self.regions.read().expect("bus lock");
        let at = regions.partition_point(|region| region.base <= address).checked_sub(1)?;
        let region = &regions[at];
        let offset = address - region.base;
        (offset < region.size && u64::from(size) <= region.size - offset)
            .then(|| (Arc::clone(&region.device), offset))
    }

    /// Reads from whatever claims `address`; all ones if nothing does. No lock is held during the call.
    pub fn read(&self, address: u64, size: u8) -> u64 {
        match self.find(address, size) {
            Some((device, offset)) => device.read(offset, size) & ones(size),
            None => ones(size),
        }
    }

    /// As [`Device::read_string`] of whatever claims `address`; all ones if nothing does.
    pub fn read_string(&self, address: u64, size: u8, out: &mut [u8]) {
        match self.find(address, size) {
            Some((device, offset)) => device.read_string(offset, size, out),
            None => out.fill(0xFF),
        }
    }

    /// As [`Device::write_string`] of whatever claims `address`; dropped if nothing does.
    pub fn write_string(&self, address: u64, size: u8, data: &[u8]) {
        if let Some((device, offset)) = self.find(address, size) {
            device.write_string(offset, size, data);
        }
    }

    /// Writes to whatever claims `address`; dropped if nothing does.
    pub fn write(&self, address: u64, size: u8, value: u64) {
        if let Some((device, offset)) = self.find(address, size) {
            device.write(offset, size, value & ones(size));
        }
    }
}

/// `size` bytes of ones: what a floating bus reads as.
pub fn ones(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * u32::from(size))) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u64, u8, u64)>>);

    impl Device for Recorder {
        fn read(&self, offset: u64, _size: u8) -> u64 {
            offset | 0xAB00
        }
        fn write(&self, offset: u64, size: u8, value: u64) {
            self.0.lock().unwrap().push((offset, size, value));
        }
    }

    #[test]
    fn an_access_reaches_its_device_as_an_offset() {
        let bus = Bus::default();
        let device = Arc::new(Recorder::default());
        bus.map(0x3F8, 8, device.clone()).unwrap();
        assert_eq!(bus.read(0x3FD, 2), 0xAB05);
        bus.write(0x3F9, 1, 0x1FF);
        assert_eq!(*device.0.lock().unwrap(), [(1, 1, 0xFF)]);
    }

    #[test]
    fn an_unclaimed_read_is_all_ones() {
        let bus = Bus::default();
        bus.map(0x10, 4, Arc::new(Recorder::default())).unwrap();
        assert_eq!(bus.read(0x14, 4), 0xFFFF_FFFF);
        assert_eq!(bus.read(0x13, 2), 0xFFFF); // straddles the region's end
    }

    #[test]
    fn overlaps_are_refused() {
        let bus = Bus::default();
        let device: Arc<dyn Device> = Arc::new(Recorder::default());
        bus.map(0x10, 4, device.clone()).unwrap();
        for (base, size) in [(0x10, 1), (0x0E, 3), (0x13, 8), (0x20, 0), (u64::MAX, 2)] {
            assert_eq!(bus.map(base, size, device.clone()), Err(Overlap { base, size }));
        }
        assert!(bus.unmap(0x10) && !bus.unmap(0x10));
        bus.map(0x0E, 3, device).unwrap();
    }
}

//! From descriptors to a chain of checked buffers.

use super::{Chain, DESCRIPTOR_BYTES, Fault, SplitQueue};
use innkeeper_bus::memory::Buffer;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Descriptors that a chain may have, beyond which it is taken for endless. A driver must keep to the size of its queue
/// (2.7.5), but Linux's does not always where it uses an indirect table.
const CHAIN_LIMIT: usize = 1024;

struct Descriptor {
    gpa: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn read(table: &Buffer, index: u16) -> Result<Self, Fault> {
        let bytes = SplitQueue::descriptor(table, index).ok_or(Fault::Descriptor(index))?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Ok(Self {
            gpa: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

impl SplitQueue {
    /// Follows the chain that begins with `head`.
    pub(super) fn walk(&self, head: u16, chain: &mut Chain) -> Result<(), Fault> {
        chain.begin(head);
        let limit = CHAIN_LIMIT.max(usize::from(self.size));
        let (mut index, mut count) = (head, 0);
        loop {
            let descriptor = Descriptor::read(&self.descriptors, index)?;
            if descriptor.flags & INDIRECT != 0 {
                if !self.options.indirect || descriptor.flags & NEXT != 0 {
                    return Err(Fault::Indirect);
                }
                return self.walk_indirect(&descriptor, chain, limit - count);
            }
            self.add(&descriptor, chain)?;
            count += 1;
            if descriptor.flags & NEXT == 0 {
                return Ok(());
            }
            if count >= usize::from(self.size) {
                return Err(Fault::Endless);
            }
            index = descriptor.next;
        }
    }

    fn walk_indirect(&self, from: &Descriptor, chain: &mut Chain, limit: usize) -> Result<(), Fault> {
        let bytes = u64::from(from.length);
        if bytes == 0 || !bytes.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(Fault::Indirect);
        }
        // Only what can be needed: a table may be declared far longer than what is in it.
        let bytes = bytes.min(DESCRIPTOR_BYTES << 16);
        let outside = |_| Fault::Buffer { gpa: from.gpa, length: from.length };
        let table = self.memory.structure(from.gpa, bytes, 1, false).map_err(outside)?;
        let (mut index, mut count) = (0, 0);
        loop {
            let descriptor = Descriptor::read(&table, index)?;
            if descriptor.flags & INDIRECT != 0 {
                return Err(Fault::Indirect);
            }
            self.add(&descriptor, chain)?;
            count += 1;
            if descriptor.flags & NEXT == 0 {
                return Ok(());
            }
            if count >= limit {
                return Err(Fault::Endless);
            }
            index = descriptor.next;
        }
    }

    fn add(&self, descriptor: &Descriptor, chain: &mut Chain) -> Result<(), Fault> {
        let &Descriptor { gpa, length, flags, .. } = descriptor;
        let writable = flags & WRITE != 0;
        if !writable && chain.has_writable() {
            return Err(Fault::Order);
        }
        let outside = |_| Fault::Buffer { gpa, length };
        self.memory
            .buffers(gpa, length.into(), writable, |buffer| chain.add(buffer, writable))
            .map_err(outside)?;
        if chain.readable() + chain.writable() > u64::from(u32::MAX) {
            return Err(Fault::Bytes);
        }
        Ok(())
    }
}

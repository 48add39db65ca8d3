//! Split virtqueues: the device's half of descriptor table, available ring and used ring.
//!
//! Spec: virtio 1.2, 2.7; the legacy layout is 2.7.2. Everything in them is the driver's, so every field is checked
//! when it is read, and what was read once is not read again.

mod chain;
mod walk;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use innkeeper_bus::memory::{Buffer, GuestMemory, copy_in, copy_out, load_u16, store_u16};

pub use chain::Chain;
use innkeeper_bus::plain_struct;

/// The largest queue that a driver can be offered (2.7), which is also how long a chain may be.
pub const SIZE_LIMIT: u16 = 1 << 15;
const DESCRIPTOR_BYTES: u64 = 16;
const AVAILABLE_FLAGS: usize = 0;
const AVAILABLE_INDEX: usize = 2;
const AVAILABLE_RING: usize = 4;
const USED_FLAGS: usize = 0;
const USED_INDEX: usize = 2;
const USED_RING: usize = 4;
const USED_BYTES: usize = 8;
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

/// What a driver did to a queue that ends it: the device needs a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The number of descriptors is no power of two, or beyond what was offered.
    Size(u16),
    /// A part of the queue is not in RAM, not aligned, or in pieces.
    Place { gpa: u64 },
    /// More became available than the queue holds.
    Index { available: u16, next: u16 },
    /// A descriptor that does not exist.
    Descriptor(u16),
    /// A chain that is longer than can be, or that never ends.
    Endless,
    /// A buffer that is not all RAM, or that the device shall write although it is ROM.
    Buffer { gpa: u64, length: u32 },
    /// More than 4 GiB in one chain.
    Bytes,
    /// A buffer for the driver to read before one for the device to read.
    Order,
    /// An indirect table within a table, without leave, with a successor, or of a bad length.
    Indirect,
    /// A request without what its device needs to understand or answer it.
    Request,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(out, "a queue has {size} descriptors"),
            Self::Place { gpa } => write!(out, "a part of a queue is at {gpa:#x}"),
            Self::Index { available, next } => {
                write!(out, "the available index jumps from {next} to {available}")
            }
            Self::Descriptor(index) => write!(out, "descriptor {index} does not exist"),
            Self::Endless => write!(out, "a chain does not end"),
            Self::Buffer { gpa, length } => write!(out, "a buffer of {length} bytes is at {gpa:#x}"),
            Self::Bytes => write!(out, "a chain has more than 4 GiB"),
            Self::Order => write!(out, "a readable buffer follows a writable one"),
            Self::Indirect => write!(out, "an indirect table is malformed"),
            Self::Request => write!(out, "a request is malformed"),
        }
    }
}

/// Where a driver put a queue, as guest-physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

impl Layout {
    /// The legacy layout: all in one piece from `page`, a page's number.
    pub fn legacy(size: u16, page: u32) -> Self {
        let descriptors = u64::from(page) << 12;
        let available = descriptors + DESCRIPTOR_BYTES * u64::from(size);
        let used = (available + 2 * (3 + u64::from(size))).next_multiple_of(4096);
        Self { size, descriptors, available, used }
    }
}

/// How a driver wants its queues to work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub indirect: bool,
    pub event_index: bool,
}

/// How far the device has come in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The next of the available ring to take.
    pub next: u16,
    /// The next of the used ring to fill.
    pub next_used: u16,
    /// `next_used` when the driver was last told, or last asked not to be.
    pub told: u16,
}

plain_struct!(Place { next, next_used, told });

/// A queue that the driver has enabled.
pub struct SplitQueue {
    memory: Arc<GuestMemory>,
    options: Options,
    size: u16,
    descriptors: Buffer,
    available: Buffer,
    used: Buffer,
    next: u16,
    next_used: u16,
    told: u16,
}

impl SplitQueue {
    /// # Errors
    /// The [`Fault`] that keeps it from working.
    pub fn new(
        memory: &Arc<GuestMemory>,
        layout: Layout,
        limit: u16,
        options: Options,
    ) -> Result<Self, Fault> {
        let size = layout.size;
        if !size.is_power_of_two() || size > limit || size > SIZE_LIMIT {
            return Err(Fault::Size(size));
        }
        let place = |gpa, length, align, writes| {
            memory.structure(gpa, length, align, writes).map_err(|_| Fault::Place { gpa })
        };
        let entries = u64::from(size);
        // Both rings end in the field of the event index, which is there whether or not it is used.
        Ok(Self {
            descriptors: place(layout.descriptors, DESCRIPTOR_BYTES * entries, 16, false)?,
            available: place(layout.available, 6 + 2 * entries, 2, false)?,
            used: place(layout.used, 6 + 8 * entries, 4, true)?,
            memory: Arc::clone(memory),
            options,
            size,
            next: 0,
            next_used: 0,
            told: 0,
        })
    }

    /// Goes on where another has been. What that one had taken and not given back is taken anew.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { next: place.next_used, next_used: place.next_used, told: place.told, ..self }
    }

    pub fn place(&self) -> Place {
        Place { next: self.next, next_used: self.next_used, told: self.told }
    }

    pub fn size(&self) -> u16 {
        self.size
    }

    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    fn available_index(&self) -> u16 {
        load_u16(&self.available, AVAILABLE_INDEX, Ordering::Acquire)
    }

    /// Whether the driver made something available.
    pub fn has_more(&self) -> bool {
        self.available_index() != self.next
    }

    /// Takes the next chain that the driver made available; false if there is none.
    ///
    /// # Errors
    /// The driver's [`Fault`]; the queue must not be used any more then.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, Fault> {
        let (available, next) = (self.available_index(), self.next);
        match available.wrapping_sub(next) {
            0 => return Ok(false),
            count if count > self.size => return Err(Fault::Index { available, next }),
            _ => {}
        }
        let slot = AVAILABLE_RING + 2 * usize::from(next % self.size);
        let head = load_u16(&self.available, slot, Ordering::Relaxed);
        self.walk(head, chain)?;
        self.next = next.wrapping_add(1);
        Ok(true)
    }

    /// Makes the chain that was popped last available again, to be popped anew.
    pub fn undo_pop(&mut self) {
        self.next = self.next.wrapping_sub(1);
    }

    /// Gives a chain back, of which the device wrote the first `written` writable bytes.
    pub fn push(&mut self, head: u16, written: u32) {
        self.stage(0, head, written);
        self.publish(1);
    }

    /// Fills the `ahead`th entry of the used ring from the next on, which the driver does not see yet.
    pub fn stage(&mut self, ahead: u16, head: u16, written: u32) {
        let slot = USED_RING + USED_BYTES * usize::from(self.next_used.wrapping_add(ahead) % self.size);
        let entry = self.used.part(slot, USED_BYTES);
        let value = u64::from(head) | u64::from(written) << 32;
        copy_in(&entry, &value.to_le_bytes());
        self.memory.buffer_written(&entry);
    }

    /// Shows the driver `count` entries that were staged.
    pub fn publish(&mut self, count: u16) {
        self.next_used = self.next_used.wrapping_add(count);
        store_u16(&self.used, USED_INDEX, self.next_used, Ordering::Release);
        self.memory.buffer_written(&self.used.part(USED_INDEX, 2));
    }

    /// Whether the driver wants an interrupt for what was pushed since this was last asked.
    pub fn wants_interrupt(&mut self) -> bool {
        let before = std::mem::replace(&mut self.told, self.next_used);
        if before == self.next_used {
            return false;
        }
        // The used index is visible before the driver's wish is read, and the driver does it the other way round.
        fence(Ordering::SeqCst);
        if self.options.event_index {
            let event =
                load_u16(&self.available, AVAILABLE_RING + 2 * usize::from(self.size), Ordering::Relaxed);
            reached(event, self.next_used, before)
        } else {
            load_u16(&self.available, AVAILABLE_FLAGS, Ordering::Relaxed) & NO_INTERRUPT == 0
        }
    }

    /// Asks the driver to notify of what becomes available from now on; true if something is there already.
    pub fn listen(&mut self) -> bool {
        if self.options.event_index {
            self.write_used(USED_RING + USED_BYTES * usize::from(self.size), self.next);
        } else {
            self.write_used(USED_FLAGS, 0);
        }
        fence(Ordering::SeqCst);
        self.available_index() != self.next
    }

    /// Spares the driver notifications while the queue is looked at anyway.
    pub fn ignore(&mut self) {
        // With an event index none comes until the index passes what `listen` wrote.
        if !self.options.event_index {
            self.write_used(USED_FLAGS, NO_NOTIFY);
        }
    }

    fn write_used(&mut self, at: usize, value: u16) {
        store_u16(&self.used, at, value, Ordering::Relaxed);
        self.memory.buffer_written(&self.used.part(at, 2));
    }

    fn descriptor(table: &Buffer, index: u16) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        let at = usize::from(index) * DESCRIPTOR_BYTES as usize;
        (copy_out(&table.part(at, 16), &mut bytes) == 16).then_some(bytes)
    }
}

/// Whether the index passed `event` on its way from `before` to `now` (2.7.10).
fn reached(event: u16, now: u16, before: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}

#[cfg(test)]
mod tests;

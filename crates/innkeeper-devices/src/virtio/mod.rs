//! Virtio devices on PCI: queues, transport, and one file or folder for each class of device.
//!
//! Spec: Virtual I/O Device (VIRTIO) 1.2. Left out: packed queues, in-order completion, notification data, queue
//! reset, shared-memory regions, and the MMIO and channel transports.
//! Rooms, lowest first: `queue`, `interrupts`, `class`, `transport`; then the classes.

pub mod balloon;
pub mod blk;
pub mod channel;
pub mod class;
pub mod console;
pub mod gpu;
pub mod hostile;
pub mod input;
pub mod interrupts;
pub mod net;
mod outlet;
pub mod p9;
pub mod queue;
pub mod rng;
pub mod testing;
pub mod transport;
pub mod vsock;
pub mod worker;

#[cfg(test)]
mod tests;

/// Reserved feature bits (6).
pub mod feature {
    /// A legacy driver may lay buffers out as it likes: all others do anyway.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESCRIPTORS: u64 = 1 << 28;
    pub const EVENT_INDEX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    /// What every device of ours can do.
    pub const TRANSPORT: u64 = ANY_LAYOUT | INDIRECT_DESCRIPTORS | EVENT_INDEX | VERSION_1;
}

/// Device status bits (2.1).
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 0x40;
    pub const FAILED: u8 = 0x80;
}

/// Locks what only panics of ours could have poisoned.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

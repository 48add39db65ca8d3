//! A port's registers: their offsets and bits.
//!
//! Spec: AHCI 1.3.1, 3.3.

pub const SLOTS: usize = 32;

pub const LIST: u64 = 0x00;
pub const LIST_UPPER: u64 = 0x04;
pub const RECEIVED: u64 = 0x08;
pub const RECEIVED_UPPER: u64 = 0x0C;
pub const INTERRUPT_STATUS: u64 = 0x10;
pub const INTERRUPT_ENABLE: u64 = 0x14;
pub const COMMAND: u64 = 0x18;
pub const TASK_FILE: u64 = 0x20;
pub const SIGNATURE: u64 = 0x24;
pub const LINK_STATUS: u64 = 0x28;
pub const LINK_CONTROL: u64 = 0x2C;
pub const LINK_ERROR: u64 = 0x30;
pub const ACTIVE: u64 = 0x34;
pub const ISSUE: u64 = 0x38;

/// PxIS and PxIE.
pub mod interrupt {
    /// The registers of a command's end.
    pub const REGISTERS: u32 = 1 << 0;
    pub const PIO_SETUP: u32 = 1 << 1;
    /// A queued command's end.
    pub const DEVICE_BITS: u32 = 1 << 3;
    /// The link came up (from PxSERR).
    pub const CONNECT: u32 = 1 << 6;
    /// PhyRdy changed (from PxSERR).
    pub const READY_CHANGE: u32 = 1 << 22;
    /// More data than descriptors.
    pub const OVERFLOW: u32 = 1 << 24;
    /// Memory that is none.
    pub const HOST_BUS: u32 = 1 << 29;
    pub const TASK_FILE: u32 = 1 << 30;
    /// What a guest clears elsewhere.
    pub const DERIVED: u32 = CONNECT | READY_CHANGE;
}

/// PxCMD.
pub mod command {
    pub const START: u32 = 1 << 0;
    pub const SPIN_UP: u32 = 1 << 1;
    pub const POWER_ON: u32 = 1 << 2;
    pub const OVERRIDE: u32 = 1 << 3;
    pub const RECEIVE: u32 = 1 << 4;
    pub const SLOT_SHIFT: u32 = 8;
    pub const SLOT: u32 = 0x1F << SLOT_SHIFT;
    pub const RECEIVES: u32 = 1 << 14;
    pub const RUNS: u32 = 1 << 15;
    pub const ATAPI: u32 = 1 << 24;
    pub const ATAPI_LED: u32 = 1 << 25;
    pub const WRITABLE: u32 = START | RECEIVE | ATAPI | ATAPI_LED;
}

/// PxSSTS of a drive that is there: 3 Gbit/s, link active, and device and link found.
pub const LINK_UP: u32 = 0x123;
/// PxSCTL: what the guest wants of the link.
pub const DETECTION: u32 = 0xF;
pub const DETECTION_RESET: u32 = 1;
pub const DETECTION_OFF: u32 = 4;
/// PxSERR: a change of PhyRdy, and a device that was exchanged.
pub const ERROR_READY_CHANGE: u32 = 1 << 16;
pub const ERROR_EXCHANGED: u32 = 1 << 26;
/// PxTFD before a device has told.
pub const NO_TASK_FILE: u32 = 0x7F;
pub const NO_SIGNATURE: u32 = 0xFFFF_FFFF;

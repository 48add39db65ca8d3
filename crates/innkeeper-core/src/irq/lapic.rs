//! The local APIC, in xAPIC and x2APIC mode (Intel SDM vol. 3, chapter 11).

use std::sync::atomic::{AtomicU8, Ordering};

/// One local APIC. Its vCPU and other threads share it; every change that may make an interrupt
/// deliverable raises `attention::INTERRUPT` on the vCPU.
pub struct Lapic {
    tpr: AtomicU8,
}

impl Lapic {
    pub(super) fn new() -> Self {
        Self { tpr: AtomicU8::new(0) }
    }
    /// The page that xAPIC registers appear at, if the APIC is enabled and in xAPIC mode. Hot: one atomic load.
    pub fn mmio_base(&self) -> Option<u64> {
        Some(0xFEE0_0000)
    }
    /// Reads a register by its offset in the page.
    pub fn mmio_read(&self, _offset: u64) -> u32 {
        todo!()
    }
    pub fn mmio_write(&self, _offset: u64, _value: u32) {
        todo!()
    }
    /// APIC_BASE, TSC_DEADLINE and the x2APIC range. `None`: not one of ours, or #GP.
    pub fn read_msr(&self, _msr: u32) -> Option<u64> {
        None
    }
    /// Tells whether the write was accepted; if not, #GP.
    pub fn write_msr(&self, _msr: u32, _value: u64) -> bool {
        false
    }
    /// Whether an interrupt could be delivered now if IF were set.
    pub fn has_interrupt(&self) -> bool {
        false
    }
    /// Takes the interrupt to deliver: the highest above the processor priority, else the PIC's
    /// (ExtINT through LINT0, or directly while the APIC is disabled).
    pub fn acknowledge(&self) -> Option<u8> {
        None
    }
    /// CR8: task priority class, 0-15.
    pub fn cr8(&self) -> u8 {
        self.tpr.load(Ordering::Relaxed) >> 4
    }
    pub fn set_cr8(&self, class: u8) {
        self.tpr.store(class << 4, Ordering::Relaxed);
    }
    /// The vector of the last SIPI: the start page number.
    pub fn sipi_vector(&self) -> u8 {
        0
    }
    /// INIT: registers to their reset values, APIC_BASE kept.
    pub fn init(&self) {
        self.set_cr8(0);
    }
}

//! The I/O region of the time before version 1.
//!
//! Spec: virtio 1.2, 4.1.4.10 (legacy configuration layout), 2.7.2 (page-based queues). The registers of MSI-X are
//! there only while it is enabled, and device configuration moves behind them.

use super::{Registers, VirtioPci, lock};
use crate::virtio::queue::Layout;

pub const BYTES: u64 = 0x100;

const DEVICE_FEATURES: u64 = 0x00;
const GUEST_FEATURES: u64 = 0x04;
const QUEUE_PAGE: u64 = 0x08;
const QUEUE_SIZE: u64 = 0x0C;
const QUEUE_SELECT: u64 = 0x0E;
const QUEUE_NOTIFY: u64 = 0x10;
const DEVICE_STATUS: u64 = 0x12;
const ISR_STATUS: u64 = 0x13;
const CONFIG_VECTOR: u64 = 0x14;
const QUEUE_VECTOR: u64 = 0x16;
const DEVICE_WITHOUT_MSIX: u64 = 0x14;
const DEVICE_WITH_MSIX: u64 = 0x18;

impl VirtioPci {
    /// Where device configuration begins now.
    fn legacy_config_at(&self) -> u64 {
        if self.link.interrupts.msix_enabled() { DEVICE_WITH_MSIX } else { DEVICE_WITHOUT_MSIX }
    }

    pub(super) fn read_legacy(&self, offset: u64, size: u8) -> u64 {
        if let Some(offset) = offset.checked_sub(self.legacy_config_at()) {
            return self.read_class_config(offset, size);
        }
        let registers = lock(&self.registers);
        let select = registers.queue_select;
        let queue = registers.queues.get(usize::from(select)).copied();
        match offset {
            DEVICE_FEATURES => self.offered(true),
            GUEST_FEATURES => registers.driver_features & u64::from(u32::MAX),
            QUEUE_PAGE => queue.map_or(0, |queue| queue.page.into()),
            // How many there are, of which nothing can be changed.
            QUEUE_SIZE => self.limits.get(usize::from(select)).map_or(0, |&size| size.into()),
            QUEUE_SELECT => select.into(),
            DEVICE_STATUS => self.status().into(),
            ISR_STATUS => self.link.interrupts.take_isr().into(),
            CONFIG_VECTOR => self.link.interrupts.config_vector().into(),
            QUEUE_VECTOR => self.link.interrupts.queue_vector(select).into(),
            _ => 0,
        }
    }

    pub(super) fn write_legacy(&self, offset: u64, size: u8, value: u64) {
        if let Some(offset) = offset.checked_sub(self.legacy_config_at()) {
            return self.write_class_config(offset, size, value);
        }
        if offset == QUEUE_NOTIFY {
            return self.notify(value & 0xFFFF);
        }
        let registers = &mut *lock(&self.registers);
        match offset {
            GUEST_FEATURES => registers.driver_features = value & u64::from(u32::MAX) & self.offered(true),
            QUEUE_PAGE => self.set_page(registers, value as u32),
            QUEUE_SELECT => registers.queue_select = value as u16,
            DEVICE_STATUS => self.set_status(registers, value as u8, true),
            CONFIG_VECTOR => self.link.interrupts.set_config_vector(value as u16),
            QUEUE_VECTOR => self.link.interrupts.set_queue_vector(registers.queue_select, value as u16),
            _ => {}
        }
    }

    /// Places the selected queue; page 0 takes it away.
    fn set_page(&self, registers: &mut Registers, page: u32) {
        let limit = self.limits.get(usize::from(registers.queue_select)).copied();
        if let (Some(queue), Some(limit)) = (self.writable_queue(registers), limit) {
            queue.page = page;
            queue.enabled = page != 0;
            queue.layout = Layout::legacy(limit, page);
        }
    }
}

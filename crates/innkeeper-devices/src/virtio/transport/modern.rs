//! The regions of version 1: common configuration, ISR status, device configuration, and a doorbell for each queue.
//!
//! Spec: virtio 1.2, 4.1.4. One base address register holds all four, at the places below.

use super::{Registers, VirtioPci};
use innkeeper_bus::bus::ones;

pub const COMMON_AT: u64 = 0x0000;
pub const ISR_AT: u64 = 0x1000;
pub const DEVICE_AT: u64 = 0x2000;
pub const NOTIFY_AT: u64 = 0x3000;
/// Common configuration, ISR status, device configuration, doorbells.
pub const PLACES: [u64; 4] = [COMMON_AT, ISR_AT, DEVICE_AT, NOTIFY_AT];
/// Doorbells are so far apart.
pub const NOTIFY_MULTIPLIER: u64 = 4;
const PART: u64 = 0x1000;

// struct virtio_pci_common_cfg
const DEVICE_FEATURE_SELECT: u64 = 0x00;
const DEVICE_FEATURE: u64 = 0x04;
const DRIVER_FEATURE_SELECT: u64 = 0x08;
const DRIVER_FEATURE: u64 = 0x0C;
const CONFIG_VECTOR: u64 = 0x10;
const NUM_QUEUES: u64 = 0x12;
const DEVICE_STATUS: u64 = 0x14;
const CONFIG_GENERATION: u64 = 0x15;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_VECTOR: u64 = 0x1A;
const QUEUE_ENABLE: u64 = 0x1C;
const QUEUE_NOTIFY_OFF: u64 = 0x1E;
const QUEUE_DESC: u64 = 0x20;
const QUEUE_DRIVER: u64 = 0x28;
const QUEUE_DEVICE: u64 = 0x30;

pub fn bytes(queues: usize) -> u64 {
    (NOTIFY_AT + (queues as u64 * NOTIFY_MULTIPLIER).max(PART)).next_power_of_two()
}

/// The half of `value` that a dword access at `offset` to a 64-bit register at `start` means.
fn half(value: u64, offset: u64, start: u64) -> u64 {
    if offset == start { value } else { value >> 32 }
}

/// `old` with what an access of `size` bytes at `offset` wrote to the 64-bit register at `start`.
fn with_half(old: u64, offset: u64, start: u64, size: u8, value: u64) -> u64 {
    match (offset == start, size) {
        (true, 8) => value,
        (true, _) => old & !ones(4) | value & ones(4),
        (false, _) => old & ones(4) | value << 32,
    }
}

impl VirtioPci {
    pub(super) fn read_modern(&self, offset: u64, size: u8) -> u64 {
        match offset {
            COMMON_AT..ISR_AT => self.read_common(&super::lock(&self.registers), offset),
            ISR_AT => self.link.interrupts.take_isr().into(),
            DEVICE_AT..NOTIFY_AT => self.read_class_config(offset - DEVICE_AT, size),
            _ => 0,
        }
    }

    pub(super) fn write_modern(&self, offset: u64, size: u8, value: u64) {
        match offset {
            COMMON_AT..ISR_AT => self.write_common(&mut super::lock(&self.registers), offset, size, value),
            DEVICE_AT..NOTIFY_AT => self.write_class_config(offset - DEVICE_AT, size, value),
            NOTIFY_AT.. => self.notify((offset - NOTIFY_AT) / NOTIFY_MULTIPLIER),
            _ => {}
        }
    }

    fn read_common(&self, registers: &Registers, offset: u64) -> u64 {
        let interrupts = &self.link.interrupts;
        let select = registers.queue_select;
        let queue = registers.queues.get(usize::from(select)).copied();
        match offset {
            DEVICE_FEATURE_SELECT => registers.device_feature_select.into(),
            DEVICE_FEATURE => word(self.offered(false), registers.device_feature_select),
            DRIVER_FEATURE_SELECT => registers.driver_feature_select.into(),
            DRIVER_FEATURE => word(registers.driver_features, registers.driver_feature_select),
            CONFIG_VECTOR => interrupts.config_vector().into(),
            NUM_QUEUES => self.limits.len() as u64,
            DEVICE_STATUS => self.status().into(),
            CONFIG_GENERATION => self.link.generation().into(),
            QUEUE_SELECT => select.into(),
            QUEUE_SIZE => queue.map_or(0, |queue| queue.layout.size.into()),
            QUEUE_VECTOR => interrupts.queue_vector(select).into(),
            QUEUE_ENABLE => queue.map_or(0, |queue| queue.enabled.into()),
            QUEUE_NOTIFY_OFF => queue.map_or(0, |_| select.into()),
            QUEUE_DESC..QUEUE_DRIVER => queue.map_or(0, |it| half(it.layout.descriptors, offset, QUEUE_DESC)),
            QUEUE_DRIVER..QUEUE_DEVICE => {
                queue.map_or(0, |it| half(it.layout.available, offset, QUEUE_DRIVER))
            }
            QUEUE_DEVICE..0x38 => queue.map_or(0, |queue| half(queue.layout.used, offset, QUEUE_DEVICE)),
            _ => 0,
        }
    }

    fn write_common(&self, registers: &mut Registers, offset: u64, size: u8, value: u64) {
        let interrupts = &self.link.interrupts;
        match offset {
            DEVICE_FEATURE_SELECT => registers.device_feature_select = value as u32,
            DRIVER_FEATURE_SELECT => registers.driver_feature_select = value as u32,
            DRIVER_FEATURE => self.set_driver_features(registers, value as u32),
            CONFIG_VECTOR => interrupts.set_config_vector(value as u16),
            DEVICE_STATUS => self.set_status(registers, value as u8, false),
            QUEUE_SELECT => registers.queue_select = value as u16,
            QUEUE_VECTOR => interrupts.set_queue_vector(registers.queue_select, value as u16),
            _ => self.write_queue(registers, offset, size, value),
        }
    }

    fn set_driver_features(&self, registers: &mut Registers, value: u32) {
        let shift = match registers.driver_feature_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        if self.status() & super::status::FEATURES_OK == 0 {
            registers.driver_features &= !(ones(4) << shift);
            registers.driver_features |= u64::from(value) << shift;
        }
    }

    fn write_queue(&self, registers: &mut Registers, offset: u64, size: u8, value: u64) {
        let Some(queue) = self.writable_queue(registers) else { return };
        let layout = &mut queue.layout;
        match offset {
            QUEUE_ENABLE => queue.enabled |= value == 1, // a driver must not write 0
            _ if queue.enabled => {}
            QUEUE_SIZE => layout.size = value as u16,
            QUEUE_DESC..QUEUE_DRIVER => {
                layout.descriptors = with_half(layout.descriptors, offset, QUEUE_DESC, size, value);
            }
            QUEUE_DRIVER..QUEUE_DEVICE => {
                layout.available = with_half(layout.available, offset, QUEUE_DRIVER, size, value);
            }
            QUEUE_DEVICE..0x38 => layout.used = with_half(layout.used, offset, QUEUE_DEVICE, size, value),
            _ => {}
        }
    }
}

/// The 32 feature bits that a select register means.
fn word(features: u64, select: u32) -> u64 {
    match select {
        0 => features & ones(4),
        1 => features >> 32,
        _ => 0,
    }
}

//! A channel on the buses.

use std::sync::Arc;

use innkeeper_bus::bus::{Device, ones};

use super::CHANNELS;
use super::channel::Channel;
use super::registers::DATA;

/// Ports of one channel's bus master.
const BUS_MASTER: u64 = 8;

/// The command block.
pub struct CommandPorts(pub Arc<Channel>);

impl Device for CommandPorts {
    fn read(&self, offset: u64, size: u8) -> u64 {
        if offset == DATA {
            let mut bytes = [0; 8];
            self.0.read_data(&mut bytes[..usize::from(size)]);
            return u64::from_le_bytes(bytes);
        }
        (0..u64::from(size)).rev().fold(0, |value, i| value << 8 | u64::from(self.0.read(offset + i)))
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        if offset == DATA {
            return self.0.write_data(&value.to_le_bytes()[..usize::from(size)]);
        }
        for i in 0..u64::from(size) {
            self.0.write(offset + i, (value >> (8 * i)) as u8);
        }
    }

    fn read_string(&self, offset: u64, size: u8, out: &mut [u8]) {
        if offset == DATA {
            return self.0.read_data(out);
        }
        for element in out.chunks_exact_mut(usize::from(size)) {
            element.copy_from_slice(&self.read(offset, size).to_le_bytes()[..usize::from(size)]);
        }
    }

    fn write_string(&self, offset: u64, size: u8, data: &[u8]) {
        if offset == DATA {
            return self.0.write_data(data);
        }
        for element in data.chunks_exact(usize::from(size)) {
            let mut bytes = [0; 8];
            bytes[..element.len()].copy_from_slice(element);
            self.write(offset, size, u64::from_le_bytes(bytes));
        }
    }
}

/// The control block's one port: alternate status, device control.
pub struct ControlPort(pub Arc<Channel>);

impl Device for ControlPort {
    fn read(&self, _offset: u64, size: u8) -> u64 {
        ones(size) & !0xFF | u64::from(self.0.alternate_status())
    }

    fn write(&self, _offset: u64, _size: u8, value: u64) {
        self.0.write_control(value as u8);
    }
}

/// The bus master registers of both channels.
pub struct BusMasterPorts(pub [Arc<Channel>; CHANNELS]);

impl Device for BusMasterPorts {
    fn read(&self, offset: u64, size: u8) -> u64 {
        (0..u64::from(size)).rev().fold(0, |value, i| {
            let at = offset + i;
            value << 8 | u64::from(self.0[(at / BUS_MASTER) as usize % CHANNELS].read_master(at % BUS_MASTER))
        })
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        for i in 0..u64::from(size) {
            let at = offset + i;
            let channel = &self.0[(at / BUS_MASTER) as usize % CHANNELS];
            channel.write_master(at % BUS_MASTER, (value >> (8 * i)) as u8);
        }
    }
}

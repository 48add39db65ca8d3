//! Frames between host and drive, as they lie in memory.
//!
//! Spec: Serial ATA 3.0, 10.5; AHCI 1.3.1, 4.2 (where received ones go).

use super::super::taskfile::{SIGNATURE_COUNT, Taskfile};

const REGISTER_TO_DEVICE: u8 = 0x27;
const REGISTER_TO_HOST: u8 = 0x34;
const SET_DEVICE_BITS: u8 = 0xA1;
const PIO_SETUP: u8 = 0x5F;

const IS_COMMAND: u8 = 0x80;
const INTERRUPT: u8 = 0x40;
const TO_HOST: u8 = 0x20;
const CONTROL_RESET: u8 = 0x04;

/// Where they are in the area of received frames.
pub const PIO_SETUP_AT: u64 = 0x20;
pub const REGISTERS_AT: u64 = 0x40;
pub const DEVICE_BITS_AT: u64 = 0x58;

pub const REGISTERS: usize = 20;

/// What the host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromHost {
    Command(Taskfile),
    /// The device control register, with the reset bit or without.
    Control {
        reset: bool,
    },
}

/// Reads a register frame; `None` if it is another one.
pub fn parse(bytes: &[u8; REGISTERS]) -> Option<FromHost> {
    if bytes[0] != REGISTER_TO_DEVICE {
        return None;
    }
    if bytes[1] & IS_COMMAND == 0 {
        return Some(FromHost::Control { reset: bytes[15] & CONTROL_RESET != 0 });
    }
    let byte = |at: usize, shift: u32| u64::from(bytes[at]) << shift;
    let word = |low: usize, high: usize| u16::from(bytes[high]) << 8 | u16::from(bytes[low]);
    Some(FromHost::Command(Taskfile {
        command: bytes[2],
        features: word(3, 11),
        count: word(12, 13),
        lba: byte(4, 0) | byte(5, 8) | byte(6, 16) | byte(8, 24) | byte(9, 32) | byte(10, 40),
        device: bytes[7],
        ..Taskfile::default()
    }))
}

/// A command's end.
pub fn registers(taskfile: &Taskfile, interrupt: bool) -> [u8; REGISTERS] {
    let lba = taskfile.lba.to_le_bytes();
    let mut bytes = [0; REGISTERS];
    (bytes[0], bytes[1]) = (REGISTER_TO_HOST, if interrupt { INTERRUPT } else { 0 });
    (bytes[2], bytes[3]) = (taskfile.status, taskfile.error);
    bytes[4..7].copy_from_slice(&lba[..3]);
    bytes[7] = taskfile.device;
    bytes[8..11].copy_from_slice(&lba[3..6]);
    bytes[12..14].copy_from_slice(&taskfile.count.to_le_bytes());
    bytes
}

/// What a drive says after a reset.
pub fn after_reset(signature: u64, status: u8) -> Taskfile {
    Taskfile { lba: signature, count: SIGNATURE_COUNT, status, error: 0x01, ..Taskfile::default() }
}

/// PxSIG of the same: LBA high, mid, low and count.
pub fn signature(taskfile: &Taskfile) -> u32 {
    (taskfile.lba as u32) << 8 | u32::from(taskfile.count as u8)
}

/// A block of PIO: the registers before and after it.
pub fn pio_setup(taskfile: &Taskfile, status: u8, bytes: usize, to_host: bool) -> [u8; REGISTERS] {
    let mut frame = registers(taskfile, true);
    (frame[0], frame[2]) = (PIO_SETUP, status);
    frame[1] |= if to_host { TO_HOST } else { 0 };
    frame[15] = taskfile.status;
    frame[16..18].copy_from_slice(&(bytes as u16).to_le_bytes());
    frame
}

/// Queued commands' end.
pub fn device_bits(status: u8, error: u8, done: u32) -> [u8; 8] {
    const SHOWN: u8 = 0x77;
    let mut bytes = [SET_DEVICE_BITS, INTERRUPT, status & SHOWN, error, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&done.to_le_bytes());
    bytes
}

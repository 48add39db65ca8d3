//! From the link into the driver's buffers.
//!
//! Spec: 317453, 3.2, 10 and 13.4.22 (RCTL), 13.5 (address filters). The frame check sequence that a driver may want is four
//! zeroes: nobody checked it, and nobody will.

use std::io::IoSlice;

use innkeeper_bus::memory::GuestMemory;
use innkeeper_net::HEADER_BYTES;

use super::registers::*;

const FRAME_MINIMUM: usize = 60;
const CHECK_BYTES: usize = 4;
/// The longest frame without and with leave for long ones.
const FRAME_LIMIT: usize = 1518 + 4;
const LONG_LIMIT: usize = 16_384;

const DONE: u8 = 1;
const END_OF_PACKET: u8 = 1 << 1;
const IGNORE_CHECKSUM: u8 = 1 << 2;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Kept,
    Dropped,
    NoRoom,
}

/// Bytes of each buffer.
fn buffer_bytes(control: u32) -> usize {
    let size = 2048 >> (control >> 16 & 3);
    if control & RCTL_BSEX == 0 { size } else { size * 16 }
}

/// Descriptors that the driver gave and the card has not used.
pub fn free(registers: &Registers) -> u32 {
    let ring = registers.ring(RDLEN);
    if ring == 0 {
        return 0;
    }
    (registers[RDT] % ring + ring - registers[RDH] % ring) % ring
}

/// Whether the address filters let it pass.
pub fn wants(registers: &Registers, destination: [u8; 6]) -> bool {
    let control = registers[RCTL];
    let group = destination[0] & 1 != 0;
    if control & if group { RCTL_MPE } else { RCTL_UPE } != 0
        || (destination == [0xFF; 6] && control & RCTL_BAM != 0)
    {
        return true;
    }
    let exact = (0..16).any(|at| {
        let (low, high) = (registers[RAL + 8 * at], registers[RAH + 8 * at]);
        high & RAH_VALID != 0
            && [low.to_le_bytes().as_slice(), &high.to_le_bytes()[..2]].concat() == destination
    });
    if exact || !group {
        return exact;
    }
    let tail = u32::from(destination[4]) | u32::from(destination[5]) << 8;
    let hash = tail >> [4, 3, 2, 0][(control >> 12 & 3) as usize] & 0xFFF;
    registers[MTA + 4 * u64::from(hash >> 5)] >> (hash & 31) & 1 != 0
}

/// Puts a frame into the driver's next buffers. `scratch` is room to work in.
pub fn receive(
    registers: &mut Registers,
    memory: &GuestMemory,
    frame: &[IoSlice<'_>],
    scratch: &mut Vec<u8>,
) -> Received {
    scratch.clear();
    frame.iter().for_each(|slice| scratch.extend_from_slice(slice));
    scratch.drain(..HEADER_BYTES.min(scratch.len()));
    scratch.resize(scratch.len().max(FRAME_MINIMUM), 0);
    let control = registers[RCTL];
    let limit = if control & RCTL_LPE == 0 { FRAME_LIMIT } else { LONG_LIMIT };
    let destination = [scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]];
    if scratch.len() > limit || !wants(registers, destination) {
        return Received::Dropped;
    }
    if control & RCTL_SECRC == 0 {
        scratch.resize(scratch.len() + CHECK_BYTES, 0);
    }
    let size = buffer_bytes(control);
    let needed = scratch.len().div_ceil(size);
    if (free(registers) as usize) < needed {
        return Received::NoRoom;
    }
    let (base, ring) = (registers.address(RDBAL), registers.ring(RDLEN));
    for (at, part) in scratch.chunks(size).enumerate() {
        let head = registers[RDH] % ring;
        let place = base.wrapping_add(DESCRIPTOR_BYTES * u64::from(head));
        let mut descriptor = [0; 16];
        // Descriptors and buffers outside RAM take nothing: on a real bus, nobody answers there.
        if memory.read(place, &mut descriptor).is_ok() {
            let buffer = u64::from_le_bytes(*descriptor.first_chunk().expect("eight of sixteen bytes"));
            let _ = memory.write(buffer, part);
            let last = at + 1 == needed;
            descriptor[8..10].copy_from_slice(&(part.len() as u16).to_le_bytes());
            descriptor[10..16].fill(0);
            descriptor[12] = DONE | IGNORE_CHECKSUM | if last { END_OF_PACKET } else { 0 };
            let _ = memory.write(place, &descriptor);
        }
        registers[RDH] = (head + 1) % ring;
    }
    registers[GPRC] = registers[GPRC].saturating_add(1);
    Received::Kept
}

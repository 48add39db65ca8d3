//! What is on a disc: one session with one data track, finalised.
//!
//! Spec: MMC-6, 6.25 (READ TOC/PMA/ATIP), 6.22 (READ DISC INFORMATION), 6.26 (READ TRACK INFORMATION), 4.2.3.7 (MSF).

use super::packets::{Packet, be16, be32};
use super::sense::{INVALID_FIELD, Sense};

const FRAMES: u32 = 75; // a second
const LEAD_IN: u32 = 150; // frames before block 0
const DATA_TRACK: u8 = 0x14;
const LEAD_OUT: u8 = 0xAA;

fn msf(block: u64) -> [u8; 3] {
    // What lies beyond minute 99 cannot be said.
    let frames = block.min(99 * 60 * 75 + 59 * 75 + 74 - u64::from(LEAD_IN)) as u32 + LEAD_IN;
    [(frames / FRAMES / 60) as u8, (frames / FRAMES % 60) as u8, (frames % FRAMES) as u8]
}

/// The block at minute, second, frame.
pub fn block_of(msf: &[u8]) -> Result<u32, Sense> {
    let frames = (u32::from(msf[0]) * 60 + u32::from(msf[1])) * FRAMES + u32::from(msf[2]);
    frames.checked_sub(LEAD_IN).ok_or(INVALID_FIELD)
}

/// Four bytes: a block, or minute, second, frame.
pub fn address(block: u64, in_msf: bool) -> [u8; 4] {
    let [minute, second, frame] = msf(block);
    if in_msf { [0, minute, second, frame] } else { (block as u32).to_be_bytes() }
}

/// READ TOC. `total` is the disc's number of blocks.
pub fn table(packet: &Packet, total: u64) -> Result<Vec<u8>, Sense> {
    let in_msf = packet[1] & 2 != 0;
    // Old drivers give the format where others have the control byte.
    let format = if packet[2] & 0xF == 0 { packet[9] >> 6 } else { packet[2] & 0xF };
    let mut data = vec![0, 0, 1, 1]; // length, first and last track or session
    match format {
        0 => tracks(&mut data, packet[6], total, in_msf)?,
        1 => {
            data.extend([0, DATA_TRACK, 1, 0]);
            data.extend(address(0, in_msf));
        }
        2 => raw(&mut data, total),
        _ => return Err(INVALID_FIELD),
    }
    let length = (data.len() - 2) as u16;
    data[..2].copy_from_slice(&length.to_be_bytes());
    Ok(data)
}

fn tracks(data: &mut Vec<u8>, from: u8, total: u64, in_msf: bool) -> Result<(), Sense> {
    if from > 1 && from != LEAD_OUT {
        return Err(INVALID_FIELD);
    }
    if from <= 1 {
        data.extend([0, DATA_TRACK, 1, 0]);
        data.extend(address(0, in_msf));
    }
    data.extend([0, DATA_TRACK, LEAD_OUT, 0]);
    data.extend(address(total, in_msf));
    Ok(())
}

/// The lead-in's own entries: first track, last track, lead-out, track 1.
fn raw(data: &mut Vec<u8>, total: u64) {
    for (point, place) in [(0xA0, [1, 0, 0]), (0xA1, [1, 0, 0]), (0xA2, msf(total)), (1, msf(0))] {
        data.extend([1, DATA_TRACK, 0, point, 0, 0, 0, 0]);
        data.extend(place);
    }
}

pub fn disc_information() -> Vec<u8> {
    let mut data = vec![0; 34];
    data[1] = 32; // bytes that follow
    data[2] = 0x0E; // the last session is complete, the disc finalised
    data[3..7].fill(1); // first track; sessions; first and last track of the last session
    data[7] = 0x20; // unrestricted use
    data[16..24].fill(0xFF); // no further session can begin
    data
}

/// READ TRACK INFORMATION: by block, track or session, of which there is one.
pub fn track_information(packet: &Packet, total: u64) -> Result<Vec<u8>, Sense> {
    let number = be32(packet, 2);
    let known = match packet[1] & 3 {
        0 => u64::from(number) < total,
        1 | 2 => number == 1,
        _ => false,
    };
    if !known {
        return Err(INVALID_FIELD);
    }
    let mut data = vec![0; 36];
    data[1] = 34; // bytes that follow
    (data[2], data[3]) = (1, 1); // track, session
    (data[5], data[6]) = (0x04, 0x01); // a data track, in mode 1
    data[24..28].copy_from_slice(&(total as u32).to_be_bytes());
    debug_assert_eq!(be16(&data, 0), 34);
    Ok(data)
}

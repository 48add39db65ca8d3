//! The commands in packets.
//!
//! Spec: MMC-6, 6; SPC-4, 6 (INQUIRY, REQUEST SENSE, MODE SENSE). Addresses and lengths are big-endian.

use std::io::{self, IoSliceMut};

use innkeeper_block::Disk;

use super::sense::{
    BLOCK_OUT_OF_RANGE, ILLEGAL_MODE, INVALID_FIELD, MEDIUM_CHANGED, SAVING_NOT_SUPPORTED, Sense,
    UNKNOWN_COMMAND, UNRECOVERED_READ,
};
use super::{BLOCK, Cdrom, PIECE, blocks, features, toc};

pub type Packet = [u8; 12];

/// What is to be sent for a packet.
#[derive(Debug)]
pub enum Reply {
    Done,
    Data(Vec<u8>),
    Blocks { first: u32, count: u32 },
}

mod code {
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const INQUIRY: u8 = 0x12;
    pub const MODE_SENSE_6: u8 = 0x1A;
    pub const START_STOP_UNIT: u8 = 0x1B;
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: u8 = 0x1E;
    pub const READ_CAPACITY: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const SEEK_10: u8 = 0x2B;
    pub const VERIFY_10: u8 = 0x2F;
    pub const SYNCHRONIZE_CACHE: u8 = 0x35;
    pub const READ_SUBCHANNEL: u8 = 0x42;
    pub const READ_TOC: u8 = 0x43;
    pub const GET_CONFIGURATION: u8 = 0x46;
    pub const GET_EVENT_STATUS: u8 = 0x4A;
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    pub const READ_TRACK_INFORMATION: u8 = 0x52;
    pub const MODE_SENSE_10: u8 = 0x5A;
    pub const READ_12: u8 = 0xA8;
    pub const READ_DISC_STRUCTURE: u8 = 0xAD;
    pub const READ_CD_MSF: u8 = 0xB9;
    pub const SET_CD_SPEED: u8 = 0xBB;
    pub const MECHANISM_STATUS: u8 = 0xBD;
    pub const READ_CD: u8 = 0xBE;
}

pub fn be16(packet: &[u8], at: usize) -> u16 {
    u16::from(packet[at]) << 8 | u16::from(packet[at + 1])
}

fn be24(packet: &[u8], at: usize) -> u32 {
    u32::from(packet[at]) << 16 | u32::from(be16(packet, at + 1))
}

pub fn be32(packet: &[u8], at: usize) -> u32 {
    u32::from(be16(packet, at)) << 16 | u32::from(be16(packet, at + 2))
}

/// As much of the data as the guest has room for.
fn cut(mut data: Vec<u8>, room: usize) -> Reply {
    data.truncate(room);
    Reply::Data(data)
}

/// Reads whole blocks; what a disc lacks of its last one are zeroes.
pub fn read_blocks(disc: &dyn Disk, first: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; (count * BLOCK) as usize];
    let there = disc.size().saturating_sub(first * BLOCK).min(data.len() as u64) as usize;
    disc.read(first * BLOCK, &mut [IoSliceMut::new(&mut data[..there])])?;
    Ok(data)
}

impl Cdrom {
    /// Does what can be done at once; errors become the drive's sense.
    pub fn execute(&mut self, packet: &Packet) -> Result<Reply, Sense> {
        let told_before_attention = matches!(
            packet[0],
            code::REQUEST_SENSE | code::INQUIRY | code::GET_CONFIGURATION | code::GET_EVENT_STATUS
        );
        if !told_before_attention && let Some(attention) = self.take_attention() {
            return Err(attention);
        }
        if packet[0] == code::REQUEST_SENSE {
            return Ok(self.request_sense(packet));
        }
        self.sense = Sense::default();
        self.about_the_drive(packet).unwrap_or_else(|| self.about_the_disc(packet))
    }

    fn take_attention(&mut self) -> Option<Sense> {
        self.attention.take().or_else(|| self.tray.take_changed().then_some(MEDIUM_CHANGED))
    }

    fn request_sense(&mut self, packet: &Packet) -> Reply {
        let mut sense = std::mem::take(&mut self.sense);
        if sense == Sense::default()
            && let Some(attention) = self.take_attention()
        {
            sense = attention;
        }
        cut(sense.data(), packet[4].into())
    }

    /// Commands that need no disc.
    fn about_the_drive(&mut self, packet: &Packet) -> Option<Result<Reply, Sense>> {
        Some(match packet[0] {
            code::INQUIRY => self.inquiry(packet),
            code::MODE_SENSE_6 => self.mode_sense(packet, 4, packet[4].into()),
            code::MODE_SENSE_10 => self.mode_sense(packet, 8, be16(packet, 7).into()),
            code::START_STOP_UNIT => self.start_stop(packet),
            code::PREVENT_ALLOW_MEDIUM_REMOVAL => {
                self.tray.lock(packet[4] & 1 != 0);
                Ok(Reply::Done)
            }
            code::GET_CONFIGURATION => {
                let disc = self.tray.medium().ok();
                let data = features::configuration(packet, disc.map(|disc| blocks(&*disc)));
                data.map(|data| cut(data, be16(packet, 7).into()))
            }
            code::GET_EVENT_STATUS => self.event_status(packet),
            code::MECHANISM_STATUS => {
                let open = if self.tray.look().open { 0x10 } else { 0 };
                Ok(cut(vec![0, open, 0, 0, 0, 0, 0, 0], be16(packet, 8).into()))
            }
            // It has one speed, and nothing that is not written yet.
            code::SET_CD_SPEED | code::SYNCHRONIZE_CACHE => Ok(Reply::Done),
            _ => return None,
        })
    }

    fn about_the_disc(&mut self, packet: &Packet) -> Result<Reply, Sense> {
        let known = matches!(
            packet[0],
            code::TEST_UNIT_READY
                | code::READ_CAPACITY
                | code::READ_10
                | code::SEEK_10
                | code::VERIFY_10
                | code::READ_SUBCHANNEL
                | code::READ_TOC
                | code::READ_DISC_INFORMATION
                | code::READ_TRACK_INFORMATION
                | code::READ_12
                | code::READ_DISC_STRUCTURE
                | code::READ_CD_MSF
                | code::READ_CD
        );
        if !known {
            return Err(UNKNOWN_COMMAND);
        }
        let disc = self.tray.medium()?;
        let total = blocks(&*disc);
        match packet[0] {
            code::READ_CAPACITY => {
                let last = (total.max(1) - 1) as u32;
                Ok(Reply::Data([last.to_be_bytes(), (BLOCK as u32).to_be_bytes()].concat()))
            }
            code::READ_10 => span(be32(packet, 2), be16(packet, 7).into(), total),
            code::READ_12 => span(be32(packet, 2), be32(packet, 6), total),
            code::SEEK_10 => span(be32(packet, 2), 1, total).map(|_| Reply::Done),
            code::VERIFY_10 => verify(&*disc, be32(packet, 2), be16(packet, 7)),
            code::READ_CD => read_cd(packet, be32(packet, 2), be24(packet, 6), total),
            code::READ_CD_MSF => {
                let (from, to) = (toc::block_of(&packet[3..6])?, toc::block_of(&packet[6..9])?);
                read_cd(packet, from, to.checked_sub(from).ok_or(INVALID_FIELD)?, total)
            }
            code::READ_SUBCHANNEL => subchannel(packet),
            code::READ_TOC => toc::table(packet, total).map(|data| cut(data, be16(packet, 7).into())),
            code::READ_DISC_INFORMATION if packet[1] & 7 == 0 => {
                Ok(cut(toc::disc_information(), be16(packet, 7).into()))
            }
            code::READ_TRACK_INFORMATION => {
                toc::track_information(packet, total).map(|data| cut(data, be16(packet, 7).into()))
            }
            code::READ_DISC_STRUCTURE => {
                features::disc_structure(packet, total).map(|data| cut(data, be16(packet, 8).into()))
            }
            code::READ_DISC_INFORMATION => Err(INVALID_FIELD),
            _ => Ok(Reply::Done), // TEST UNIT READY: it is
        }
    }

    fn inquiry(&self, packet: &Packet) -> Result<Reply, Sense> {
        if packet[1] & 1 != 0 || packet[2] != 0 {
            return Err(INVALID_FIELD); // no vital product data
        }
        let mut data = vec![0; 36];
        (data[0], data[1], data[2], data[3], data[4]) = (0x05, 0x80, 0x05, 0x32, 31);
        data[8..].fill(b' ');
        data[8..11].copy_from_slice(b"INN");
        let model = self.model.as_bytes();
        let length = model.len().min(16);
        data[16..16 + length].copy_from_slice(&model[..length]);
        data[32..35].copy_from_slice(b"1.0");
        Ok(cut(data, be16(packet, 3).into()))
    }

    fn mode_sense(&self, packet: &Packet, header: usize, room: usize) -> Result<Reply, Sense> {
        const SAVED: u8 = 3;
        const CHANGEABLE: u8 = 1;
        let (control, page) = (packet[2] >> 6, packet[2] & 0x3F);
        if control == SAVED {
            return Err(SAVING_NOT_SUPPORTED);
        }
        let mut data = vec![0; header];
        data.extend(features::mode_pages(page, self.tray.look(), control == CHANGEABLE)?);
        let look = self.tray.look();
        let medium_type = if look.open {
            0x71
        } else if look.present {
            0x01
        } else {
            0x70
        };
        let length = data.len();
        if header == 4 {
            (data[0], data[1]) = ((length - 1) as u8, medium_type);
        } else {
            data[..2].copy_from_slice(&((length - 2) as u16).to_be_bytes());
            data[2] = medium_type;
        }
        Ok(cut(data, room))
    }

    fn start_stop(&self, packet: &Packet) -> Result<Reply, Sense> {
        const LOAD_EJECT: u8 = 2;
        const START: u8 = 1;
        let power_condition = packet[4] >> 4;
        if power_condition == 0 && packet[4] & LOAD_EJECT != 0 {
            self.tray.move_to(packet[4] & START == 0)?;
        }
        Ok(Reply::Done)
    }

    fn event_status(&self, packet: &Packet) -> Result<Reply, Sense> {
        const POLLED: u8 = 1;
        const MEDIA_CLASS: u8 = 4;
        const NO_EVENT: u8 = 0x80;
        if packet[1] & POLLED == 0 {
            return Err(INVALID_FIELD);
        }
        let room = usize::from(be16(packet, 7));
        if packet[4] & 1 << MEDIA_CLASS == 0 {
            return Ok(cut(vec![0, 2, NO_EVENT, 1 << MEDIA_CLASS], room));
        }
        let look = self.tray.look();
        // An event is told once, so only if there is room for it.
        let event = if room > 4 { self.tray.take_event() as u8 } else { 0 };
        let state = u8::from(look.open) | u8::from(look.present) << 1;
        Ok(cut(vec![0, 6, MEDIA_CLASS, 1 << MEDIA_CLASS, event, state, 0, 0], room))
    }
}

/// Blocks that the disc has.
fn span(first: u32, count: u32, total: u64) -> Result<Reply, Sense> {
    if u64::from(first) + u64::from(count) > total || (count == 0 && u64::from(first) > total) {
        return Err(BLOCK_OUT_OF_RANGE.at(first));
    }
    Ok(if count == 0 { Reply::Done } else { Reply::Blocks { first, count } })
}

fn verify(disc: &dyn Disk, first: u32, count: u16) -> Result<Reply, Sense> {
    let (start, end) = (u64::from(first), u64::from(first) + u64::from(count));
    span(first, count.into(), blocks(disc))?;
    for at in (start..end).step_by(PIECE as usize) {
        read_blocks(disc, at, PIECE.min(end - at)).map_err(|_| UNRECOVERED_READ.at(at as u32))?;
    }
    Ok(Reply::Done)
}

/// READ CD in so far as it asks for the user data of data sectors.
fn read_cd(packet: &Packet, first: u32, count: u32, total: u64) -> Result<Reply, Sense> {
    const ANY: u8 = 0;
    const MODE_1: u8 = 2;
    const USER_DATA: u8 = 0x10;
    if !matches!(packet[1] >> 2 & 7, ANY | MODE_1) {
        return Err(ILLEGAL_MODE);
    }
    match packet[9] & 0xF8 {
        0 => span(first, count, total).map(|_| Reply::Done),
        USER_DATA if packet[9] & 6 == 0 && packet[10] & 7 == 0 => span(first, count, total),
        _ => Err(INVALID_FIELD),
    }
}

/// READ SUB-CHANNEL: nothing plays.
fn subchannel(packet: &Packet) -> Result<Reply, Sense> {
    const NOTHING_PLAYS: u8 = 0x15;
    const POSITION: u8 = 1;
    let room = usize::from(be16(packet, 7));
    if packet[2] & 0x40 == 0 {
        return Ok(cut(vec![0, NOTHING_PLAYS, 0, 0], room));
    }
    if packet[3] != POSITION {
        return Err(INVALID_FIELD);
    }
    let mut data = vec![0, NOTHING_PLAYS, 0, 12, POSITION, 0x14, 1, 1];
    data.extend(toc::address(0, packet[1] & 2 != 0));
    data.extend(toc::address(0, packet[1] & 2 != 0));
    Ok(cut(data, room))
}

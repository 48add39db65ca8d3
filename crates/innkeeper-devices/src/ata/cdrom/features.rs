//! What a drive can do: features and profiles, mode pages, a DVD's structures.
//!
//! Spec: MMC-6, 5 (features), 6.5 (GET CONFIGURATION), 7 (mode pages; the capabilities page is MMC-3's, 5.5.10),
//! 6.20 (READ DISC STRUCTURE).

use super::packets::{Packet, be16};
use super::sense::{INVALID_FIELD, Sense};
use super::tray::Look;
use super::{BLOCK, MOST_CD_BLOCKS};

const PROFILE_CD_ROM: u16 = 0x0008;
const PROFILE_DVD_ROM: u16 = 0x0010;
const FEATURE_CD_READ: u16 = 0x001E;
const FEATURE_DVD_READ: u16 = 0x001F;
const SPEED_KB: u16 = 706 * 8;

/// A feature: its code, whether it always is and whether it is now, and its own data.
fn feature(code: u16, version: u8, persistent: bool, current: bool, data: &[u8]) -> Vec<u8> {
    let state = version << 2 | u8::from(persistent) << 1 | u8::from(current);
    [&code.to_be_bytes()[..], &[state, data.len() as u8], data].concat()
}

fn profile(code: u16, current: bool) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [high, low, u8::from(current), 0]
}

/// GET CONFIGURATION. `disc` is the number of blocks of the disc, if there is one.
pub fn configuration(packet: &Packet, disc: Option<u64>) -> Result<Vec<u8>, Sense> {
    const ALL: u8 = 0;
    const CURRENT: u8 = 1;
    const ONE: u8 = 2;
    let (asked, from) = (packet[1] & 3, be16(packet, 2));
    let (cd, dvd) =
        (disc.is_some_and(|total| total <= MOST_CD_BLOCKS), disc.is_some_and(|total| total > MOST_CD_BLOCKS));
    let profiles = [profile(PROFILE_DVD_ROM, dvd), profile(PROFILE_CD_ROM, cd)].concat();
    let block = [&(BLOCK as u32).to_be_bytes()[..], &[0, 1, 0, 0]].concat();
    let all = [
        (0x0000, true, feature(0x0000, 0, true, true, &profiles)),
        (0x0001, true, feature(0x0001, 2, true, true, &[0, 0, 0, 2, 1, 0, 0, 0])), // core, on ATAPI
        (0x0002, true, feature(0x0002, 1, true, true, &[2, 0, 0, 0])),             // morphing, with events
        (0x0003, true, feature(0x0003, 0, true, true, &[0x29, 0, 0, 0])), // a tray that locks and ejects
        (0x0010, disc.is_some(), feature(0x0010, 0, false, disc.is_some(), &block)), // random readable
        (FEATURE_CD_READ, cd, feature(FEATURE_CD_READ, 2, false, cd, &[0, 0, 0, 0])),
        (FEATURE_DVD_READ, dvd, feature(FEATURE_DVD_READ, 0, false, dvd, &[])),
        (0x0100, true, feature(0x0100, 0, true, true, &[])), // power management
    ];
    let wanted = all.into_iter().filter(|&(code, current, _)| match asked {
        ALL => code >= from,
        CURRENT => code >= from && current,
        ONE => code == from,
        _ => false,
    });
    if asked > ONE {
        return Err(INVALID_FIELD);
    }
    let now = if cd {
        PROFILE_CD_ROM
    } else if dvd {
        PROFILE_DVD_ROM
    } else {
        0
    };
    let mut data = vec![0; 8];
    data[6..8].copy_from_slice(&now.to_be_bytes());
    data.extend(wanted.flat_map(|(_, _, bytes)| bytes));
    let length = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&length.to_be_bytes());
    Ok(data)
}

/// Mode pages. `changeable`: the mask of what a guest may change, which is nothing.
pub fn mode_pages(page: u8, tray: Look, changeable: bool) -> Result<Vec<u8>, Sense> {
    const ALL: u8 = 0x3F;
    const ERROR_RECOVERY: u8 = 0x01;
    const CAPABILITIES: u8 = 0x2A;
    let mut pages = Vec::new();
    if matches!(page, ALL | ERROR_RECOVERY) {
        pages.push(vec![ERROR_RECOVERY, 6, 0, 5, 0, 0, 0, 0]); // five retries
    }
    if matches!(page, ALL | CAPABILITIES) {
        pages.push(capabilities(tray));
    }
    if pages.is_empty() {
        return Err(INVALID_FIELD);
    }
    if changeable {
        pages.iter_mut().for_each(|page| page[2..].fill(0));
    }
    Ok(pages.concat())
}

fn capabilities(tray: Look) -> Vec<u8> {
    const READS_DVD_ROM: u8 = 0x08;
    const READS_CD_RW: u8 = 0x03;
    const MULTI_SESSION: u8 = 0x40;
    const MODE_2: u8 = 0x30;
    const LOADS_BY_TRAY: u8 = 0x20;
    const EJECTS: u8 = 0x08;
    const LOCKS: u8 = 0x01;
    let mut page = vec![0; 22];
    (page[0], page[1]) = (0x2A, 20);
    page[2] = READS_DVD_ROM | READS_CD_RW;
    page[4] = MULTI_SESSION | MODE_2;
    page[6] = LOADS_BY_TRAY | EJECTS | LOCKS | u8::from(tray.locked) << 1;
    page[8..10].copy_from_slice(&SPEED_KB.to_be_bytes());
    page[12..14].copy_from_slice(&512u16.to_be_bytes()); // KiB of buffer
    page[14..16].copy_from_slice(&SPEED_KB.to_be_bytes());
    page
}

/// READ DISC STRUCTURE of a DVD.
pub fn disc_structure(packet: &Packet, total: u64) -> Result<Vec<u8>, Sense> {
    const PHYSICAL: u8 = 0;
    const COPYRIGHT: u8 = 1;
    const FIRST_SECTOR: u64 = 0x3_0000;
    let (layer, format) = (packet[6], packet[7]);
    if total <= MOST_CD_BLOCKS || layer != 0 {
        return Err(INVALID_FIELD);
    }
    let mut data = match format {
        PHYSICAL => {
            let mut data = vec![0; 4 + 2048];
            (data[4], data[5], data[6]) = (0x01, 0x0F, 0x01); // DVD-ROM, 120 mm, one layer, embossed
            data[8..12].copy_from_slice(&(FIRST_SECTOR as u32).to_be_bytes());
            data[12..16].copy_from_slice(&((FIRST_SECTOR + total - 1) as u32).to_be_bytes());
            data
        }
        COPYRIGHT => vec![0; 8],
        _ => return Err(INVALID_FIELD),
    };
    let length = (data.len() - 2) as u16;
    data[..2].copy_from_slice(&length.to_be_bytes());
    Ok(data)
}

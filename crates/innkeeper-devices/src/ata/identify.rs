//! What IDENTIFY DEVICE and IDENTIFY PACKET DEVICE tell.
//!
//! Spec: ATA8-ACS, 7.12 and 7.13; word numbers below are its.

use super::disk::AtaDisk;

/// CHS addresses are for old software: the sizes that everybody assumes.
pub const HEADS: u64 = 16;
pub const SECTORS: u64 = 63;
const MOST_CYLINDERS: u64 = 16383;
/// What 28 bits reach.
const MOST_SECTORS_28: u64 = 0x0FFF_FFFF;
/// Sectors between two interrupts of READ MULTIPLE, at most.
pub const MOST_MULTIPLE: u8 = 16;
/// Commands that may wait in the drive.
pub const QUEUE_DEPTH: u16 = 32;

const FIRMWARE: &str = "1.0";

/// The 512 bytes, being filled word by word.
struct Words([u16; 256]);

impl Words {
    fn set(&mut self, word: usize, value: u16) {
        self.0[word] = value;
    }

    fn set_wide(&mut self, word: usize, words: usize, value: u64) {
        for i in 0..words {
            self.0[word + i] = (value >> (16 * i)) as u16;
        }
    }

    /// Text has the first character of a pair in the high byte, and is filled up with blanks.
    fn set_text(&mut self, word: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for target in &mut self.0[word..word + words] {
            let (high, low) = (bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' '));
            *target = u16::from(high) << 8 | u16::from(low);
        }
    }

    /// Ends it with the integrity word: the sum of all bytes is 0.
    fn finish(mut self) -> Vec<u8> {
        self.0[255] = 0x00A5;
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let sum = bytes.fold(0u8, u8::wrapping_add);
        self.0[255] |= u16::from(sum.wrapping_neg()) << 8;
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Cylinders, heads, sectors that 28-bit CHS addresses of a disk have by default.
pub fn geometry(sectors: u64) -> (u64, u64, u64) {
    ((sectors / (HEADS * SECTORS)).clamp(1, MOST_CYLINDERS), HEADS, SECTORS)
}

/// The transfer mode that SET FEATURES chose, as a bit of words 62, 63 or 88.
fn mode_bits(mode: u8, group: u8) -> u16 {
    if mode & 0xF8 == group { 1 << (mode & 7) } else { 0 }
}

const SINGLE_DMA: u8 = 0x10;
const MULTIWORD_DMA: u8 = 0x20;
const ULTRA_DMA: u8 = 0x40;

/// What either kind says of its interfaces.
fn modes(words: &mut Words, transfer_mode: u8, serial_link: bool) {
    words.set(53, 0b111); // words 54-58, 64-70 and 88 are valid
    words.set(62, mode_bits(transfer_mode, SINGLE_DMA) << 8);
    words.set(63, 0x07 | mode_bits(transfer_mode, MULTIWORD_DMA) << 8);
    words.set(64, 0x03); // PIO modes 3 and 4
    for word in 65..=68 {
        words.set(word, 120); // ns a cycle
    }
    words.set(80, 0x01F0); // ATA-4 to ATA8-ACS
    words.set(88, 0x3F | mode_bits(transfer_mode, ULTRA_DMA) << 8); // Ultra DMA 0 to 5
    if !serial_link {
        words.set(93, 0x6001); // device 0, a cable of 80 wires
    }
}

/// IDENTIFY DEVICE of a disk.
pub fn disk(disk: &AtaDisk) -> Vec<u8> {
    let mut words = Words([0; 256]);
    let sectors = disk.sectors();
    let (cylinders, heads, per_track) = geometry(sectors);
    words.set(0, 0x0040); // a fixed ATA device
    words.set(1, cylinders as u16);
    words.set(3, heads as u16);
    words.set(6, per_track as u16);
    names(&mut words, disk.serial(), disk.model());
    words.set(47, 0x8000 | u16::from(MOST_MULTIPLE));
    words.set(49, 0x0F00); // standby timer as standardised no, IORDY, LBA, DMA
    words.set(50, 0x4000);
    let (now_heads, now_per_track) = disk.geometry();
    let now_cylinders = (sectors / (now_heads * now_per_track)).clamp(1, MOST_CYLINDERS);
    words.set_wide(54, 1, now_cylinders);
    words.set_wide(55, 1, now_heads);
    words.set_wide(56, 1, now_per_track);
    words.set_wide(57, 2, (now_cylinders * now_heads * now_per_track).min(sectors));
    words.set(59, 0x0100 | u16::from(disk.multiple()));
    words.set_wide(60, 2, sectors.min(MOST_SECTORS_28));
    modes(&mut words, disk.transfer_mode(), disk.serial_link());
    if disk.serial_link() {
        words.set(75, QUEUE_DEPTH - 1);
        words.set(76, 0x0106); // NCQ; 1.5 and 3.0 Gbit/s
    }
    feature_sets(&mut words, disk);
    words.set_wide(100, 4, sectors);
    words.set(106, 0x6000 | physical_exponent(disk));
    words.set(217, 0x0001); // not rotating
    if disk.can_trim() {
        words.set(69, 0x4020); // what was trimmed reads as zeroes, always
        words.set(105, 1); // blocks of ranges in one command
        words.set(169, 1);
    }
    words.finish()
}

fn names(words: &mut Words, serial: &str, model: &str) {
    words.set_text(10, 10, serial);
    words.set_text(23, 4, FIRMWARE);
    words.set_text(27, 20, model);
}

/// Eight logical sectors are a physical one, so that partitioners align to 4 KiB.
fn physical_exponent(disk: &AtaDisk) -> u16 {
    if disk.sectors().is_multiple_of(8) { 3 } else { 0 }
}

/// Words 82 to 87: what it can, and what of that is on.
fn feature_sets(words: &mut Words, disk: &AtaDisk) {
    const NOP: u16 = 1 << 14;
    const WRITE_CACHE: u16 = 1 << 5;
    const LOOK_AHEAD: u16 = 1 << 6;
    const POWER_MANAGEMENT: u16 = 1 << 3;
    const SMART: u16 = 1;
    const FLUSH_EXT: u16 = 1 << 13;
    const FLUSH: u16 = 1 << 12;
    const ADDRESS_48: u16 = 1 << 10;
    const VALID: u16 = 1 << 14;
    const LOGS: u16 = 1 << 5; // general purpose logging
    const FUA: u16 = 1 << 6;
    let cache = if disk.write_cache() { WRITE_CACHE } else { 0 };
    let ahead = if disk.look_ahead() { LOOK_AHEAD } else { 0 };
    let smart = if disk.smart_enabled() { SMART } else { 0 };
    words.set(82, NOP | WRITE_CACHE | LOOK_AHEAD | POWER_MANAGEMENT | SMART);
    words.set(83, VALID | FLUSH_EXT | FLUSH | ADDRESS_48);
    words.set(84, VALID | LOGS | FUA);
    words.set(85, NOP | cache | ahead | POWER_MANAGEMENT | smart);
    words.set(86, FLUSH_EXT | FLUSH | ADDRESS_48);
    words.set(87, VALID | LOGS | FUA);
}

/// IDENTIFY PACKET DEVICE of a CD-ROM drive.
pub fn cdrom(serial: &str, model: &str, transfer_mode: u8, serial_link: bool) -> Vec<u8> {
    let mut words = Words([0; 256]);
    words.set(0, 0x85C0); // a packet device, CD-ROM, removable, DRQ within 50 µs, packets of 12 bytes
    names(&mut words, serial, model);
    words.set(49, 0x0F00);
    words.set(50, 0x4000);
    modes(&mut words, transfer_mode, serial_link);
    if serial_link {
        words.set(76, 0x0006);
    }
    words.set(82, 1 << 14 | 1 << 9 | 1 << 4 | 1 << 3); // NOP, DEVICE RESET, PACKET, power management
    words.set(83, 0x4000);
    words.set(84, 0x4000);
    words.set(85, 1 << 14 | 1 << 9 | 1 << 4 | 1 << 3);
    words.set(87, 0x4000);
    words.finish()
}

//! `struct virtio_blk_config` (virtio 1.2, 5.2.4).

use super::{QUEUE_SIZE, SECTOR};

const CONFIG_BYTES: usize = 60;
pub const WRITEBACK: u64 = 32;
/// Descriptors of a queue less those of header and status.
pub const SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;
/// Most sectors of a range to discard or to zero, and most ranges of a request: the work of one request stays bounded.
pub const RANGE_SECTORS: u32 = (2 << 30) / SECTOR as u32;
pub const RANGES: u32 = 256;
/// What the host writes whole, as a power of two of sectors.
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;

pub struct Layout {
    pub sectors: u64,
    pub writeback: bool,
    pub queues: u16,
    pub discard: bool,
}

impl Layout {
    pub fn to_bytes(&self) -> [u8; CONFIG_BYTES] {
        let mut bytes = [0; CONFIG_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.sectors.to_le_bytes());
        put(12, &SEGMENTS.to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        put(24, &[PHYSICAL_BLOCK_EXPONENT, 0]);
        put(26, &(1u16 << PHYSICAL_BLOCK_EXPONENT).to_le_bytes()); // suggested minimum of a request
        put(WRITEBACK as usize, &[self.writeback.into()]);
        put(34, &self.queues.to_le_bytes());
        if self.discard {
            put(36, &RANGE_SECTORS.to_le_bytes());
            put(40, &RANGES.to_le_bytes());
            put(44, &(1u32 << PHYSICAL_BLOCK_EXPONENT).to_le_bytes());
        }
        put(48, &RANGE_SECTORS.to_le_bytes());
        put(52, &RANGES.to_le_bytes());
        put(56, &[1]); // writing zeroes may give space back
        bytes
    }
}

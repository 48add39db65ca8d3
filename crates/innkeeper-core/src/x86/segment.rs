//! A segment register and its hidden part.

use crate::state::SegmentState;

// 16 unusable │ 15 G │ 14 D/B │ 13 L │ 12 AVL │ 11…8 0 │ 7 P │ 6-5 DPL │ 4 S │ 3…0 type
pub const TYPE: u32 = 0xF;
pub const ACCESSED: u32 = 1;
/// Data: writable. Code: readable.
pub const WRITABLE: u32 = 2;
/// Data: expand-down. Code: conforming.
pub const EXPAND_DOWN: u32 = 4;
pub const CONFORMING: u32 = 4;
pub const CODE: u32 = 8;
pub const NOT_SYSTEM: u32 = 1 << 4;
pub const DPL_SHIFT: u32 = 5;
pub const PRESENT: u32 = 1 << 7;
pub const LONG: u32 = 1 << 13;
pub const BIG: u32 = 1 << 14;
pub const GRANULAR: u32 = 1 << 15;
pub const UNUSABLE: u32 = 1 << 16;

impl SegmentState {
    pub fn kind(&self) -> u32 {
        self.attributes & TYPE
    }
    pub fn dpl(&self) -> u8 {
        (self.attributes >> DPL_SHIFT & 3) as u8
    }
    pub fn has(&self, attribute: u32) -> bool {
        self.attributes & attribute != 0
    }

    /// The hidden part that an 8-byte descriptor describes; `high` is the upper half of a 16-byte one.
    pub fn from_descriptor(selector: u16, low: u64, high: u64) -> Self {
        let attributes = (low >> 40 & 0xF0FF) as u32;
        let limit = (low & 0xFFFF | low >> 32 & 0xF_0000) as u32;
        let base = low >> 16 & 0xFF_FFFF | low >> 32 & 0xFF00_0000 | high << 32;
        let limit = if attributes & GRANULAR != 0 { limit << 12 | 0xFFF } else { limit };
        Self { selector, attributes, limit, base }
    }

    /// A real-mode or virtual-8086 segment (`dpl` 3 in virtual-8086 mode). Real mode keeps the hidden
    /// limit and rights; this builds the reset ones.
    pub fn real(selector: u16, dpl: u32) -> Self {
        let attributes = PRESENT | NOT_SYSTEM | WRITABLE | ACCESSED | dpl << DPL_SHIFT;
        Self { selector, attributes, limit: 0xFFFF, base: u64::from(selector) << 4 }
    }

    /// A null selector's hidden part.
    pub fn null(selector: u16) -> Self {
        Self { selector, attributes: UNUSABLE, limit: 0, base: 0 }
    }
}

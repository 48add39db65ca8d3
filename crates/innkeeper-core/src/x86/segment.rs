//! Segment registers with their hidden parts, the descriptors those come from, and loading them.
//! Source: Intel SDM vol. 3, chapters 3 and 5.

use super::cpu::Cpu;
use super::fault::{Stop, vector};
use super::op::seg;
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

/// An 8-byte descriptor (or the lower half of a 16-byte one) and where it was read.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub raw: u64,
    /// Linear address in its table.
    pub address: u64,
}

impl Descriptor {
    fn has(self, attribute: u32) -> bool {
        (self.raw >> 40) as u32 & attribute != 0
    }
    /// Type, with the S bit on top: 0-15 are system descriptors.
    pub fn kind(self) -> u32 {
        (self.raw >> 40) as u32 & 0x1F
    }
    pub fn is_system(self) -> bool {
        !self.has(NOT_SYSTEM)
    }
    pub fn is_code(self) -> bool {
        self.has(NOT_SYSTEM) && self.has(CODE)
    }
    pub fn is_conforming(self) -> bool {
        self.is_code() && self.has(CONFORMING)
    }
    pub fn is_readable(self) -> bool {
        self.has(NOT_SYSTEM) && (!self.has(CODE) || self.has(WRITABLE))
    }
    pub fn is_writable_data(self) -> bool {
        self.has(NOT_SYSTEM) && !self.has(CODE) && self.has(WRITABLE)
    }
    pub fn is_present(self) -> bool {
        self.has(PRESENT)
    }
    pub fn is_long(self) -> bool {
        self.has(LONG)
    }
    pub fn is_big(self) -> bool {
        self.has(BIG)
    }
    pub fn dpl(self) -> u8 {
        (self.raw >> 45 & 3) as u8
    }
    pub fn segment(self, selector: u16) -> SegmentState {
        SegmentState::from_descriptor(selector, self.raw, 0)
    }
}

/// Whether a selector is null: index 0 in the GDT, whatever the RPL.
pub fn is_null(selector: u16) -> bool {
    selector & !3 == 0
}

/// The requested privilege level of a selector.
pub fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// SS without a segment, as 64-bit mode has it above CPL 3; DPL is then still the CPL.
pub fn null_stack(selector: u16, cpl: u8) -> SegmentState {
    let attributes = UNUSABLE | u32::from(cpl) << DPL_SHIFT;
    SegmentState { selector, attributes, limit: 0, base: 0 }
}

impl Cpu {
    /// A fault whose error code names a selector. `ext`: 1 if something other than the program caused it.
    pub fn selector_fault(&mut self, vector: u8, selector: u16, ext: u32) -> Stop {
        self.raise(vector, u32::from(selector & !3) | ext)
    }

    /// Reads a selector's descriptor; `vector` is raised where its table has none.
    pub fn read_descriptor(&mut self, selector: u16, vector: u8, ext: u32) -> Result<Descriptor, Stop> {
        match self.find_descriptor(selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.selector_fault(vector, selector, ext)),
        }
    }

    /// The descriptor of a selector, if its table reaches that far.
    pub fn find_descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Stop> {
        let (base, limit) = if selector & 4 == 0 {
            (self.gdtr.base, u32::from(self.gdtr.limit))
        } else if self.ldtr.has(UNUSABLE) {
            return Ok(None);
        } else {
            (self.ldtr.base, self.ldtr.limit)
        };
        if u32::from(selector | 7) > limit {
            return Ok(None);
        }
        let address = base.wrapping_add(u64::from(selector & !7));
        Ok(Some(Descriptor { raw: self.load_system(address)?, address }))
    }

    /// The upper half of a 16-byte descriptor.
    pub fn read_upper_half(&mut self, selector: u16, vector: u8, ext: u32) -> Result<u64, Stop> {
        let next = self.find_descriptor(selector.saturating_add(8))?;
        match next.filter(|_| selector < 0xFFF8) {
            Some(upper) => Ok(upper.raw),
            None => Err(self.selector_fault(vector, selector, ext)),
        }
    }

    /// Sets the accessed flag of a code or data descriptor that is about to be loaded.
    pub fn mark_accessed(&mut self, descriptor: &mut Descriptor) -> Result<(), Stop> {
        if descriptor.raw >> 40 & 1 == 0 {
            descriptor.raw |= 1 << 40;
            self.store_system(descriptor.address.wrapping_add(5), (descriptor.raw >> 40) as u8)?;
        }
        Ok(())
    }

    /// Loads ES, SS, DS, FS or GS as MOV and POP do (Intel SDM vol. 2, MOV).
    pub fn load_segment(&mut self, number: u8, selector: u16) -> Result<(), Stop> {
        let loaded = if !self.protected {
            self.real_segment(number, selector)
        } else if number == seg::SS {
            self.stack_segment(selector)?
        } else {
            self.data_segment(selector)?
        };
        self.set_segment(number, loaded);
        Ok(())
    }

    /// Changes the hidden and visible part of a segment register and what depends on them.
    pub fn set_segment(&mut self, number: u8, segment: SegmentState) {
        self.segments[number as usize] = segment;
        if number == seg::SS || number == seg::CS {
            self.refresh_mode();
        } else if number >= seg::FS || !self.long {
            self.bases[number as usize] = segment.base;
        }
    }

    /// What a load outside protected mode leaves: real mode keeps the hidden limit and rights.
    pub fn real_segment(&self, number: u8, selector: u16) -> SegmentState {
        let before = self.segments[number as usize];
        if self.v86() {
            return SegmentState::real(selector, 3);
        }
        if before.has(UNUSABLE) {
            return SegmentState::real(selector, 0);
        }
        SegmentState { selector, base: u64::from(selector) << 4, ..before }
    }

    fn stack_segment(&mut self, selector: u16) -> Result<SegmentState, Stop> {
        if is_null(selector) {
            let allowed = self.long && self.cpl != 3 && rpl(selector) == self.cpl;
            return if allowed { Ok(null_stack(selector, self.cpl)) } else { Err(self.gp(0)) };
        }
        let mut descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        if rpl(selector) != self.cpl || descriptor.dpl() != self.cpl || !descriptor.is_writable_data() {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::SS, selector, 0));
        }
        self.mark_accessed(&mut descriptor)?;
        Ok(descriptor.segment(selector))
    }

    fn data_segment(&mut self, selector: u16) -> Result<SegmentState, Stop> {
        if is_null(selector) {
            return Ok(SegmentState::null(selector));
        }
        let mut descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        let privilege = self.cpl.max(rpl(selector));
        if !descriptor.is_readable() || (!descriptor.is_conforming() && privilege > descriptor.dpl()) {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        self.mark_accessed(&mut descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Makes data segments unusable that a return to a less privileged level must not leave behind.
    pub fn drop_privileged_segments(&mut self) {
        for number in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let segment = self.segments[number as usize];
            let conforming = segment.has(CODE) && segment.has(CONFORMING);
            if !segment.has(UNUSABLE) && !conforming && segment.dpl() < self.cpl {
                // The base stays, as processors have it; in 64-bit mode FS and GS still use it.
                let null = SegmentState { base: segment.base, ..SegmentState::null(0) };
                self.set_segment(number, null);
            }
        }
    }
}

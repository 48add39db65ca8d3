//! What a translation takes for granted of the processor's mode: part of its key.

use crate::x86::cpu::{Cpu, cr, flag};
use crate::x86::mmu::CHECKED;
use crate::x86::op::seg;
use crate::x86::segment as attr;

/// A mode that code can be translated for, packed into a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode(pub u8);

const USER: u8 = 1;
const BITS_32: u8 = 1 << 1;
const VIEW_SHIFT: u8 = 2;
const FPU: u8 = 1 << 4;
const AVX: u8 = 1 << 5;
/// The FS and GS segments reach every address (32-bit code).
const WIDE_FS_GS: u8 = 1 << 6;
/// RFLAGS.DF is set.
const DOWN: u8 = 1 << 7;

impl Mode {
    pub fn user(self) -> bool {
        self.0 & USER != 0
    }
    pub fn long(self) -> bool {
        self.0 & BITS_32 == 0
    }
    pub fn bits(self) -> u32 {
        if self.long() { 64 } else { 32 }
    }
    /// The view that data accesses use.
    pub fn view(self) -> usize {
        usize::from(self.0 >> VIEW_SHIFT & 3)
    }
    pub fn with_view(self, view: usize) -> Self {
        Self(self.0 & !(3 << VIEW_SHIFT) | (view as u8) << VIEW_SHIFT)
    }
    /// x87, MMX and SSE instructions neither trap nor raise unmasked exceptions.
    pub fn fpu(self) -> bool {
        self.0 & FPU != 0
    }
    /// AVX is on.
    pub fn avx(self) -> bool {
        self.0 & AVX != 0
    }
    /// String instructions go towards lower addresses.
    pub fn down(self) -> bool {
        self.0 & DOWN != 0
    }
    pub fn wide_fs_gs(self) -> bool {
        self.0 & WIDE_FS_GS != 0
    }

    /// In words: "64-bit CPL3".
    pub fn describe(self) -> String {
        let level = if self.user() { 3 } else { 0 };
        let access = if self.view() == 0 && !self.user() { ", AC or no SMAP" } else { "" };
        format!("{}-bit CPL{level}{access}", self.bits())
    }
}

impl Cpu {
    /// The mode that the next instruction is executed in; `None` where only the interpreter can.
    pub(super) fn translation_mode(&self) -> Option<Mode> {
        let flat = self.long || self.is_flat_32();
        // Levels 1 and 2 share CPL 0's view of memory but not its rights.
        if !flat || self.tlb.data == CHECKED || self.cpl == 1 || self.cpl == 2 {
            return None;
        }
        let mut mode = (self.tlb.data as u8) << VIEW_SHIFT;
        if self.cpl == 3 {
            mode |= USER;
        }
        if self.has_flag(flag::DF) {
            mode |= DOWN;
        }
        if !self.long {
            mode |= BITS_32;
            if self.is_wide(seg::FS) && self.is_wide(seg::GS) {
                mode |= WIDE_FS_GS;
            }
        }
        let masked = self.mxcsr >> 7 & 0x3F == 0x3F && self.x87.control & 0x3F == 0x3F;
        if masked && self.cr0 & (cr::CR0_EM | cr::CR0_TS) == 0 && self.cr4 & cr::CR4_OSFXSR != 0 {
            mode |= FPU;
            if self.cr4 & cr::CR4_OSXSAVE != 0 && self.xcr0 & 7 == 7 {
                mode |= AVX;
            }
        }
        Some(Mode(mode))
    }

    /// 32-bit code whose code, data and stack segments are all of the address space.
    fn is_flat_32(&self) -> bool {
        let flat = |number: u8| self.segments[number as usize].base == 0 && self.is_wide(number);
        self.protected
            && self.bitness == 32
            && self.stack_mask == 0xFFFF_FFFF
            && self.segments[seg::CS as usize].base == 0
            && self.segments[seg::CS as usize].limit == u32::MAX
            && self.segments[seg::CS as usize].has(attr::WRITABLE)
            && flat(seg::SS)
            && flat(seg::DS)
            && flat(seg::ES)
    }

    /// Writable data up to 4 GiB.
    fn is_wide(&self, number: u8) -> bool {
        let segment = self.segments[number as usize];
        segment.limit == u32::MAX
            && segment.has(attr::WRITABLE)
            && !segment.has(attr::CODE | attr::UNUSABLE | attr::EXPAND_DOWN)
    }
}

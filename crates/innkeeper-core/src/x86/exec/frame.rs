//! Stack frames of far calls, interrupts and exceptions, written before the transfer is certain:
//! nothing of the processor changes until the whole frame is in memory.
//! Source: Intel SDM vol. 3, 5.8.5 (stack switching), 8.2.1 and 8.7 (TSS), 6.14 (IA-32e mode).

use crate::state::SegmentState;
use crate::x86::cpu::{Cpu, RSP, with_sp};
use crate::x86::fault::{Stop, vector};
use crate::x86::mmu::canonical;
use crate::x86::op::seg;
use crate::x86::segment::{self as attr, is_null, null_stack, rpl};

/// A stack that a frame is being pushed on.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub ss: SegmentState,
    pub sp: u64,
    mask: u64,
    /// The stack belongs to CPL 3.
    user: bool,
    /// #SS error code where the frame does not fit.
    error: u32,
}

impl Frame {
    /// A stack in 64-bit mode: no limits, 64-bit RSP.
    fn flat(ss: SegmentState, sp: u64, cpl: u8, error: u32) -> Self {
        Self { ss, sp, mask: u64::MAX, user: cpl == 3, error }
    }

    fn new(ss: SegmentState, sp: u64, cpl: u8, error: u32) -> Self {
        let mask = if ss.has(attr::BIG) { 0xFFFF_FFFF } else { 0xFFFF };
        Self { ss, sp, mask, user: cpl == 3, error }
    }

    /// The linear address of `size` bytes at `sp`, if the segment has them.
    fn linear(&self, sp: u64, size: u64) -> Option<u64> {
        if self.mask == u64::MAX {
            let inside = canonical(sp) && canonical(sp.wrapping_add(size - 1));
            return inside.then_some(sp);
        }
        let (limit, last) = (u64::from(self.ss.limit), sp + size - 1);
        let inside = if self.ss.has(attr::EXPAND_DOWN) {
            sp > limit && last <= if self.ss.has(attr::BIG) { 0xFFFF_FFFF } else { 0xFFFF }
        } else {
            last <= limit
        };
        inside.then(|| self.ss.base.wrapping_add(sp) & 0xFFFF_FFFF)
    }

    /// RSP once the frame is in force: only as many bits as the stack is wide.
    pub fn new_rsp(&self, before: u64) -> u64 {
        with_sp(before, self.sp, self.mask)
    }
}

impl Cpu {
    /// The current stack, for frames that stay on it. Faults are #SS(`ext`).
    pub fn current_frame(&self, ext: u32) -> Frame {
        let ss = self.segments[seg::SS as usize];
        if self.long {
            return Frame::flat(ss, self.regs[RSP], self.cpl, ext);
        }
        Frame { mask: self.stack_mask, ..Frame::new(ss, self.sp(), self.cpl, ext) }
    }

    /// Pushes `size` bytes (2, 4 or 8) of `value`.
    pub fn push_frame(&mut self, frame: &mut Frame, size: u8, value: u64) -> Result<(), Stop> {
        let sp = frame.sp.wrapping_sub(u64::from(size)) & frame.mask;
        let Some(linear) = frame.linear(sp, u64::from(size)) else {
            return Err(self.raise(vector::SS, frame.error));
        };
        match size {
            2 => self.store_frame(linear, value as u16, frame.user)?,
            4 => self.store_frame(linear, value as u32, frame.user)?,
            _ => self.store_frame(linear, value, frame.user)?,
        }
        frame.sp = sp;
        Ok(())
    }

    /// Reads `size` bytes at `offset` above the top of the current stack, without popping.
    pub fn peek(&mut self, offset: u64, size: u8) -> Result<u64, Stop> {
        let sp = self.sp().wrapping_add(offset) & self.stack_mask;
        Ok(match size {
            2 => u64::from(self.load::<u16>(seg::SS, sp)?),
            4 => u64::from(self.load::<u32>(seg::SS, sp)?),
            _ => self.load(seg::SS, sp)?,
        })
    }

    // ---- stacks from the TSS --------------------------------------------------------------------

    /// Reads from the current TSS; #TS where its limit ends before.
    fn read_tss<T: crate::x86::word::Word>(&mut self, offset: u32, ext: u32) -> Result<T, Stop> {
        let last = offset + T::BYTES as u32 - 1;
        if self.tr.has(attr::UNUSABLE) || last > self.tr.limit {
            return Err(self.selector_fault(vector::TS, self.tr.selector, ext));
        }
        self.load_system(self.tr.base.wrapping_add(u64::from(offset)))
    }

    /// The stack that the TSS names for privilege level `cpl`, checked (legacy mode).
    pub fn inner_frame(&mut self, cpl: u8, ext: u32) -> Result<Frame, Stop> {
        let level = u32::from(cpl);
        let (sp, selector) = if self.tr.kind() & 8 != 0 {
            let selector = self.read_tss::<u16>(8 * level + 8, ext)?;
            (u64::from(self.read_tss::<u32>(8 * level + 4, ext)?), selector)
        } else {
            let selector = self.read_tss::<u16>(4 * level + 4, ext)?;
            (u64::from(self.read_tss::<u16>(4 * level + 2, ext)?), selector)
        };
        if is_null(selector) {
            return Err(self.raise(vector::TS, ext));
        }
        let mut descriptor = self.read_descriptor(selector, vector::TS, ext)?;
        if rpl(selector) != cpl || descriptor.dpl() != cpl || !descriptor.is_writable_data() {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::SS, selector, ext));
        }
        self.mark_accessed(&mut descriptor)?;
        let error = u32::from(selector & !3) | ext;
        let mut frame = Frame::new(descriptor.segment(selector), sp, cpl, error);
        frame.sp &= frame.mask;
        Ok(frame)
    }

    /// The stack that the TSS names for privilege level `cpl` in IA-32e mode; SS becomes null.
    pub fn inner_frame_long(&mut self, cpl: u8, ext: u32) -> Result<Frame, Stop> {
        let sp = self.read_tss(4 + 8 * u32::from(cpl), ext)?;
        Ok(Frame::flat(null_stack(u16::from(cpl), cpl), sp, cpl, ext))
    }

    /// The stack for an interrupt in IA-32e mode: from the interrupt stack table if `ist` is not 0,
    /// else a new one only if the privilege level changes.
    pub fn interrupt_frame_long(&mut self, cpl: u8, ist: u32, ext: u32) -> Result<Frame, Stop> {
        let ss = match cpl == self.cpl {
            true => self.segments[seg::SS as usize],
            false => null_stack(u16::from(cpl), cpl),
        };
        let sp = match ist {
            0 if cpl == self.cpl => self.regs[RSP],
            0 => self.read_tss(4 + 8 * u32::from(cpl), ext)?,
            _ => self.read_tss(0x24 + 8 * (ist - 1), ext)?,
        };
        Ok(Frame::flat(ss, sp & !15, cpl, ext))
    }

    /// Moves onto the frame's stack.
    pub fn enter_frame(&mut self, frame: &Frame) {
        self.segments[seg::SS as usize] = frame.ss;
        self.regs[RSP] = frame.new_rsp(self.regs[RSP]);
    }
}

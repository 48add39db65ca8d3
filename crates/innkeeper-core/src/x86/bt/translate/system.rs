//! Instructions whose effect is the guest's own: division that may trap, flags, time, access rights.

use std::mem::offset_of;

use iced_x86::FlowControl;

use super::super::asm::{RBX, RCX};
use super::*;
use crate::state::SegmentState;
use crate::x86::cpu::Msrs;

impl Emitter<'_> {
    /// DIV and IDIV, where they surely do not trap; else the interpreter.
    pub(super) fn divide(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let wide = matches!(instruction.code(), Code::Div_rm64 | Code::Idiv_rm64);
        let signed = matches!(instruction.code(), Code::Idiv_rm32 | Code::Idiv_rm64);
        let size = if wide { Size::Q } else { Size::D };
        match instruction.op0_kind() {
            OpKind::Register => match number(instruction.op0_register()).map(place) {
                Some(Place::Host(host)) => self.hot.mov(size, R11, host),
                Some(Place::Memory(slot)) => self.hot.load(R11, gs(slot)),
                None => return false,
            },
            _ => {
                if !self.is_addressable(instruction) {
                    return false;
                }
                let bytes = if wide { 8 } else { 4 };
                let from = self.access(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.rm(size, &[0x8B], R11, from);
            }
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let mut from = Vec::new();
        if signed {
            // The dividend is a sign-extended single, and the divisor neither 0 nor -1.
            self.hot.mov(size, R10, RAX);
            self.hot.rr(size, &[0xC1], 7, R10); // sar
            self.hot.raw(&[if wide { 63 } else { 31 }]);
            self.hot.rr(size, &[0x3B], R10, RDX); // cmp
            from.push(self.hot.jcc(cc::NE));
            self.hot.lea(size, R10, at(R11, 1));
            self.hot.alu_imm(size, 7, R10, 1);
            from.push(self.hot.jcc(cc::BE));
            self.hot.rr(size, &[0xF7], 7, R11);
        } else {
            self.hot.rr(size, &[0x3B], RDX, R11); // cmp
            from.push(self.hot.jcc(cc::AE));
            self.hot.rr(size, &[0xF7], 6, R11);
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.or_emulate(it, from, flags);
        true
    }

    /// Emits what changes status flags, sparing them if they are needed.
    fn sparing_flags(&mut self, it: &Decoded, emit: impl FnOnce(&mut Asm)) {
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        emit(&mut self.hot);
        if flags {
            take_flags_back(&mut self.hot);
        }
    }

    pub(super) fn cli(&mut self, it: &Decoded) -> bool {
        if self.mode.user() {
            return false;
        }
        self.sparing_flags(it, |asm| {
            asm.alu_mem_imm(Size::D, 4, gs(offset_of!(Cpu, rflags)), !(flag::IF as i32));
            asm.rm(Size::Q, &[0xFF], 0, gs(field!(counts.interrupt_flag_changes))); // inc
        });
        true
    }

    /// STI. Interrupts come one instruction later, which must be one of this block.
    pub(super) fn sti(&mut self, it: &Decoded, next: Option<&Decoded>) -> bool {
        let falls_through = |next: &Decoded| next.instruction.flow_control() == FlowControl::Next;
        if self.mode.user() || !next.is_some_and(falls_through) {
            return false;
        }
        self.sparing_flags(it, |asm| {
            asm.alu_mem_imm(Size::D, 1, gs(offset_of!(Cpu, rflags)), flag::IF as i32);
            asm.rm(Size::Q, &[0xFF], 0, gs(field!(counts.interrupt_flag_changes))); // inc
        });
        self.shadow = true;
        true
    }

    /// Behind the instruction that follows STI: leaves if an interrupt has been waiting.
    pub(super) fn look_after_sti(&mut self, it: &Decoded) {
        if !self.shadow || class(it.instruction.code()).kind == Kind::Sti {
            return;
        }
        self.shadow = false;
        let flags = it.live_after != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        self.hot.cmp_byte(gs(field!(irq_waiting)), 0);
        let found = self.hot.jcc(cc::NE);
        if flags {
            take_flags_back(&mut self.hot);
        }
        let exit = self.exit(0, self.wrap(it.instruction.next_ip()), self.mode);
        let here = self.cold.here();
        self.hot.patch(found, here);
        self.leave_polled(exit, flags);
    }

    pub(super) fn pushf(&mut self, it: &Decoded) -> bool {
        // The interpreter would push the flags that died here.
        let lossy = self.translator.verifier.is_some() && !self.exact;
        if !self.mode.long() || lossy {
            return false;
        }
        self.hot.raw(&[0x9C, 0x41, 0x5B]); // pushfq; pop r11
        self.sparing_flags(it, |asm| {
            asm.alu_imm(Size::D, 4, R11, flag::STATUS as i32);
            asm.rm(Size::D, &[0x8B], R10, gs(offset_of!(Cpu, rflags)));
            asm.alu_imm(Size::D, 4, R10, !((flag::STATUS | flag::RF | flag::VM) as i32));
            asm.rr(Size::D, &[0x0B], R10, R11); // or
        });
        self.hot.store(gs(field!(value)), R10);
        let to = self.access(it, Address::Plain(R9, -8), 8, true, 0, Form::Single);
        self.hot.load(free(to), gs(field!(value)));
        self.hot.store(to, free(to));
        self.move_stack(-8);
        self.behind(it);
        true
    }

    pub(super) fn swapgs(&mut self) -> bool {
        if self.mode.user() || !self.mode.long() {
            return false;
        }
        let kernel = gs(offset_of!(Cpu, msrs) + offset_of!(Msrs, kernel_gs_base));
        self.hot.load(R10, gs(segment_base(seg::GS)));
        self.hot.load(R11, kernel);
        self.hot.store(kernel, R10);
        self.set_base(seg::GS, R11);
        true
    }

    fn set_base(&mut self, segment: u8, from: u8) {
        self.hot.store(gs(segment_base(segment)), from);
        self.hot.store(gs(offset_of!(Cpu, bases) + 8 * usize::from(segment)), from);
    }

    pub(super) fn read_base(&mut self, it: &Decoded) -> bool {
        let segment = if it.instruction.code() == Code::Rdfsbase_r64 { seg::FS } else { seg::GS };
        let Some(target) = number(it.instruction.op0_register()) else { return false };
        if !self.source.assumed.bases {
            return false;
        }
        match place(target) {
            Place::Host(host) => self.hot.load(host, gs(segment_base(segment))),
            Place::Memory(slot) => {
                self.hot.load(R10, gs(segment_base(segment)));
                self.hot.store(gs(slot), R10);
            }
        }
        true
    }

    pub(super) fn write_base(&mut self, it: &Decoded) -> bool {
        let segment = if it.instruction.code() == Code::Wrfsbase_r64 { seg::FS } else { seg::GS };
        let Some(source) = number(it.instruction.op0_register()) else { return false };
        if !self.source.assumed.bases {
            return false;
        }
        match place(source) {
            Place::Host(host) => self.hot.mov(Size::Q, R10, host),
            Place::Memory(slot) => self.hot.load(R10, gs(slot)),
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        self.hot.mov(Size::Q, R11, R10);
        self.hot.rr(Size::Q, &[0xC1], 4, R11); // shl
        self.hot.raw(&[16]);
        self.hot.rr(Size::Q, &[0xC1], 7, R11); // sar
        self.hot.raw(&[16]);
        self.hot.rr(Size::Q, &[0x3B], R11, R10); // cmp: is it canonical?
        let from = vec![self.hot.jcc(cc::NE)];
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.set_base(segment, R10);
        self.or_emulate(it, from, flags);
        true
    }

    /// Has the interpreter do the instruction just translated, in the cases that the jumps `from` found.
    pub(super) fn or_emulate(&mut self, it: &Decoded, from: Vec<usize>, flags: bool) {
        let here = self.hot.here() as u32;
        let site = self.site(&it.instruction, Access::Emulate);
        let offset = self.site_mut(site).offset;
        for site in self.sites.iter_mut().filter(|site| site.offset == offset) {
            site.next = here;
        }
        self.pending.push(Cold::Emulate { from, site, flags });
    }

    pub(super) fn read_selector(&mut self, it: &Decoded) -> bool {
        let segment = it.instruction.op1_register();
        let target = it.instruction.op0_register();
        let (Some(guest), true) = (number(target), self.mode.long()) else { return false };
        let from = gs(offset_of!(Cpu, segments)
            + segment.number() * size_of::<SegmentState>()
            + offset_of!(SegmentState, selector));
        let Place::Host(host) = place(guest) else { return false };
        if target.size() == 2 {
            self.hot.rm(Size::W, &[0x8B], host, from);
        } else {
            self.hot.rm(Size::D, &[0x0F, 0xB7], host, from); // movzx
        }
        true
    }

    /// CPUID with the answer that it gave last, if that was to the same question.
    pub(super) fn cpuid(&mut self, it: &Decoded) -> bool {
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        self.hot.mov(Size::D, R10, RAX);
        self.hot.mov(Size::Q, R11, RCX);
        self.hot.rr(Size::Q, &[0xC1], 4, R11); // shl
        self.hot.raw(&[32]);
        self.hot.rr(Size::Q, &[0x0B], R10, R11); // or
        self.hot.rm(Size::Q, &[0x3B], R10, gs(field!(cpuid.key))); // cmp
        let from = vec![self.hot.jcc(cc::NE)];
        for (number, register) in [RAX, RCX, RDX, RBX].into_iter().enumerate() {
            self.hot.rm(Size::D, &[0x8B], register, gs(field!(cpuid.answer) + 4 * number));
        }
        self.hot.rm(Size::Q, &[0xFF], 0, gs(field!(counts.cpuids))); // inc
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.or_emulate(it, from, flags);
        true
    }

    pub(super) fn rdtsc(&mut self, it: &Decoded) -> bool {
        if (self.mode.user() && !self.source.assumed.tsc_free)
            || !self.source.cpuid.allows(it.instruction.code())
        {
            return false;
        }
        if self.translator.verifier.is_some() {
            return false; // no two readings are alike
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        if it.instruction.code() == Code::Rdtscp {
            self.hot.raw(&[0x0F, 0xAE, 0xE8]); // lfence: it waits for what came before
        }
        self.hot.raw(&[0x0F, 0x31]);
        self.hot.rr(Size::Q, &[0xC1], 4, RDX); // shl
        self.hot.raw(&[32]);
        self.hot.rr(Size::Q, &[0x0B], RDX, RAX); // or
        self.hot.mov_imm(R10, self.source.assumed.tsc_offset);
        self.hot.rr(Size::Q, &[0x03], RDX, R10); // add
        self.hot.mov(Size::D, RAX, RDX);
        self.hot.rr(Size::Q, &[0xC1], 5, RDX); // shr
        self.hot.raw(&[32]);
        if it.instruction.code() == Code::Rdtscp {
            self.hot.rm(Size::D, &[0x8B], RCX, gs(offset_of!(Cpu, msrs) + offset_of!(Msrs, tsc_aux)));
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    /// STAC and CLAC: the view of memory changes for what follows.
    pub(super) fn smap(&mut self, it: &Decoded) -> bool {
        if self.mode.user() || !self.source.cpuid.allows(it.instruction.code()) {
            return false;
        }
        let on = it.instruction.mnemonic() == iced_x86::Mnemonic::Stac;
        let view = if on || !self.source.assumed.smap { SUPERVISOR } else { SUPERVISOR_SMAP };
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(offset_of!(Cpu, rflags));
        if on {
            self.hot.alu_mem_imm(Size::D, 1, rflags, flag::AC as i32);
        } else {
            self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::AC as i32));
        }
        self.hot.load(R10, gs(offset_of!(Cpu, tlb)));
        self.hot.rm(Size::Q, &[0xC7], 0, at(R10, Tlb::DATA_VIEW as i32));
        self.hot.raw(&(view as u32).to_le_bytes());
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.mode = self.mode.with_view(view);
        true
    }
}

/// Where a segment register's base is.
fn segment_base(segment: u8) -> usize {
    offset_of!(Cpu, segments)
        + usize::from(segment) * size_of::<SegmentState>()
        + offset_of!(SegmentState, base)
}

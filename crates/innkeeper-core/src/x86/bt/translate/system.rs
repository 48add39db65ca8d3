//! Instructions whose effect is the guest's own: division that may trap, flags, time, access rights.

use super::*;

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
                self.check(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.rm(size, &[0x8B], R11, at_sum(R11, R10));
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
        let here = self.hot.here() as u32;
        let site = self.site(instruction, Access::Emulate);
        for site in &mut self.sites {
            if site.offset == (instruction.ip() - self.source.key.rip) as u16 {
                site.next = here;
            }
        }
        self.pending.push(Cold::Emulate { from, site, flags });
        true
    }

    /// CLI, and STI where interrupts are on already; the rest is the interpreter's.
    pub(super) fn interrupt_flag(&mut self, it: &Decoded) -> bool {
        if self.mode.user() {
            return false;
        }
        if class(it.instruction.code()).kind == Kind::Sti {
            return false;
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::IF as i32));
        self.hot.rm(Size::Q, &[0xFF], 0, gs(field!(counts.interrupt_flag_changes))); // inc
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    pub(super) fn direction(&mut self, it: &Decoded, down: bool) -> bool {
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        if down {
            self.hot.alu_mem_imm(Size::D, 1, rflags, flag::DF as i32);
        } else {
            self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::DF as i32));
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    pub(super) fn rdtsc(&mut self, it: &Decoded) -> bool {
        if self.mode.user() && !self.source.assumed.tsc_free {
            return false;
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
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
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        if on {
            self.hot.alu_mem_imm(Size::D, 1, rflags, flag::AC as i32);
        } else {
            self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::AC as i32));
        }
        self.hot.load(R10, gs(std::mem::offset_of!(Cpu, tlb)));
        self.hot.rm(Size::Q, &[0xC7], 0, at(R10, Tlb::DATA_VIEW as i32));
        self.hot.raw(&(view as u32).to_le_bytes());
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.mode = self.mode.with_view(view);
        true
    }
}

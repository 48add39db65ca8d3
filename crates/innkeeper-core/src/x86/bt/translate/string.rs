//! MOVS and STOS within a page of each operand: done by the host's own, on host memory. The rest is the
//! interpreter's.

use super::super::asm::{RCX, RDI, RSI};
use super::*;

/// Elements that are surely few enough for address arithmetic not to wrap.
const MOST: i32 = 4096;

impl Emitter<'_> {
    /// MOVS or STOS, with or without REP.
    pub(super) fn string(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let (scale, moves) = match instruction.code() {
            Code::Movsb_m8_m8 => (0, true),
            Code::Movsd_m32_m32 => (2, true),
            Code::Movsq_m64_m64 => (3, true),
            Code::Stosb_m8_AL => (0, false),
            Code::Stosd_m32_EAX => (2, false),
            _ => (3, false),
        };
        let repeated = instruction.has_rep_prefix();
        let based = matches!(instruction.memory_segment(), Register::FS | Register::GS);
        let wide = (0..instruction.op_count()).all(|i| {
            !matches!(
                instruction.op_kind(i),
                OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemoryESDI | OpKind::MemoryESEDI
            )
        });
        if !self.mode.long()
            || !wide
            || (moves && based)
            || instruction.has_repne_prefix()
            || self.mode.down()
        {
            return false;
        }
        if !repeated {
            return self.one_element(it, scale, moves);
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        // Beyond what is checked one by one, flags are aside already.
        let quiet = Decoded { instruction: it.instruction, live: 0, live_after: 0, run: None, held: false };
        let mut from = Vec::new();
        let asm = &mut self.hot;
        asm.rr(Size::Q, &[0x85], RCX, RCX); // test
        let skip = asm.jcc(cc::E);
        asm.alu_imm(Size::Q, 7, RCX, MOST);
        from.push(asm.jcc(cc::A));
        if moves {
            self.elements(&quiet, RSI, false, scale, &mut from);
            self.hot.store(gs(field!(string.from)), R11);
        }
        self.elements(&quiet, RDI, true, scale, &mut from);
        let asm = &mut self.hot;
        asm.store(gs(field!(string.rdi)), RDI);
        if moves {
            asm.store(gs(field!(string.rsi)), RSI);
            asm.load(RSI, gs(field!(string.from)));
        }
        asm.mov(Size::Q, RDI, R11);
        asm.mov(Size::Q, R10, R11);
        let opcode = if moves { 0xA4 } else { 0xAA };
        match scale {
            0 => asm.raw(&[0xF3, opcode]),
            2 => asm.raw(&[0xF3, opcode | 1]),
            _ => asm.raw(&[0xF3, 0x48, opcode | 1]),
        }
        // How far it went, added to where the guest's registers were.
        asm.rr(Size::Q, &[0x2B], RDI, R10); // sub
        if moves {
            asm.load(RSI, gs(field!(string.rsi)));
            asm.rr(Size::Q, &[0x03], RSI, RDI); // add
        }
        asm.rm(Size::Q, &[0x03], RDI, gs(field!(string.rdi))); // add
        let here = self.hot.here();
        self.hot.patch(skip, here);
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.or_emulate(it, from, flags);
        true
    }

    /// One MOVS or STOS without a prefix.
    fn one_element(&mut self, it: &Decoded, scale: u8, moves: bool) -> bool {
        let bytes = 1 << scale;
        let (size, load, store) = match scale {
            0 => (Size::B, 0x8A, 0x88),
            2 => (Size::D, 0x8B, 0x89),
            _ => (Size::Q, 0x8B, 0x89),
        };
        if moves {
            let from = self.access(it, Address::Plain(RSI, 0), bytes, false, 0, Form::Sum);
            self.hot.rm(size, &[load], R10, from);
            self.hot.rm(size, &[store], R10, gs(field!(string.from)));
            let to = self.access(it, Address::Plain(RDI, 0), bytes, true, 0, Form::Single);
            self.hot.rm(size, &[load], free(to), gs(field!(string.from)));
            self.hot.rm(size, &[store], free(to), to);
            self.hot.lea(Size::Q, RSI, at(RSI, bytes as i32));
        } else {
            let to = self.access(it, Address::Plain(RDI, 0), bytes, true, 0, Form::Sum);
            self.hot.rm(size, &[store], RAX, to);
        }
        self.hot.lea(Size::Q, RDI, at(RDI, bytes as i32));
        self.behind(it);
        true
    }

    /// R11 := the host address of the RCX elements at the guest's `register`, if they are in one page; else
    /// jumps that are added to `from`.
    fn elements(&mut self, it: &Decoded, register: u8, write: bool, scale: u8, from: &mut Vec<usize>) {
        self.access(it, Address::Plain(register, 0), 1 << scale, write, 0, Form::Sum);
        if let Some(site) = self.sites.last_mut() {
            site.found = 0; // a page with code is not for elements that nobody checks
        }
        let asm = &mut self.hot;
        asm.rr(Size::Q, &[0x03], R11, R10); // add
        let end = Mem { base: Some(R10), index: Some((RCX, scale)), disp: 0, gs: false };
        asm.lea(Size::Q, R10, end);
        asm.alu_imm(Size::Q, 7, R10, PAGE_SIZE as i32);
        from.push(asm.jcc(cc::A));
    }
}

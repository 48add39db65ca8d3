//! Memory operands: their addresses, the check of each access, and the stack.

use super::*;

impl Emitter<'_> {
    /// R10 := the linear address. May use R11; changes status flags.
    pub(super) fn address(&mut self, asm: &mut Asm, instruction: &Instruction, what: Address) {
        match what {
            Address::Plain(base, 0) => asm.mov(self.width(), R10, base),
            Address::Plain(base, disp) => asm.lea(self.width(), R10, at(base, disp)),
            Address::Bits => {
                self.address(asm, instruction, Address::Operand);
                self.bit_offset(asm, instruction);
            }
            Address::Operand => {
                self.offset(asm, instruction);
                let segment = match instruction.memory_segment() {
                    Register::FS => seg::FS,
                    Register::GS => seg::GS,
                    _ => return,
                };
                let base = std::mem::offset_of!(Cpu, bases) + 8 * usize::from(segment);
                let size = if self.mode.long() { Size::Q } else { Size::D };
                asm.rm(size, &[0x03], R10, gs(base));
            }
        }
    }

    pub(super) fn width(&self) -> Size {
        if self.mode.long() { Size::Q } else { Size::D }
    }

    /// R10 += the bytes that a bit number in a register reaches beyond the operand (Intel SDM vol. 2, BT).
    fn bit_offset(&self, asm: &mut Asm, instruction: &Instruction) {
        let bits = instruction.op1_register();
        let wide = bits.size() == 8;
        match number(bits).map(place) {
            Some(Place::Host(host)) if wide => asm.mov(Size::Q, R11, host),
            Some(Place::Host(host)) => asm.rr(Size::Q, &[0x63], R11, host), // movsxd
            Some(Place::Memory(slot)) if wide => asm.load(R11, gs(slot)),
            Some(Place::Memory(slot)) => asm.rm(Size::Q, &[0x63], R11, gs(slot)),
            None => {}
        }
        asm.rr(Size::Q, &[0xC1], 7, R11); // sar
        asm.raw(&[if wide { 6 } else { 5 }]);
        let sum = Mem { base: Some(R10), index: Some((R11, if wide { 3 } else { 2 })), disp: 0, gs: false };
        asm.lea(self.width(), R10, sum);
    }

    /// BT and its kin on memory, with the bit number in a register.
    pub(super) fn bit_string(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        if !self.allowed(instruction) || !self.is_addressable(instruction) {
            return false;
        }
        let wide = instruction.op1_register().size() == 8;
        let bytes = if wide { 8 } else { 4 };
        let write = instruction.mnemonic() != iced_x86::Mnemonic::Bt;
        let Some(bits) = number(instruction.op1_register()).map(place) else { return false };
        let to = self.access(it, Address::Bits, bytes, write, 0, Form::Single);
        match bits {
            Place::Host(host) => self.hot.mov(Size::Q, R11, host),
            Place::Memory(slot) => self.hot.load(R11, gs(slot)),
        }
        if it.live != 0 {
            put_flags_aside(&mut self.hot);
        }
        self.hot.alu_imm(Size::D, 4, R11, if wide { 63 } else { 31 });
        if it.live != 0 {
            take_flags_back(&mut self.hot);
        }
        let mut pointed = *instruction;
        pointed.set_op1_register(if wide { Register::R11 } else { Register::R11D });
        point_to(&mut pointed, to);
        if !self.encode(&pointed) {
            return false;
        }
        self.behind(it);
        true
    }

    /// R10 := the offset in its segment of the memory operand. May use R11; changes no flags.
    pub(super) fn offset(&mut self, asm: &mut Asm, instruction: &Instruction) {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let displacement = instruction.memory_displacement64();
        let absolute = base == Register::None && index == Register::None;
        if absolute || instruction.is_ip_rel_memory_operand() {
            let narrow =
                !self.mode.long() || base == Register::EIP || (absolute && self.is_address_32(instruction));
            return asm.mov_imm(R10, if narrow { displacement & 0xFFFF_FFFF } else { displacement });
        }
        let narrow = base.is_gpr32() || index.is_gpr32();
        let size = if narrow { Size::D } else { Size::Q };
        let host = |asm: &mut Asm, register: Register, scratch: u8| {
            number(register).map(|guest| match place(guest) {
                Place::Host(host) => host,
                Place::Memory(slot) => {
                    asm.load(scratch, gs(slot));
                    scratch
                }
            })
        };
        let base = host(asm, base, R10);
        let index = host(asm, index, R11);
        let scale = instruction.memory_index_scale().trailing_zeros() as u8;
        let disp = displacement as i32;
        match (base, index) {
            (Some(base), None) if disp == 0 => {
                if base != R10 || narrow {
                    asm.mov(size, R10, base);
                }
            }
            (base, index) => {
                asm.lea(size, R10, Mem { base, index: index.map(|index| (index, scale)), disp, gs: false });
            }
        }
    }

    /// An absolute operand with an address-size prefix.
    pub(super) fn is_address_32(&self, instruction: &Instruction) -> bool {
        let start = (instruction.ip() - self.source.key.rip) as usize;
        self.source.bytes[start..start + instruction.len()].iter().take(4).any(|&byte| byte == 0x67)
    }

    /// Checks an access of `size` bytes, unless one check was made for a whole run; gives where the operand
    /// is. With `Form::Single` one of R10 and R11 is free then: see [`free`].
    pub(super) fn access(
        &mut self,
        it: &Decoded,
        what: Address,
        size: usize,
        write: bool,
        align: u8,
        form: Form,
    ) -> Mem {
        if it.held {
            let (base, disp) = match what {
                Address::Plain(base, disp) => (base, disp),
                _ => {
                    let base = number(it.instruction.memory_base()).map(place);
                    let Some(Place::Host(base)) = base else {
                        unreachable!("runs have a base in a host register")
                    };
                    (base, it.instruction.memory_displacement64() as i32)
                }
            };
            return Mem { base: Some(R11), index: Some((base, 0)), disp, gs: false };
        }
        let site = self.look_up_page(it, what, size, write, align);
        let array = tlb_array(self.mode.view(), write);
        match form {
            Form::Sum => self.hot.load(R11, gs_indexed(R11, array + 8)),
            Form::Single => self.hot.rm(Size::Q, &[0x03], R10, gs_indexed(R11, array + 8)),
        }
        let here = self.hot.here() as u32;
        let record = self.site_mut(site);
        (record.found, record.single) = (here, form == Form::Single);
        if it.live != 0 {
            take_flags_back(&mut self.hot);
        }
        match form {
            Form::Sum => at_sum(R11, R10),
            Form::Single => at(R10, 0),
        }
    }

    /// Looks up the page of an access: then R10 is the offset in it, and R11 the TLB entry's. Leaves flags
    /// aside if they are needed.
    pub(super) fn look_up_page(
        &mut self,
        it: &Decoded,
        what: Address,
        size: usize,
        write: bool,
        align: u8,
    ) -> SiteId {
        let site = self.site(&it.instruction, if write { Access::Write } else { Access::Read });
        if it.live != 0 {
            put_flags_aside(&mut self.hot);
        }
        let retry = self.hot.here() as u32;
        let mut hot = std::mem::take(&mut self.hot);
        self.address(&mut hot, &it.instruction, what);
        self.hot = hot;
        let array = tlb_array(self.mode.view(), write);
        let asm = &mut self.hot;
        asm.mov(Size::D, R11, R10);
        asm.rr(Size::D, &[0xC1], 5, R11); // shr
        asm.raw(&[8]);
        asm.alu_imm(Size::D, 4, R11, ((context::TLB_ENTRIES - 1) << 4) as i32);
        asm.rm(Size::Q, &[0x33], R10, gs_indexed(R11, array)); // xor
        asm.alu_imm(Size::Q, 7, R10, (PAGE_SIZE as usize - size) as i32); // cmp
        let mut from = vec![asm.jcc(cc::A)];
        if align != 0 {
            asm.rr(Size::B, &[0xF6], 0, R10); // test
            asm.raw(&[align]);
            from.push(asm.jcc(cc::NE));
        }
        let record = self.site_mut(site);
        (record.retry, record.size, record.align) = (retry, size as u16, align);
        self.pending.push(Cold::Slow { from, instruction: it.instruction, what, site });
        site
    }

    pub(super) fn stack_bytes(&self) -> usize {
        if self.mode.long() { 8 } else { 4 }
    }

    pub(super) fn move_stack(&mut self, by: i32) {
        let width = self.width();
        self.hot.lea(width, R9, at(R9, by));
    }

    pub(super) fn push(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let bytes = self.stack_bytes();
        let down = -(bytes as i32);
        let size = self.width();
        match instruction.op0_kind() {
            OpKind::Register => {
                let Some(guest) = number(instruction.op0_register()) else { return false };
                match place(guest) {
                    Place::Host(host) => {
                        let to = self.access(it, Address::Plain(R9, down), bytes, true, 0, Form::Sum);
                        self.hot.rm(size, &[0x89], host, to);
                    }
                    Place::Memory(slot) => {
                        let to = self.access(it, Address::Plain(R9, down), bytes, true, 0, Form::Single);
                        self.hot.load(free(to), gs(slot));
                        self.hot.rm(size, &[0x89], free(to), to);
                    }
                }
            }
            OpKind::Memory => {
                if !self.is_addressable(instruction) || !self.mode.long() {
                    return false;
                }
                let from = self.access(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.load(R10, from);
                self.hot.store(gs(field!(value)), R10);
                let to = self.access(it, Address::Plain(R9, down), bytes, true, 0, Form::Single);
                self.hot.load(free(to), gs(field!(value)));
                self.hot.store(to, free(to));
                self.move_stack(down);
                self.behind(it);
                return true;
            }
            _ => {
                let value = instruction.immediate(0);
                let to = self.access(it, Address::Plain(R9, down), bytes, true, 0, Form::Sum);
                self.hot.rm(size, &[0xC7], 0, to);
                self.hot.raw(&(value as u32).to_le_bytes());
            }
        }
        self.move_stack(down);
        self.behind(it);
        true
    }

    pub(super) fn pop(&mut self, it: &Decoded) -> bool {
        let Some(guest) = number(it.instruction.op0_register()) else { return false };
        let bytes = self.stack_bytes();
        let size = self.width();
        let from = self.access(it, Address::Plain(R9, 0), bytes, false, 0, Form::Sum);
        match place(guest) {
            Place::Host(R9) => self.hot.rm(size, &[0x8B], R9, from),
            Place::Host(host) => {
                self.hot.rm(size, &[0x8B], host, from);
                self.move_stack(bytes as i32);
            }
            Place::Memory(slot) => {
                self.hot.rm(size, &[0x8B], R10, from);
                self.hot.store(gs(slot), R10);
                self.move_stack(bytes as i32);
            }
        }
        self.behind(it);
        true
    }

    pub(super) fn leave(&mut self, it: &Decoded) -> bool {
        let bytes = self.stack_bytes();
        let size = self.width();
        let from = self.access(it, Address::Plain(5, 0), bytes, false, 0, Form::Sum);
        self.hot.lea(size, R9, at(5, bytes as i32));
        self.hot.rm(size, &[0x8B], 5, from);
        self.behind(it);
        true
    }
}

//! Instructions that the host executes under other names.

use super::*;

impl Emitter<'_> {
    /// Translates one instruction. Tells whether the host does it.
    pub(super) fn instruction(&mut self, it: &Decoded, next: Option<&Decoded>) -> bool {
        let instruction = &it.instruction;
        let done = match class(instruction.code()).kind {
            Kind::Native => self.allowed(instruction) && self.native(it),
            Kind::Emulate => false,
            Kind::Nothing => !instruction.has_lock_prefix() && self.source.cpuid.allows(instruction.code()),
            Kind::Jump => self.jump(it),
            Kind::JumpIf => self.jump_if(it),
            Kind::Call => self.call(it),
            Kind::Return => self.ret(it),
            Kind::JumpIndirect => self.jump_indirect(it),
            Kind::CallIndirect => self.call_indirect(it),
            Kind::Push => self.push(it),
            Kind::Pop => self.pop(it),
            Kind::Leave => self.leave(it),
            Kind::Divide => self.divide(it),
            Kind::Cli => self.cli(it),
            Kind::Sti => self.sti(it, next),
            // What it is already; a change is a change of mode.
            Kind::Cld => !self.mode.down(),
            Kind::Std => self.mode.down(),
            Kind::Rdtsc => self.rdtsc(it),
            Kind::SmapAccess => self.smap(it),
            Kind::Pushf => self.pushf(it),
            Kind::SwapGs => self.swapgs(),
            Kind::ReadBase => self.read_base(it),
            Kind::WriteBase => self.write_base(it),
            Kind::ReadSelector => self.read_selector(it),
            Kind::Cpuid => self.cpuid(it),
            Kind::BitString if instruction.op0_kind() == OpKind::Memory => self.bit_string(it),
            Kind::BitString => self.native(it),
            Kind::StringMove => self.string(it),
            Kind::Popf => false,
        };
        if !done {
            self.emulate(instruction);
        }
        done
    }

    /// Lets the interpreter do it.
    pub(super) fn emulate(&mut self, instruction: &Instruction) {
        let site = self.site(instruction, Access::Emulate);
        self.hot.mov_imm(R11, site.into());
        let thunk = self.translator.cache.thunks.emulate;
        self.hot.jmp_to(thunk);
        let here = self.hot.here() as u32;
        self.site_mut(site).next = here;
    }

    /// An instruction that the host executes under other names. Tells whether it could be encoded.
    pub(super) fn native(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let memory = (0..instruction.op_count()).find(|&i| instruction.op_kind(i) == OpKind::Memory);
        if memory.is_none() && self.mode.long() && self.is_plain(instruction) {
            let start = (instruction.ip() - self.source.key.rip) as usize;
            self.hot.raw(&self.source.bytes[start..start + instruction.len()]);
            return true;
        }
        let mark = (self.hot.bytes.len(), self.pending.len(), self.sites.len());
        let done = match memory {
            Some(operand) => self.native_memory(it, operand),
            None => self.native_registers(instruction),
        };
        if !done {
            self.hot.bytes.truncate(mark.0);
            self.pending.truncate(mark.1);
            self.sites.truncate(mark.2);
        }
        done
    }

    /// Its registers have their own names on the host.
    pub(super) fn is_plain(&self, instruction: &Instruction) -> bool {
        (0..instruction.op_count()).all(|i| {
            instruction.op_kind(i) != OpKind::Register
                || number(instruction.op_register(i)).is_none_or(|n| place(n) == Place::Host(n))
        })
    }

    pub(super) fn native_registers(&mut self, instruction: &Instruction) -> bool {
        let mut renamed = *instruction;
        match self.rename(instruction, &mut renamed, &[R10, R11]) {
            Some(spilled) => self.wrapped(&renamed, &spilled),
            None => false,
        }
    }

    /// Renames the register operands; those that live in memory get the given scratch registers.
    pub(super) fn rename(
        &mut self,
        instruction: &Instruction,
        out: &mut Instruction,
        scratch: &[u8],
    ) -> Option<Vec<Spilled>> {
        let mut spilled: Vec<Spilled> = Vec::new();
        for i in 0..instruction.op_count() {
            if instruction.op_kind(i) != OpKind::Register {
                continue;
            }
            let register = instruction.op_register(i);
            let Some(guest) = number(register) else { continue };
            match place(guest) {
                Place::Host(host) if host == guest => {}
                Place::Host(host) => out.set_op_register(i, renamed(register, host)),
                Place::Memory(slot) => {
                    let access = self.info.info(instruction).op_access(i);
                    let written =
                        !matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
                    let read = access != OpAccess::Write || register.size() < 4;
                    let known = spilled.iter().position(|spilled| spilled.slot == slot);
                    let at = match known {
                        Some(at) => at,
                        None if spilled.len() < scratch.len() => {
                            let host = scratch[spilled.len()];
                            spilled.push(Spilled { slot, host, read: false, written: false });
                            spilled.len() - 1
                        }
                        None => return None,
                    };
                    spilled[at].read |= read;
                    spilled[at].written |= written;
                    out.set_op_register(i, renamed(register, spilled[at].host));
                }
            }
        }
        Some(spilled)
    }

    /// Emits an instruction between the loads and stores of its spilled registers.
    pub(super) fn wrapped(&mut self, instruction: &Instruction, spilled: &[Spilled]) -> bool {
        for it in spilled.iter().filter(|it| it.read) {
            self.hot.load(it.host, gs(it.slot));
        }
        if !self.encode(instruction) {
            return false;
        }
        for it in spilled.iter().filter(|it| it.written) {
            self.hot.store(gs(it.slot), it.host);
        }
        true
    }

    pub(super) fn encode(&mut self, instruction: &Instruction) -> bool {
        let mut instruction = *instruction;
        // One-byte forms that 64-bit mode took for REX.
        match instruction.code() {
            Code::Inc_r32 => instruction.set_code(Code::Inc_rm32),
            Code::Dec_r32 => instruction.set_code(Code::Dec_rm32),
            Code::Inc_r16 => instruction.set_code(Code::Inc_rm16),
            Code::Dec_r16 => instruction.set_code(Code::Dec_rm16),
            _ => {}
        }
        let encoded = self.encoder.encode(&instruction, 0).is_ok();
        let mut bytes = self.encoder.take_buffer();
        if encoded {
            self.hot.raw(&bytes);
        }
        bytes.clear();
        self.encoder.set_buffer(bytes);
        encoded
    }

    pub(super) fn native_memory(&mut self, it: &Decoded, operand: u32) -> bool {
        let instruction = &it.instruction;
        if instruction.mnemonic() == iced_x86::Mnemonic::Lea {
            return self.lea(instruction);
        }
        let size = instruction.memory_size().size();
        let Some(write) = self.writes_memory(instruction, operand) else { return false };
        if size == 0 || size > 32 || self.is_bit_string(instruction) || !self.is_addressable(instruction) {
            return false;
        }
        if (0..instruction.op_count())
            .any(|i| instruction.op_kind(i) == OpKind::Register && is_high_byte(instruction.op_register(i)))
        {
            return false;
        }
        let align = alignment(instruction, size);
        let mut renamed = *instruction;
        if self.mode.user() && self.source.alone {
            // Nobody but the vCPU itself could come between: programs do not share memory with devices.
            renamed.set_has_lock_prefix(false);
        }
        let Some(spilled) = self.rename(instruction, &mut renamed, &[if it.held { R10 } else { R11 }]) else {
            return false;
        };
        let form = if spilled.is_empty() { Form::Sum } else { Form::Single };
        let operand = self.access(it, Address::Operand, size, write, align, form);
        point_to(&mut renamed, operand);
        if !self.wrapped(&renamed, &spilled) {
            return false;
        }
        self.behind(it);
        true
    }

    /// An instruction is done here, where its sites go on.
    pub(super) fn behind(&mut self, it: &Decoded) {
        let here = self.hot.here() as u32;
        let offset = (it.instruction.ip() - self.source.key.rip) as u16;
        for site in self.sites.iter_mut().filter(|site| site.offset == offset && !site.run) {
            site.next = here;
        }
    }

    /// BT and its kin with a register: they reach beyond their operand.
    pub(super) fn is_bit_string(&self, instruction: &Instruction) -> bool {
        use iced_x86::Mnemonic as M;
        matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc)
            && instruction.op1_kind() == OpKind::Register
    }

    /// Its memory operand can be addressed here: not 16-bit, and no segment with a limit.
    pub(super) fn is_addressable(&self, instruction: &Instruction) -> bool {
        let based = matches!(instruction.memory_segment(), Register::FS | Register::GS);
        let size16 = [instruction.memory_base(), instruction.memory_index()].iter().any(|r| r.is_gpr16())
            || instruction.memory_displ_size() == 2;
        let code_write = !self.mode.long() && instruction.memory_segment() == Register::CS;
        !size16 && !code_write && (self.mode.long() || !based || self.mode.wide_fs_gs())
    }

    pub(super) fn lea(&mut self, instruction: &Instruction) -> bool {
        let size16 = [instruction.memory_base(), instruction.memory_index()].iter().any(|r| r.is_gpr16());
        if size16 || (instruction.memory_displ_size() == 2 && !self.mode.long()) {
            return false;
        }
        let Some(target) = number(instruction.op0_register()) else { return false };
        if let Some(direct) = directly(instruction) {
            return self.encode(&direct);
        }
        let mut hot = std::mem::take(&mut self.hot);
        self.offset(&mut hot, instruction);
        self.hot = hot;
        let host = match place(target) {
            Place::Host(host) => host,
            Place::Memory(_) => R11,
        };
        match (instruction.op0_register().size(), place(target)) {
            (2, Place::Host(host)) => self.hot.mov(Size::W, host, R10),
            (2, Place::Memory(_)) => return false,
            (4, _) => self.hot.mov(Size::D, host, R10),
            _ => self.hot.mov(Size::Q, host, R10),
        }
        if let Place::Memory(slot) = place(target) {
            self.hot.store(gs(slot), host);
        }
        true
    }
}

//! Which instructions a block has, and which status flags matter between them.

use iced_x86::Mnemonic;

use super::*;

impl Emitter<'_> {
    pub(super) fn decode(&mut self) -> Option<Vec<Decoded>> {
        let rip = self.source.key.rip;
        let mut decoder = Decoder::with_ip(self.mode.bits(), self.source.bytes, rip, DECODING);
        let mut list: Vec<Decoded> = Vec::with_capacity(16);
        let most = if self.source.second.is_some() { 1 } else { BLOCK_LENGTH };
        while decoder.can_decode() && list.len() < most {
            let mut instruction = Instruction::default();
            decoder.decode_out(&mut instruction);
            let left = self.source.bytes.len() as u64 - (instruction.ip() - rip);
            if instruction.is_invalid() && left < 15 {
                break; // cut off by the page's end, or perhaps invalid: the interpreter will tell
            }
            if !list.is_empty() {
                let key = Key { rip: instruction.ip(), ..self.source.key };
                // Unless it closes a loop, which is best in one piece.
                let cache = &self.translator.cache;
                if cache.find(&key).is_some_and(|block| !cache.leads_to(block, rip)) {
                    break;
                }
            }
            let class = class(instruction.code());
            let native = matches!(class.kind, Kind::Native) && self.allowed(&instruction);
            self.vector |= native && class.vector;
            self.x87 |= native && class.x87;
            list.push(Decoded { instruction, live: STATUS, live_after: STATUS, run: None, held: false });
            if class.ends {
                break;
            }
        }
        let crosses = |it: &Decoded| (it.instruction.next_ip() - 1) >> 12 != rip >> 12;
        if list.first().map(crosses) != Some(self.source.second.is_some()) {
            return None;
        }
        self.instructions = list.len();
        self.liveness(&mut list);
        self.plan_runs(&mut list);
        Some(list)
    }

    /// Whether the guest may execute an instruction that the host can.
    pub(super) fn allowed(&self, instruction: &Instruction) -> bool {
        let class = class(instruction.code());
        let vex = instruction.encoding() == iced_x86::EncodingKind::VEX && class.vector;
        self.source.cpuid.allows(instruction.code())
            && (self.mode.fpu() || !(class.vector || class.x87))
            && (self.mode.avx() || !vex)
            // No two answers are alike.
            && !(self.translator.verifier.is_some()
                && matches!(instruction.mnemonic(), Mnemonic::Rdrand | Mnemonic::Rdseed))
            // In 32-bit mode they leave the registers alone that it cannot name.
            && (self.mode.long() || !matches!(instruction.mnemonic(), Mnemonic::Vzeroall | Mnemonic::Vzeroupper))
    }

    pub(super) fn liveness(&mut self, list: &mut [Decoded]) {
        let last = list.len() - 1;
        let end = list[last].instruction;
        let mut live = match class(end.code()).kind {
            Kind::Jump => self.live_at(end.near_branch_target()),
            // By every calling convention flags do not survive a call or a return. Where code shows that it
            // has its own, this is given up: see `FlagReturns`.
            Kind::Return => self.live_across_calls(&end),
            Kind::JumpIndirect if jumps_to_function(list) => self.live_across_calls(&end),
            Kind::JumpIndirect => STATUS,
            Kind::Emulate => STATUS,
            _ => self.live_at(end.next_ip()),
        };
        for it in list.iter_mut().rev() {
            it.live_after = live;
            match class(it.instruction.code()).kind {
                Kind::JumpIf if live != STATUS => live |= self.live_at(it.instruction.near_branch_target()),
                Kind::Call | Kind::CallIndirect => live = self.live_across_calls(&it.instruction),
                _ => {}
            }
            live = if self.needs_flags(&it.instruction) {
                STATUS
            } else {
                let (read, killed) = flag_effect(&it.instruction);
                read | live & !killed
            };
            it.live = if self.exact { STATUS } else { live };
        }
        if self.exact {
            list.iter_mut().for_each(|it| it.live_after = STATUS);
        }
    }

    pub(super) fn needs_flags(&self, instruction: &Instruction) -> bool {
        match class(instruction.code()).kind {
            // They read status flags whatever their operands, or are to hand them on as they are when they fault.
            Kind::Emulate | Kind::Pushf | Kind::Popf | Kind::Divide => true,
            Kind::StringMove => instruction.has_rep_prefix(),
            Kind::Native => !self.allowed(instruction),
            _ => false,
        }
    }

    /// Whether returns here may hand flags to their callers, and calls to what they call.
    pub(super) fn flags_cross_calls(&self) -> bool {
        self.exact || !self.mode.long() || self.translator.flag_returns.covers(self.source.key.rip)
    }

    pub(super) fn live_across_calls(&mut self, instruction: &Instruction) -> u32 {
        if self.flags_cross_calls() {
            return STATUS;
        }
        let kind = class(instruction.code()).kind;
        if matches!(kind, Kind::Call | Kind::CallIndirect) && self.look_ahead(instruction.next_ip()).0 != 0 {
            let callee = (kind == Kind::Call).then(|| instruction.near_branch_target());
            self.translator.flag_returns.add(callee);
        }
        0
    }

    /// Flags that code at `rip` may need.
    pub(super) fn live_at(&mut self, rip: u64) -> u32 {
        if self.exact {
            return STATUS;
        }
        let (read, unknown) = self.look_ahead(rip);
        read | unknown
    }

    /// Flags that code at `rip` surely reads before it replaces them, and those it is not known to
    /// replace. The translation then depends on the bytes looked at.
    pub(super) fn look_ahead(&mut self, rip: u64) -> (u32, u32) {
        let rip = self.wrap(rip);
        if let Some(&(_, known)) = self.seen.iter().find(|&&(seen, _)| seen == rip) {
            return known;
        }
        let mut look = Look { patience: LOOKAHEAD, branches: Vec::new() };
        let found = self.look(rip, STATUS, &mut look);
        self.seen.push((rip, found));
        found
    }

    /// The same for the flags in `pending`.
    fn look(&mut self, rip: u64, mut pending: u32, look: &mut Look) -> (u32, u32) {
        let rip = self.wrap(rip);
        // A loop comes to nothing new.
        if look.branches.iter().any(|&(seen, flags)| seen == rip && pending & !flags == 0) {
            return (0, 0);
        }
        look.branches.push((rip, pending));
        if rip >> 12 != self.source.key.rip >> 12 {
            return (0, pending);
        }
        let offset = (rip & (PAGE_SIZE - 1)) as usize;
        let page = self.source.page;
        let mut decoder = Decoder::with_ip(self.mode.bits(), &page[offset..], rip, DECODING);
        let mut read = 0;
        let mut instruction = Instruction::default();
        while pending != 0 {
            if look.patience == 0 || !decoder.can_decode() {
                break;
            }
            look.patience -= 1;
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() || self.needs_flags(&instruction) {
                break;
            }
            let (reads, killed) = flag_effect(&instruction);
            read |= reads & pending;
            pending &= !killed;
            match class(instruction.code()).kind {
                Kind::JumpIndirect if !is_stub(&instruction) => break,
                Kind::Call | Kind::CallIndirect | Kind::Return | Kind::JumpIndirect => {
                    if !self.flags_cross_calls() {
                        pending = 0;
                    }
                    break;
                }
                Kind::Jump => {
                    let (reads, unknown) = self.look(instruction.near_branch_target(), pending, look);
                    (read, pending) = (read | reads, unknown);
                    break;
                }
                Kind::JumpIf => {
                    let (reads, unknown) = self.look(instruction.near_branch_target(), pending, look);
                    let (more, also) = self.look(instruction.next_ip(), pending, look);
                    (read, pending) = (read | reads | more, unknown | also);
                    break;
                }
                _ => {}
            }
        }
        let end = (offset as u64 + (decoder.position() as u64)).min(PAGE_SIZE) as u16;
        if decoder.position() > 0 {
            self.ranges.push(CodeRange { page: self.source.key.page, start: offset as u16, end });
        }
        (read, pending)
    }
}

/// Whether the indirect jump that ends a block surely leaves the function, or the flags are those of the sum that is its target: nobody
/// wants them then. Within a function compilers do hand them on: a comparison that all cases of a switch begin with is moved to
/// before its jump.
fn jumps_to_function(list: &[Decoded]) -> bool {
    let Some((end, before)) = list.split_last() else { return false };
    if end.instruction.op0_kind() != OpKind::Register {
        return is_stub(&end.instruction);
    }
    let target = end.instruction.op0_register().full_register();
    let mut backwards = before.iter().rev().map(|it| &it.instruction);
    let last = backwards.find(|it| it.rflags_modified() & STATUS != 0);
    last.is_some_and(|it| it.mnemonic() == Mnemonic::Add && it.op0_register().full_register() == target)
}

/// Whether an indirect jump is that of a procedure linkage table: through a place that it names itself.
fn is_stub(jump: &Instruction) -> bool {
    let named = matches!(jump.memory_base(), Register::None | Register::RIP);
    jump.op0_kind() == OpKind::Memory && named && jump.memory_index() == Register::None
}

/// How far a look ahead has come.
struct Look {
    /// Instructions that it may still look at.
    patience: usize,
    /// Where it has been, and for which flags.
    branches: Vec<(u64, u32)>,
}

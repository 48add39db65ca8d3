//! Accesses through one base register, a run of instructions at a time: one check for all of them,
//! where they lie in one page. R11 then holds the distance from guest to host addresses.
//!
//! Where that fails at run time (the run straddles pages, or its page is no plain RAM) the instructions
//! are translated anew, each with a check of its own: see `Translator::apart`.

use iced_x86::{FlowControl, UsedRegister};

use super::*;

/// Bytes that a run may span.
const SPAN: i64 = 1024;

/// The one check of a run: bytes `[low, high)` from the base register's value at its start.
#[derive(Clone, Copy)]
pub(super) struct Run {
    base: u8,
    low: i64,
    high: i64,
    write: bool,
    align: u8,
}

/// What becomes of the base register.
#[derive(Clone, Copy)]
enum Base {
    Same,
    Moved(i64),
    Lost,
}

/// What an instruction means for a run.
enum Effect {
    Access {
        base: u8,
        disp: i64,
        size: usize,
        write: bool,
        align: u8,
        then: Base,
    },
    /// It leaves R11 and memory alone.
    Quiet(Base),
    Ends,
}

impl Emitter<'_> {
    /// Finds the runs of a block.
    pub(super) fn plan_runs(&mut self, list: &mut [Decoded]) {
        if !self.mode.long() {
            return; // addresses would have to wrap at 4 GiB
        }
        let branches = |it: &&Decoded| matches!(class(it.instruction.code()).kind, Kind::Jump | Kind::JumpIf);
        let targets: Vec<u64> =
            list.iter().filter(branches).map(|it| it.instruction.near_branch_target()).collect();
        let mut at = 0;
        while at < list.len() {
            match self.run_from(&list[at..], &targets) {
                Some((run, length)) => {
                    list[at].run = Some(run);
                    list[at..at + length].iter_mut().for_each(|it| it.held = true);
                    at += length;
                }
                None => at += 1,
            }
        }
    }

    /// The run that begins with the first instruction, and how many it has.
    fn run_from(&mut self, list: &[Decoded], targets: &[u64]) -> Option<(Run, usize)> {
        let Effect::Access { base, disp, size, write, align, then } = self.effect(&list[0].instruction, None)
        else {
            return None;
        };
        let mut run = Run { base, low: disp, high: disp + size as i64, write, align };
        let mut anchor = (align != 0).then_some(disp);
        let mut moved = match then {
            Base::Same => 0,
            Base::Moved(by) => by,
            Base::Lost => return None,
        };
        let (mut accesses, mut length, mut may_leave) =
            (1, 1, self.translator.is_apart(list[0].instruction.ip()));
        if may_leave {
            return None;
        }
        for (i, it) in list.iter().enumerate().skip(1) {
            let instruction = &it.instruction;
            if targets.contains(&instruction.ip()) || self.translator.is_apart(instruction.ip()) {
                break;
            }
            let then = match self.effect(instruction, Some(base)) {
                Effect::Quiet(then) => {
                    may_leave |= instruction.flow_control() != FlowControl::Next;
                    then
                }
                // A page is dirty only once it is written to.
                Effect::Access { base: other, write, .. } if other != base || (write && may_leave) => break,
                Effect::Access { disp, size, write, align, then, .. } => {
                    let start = moved + disp;
                    let (low, high) = (run.low.min(start), run.high.max(start + size as i64));
                    let first = *anchor.get_or_insert(start);
                    let misaligned = align != 0 && (start - first) & i64::from(align) != 0;
                    if high - low > SPAN || misaligned || (align != 0 && run.align != 0 && align != run.align)
                    {
                        break;
                    }
                    if align == 0 && run.align == 0 {
                        anchor = None;
                    }
                    run = Run { low, high, write: run.write | write, align: run.align | align, ..run };
                    (accesses, length) = (accesses + 1, i + 1);
                    then
                }
                Effect::Ends => break,
            };
            match then {
                Base::Same => {}
                Base::Moved(by) => moved += by,
                Base::Lost => break,
            }
        }
        if let Some(anchor) = anchor.filter(|_| run.align != 0) {
            // The check looks at the start's alignment, so that is moved down to the accesses'.
            run.low -= (run.low - anchor) & i64::from(run.align);
        }
        (accesses > 1).then_some((run, length))
    }

    fn effect(&mut self, instruction: &Instruction, base: Option<u8>) -> Effect {
        let stack = |disp, write, then| Effect::Access { base: 4, disp, size: 8, write, align: 0, then };
        let plain = |register| number(register).is_some_and(|guest| guest != 4);
        match class(instruction.code()).kind {
            Kind::Push if instruction.op0_kind() == OpKind::Memory => Effect::Ends,
            Kind::Push => stack(-8, true, Base::Moved(-8)),
            Kind::Pop if plain(instruction.op0_register()) => stack(0, false, Base::Moved(8)),
            Kind::Return if self.is_paired() => stack(0, false, Base::Lost),
            Kind::Call if self.is_paired() => stack(-8, true, Base::Lost),
            Kind::JumpIf | Kind::Nothing => Effect::Quiet(Base::Same),
            Kind::Native if self.allowed(instruction) => self.native_effect(instruction, base),
            _ => Effect::Ends,
        }
    }

    fn native_effect(&mut self, instruction: &Instruction, base: Option<u8>) -> Effect {
        let operands = 0..instruction.op_count();
        let register = |i| (instruction.op_kind(i) == OpKind::Register).then(|| instruction.op_register(i));
        let spilled = |register: Register| {
            number(register).map(place).filter(|place| matches!(place, Place::Memory(_)))
        };
        let mut slots: Vec<Place> = operands.clone().filter_map(register).filter_map(spilled).collect();
        slots.dedup_by(|a, b| a == b);
        // One may be in R10; and the high bytes are not for memory.
        if slots.len() > 1 {
            return Effect::Ends;
        }
        let memory = operands.clone().find(|&i| instruction.op_kind(i) == OpKind::Memory);
        if instruction.mnemonic() == iced_x86::Mnemonic::Lea {
            let simple = slots.is_empty()
                && (directly(instruction).is_some() || instruction.is_ip_rel_memory_operand());
            let then = match (simple, base) {
                (false, _) => return Effect::Ends,
                (true, Some(base)) => self.base_after(instruction, base),
                (true, None) => Base::Same,
            };
            return Effect::Quiet(then);
        }
        let Some(operand) = memory else {
            return Effect::Quiet(base.map_or(Base::Same, |base| self.base_after(instruction, base)));
        };
        let size = instruction.memory_size().size();
        let through = number(instruction.memory_base()).filter(|_| instruction.memory_base().is_gpr64());
        let segmented = matches!(instruction.memory_segment(), Register::FS | Register::GS);
        let high = operands.filter_map(register).any(is_high_byte);
        let (Some(through), Some(write)) = (through, self.writes_memory(instruction, operand)) else {
            return Effect::Ends;
        };
        let direct = matches!(place(through), Place::Host(_)) && instruction.memory_index() == Register::None;
        if !direct || segmented || high || size == 0 || size > 32 {
            return Effect::Ends;
        }
        Effect::Access {
            base: through,
            disp: i64::from(instruction.memory_displacement64() as i32),
            size,
            write,
            align: alignment(instruction, size),
            then: self.base_after(instruction, through),
        }
    }

    /// Whether the memory operand is written; `None` if it is not accessed plainly.
    pub(super) fn writes_memory(&mut self, instruction: &Instruction, operand: u32) -> Option<bool> {
        match self.info.info(instruction).op_access(operand) {
            OpAccess::Read | OpAccess::CondRead => Some(false),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
                Some(true)
            }
            _ => None,
        }
    }

    /// What an instruction does to a register.
    fn base_after(&mut self, instruction: &Instruction, base: u8) -> Base {
        let same = |register: Register| number(register) == Some(base);
        if instruction.op_count() > 0
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().is_gpr64()
            && same(instruction.op0_register())
        {
            let by = || i64::from(instruction.immediate(1) as i32);
            match instruction.code() {
                Code::Add_rm64_imm8 | Code::Add_rm64_imm32 => return Base::Moved(by()),
                Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 => return Base::Moved(-by()),
                Code::Lea_r64_m
                    if same(instruction.memory_base()) && instruction.memory_index() == Register::None =>
                {
                    return Base::Moved(i64::from(instruction.memory_displacement64() as i32));
                }
                _ => {}
            }
        }
        let written = |used: &UsedRegister| {
            same(used.register())
                && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
        };
        if self.info.info(instruction).used_registers().iter().any(written) { Base::Lost } else { Base::Same }
    }

    /// Checks a whole run.
    pub(super) fn check_run(&mut self, it: &Decoded, run: Run) {
        let Place::Host(base) = place(run.base) else { unreachable!("runs have a base in a host register") };
        let what = Address::Plain(base, run.low as i32);
        let site = self.look_up_page(it, what, (run.high - run.low) as usize, run.write, run.align);
        let array = tlb_array(self.mode.view(), run.write);
        self.hot.load(R10, gs_indexed(R11, array));
        self.hot.load(R11, gs_indexed(R11, array + 8));
        self.hot.rr(Size::Q, &[0x2B], R11, R10); // sub
        if it.live != 0 {
            take_flags_back(&mut self.hot);
        }
        self.site_mut(site).run = true;
    }
}

//! What the selectors of the general-purpose families share: the shape of an encoding's operands,
//! reading and writing the r/m operand with its kind fixed at compile time, and the macros that pick
//! a handler's instance by width.

use iced_x86::{Code, OpCodeOperandKind as Kind};

use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::op::{LOCK, Op};
use crate::x86::word::Int;

/// An operand as `Op` keeps it, with its width in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    Absent,
    /// `op.rm` or memory.
    Rm(u8),
    /// `op.reg`, or the accumulator (then `op.reg` is 0).
    Reg(u8),
    /// `op.vvvv`.
    Vvvv(u8),
    /// `op.imm`.
    Imm,
    /// Memory only.
    Memory,
    /// MOV's absolute address.
    Offset,
    Cl,
    Other,
}

/// The operands of an encoding, in assembly order.
pub fn operands(code: Code) -> [Operand; 3] {
    let info = code.op_code();
    [0, 1, 2].map(|i| if i < info.op_count() { operand(info.op_kind(i)) } else { Operand::Absent })
}

fn operand(kind: Kind) -> Operand {
    use Operand::{Cl, Imm, Memory, Offset, Other, Reg, Rm, Vvvv};
    match kind {
        Kind::r8_or_mem => Rm(1),
        Kind::r16_or_mem | Kind::r16_rm => Rm(2),
        Kind::r32_or_mem | Kind::r32_rm => Rm(4),
        Kind::r64_or_mem | Kind::r64_rm => Rm(8),
        Kind::r8_reg | Kind::r8_opcode | Kind::al => Reg(1),
        Kind::r16_reg | Kind::r16_opcode | Kind::ax => Reg(2),
        Kind::r32_reg | Kind::r32_opcode | Kind::eax => Reg(4),
        Kind::r64_reg | Kind::r64_opcode | Kind::rax => Reg(8),
        Kind::r32_vvvv => Vvvv(4),
        Kind::r64_vvvv => Vvvv(8),
        Kind::mem => Memory,
        Kind::mem_offs => Offset,
        Kind::cl => Cl,
        Kind::imm8 | Kind::imm8_const_1 | Kind::imm16 | Kind::imm32 | Kind::imm64 => Imm,
        Kind::imm8sex16 | Kind::imm8sex32 | Kind::imm8sex64 | Kind::imm32sex64 => Imm,
        _ => Other,
    }
}

/// Reads the r/m operand; `M`: it is memory.
#[inline(always)]
pub fn read<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<T, Stop> {
    if M { cpu.load_op(op) } else { Ok(cpu.reg(op.rm)) }
}

/// Hands the r/m operand's value to `then`; `M`: it is memory. `then` must not capture anything, so
/// that what is not common can be done by a tail call.
#[inline(always)]
pub fn with<T: Int, const M: bool>(
    cpu: &mut Cpu,
    op: &Op,
    then: impl Fn(&mut Cpu, &Op, T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if !M {
        let value = cpu.reg(op.rm);
        return then(cpu, op, value);
    }
    match cpu.quick_load_op(op) {
        Some(value) => then(cpu, op, value),
        None => with_loaded(cpu, op, then),
    }
}

#[inline(never)]
fn with_loaded<T: Int>(
    cpu: &mut Cpu,
    op: &Op,
    then: impl Fn(&mut Cpu, &Op, T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let value = cpu.load_op(op)?;
    then(cpu, op, value)
}

/// Writes what `value` gives to the r/m operand; `M`: it is memory. For `value` see [`with`].
#[inline(always)]
pub fn write<T: Int, const M: bool>(
    cpu: &mut Cpu,
    op: &Op,
    value: impl Fn(&Cpu, &Op) -> T,
) -> Result<(), Stop> {
    let new = value(cpu, op);
    if !M {
        cpu.set_reg(op.rm, new);
        return Ok(());
    }
    if cpu.quick_store_op(op, new) { Ok(()) } else { store(cpu, op, value) }
}

#[inline(never)]
fn store<T: Int>(cpu: &mut Cpu, op: &Op, value: impl Fn(&Cpu, &Op) -> T) -> Result<(), Stop> {
    let value = value(cpu, op);
    cpu.store_op(op, value)
}

/// Replaces the r/m operand by what `change` makes of it and of `inputs`, atomically under LOCK, and
/// then sets the status flags that it gives. For both see [`with`]; `change` may run more than once.
#[inline(always)]
pub fn update<T: Int, I: Copy, const M: bool>(
    cpu: &mut Cpu,
    op: &Op,
    inputs: impl Fn(&Cpu, &Op) -> I,
    change: impl Fn(T, I) -> (T, u64),
) -> Result<(), Stop> {
    let input = inputs(cpu, op);
    if !M {
        let (after, status) = change(cpu.reg(op.rm), input);
        cpu.set_reg(op.rm, after);
        cpu.set_status(status);
        return Ok(());
    }
    match cpu.quick_place_op::<T>(op) {
        Some(place) if op.prefixes & LOCK == 0 => {
            // SAFETY: `quick_place_op` gives places in writable RAM.
            let (after, status) = change(unsafe { place.read_unaligned() }, input);
            // SAFETY: as above.
            unsafe { place.write_unaligned(after) };
            cpu.set_status(status);
            Ok(())
        }
        _ => modify(cpu, op, inputs, change),
    }
}

#[inline(never)]
fn modify<T: Int, I: Copy>(
    cpu: &mut Cpu,
    op: &Op,
    inputs: impl Fn(&Cpu, &Op) -> I,
    change: impl Fn(T, I) -> (T, u64),
) -> Result<(), Stop> {
    let (input, mut status) = (inputs(cpu, op), 0);
    let change = |before| {
        let (after, flags) = change(before, input);
        status = flags;
        after
    };
    cpu.modify(op.segment, cpu.ea(op), op.prefixes & LOCK != 0, change)?;
    cpu.set_status(status);
    Ok(())
}

/// `by_width!(least, width, handler, Extra…)`: the instance `handler::<uN, Extra…>` for widths of
/// `least` (1 or 2) to 8 bytes, else `return None`.
macro_rules! by_width {
    (1, $width:expr, $handler:ident $(, $extra:tt)*) => {
        if $width == 1 {
            let handler: $crate::x86::op::Handler = $handler::<u8 $(, $extra)*>;
            handler
        } else {
            $crate::x86::exec::operand::by_width!(2, $width, $handler $(, $extra)*)
        }
    };
    (2, $width:expr, $handler:ident $(, $extra:tt)*) => {{
        let handler: $crate::x86::op::Handler = match $width {
            2 => $handler::<u16 $(, $extra)*>,
            4 => $handler::<u32 $(, $extra)*>,
            8 => $handler::<u64 $(, $extra)*>,
            _ => return None,
        };
        handler
    }};
}

/// `by_form!(least, width, memory, handler, Extra…)`: the instance `handler::<uN, MEMORY, Extra…>`.
macro_rules! by_form {
    ($least:tt, $width:expr, $memory:expr, $handler:ident $(, $extra:tt)*) => {
        if $memory {
            $crate::x86::exec::operand::by_width!($least, $width, $handler, true $(, $extra)*)
        } else {
            $crate::x86::exec::operand::by_width!($least, $width, $handler, false $(, $extra)*)
        }
    };
}

/// `by_condition!(condition, handler, …)`: the instance `handler::<…, CONDITION>`, the
/// condition as its encoding has it (0 = O … 15 = G).
macro_rules! by_condition {
    ($condition:expr, $handler:ident $(, $extra:tt)*) => {{
        let handler: $crate::x86::op::Handler = match $condition {
            0 => $handler::<$($extra,)* 0>,
            1 => $handler::<$($extra,)* 1>,
            2 => $handler::<$($extra,)* 2>,
            3 => $handler::<$($extra,)* 3>,
            4 => $handler::<$($extra,)* 4>,
            5 => $handler::<$($extra,)* 5>,
            6 => $handler::<$($extra,)* 6>,
            7 => $handler::<$($extra,)* 7>,
            8 => $handler::<$($extra,)* 8>,
            9 => $handler::<$($extra,)* 9>,
            10 => $handler::<$($extra,)* 10>,
            11 => $handler::<$($extra,)* 11>,
            12 => $handler::<$($extra,)* 12>,
            13 => $handler::<$($extra,)* 13>,
            14 => $handler::<$($extra,)* 14>,
            _ => $handler::<$($extra,)* 15>,
        };
        handler
    }};
}

pub(crate) use {by_condition, by_form, by_width};

//! Moves between vector registers, memory and general registers, whole and in part.
//!
//! Intel SDM vol. 2, under each mnemonic. Non-temporal hints mean nothing here.

use iced_x86::{Code, Mnemonic as M, OpCodeOperandKind as Kind};

use super::form::{Form, Operation, form, pick};
use super::operand::{Align, X, x_from, x_words};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::{Int, Word};

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    let form = form(code)?;
    let kinds = code.op_code().op_kinds();
    match (kinds.first()?, kinds.last()?) {
        (_, Kind::imm8) => None,
        (Kind::r32_or_mem | Kind::r64_or_mem, _) | (_, Kind::r32_or_mem | Kind::r64_or_mem) => {
            select_general(code, form)
        }
        (Kind::xmm_reg | Kind::ymm_reg, _) => select_load(code, memory),
        _ if memory => select_store(code, form),
        _ => select_reversed(code, form),
    }
}

/// Vector register from memory or from another vector register.
fn select_load(code: Code, memory: bool) -> Option<Handler> {
    match code.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa => pick::<Whole<true>>(code),
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntdqa => pick::<Whole<true>>(code),
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu => pick::<Whole<false>>(code),
        M::Vmovups | M::Vmovupd | M::Vmovdqu | M::Vlddqu => pick::<Whole<false>>(code),
        M::Movss | M::Vmovss if memory => pick::<Low<4>>(code),
        M::Movsd | M::Vmovsd if memory => pick::<Low<8>>(code),
        M::Movq | M::Vmovq => pick::<Low<8>>(code),
        M::Movss | M::Vmovss => pick::<Merge<4>>(code),
        M::Movsd | M::Vmovsd | M::Movlps | M::Vmovlps | M::Movlpd | M::Vmovlpd => pick::<Merge<8>>(code),
        M::Movhps | M::Vmovhps | M::Movhpd | M::Vmovhpd | M::Movlhps | M::Vmovlhps => pick::<High>(code),
        M::Movhlps | M::Vmovhlps => pick::<HighToLow>(code),
        _ => None,
    }
}

/// All of the r/m operand.
struct Whole<const ALIGNED: bool>;

impl<const ALIGNED: bool> Operation for Whole<ALIGNED> {
    const BYTES: [usize; 2] = [16, 32];
    const ALIGN: Align = if ALIGNED { Align::Always } else { Align::Never };
    const HOT: bool = true;
    #[inline(always)]
    fn x(_: &mut Cpu, _: X, b: X, _: u8) -> Result<X, Stop> {
        Ok(b)
    }
    #[inline(always)]
    fn y(_: &mut Cpu, _: &Ymm, b: &Ymm, _: u8) -> Result<Ymm, Stop> {
        Ok(*b)
    }
}

/// The low `N` bytes; zero above.
struct Low<const N: usize>;

impl<const N: usize> Operation for Low<N> {
    const BYTES: [usize; 2] = [N, N];
    const HOT: bool = true;
    #[inline(always)]
    fn x(_: &mut Cpu, _: X, b: X, _: u8) -> Result<X, Stop> {
        let low = x_words(b)[0];
        Ok(x_from([if N == 4 { low & 0xFFFF_FFFF } else { low }, 0]))
    }
}

/// The low `N` bytes; the first source above.
struct Merge<const N: usize>;

impl<const N: usize> Operation for Merge<N> {
    const BYTES: [usize; 2] = [N, N];
    const HOT: bool = true;
    #[inline(always)]
    fn x(_: &mut Cpu, a: X, b: X, _: u8) -> Result<X, Stop> {
        let ([a_low, a_high], b_low) = (x_words(a), x_words(b)[0]);
        let mixed = a_low & !0xFFFF_FFFF | b_low & 0xFFFF_FFFF;
        Ok(x_from([if N == 4 { mixed } else { b_low }, a_high]))
    }
}

/// The low quadword, moved to the high one.
struct High;

impl Operation for High {
    const BYTES: [usize; 2] = [8, 8];
    #[inline(always)]
    fn x(_: &mut Cpu, a: X, b: X, _: u8) -> Result<X, Stop> {
        Ok(x_from([x_words(a)[0], x_words(b)[0]]))
    }
}

/// The high quadword, moved to the low one.
struct HighToLow;

impl Operation for HighToLow {
    const BYTES: [usize; 2] = [8, 8];
    #[inline(always)]
    fn x(_: &mut Cpu, a: X, b: X, _: u8) -> Result<X, Stop> {
        Ok(x_from([x_words(b)[1], x_words(a)[1]]))
    }
}

/// Memory from a vector register.
fn select_store(code: Code, form: Form) -> Option<Handler> {
    Some(match code.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq => store_x::<false, true>,
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntps | M::Vmovntpd | M::Vmovntdq => {
            if form == Form::Vex256 { store_y::<true> } else { store_x::<true, true> }
        }
        M::Movups | M::Movupd | M::Movdqu => store_x::<false, false>,
        M::Vmovups | M::Vmovupd | M::Vmovdqu => {
            if form == Form::Vex256 {
                store_y::<false>
            } else {
                store_x::<true, false>
            }
        }
        M::Movss => store_part::<u32, 0, false>,
        M::Vmovss => store_part::<u32, 0, true>,
        M::Movsd | M::Movq | M::Movlps | M::Movlpd => store_part::<u64, 0, false>,
        M::Vmovsd | M::Vmovq | M::Vmovlps | M::Vmovlpd => store_part::<u64, 0, true>,
        M::Movhps | M::Movhpd => store_part::<u64, 1, false>,
        M::Vmovhps | M::Vmovhpd => store_part::<u64, 1, true>,
        _ => return None,
    })
}

#[inline(always)]
fn need<const VEX: bool>(cpu: &mut Cpu) -> Result<(), Stop> {
    if VEX { cpu.need_avx() } else { cpu.need_sse() }
}

/// Stores, with the common path inlined.
#[inline(always)]
fn put<T: Word>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Stop> {
    if cpu.quick_store_op(op, value) { Ok(()) } else { put_slowly(cpu, op, value) }
}

#[inline(never)]
fn put_slowly<T: Word>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Stop> {
    cpu.store_op(op, value)
}

fn store_x<const VEX: bool, const ALIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    if ALIGNED {
        cpu.need_alignment(op, 16)?;
    }
    put(cpu, op, cpu.ymm(op.reg).low())
}

fn store_y<const ALIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    if ALIGNED {
        cpu.need_alignment(op, 32)?;
    }
    put(cpu, op, *cpu.ymm(op.reg))
}

/// Stores the low part of a quadword.
fn store_part<T: Int, const WORD: usize, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    put(cpu, op, T::truncate(cpu.ymm(op.reg).0[WORD]))
}

/// Register to register in the encodings whose destination is the r/m operand.
fn select_reversed(code: Code, form: Form) -> Option<Handler> {
    Some(match code.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movups | M::Movupd | M::Movdqu => reversed::<Whole<false>>,
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovups | M::Vmovupd | M::Vmovdqu => {
            if form == Form::Vex256 {
                reversed_vex256::<Whole<false>>
            } else {
                reversed_vex128::<Whole<false>>
            }
        }
        M::Movq => reversed::<Low<8>>,
        M::Vmovq => reversed_vex128::<Low<8>>,
        M::Movss => reversed::<Merge<4>>,
        M::Vmovss => reversed_vex128::<Merge<4>>,
        M::Movsd => reversed::<Merge<8>>,
        M::Vmovsd => reversed_vex128::<Merge<8>>,
        _ => return None,
    })
}

fn reversed<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_sse()?;
    let result = L::x(cpu, cpu.ymm(op.rm).low(), cpu.ymm(op.reg).low(), 0)?;
    cpu.ymm_mut(op.rm).set_low(result);
    Ok(())
}

fn reversed_vex128<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let result = L::x(cpu, cpu.ymm(op.vvvv).low(), cpu.ymm(op.reg).low(), 0)?;
    *cpu.ymm_mut(op.rm) = Ymm::from_low(result);
    Ok(())
}

fn reversed_vex256<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let (a, b) = (*cpu.ymm(op.vvvv), *cpu.ymm(op.reg));
    *cpu.ymm_mut(op.rm) = L::y(cpu, &a, &b, 0)?;
    Ok(())
}

/// MOVD and MOVQ with a general register or its width in memory.
fn select_general(code: Code, form: Form) -> Option<Handler> {
    let kinds = code.op_code().op_kinds();
    let (vex, to_vector) = (form != Form::Legacy, kinds.first() == Some(&Kind::xmm_reg));
    let wide = kinds.contains(&Kind::r64_or_mem);
    if !matches!(code.mnemonic(), M::Movd | M::Vmovd | M::Movq | M::Vmovq) {
        return None;
    }
    Some(match (to_vector, wide, vex) {
        (true, false, false) => from_general::<u32, false>,
        (true, false, true) => from_general::<u32, true>,
        (true, true, false) => from_general::<u64, false>,
        (true, true, true) => from_general::<u64, true>,
        (false, false, false) => to_general::<u32, false>,
        (false, false, true) => to_general::<u32, true>,
        (false, true, false) => to_general::<u64, false>,
        (false, true, true) => to_general::<u64, true>,
    })
}

fn from_general<T: Int, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    let value = x_from([cpu.rm::<T>(op)?.zero_extend(), 0]);
    let register = cpu.ymm_mut(op.reg);
    if VEX {
        *register = Ymm::from_low(value);
    } else {
        register.set_low(value);
    }
    Ok(())
}

fn to_general<T: Int, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    let value = T::truncate(cpu.ymm(op.reg).0[0]);
    cpu.set_rm(op, value)
}

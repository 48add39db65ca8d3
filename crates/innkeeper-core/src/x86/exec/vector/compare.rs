//! Comparisons that answer in RFLAGS: (U)COMISS, (U)COMISD, PTEST, VTESTPS, VTESTPD.
//!
//! Intel SDM vol. 2, under each mnemonic.

use iced_x86::{Code, Mnemonic as M};

use super::form::{Form, form};
use super::mxcsr::control;
use super::operand::X;
use super::unmasked::Sources;
use crate::x86::cpu::{Cpu, Ymm, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    let form = form(code)?;
    Some(match code.mnemonic() {
        M::Comiss => scalar::<Comiss, false>,
        M::Comisd => scalar::<Comisd, false>,
        M::Ucomiss => scalar::<Ucomiss, false>,
        M::Ucomisd => scalar::<Ucomisd, false>,
        M::Vcomiss => scalar::<Comiss, true>,
        M::Vcomisd => scalar::<Comisd, true>,
        M::Vucomiss => scalar::<Ucomiss, true>,
        M::Vucomisd => scalar::<Ucomisd, true>,
        M::Ptest | M::Vptest => pick_test::<{ u64::MAX }>(form),
        M::Vtestps => pick_test::<0x8000_0000_8000_0000>(form),
        M::Vtestpd => pick_test::<0x8000_0000_0000_0000>(form),
        _ => return None,
    })
}

/// A scalar comparison: bytes of the source in memory, and the operation, which gives ZF, PF and CF
/// and the exceptions raised.
trait Compare {
    const BYTES: usize;
    fn compare(a: X, b: X, control: u32) -> (u64, u32);
}

macro_rules! compares {
    ($($name:ident $bytes:literal),+) => {
        $(
            struct $name;
            impl Compare for $name {
                const BYTES: usize = $bytes;
                fn compare(a: X, b: X, control: u32) -> (u64, u32) {
                    let ah: u64;
                    let (_, raised) = run_float_x!(
                        (control), a, b, [concat!(stringify!($name), " {a}, {b}"), "lahf"], out("rax") ah
                    );
                    (ah >> 8 & (flag::ZF | flag::PF | flag::CF), raised)
                }
            }
        )+
    };
}

compares!(Comiss 4, Comisd 8, Ucomiss 4, Ucomisd 8);

fn scalar<C: Compare, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let b = match (op.memory, C::BYTES) {
        (false, _) => cpu.ymm(op.rm).low(),
        (true, 4) => cpu.load_x::<4>(op, false)?,
        (true, _) => cpu.load_x::<8>(op, false)?,
    };
    let (status, raised) = C::compare(cpu.ymm(op.reg).low(), b, control(cpu.mxcsr));
    cpu.settle(raised, Sources::plain)?;
    cpu.set_status(status);
    Ok(())
}

fn pick_test<const MASK: u64>(form: Form) -> Handler {
    match form {
        Form::Legacy => |cpu, op| {
            cpu.need_sse()?;
            let b = if op.memory { cpu.load_x::<16>(op, true)? } else { cpu.ymm(op.rm).low() };
            test::<MASK>(cpu, Ymm::from_low(cpu.ymm(op.reg).low()), Ymm::from_low(b));
            Ok(())
        },
        Form::Vex128 => |cpu, op| {
            cpu.need_avx()?;
            let b = if op.memory { cpu.load_x::<16>(op, false)? } else { cpu.ymm(op.rm).low() };
            test::<MASK>(cpu, Ymm::from_low(cpu.ymm(op.reg).low()), Ymm::from_low(b));
            Ok(())
        },
        Form::Vex256 => |cpu, op| {
            cpu.need_avx()?;
            let b = if op.memory { cpu.load_y::<32>(op, false)? } else { *cpu.ymm(op.rm) };
            test::<MASK>(cpu, *cpu.ymm(op.reg), b);
            Ok(())
        },
    }
}

/// ZF: no bit of the mask is in both. CF: none is in `b` alone.
fn test<const MASK: u64>(cpu: &mut Cpu, a: Ymm, b: Ymm) {
    let pairs = || a.0.into_iter().zip(b.0);
    let zero = pairs().all(|(a, b)| a & b & MASK == 0);
    let carry = pairs().all(|(a, b)| !a & b & MASK == 0);
    cpu.set_status(if zero { flag::ZF } else { 0 } | if carry { flag::CF } else { 0 });
}

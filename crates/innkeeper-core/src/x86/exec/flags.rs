//! The status flags: arithmetic as the host's own ALU does it, flags included (so that AF and most
//! undefined flags come out as on hardware), condition codes, and the instructions that read or set
//! flags alone. Source: Intel SDM vol. 1, 3.4.3 and appendix B; vol. 2 for each instruction.
//! PUSHF and POPF are in `stack`; CLI and STI are system instructions.

use core::arch::asm;

use iced_x86::{Code, ConditionCode, Mnemonic};

use super::operand::{Operand, by_condition, operands, with, write};
use crate::x86::cpu::{Cpu, RAX, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

/// The status flags from what LAHF and SETO left in AX: flags in AH, OF in AL.
#[inline(always)]
fn from_ax(ax: u64) -> u64 {
    ax >> 8 & 0xFF | (ax & 0xFF) << 11
}

/// Arithmetic on one width. Every result comes with the six status flags (as RFLAGS bits; fixed
/// bit 1 may be set too). `flags` are the RFLAGS before, for what reads or keeps CF.
pub trait Alu: Int {
    fn add(self, other: Self) -> (Self, u64);
    fn adc(self, other: Self, flags: u64) -> (Self, u64);
    fn sub(self, other: Self) -> (Self, u64);
    fn sbb(self, other: Self, flags: u64) -> (Self, u64);
    fn and(self, other: Self) -> (Self, u64);
    fn or(self, other: Self) -> (Self, u64);
    fn xor(self, other: Self) -> (Self, u64);
    fn inc(self, flags: u64) -> (Self, u64);
    fn dec(self, flags: u64) -> (Self, u64);
    fn neg(self) -> (Self, u64);
    fn not(self) -> Self;
    // The count of a shift or rotation must not be 0 when masked.
    fn rol(self, count: u8, flags: u64) -> (Self, u64);
    fn ror(self, count: u8, flags: u64) -> (Self, u64);
    fn rcl(self, count: u8, flags: u64) -> (Self, u64);
    fn rcr(self, count: u8, flags: u64) -> (Self, u64);
    fn shl(self, count: u8) -> (Self, u64);
    fn shr(self, count: u8) -> (Self, u64);
    fn sar(self, count: u8) -> (Self, u64);
    /// The double-width product as (low, high).
    fn mul(self, other: Self) -> (Self, Self, u64);
    fn imul(self, other: Self) -> (Self, Self, u64);
    fn swap_bytes(self) -> Self;
}

/// SHLD and SHRD, which exist for 16 bits and more.
pub trait Wide: Alu {
    fn shld(self, filler: Self, count: u8) -> (Self, u64);
    fn shrd(self, filler: Self, count: u8) -> (Self, u64);
    /// The low half of the signed product, flags as the two-operand IMUL sets them.
    fn imul_low(self, other: Self) -> (Self, u64);
    fn bsf(self) -> (Self, u64);
    fn bsr(self) -> (Self, u64);
}

/// One instruction on operands named a, b; flags out.
macro_rules! alu_asm {
    ($text:expr, $($operands:tt)*) => {{
        let ax: u64;
        // SAFETY: register arithmetic; LAHF in 64-bit mode is on every processor that runs current
        // 64-bit systems.
        unsafe {
            asm!($text, "lahf", "seto al", out("rax") ax, $($operands)* options(pure, nomem, nostack));
        }
        from_ax(ax)
    }};
}

macro_rules! binary_asm {
    ($name:ident, $class:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, other: Self) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!(stringify!($name), " {a", $modifier, "}, {b", $modifier, "}"),
                a = inout($class) a, b = in($class) other,
            );
            (a, status)
        }
    };
}

/// Reads CF from `flags` first (BT copies bit 0 to CF).
macro_rules! carry_asm {
    ($name:ident, $class:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, other: Self, flags: u64) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!("bt {flags:e}, 0\n", stringify!($name), " {a", $modifier, "}, {b", $modifier, "}"),
                a = inout($class) a, b = in($class) other, flags = in(reg) flags,
            );
            (a, status)
        }
    };
}

macro_rules! unary_asm {
    ($name:ident, $class:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, flags: u64) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!("bt {flags:e}, 0\n", stringify!($name), " {a", $modifier, "}"),
                a = inout($class) a, flags = in(reg) flags,
            );
            (a, status)
        }
    };
}

/// Shifts: all six flags, some of them undefined.
macro_rules! shift_asm {
    ($name:ident, $class:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, count: u8) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!(stringify!($name), " {a", $modifier, "}, cl"),
                a = inout($class) a, in("cl") count,
            );
            (a, status)
        }
    };
}

/// Rotations: read CF; change only CF and OF, the rest of `flags` stays.
macro_rules! rotate_asm {
    ($name:ident, $class:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, count: u8, flags: u64) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!("bt {flags:e}, 0\n", stringify!($name), " {a", $modifier, "}, cl"),
                a = inout($class) a, flags = in(reg) flags, in("cl") count,
            );
            let changed = flag::CF | flag::OF;
            (a, flags & !changed | status & changed)
        }
    };
}

macro_rules! double_shift_asm {
    ($name:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, filler: Self, count: u8) -> (Self, u64) {
            let mut a = self;
            let status = alu_asm!(
                concat!(stringify!($name), " {a", $modifier, "}, {b", $modifier, "}, cl"),
                a = inout(reg) a, b = in(reg) filler, in("cl") count,
            );
            (a, status)
        }
    };
}

/// BSF and BSR; the result means nothing if the source is 0.
macro_rules! scan_asm {
    ($name:ident, $modifier:literal) => {
        #[inline(always)]
        fn $name(self) -> (Self, u64) {
            let mut a: Self = 0;
            let status = alu_asm!(
                concat!(stringify!($name), " {a", $modifier, "}, {b", $modifier, "}"),
                a = inout(reg) a, b = in(reg) self,
            );
            (a, status)
        }
    };
}

macro_rules! alu {
    ($type:ty, $class:ident, $modifier:literal, $multiply:ident) => {
        impl Alu for $type {
            binary_asm!(add, $class, $modifier);
            binary_asm!(sub, $class, $modifier);
            binary_asm!(and, $class, $modifier);
            binary_asm!(or, $class, $modifier);
            binary_asm!(xor, $class, $modifier);
            carry_asm!(adc, $class, $modifier);
            carry_asm!(sbb, $class, $modifier);
            unary_asm!(inc, $class, $modifier);
            unary_asm!(dec, $class, $modifier);
            rotate_asm!(rol, $class, $modifier);
            rotate_asm!(ror, $class, $modifier);
            rotate_asm!(rcl, $class, $modifier);
            rotate_asm!(rcr, $class, $modifier);
            shift_asm!(shl, $class, $modifier);
            shift_asm!(shr, $class, $modifier);
            shift_asm!(sar, $class, $modifier);
            #[inline(always)]
            fn neg(self) -> (Self, u64) {
                Alu::sub(0, self)
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn swap_bytes(self) -> Self {
                <$type>::swap_bytes(self)
            }
            $multiply!(mul, $type, $modifier);
            $multiply!(imul, $type, $modifier);
        }
    };
}

/// MUL and IMUL with the double-width result in DX:AX. LAHF comes after the result is moved away.
macro_rules! multiply_asm {
    ($name:ident, $type:ty, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, other: Self) -> ($type, $type, u64) {
            let (low, high): ($type, $type);
            let ax: u64;
            // SAFETY: register arithmetic.
            unsafe {
                asm!(
                    concat!(stringify!($name), " {b", $modifier, "}"),
                    "mov {low:r}, rax",
                    "lahf",
                    "seto al",
                    b = in(reg) other, low = lateout(reg) low, inout("rax") u64::from(self) => ax,
                    lateout("rdx") high, options(pure, nomem, nostack),
                );
            }
            (low, high, from_ax(ax))
        }
    };
}

/// The 8-bit forms leave their result in AX.
macro_rules! multiply_byte_asm {
    ($name:ident, $type:ty, $modifier:literal) => {
        #[inline(always)]
        fn $name(self, other: Self) -> (u8, u8, u64) {
            let product: u16;
            let ax: u64;
            // SAFETY: register arithmetic.
            unsafe {
                asm!(
                    concat!(stringify!($name), " {b}"),
                    "mov {product:e}, eax",
                    "lahf",
                    "seto al",
                    b = in(reg_byte) other, product = lateout(reg) product,
                    inout("rax") u64::from(self) => ax, options(pure, nomem, nostack),
                );
            }
            (product as u8, (product >> 8) as u8, from_ax(ax))
        }
    };
}

alu!(u8, reg_byte, "", multiply_byte_asm);
alu!(u16, reg, ":x", multiply_asm);
alu!(u32, reg, ":e", multiply_asm);
alu!(u64, reg, ":r", multiply_asm);

macro_rules! wide {
    ($type:ty, $modifier:literal) => {
        impl Wide for $type {
            double_shift_asm!(shld, $modifier);
            double_shift_asm!(shrd, $modifier);
            scan_asm!(bsf, $modifier);
            scan_asm!(bsr, $modifier);
            #[inline(always)]
            fn imul_low(self, other: Self) -> (Self, u64) {
                let mut a = self;
                let status = alu_asm!(
                    concat!("imul {a", $modifier, "}, {b", $modifier, "}"),
                    a = inout(reg) a, b = in(reg) other,
                );
                (a, status)
            }
        }
    };
}

wide!(u16, ":x");
wide!(u32, ":e");
wide!(u64, ":r");

/// Whether condition `C` holds, as the encoding numbers it: O NO B AE E NE BE A S NS P NP L GE LE G.
#[inline(always)]
pub fn holds<const C: u8>(flags: u64) -> bool {
    // OF moved over SF: their difference.
    let less = (flags ^ flags >> 4) & flag::SF;
    let bits = match C >> 1 {
        0 => flags & flag::OF,
        1 => flags & flag::CF,
        2 => flags & flag::ZF,
        3 => flags & (flag::CF | flag::ZF),
        4 => flags & flag::SF,
        5 => flags & flag::PF,
        6 => less,
        _ => less | flags & flag::ZF,
    };
    (bits != 0) != (C & 1 != 0)
}

/// The condition in an encoding, numbered as `holds` takes it.
pub fn condition(code: Code) -> Option<u8> {
    let condition = code.condition_code();
    (condition != ConditionCode::None).then(|| condition as u8 - ConditionCode::o as u8)
}

fn setcc<const M: bool, const C: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    write::<u8, M>(cpu, op, |cpu, _| u8::from(holds::<C>(cpu.rflags)))
}

/// Reads its source even if the condition is false, and then still clears bits 63:32 of a 32-bit
/// destination.
fn cmovcc<T: Int, const M: bool, const C: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, source| {
        let value = if holds::<C>(cpu.rflags) { source } else { cpu.reg(op.reg) };
        cpu.set_reg::<T>(op.reg, value);
        Ok(())
    })
}

fn lahf(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.regs[RAX] = cpu.regs[RAX] & !0xFF00 | (cpu.rflags & 0xFF) << 8;
    Ok(())
}

fn sahf(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let loaded = flag::STATUS & !flag::OF;
    cpu.rflags = cpu.rflags & !loaded | cpu.regs[RAX] >> 8 & loaded;
    Ok(())
}

fn clc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.rflags &= !flag::CF;
    Ok(())
}

fn stc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.rflags |= flag::CF;
    Ok(())
}

fn cmc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.rflags ^= flag::CF;
    Ok(())
}

fn cld(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.rflags &= !flag::DF;
    Ok(())
}

fn std(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.rflags |= flag::DF;
    Ok(())
}

/// SALC: AL becomes all ones if CF, else zero; undocumented, in every processor.
fn salc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let carry = cpu.has_flag(flag::CF);
    cpu.set_reg::<u8>(0, if carry { 0xFF } else { 0 });
    Ok(())
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    if let Some(condition) = condition(code) {
        return Some(match (operands(code), memory) {
            ([Operand::Rm(1), Operand::Absent, _], false) => by_condition!(condition, setcc, false),
            ([Operand::Rm(1), Operand::Absent, _], true) => by_condition!(condition, setcc, true),
            ([Operand::Reg(2), Operand::Rm(_), _], false) => by_condition!(condition, cmovcc, u16, false),
            ([Operand::Reg(2), Operand::Rm(_), _], true) => by_condition!(condition, cmovcc, u16, true),
            ([Operand::Reg(4), Operand::Rm(_), _], false) => by_condition!(condition, cmovcc, u32, false),
            ([Operand::Reg(4), Operand::Rm(_), _], true) => by_condition!(condition, cmovcc, u32, true),
            ([Operand::Reg(8), Operand::Rm(_), _], false) => by_condition!(condition, cmovcc, u64, false),
            ([Operand::Reg(8), Operand::Rm(_), _], true) => by_condition!(condition, cmovcc, u64, true),
            _ => return None,
        });
    }
    Some(match code.mnemonic() {
        Mnemonic::Lahf => lahf,
        Mnemonic::Sahf => sahf,
        Mnemonic::Clc => clc,
        Mnemonic::Stc => stc,
        Mnemonic::Cmc => cmc,
        Mnemonic::Cld => cld,
        Mnemonic::Std => std,
        Mnemonic::Salc => salc,
        _ => return None,
    })
}

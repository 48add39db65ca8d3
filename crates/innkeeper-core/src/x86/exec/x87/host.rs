//! The host's x87 as an oracle: one instruction on given operands under the guest's control word.
//!
//! Masks are the guest's own, so an unmasked exception leaves the operands, or the bias-adjusted
//! result, just as the guest must see them (Intel SDM vol. 1, 8.5). It is cleared before anything
//! could wait for it: nothing traps on the host.

use core::arch::asm;

use super::{BUSY, ES};

/// What the host runs with outside these functions (System V ABI).
static DEFAULT_CONTROL: u16 = 0x37F;

/// What an instruction left: the top of the stack, what lies below it, and the status word. The
/// stack began with one register in TOP 7 (two, in TOP 6, for an operation on two), so TOP tells
/// whether it pushed or popped.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub st0: u128,
    pub st1: u128,
    pub status: u16,
}

impl Outcome {
    pub fn top(&self) -> u16 {
        self.status >> 11 & 7
    }
}

/// Runs `$instruction` between `$before` and `$after` and gives the status word, without the summary.
/// `$first` and `$second` are pointers for the lines to use. The host's stack is empty with TOP 0 at
/// the start, and must be so at the end.
macro_rules! run {
    ([$($before:literal),*], $instruction:expr, [$($after:literal),*], $control:expr, $first:expr, $second:expr) => {{
        let status: u16;
        // SAFETY: the pointers lead to operands that are large enough for the lines that use them. The
        // control word is restored, the register stack is empty again, and no exception stays pending.
        unsafe {
            asm!(
                "/* {first} {second} */",
                // A library may have left flags behind, or a rotated stack.
                "fnstsw ax",
                "test ax, 0x38ff",
                "jz 2f",
                "fninit",
                "2:",
                "fldcw word ptr [{control}]",
                $($before,)*
                $instruction,
                "fnstsw ax",
                "test al, al",
                "jz 3f",
                "fnclex",
                "3:",
                $($after,)*
                "fldcw word ptr [{default}]",
                first = in(reg) $first,
                second = in(reg) $second,
                control = in(reg) &raw const $control,
                default = in(reg) &raw const DEFAULT_CONTROL,
                out("ax") status,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nostack),
            );
        }
        status & !(ES | BUSY)
    }};
}

/// An operation on ST(0) and a second operand: another register, or memory in four formats. Its
/// result is in ST(0).
pub trait Binary {
    fn register(control: u16, st0: u128, operand: u128) -> Outcome;
    fn real32(control: u16, st0: u128, operand: u32) -> Outcome;
    fn real64(control: u16, st0: u128, operand: u64) -> Outcome;
    fn integer16(control: u16, st0: u128, operand: u16) -> Outcome;
    fn integer32(control: u16, st0: u128, operand: u32) -> Outcome;
}

macro_rules! with_memory {
    ($name:ident, $type:ty, $instruction:expr) => {
        fn $name(control: u16, mut st0: u128, operand: $type) -> Outcome {
            let status = run!(
                ["fld tbyte ptr [{first}]"],
                $instruction,
                ["fstp tbyte ptr [{first}]"],
                control,
                &raw mut st0,
                &raw const operand
            );
            Outcome { st0, st1: 0, status }
        }
    };
}

macro_rules! binary {
    ($($type:ident: $real:literal, $integer:literal, $register:literal;)+) => {$(
        pub struct $type;
        impl Binary for $type {
            fn register(control: u16, mut st0: u128, operand: u128) -> Outcome {
                let status = run!(
                    ["fld tbyte ptr [{second}]", "fld tbyte ptr [{first}]"],
                    concat!($real, $register),
                    ["fstp tbyte ptr [{first}]", "fstp st(0)"],
                    control, &raw mut st0, &raw const operand
                );
                Outcome { st0, st1: 0, status }
            }
            with_memory!(real32, u32, concat!($real, " dword ptr [{second}]"));
            with_memory!(real64, u64, concat!($real, " qword ptr [{second}]"));
            with_memory!(integer16, u16, concat!($integer, " word ptr [{second}]"));
            with_memory!(integer32, u32, concat!($integer, " dword ptr [{second}]"));
        }
    )+};
}

binary! {
    Add: "fadd", "fiadd", " st(0), st(1)";
    Mul: "fmul", "fimul", " st(0), st(1)";
    Sub: "fsub", "fisub", " st(0), st(1)";
    SubReversed: "fsubr", "fisubr", " st(0), st(1)";
    Div: "fdiv", "fidiv", " st(0), st(1)";
    DivReversed: "fdivr", "fidivr", " st(0), st(1)";
    Compare: "fcom", "ficom", " st(1)";
}

/// FUCOM: a comparison that quiet NaNs do not offend.
pub fn compare_unordered(control: u16, mut st0: u128, operand: u128) -> Outcome {
    let status = run!(
        ["fld tbyte ptr [{second}]", "fld tbyte ptr [{first}]"],
        "fucom st(1)",
        ["fstp tbyte ptr [{first}]", "fstp st(0)"],
        control,
        &raw mut st0,
        &raw const operand
    );
    Outcome { st0, st1: 0, status }
}

/// A transformation of ST(0) that may push a second result.
pub trait Unary {
    fn run(control: u16, st0: u128) -> Outcome;
}

/// An operation on ST(0) and ST(1) that may pop, its result then being the new ST(0).
pub trait Pair {
    fn run(control: u16, st0: u128, st1: u128) -> Outcome;
}

macro_rules! unary {
    ($($type:ident $instruction:literal;)+) => {$(
        pub struct $type;
        impl Unary for $type {
            fn run(control: u16, mut st0: u128) -> Outcome {
                let mut st1 = 0u128;
                let status = run!(
                    ["fld tbyte ptr [{first}]"],
                    $instruction,
                    // TOP 6: two are left; TOP 7: one.
                    [
                        "fstp tbyte ptr [{first}]", "test ah, 8", "jnz 4f",
                        "fstp tbyte ptr [{second}]", "4:"
                    ],
                    control, &raw mut st0, &raw mut st1
                );
                Outcome { st0, st1, status }
            }
        }
    )+};
}

unary! {
    Sqrt "fsqrt";
    RoundToInteger "frndint";
    TwoToMinusOne "f2xm1";
    Sin "fsin";
    Cos "fcos";
    SinCos "fsincos";
    Tan "fptan";
    Extract "fxtract";
    Test "ftst";
    Examine "fxam";
}

macro_rules! pair {
    ($($type:ident $instruction:literal;)+) => {$(
        pub struct $type;
        impl Pair for $type {
            fn run(control: u16, mut st0: u128, mut st1: u128) -> Outcome {
                let status = run!(
                    ["fld tbyte ptr [{second}]", "fld tbyte ptr [{first}]"],
                    $instruction,
                    // TOP 6: two are left; TOP 7: one.
                    [
                        "fstp tbyte ptr [{first}]", "test ah, 8", "jnz 4f",
                        "fstp tbyte ptr [{second}]", "4:"
                    ],
                    control, &raw mut st0, &raw mut st1
                );
                Outcome { st0, st1, status }
            }
        }
    )+};
}

pair! {
    Scale "fscale";
    Remainder "fprem";
    RemainderNearest "fprem1";
    ArcTan "fpatan";
    YTimesLog "fyl2x";
    YTimesLogPlusOne "fyl2xp1";
}

/// Pushes a constant or an operand of `BYTES` bytes, converted.
pub trait Load {
    const BYTES: usize;
    fn run(control: u16, operand: u128) -> Outcome;
}

macro_rules! load {
    ($($type:ident: $bytes:literal $instruction:literal;)+) => {$(
        pub struct $type;
        impl Load for $type {
            const BYTES: usize = $bytes;
            fn run(control: u16, operand: u128) -> Outcome {
                let mut st0 = 0u128;
                let status = run!(
                    [], $instruction,
                    // TOP 0: an unmasked exception kept it from pushing.
                    ["test ah, 0x38", "jz 4f", "fstp tbyte ptr [{first}]", "4:"],
                    control, &raw mut st0, &raw const operand
                );
                Outcome { st0, st1: 0, status }
            }
        }
    )+};
}

load! {
    Real32: 4 "fld dword ptr [{second}]";
    Real64: 8 "fld qword ptr [{second}]";
    Integer16: 2 "fild word ptr [{second}]";
    Integer32: 4 "fild dword ptr [{second}]";
    Integer64: 8 "fild qword ptr [{second}]";
    Decimal: 10 "fbld tbyte ptr [{second}]";
    One: 0 "fld1";
    Log2Ten: 0 "fldl2t";
    Log2E: 0 "fldl2e";
    Pi: 0 "fldpi";
    Log10Two: 0 "fldlg2";
    LnTwo: 0 "fldln2";
    Zero: 0 "fldz";
}

/// Converts ST(0) to `BYTES` bytes, given back in `st1`, unless an unmasked exception forbids it.
pub trait Store {
    const BYTES: usize;
    /// What a masked stack underflow stores.
    const INDEFINITE: u128;
    fn run(control: u16, st0: u128) -> Outcome;
}

macro_rules! store {
    ($($type:ident: $bytes:literal $indefinite:literal $instruction:literal;)+) => {$(
        pub struct $type;
        impl Store for $type {
            const BYTES: usize = $bytes;
            const INDEFINITE: u128 = $indefinite;
            fn run(control: u16, st0: u128) -> Outcome {
                let mut st1 = 0u128;
                let status = run!(
                    ["fld tbyte ptr [{first}]"],
                    $instruction,
                    // TOP 0: it popped.
                    ["test ah, 0x38", "jz 4f", "fstp st(0)", "4:"],
                    control, &raw const st0, &raw mut st1
                );
                Outcome { st0, st1, status }
            }
        }
    )+};
}

store! {
    ToReal32: 4 0xFFC0_0000 "fst dword ptr [{second}]";
    ToReal64: 8 0xFFF8_0000_0000_0000 "fst qword ptr [{second}]";
    ToInteger16: 2 0x8000 "fist word ptr [{second}]";
    ToInteger32: 4 0x8000_0000 "fist dword ptr [{second}]";
    ToInteger64: 8 0x8000_0000_0000_0000 "fistp qword ptr [{second}]";
    Truncated16: 2 0x8000 "fisttp word ptr [{second}]";
    Truncated32: 4 0x8000_0000 "fisttp dword ptr [{second}]";
    Truncated64: 8 0x8000_0000_0000_0000 "fisttp qword ptr [{second}]";
    ToDecimal: 10 0xFFFF_C000_0000_0000_0000 "fbstp tbyte ptr [{second}]";
}

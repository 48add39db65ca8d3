//! The flags of a floating-point instruction while exceptions are unmasked (Intel SDM vol. 1, 11.5.2).
//!
//! The host computed with everything masked, which differs in three ways from a computation that may
//! trap. Exceptions found before computing keep later ones from being looked for; an unmasked
//! underflow is raised by every tiny result, also an exact one; and behind an unmasked overflow or
//! underflow PE tells whether the result is inexact with its exponent unbounded. So an instruction that
//! can do these is taken apart here into the additions, products and so on that it consists of.
//! Only traps come this way, and guests that run with exceptions unmasked.

use super::mxcsr::{DAZ, EARLY_FLAGS, FLAGS, MASK_SHIFT, OE, PE, ROUNDING, ROUNDING_SHIFT, UE, control};
use super::operand::{X, x_from, x_words};
use crate::x86::cpu::Ymm;

/// What an instruction computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Something that neither overflows nor underflows.
    Plain,
    Add,
    Sub,
    /// Subtracts in even elements, adds in odd ones.
    AddSub,
    Mul,
    Div,
    HorizontalAdd,
    HorizontalSub,
    /// A dot product, with its immediate in `Sources`.
    Dot,
    /// A conversion to the next smaller format.
    Narrow,
    /// Fused: which of `dst`, `a`, `b` are the factors, and what is negated.
    Fused(Fused),
}

/// The order of operands of a fused multiply-add, as its mnemonic gives it, and its signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fused {
    pub order: Order,
    pub negate_product: bool,
    /// In even and in odd elements.
    pub negate_addend: [bool; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    O132,
    O213,
    O231,
}

impl Fused {
    /// Reads a mnemonic such as `Vfnmadd231sd`.
    pub const fn from_name(name: &str) -> Self {
        let name = name.as_bytes();
        let mut digits = 0;
        while !name[digits].is_ascii_digit() {
            digits += 1;
        }
        let order = match name[digits] {
            b'1' => Order::O132,
            _ if name[digits + 1] == b'1' => Order::O213,
            _ => Order::O231,
        };
        // ..madd, ..msub, ..maddsub (even elements subtract), ..msubadd.
        let last_subtracts = name[digits - 1] == b'b';
        let alternates = name[digits - 6] == b'a' && name[digits - 5] == b'd'
            || name[digits - 6] == b's' && name[digits - 5] == b'u';
        let negate_addend = if alternates { [last_subtracts, !last_subtracts] } else { [last_subtracts; 2] };
        Self { order, negate_product: name[2] == b'n', negate_addend }
    }
}

/// The format of the sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Half,
    Single,
    Double,
}

impl Format {
    const fn mantissa_bits(self) -> u32 {
        match self {
            Self::Half => 10,
            Self::Single => 23,
            Self::Double => 52,
        }
    }
    const fn bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
        }
    }
    fn bias(self) -> i32 {
        match self {
            Self::Half => 15,
            Self::Single => 127,
            Self::Double => 1023,
        }
    }
    fn sign(self) -> u64 {
        1 << (self.bytes() * 8 - 1)
    }
    fn fraction(self) -> u64 {
        (1 << self.mantissa_bits()) - 1
    }
    fn exponent(self, value: u64) -> i32 {
        ((value & !self.sign()) >> self.mantissa_bits()) as i32
    }
    fn denormal(self, value: u64) -> bool {
        self.exponent(value) == 0 && value & self.fraction() != 0
    }
    /// What conversions to the next smaller format make.
    fn narrower(self) -> Self {
        if self == Self::Double { Self::Single } else { Self::Half }
    }

    /// The value with its exponent made 0, and the exponent it had. Zeroes are left alone.
    fn normalised(self, value: u64) -> (u64, i32) {
        let (mut fraction, mut exponent) = (value & self.fraction(), self.exponent(value));
        if exponent == 0 {
            if fraction == 0 {
                return (value, 0);
            }
            let shift = self.mantissa_bits() + 1 - (u64::BITS - fraction.leading_zeros());
            fraction = fraction << shift & self.fraction();
            exponent = 1 - shift as i32;
        }
        let one = (self.bias() as u64) << self.mantissa_bits();
        (value & self.sign() | one | fraction, exponent - self.bias())
    }

    /// The value times 2 to the `by`, but no further from 1 than 2 to the 110: beside a number between
    /// 1 and 4, all that is farther away rounds alike.
    fn scaled(self, value: u64, by: i32) -> u64 {
        let (normal, exponent) = self.normalised(value);
        if value & !self.sign() == 0 {
            return value;
        }
        let biased = (exponent + by).clamp(-110, 110) + self.bias();
        normal & (self.sign() | self.fraction()) | (biased as u64) << self.mantissa_bits()
    }
}

/// An instruction's computation, for taking apart. Elements are those of `format`.
pub struct Sources {
    pub kind: Kind,
    pub format: Format,
    /// Bytes of the sources that are computed with.
    pub bytes: usize,
    pub imm: u8,
    pub a: Ymm,
    pub b: Ymm,
    /// The third source, for `Kind::Fused`: the destination.
    pub c: Ymm,
}

impl Sources {
    /// An instruction that neither overflows nor underflows.
    pub fn plain() -> Self {
        let none = Ymm::default();
        Self { kind: Kind::Plain, format: Format::Single, bytes: 0, imm: 0, a: none, b: none, c: none }
    }
}

/// One rounding.
#[derive(Clone, Copy)]
enum Step {
    Add(u64, u64),
    Mul(u64, u64),
    Div(u64, u64),
    Fma(u64, u64, u64),
    Narrow(u64),
}

/// The flags that an instruction sets with this MXCSR, given those it raised with everything masked.
pub fn flags(mxcsr: u32, raised: u32, sources: &Sources) -> u32 {
    let enabled = !(mxcsr >> MASK_SHIFT) & FLAGS;
    let mut control = control(mxcsr);
    // The one conversion with a rounding mode of its own is VCVTPS2PH.
    if sources.kind == Kind::Narrow && sources.format == Format::Single && sources.imm & 4 == 0 {
        control = control & !ROUNDING | u32::from(sources.imm & 3) << ROUNDING_SHIFT;
    }
    let environment = Environment { control, enabled, format: sources.format };
    match sources.kind {
        Kind::Plain => early_first(raised, enabled),
        Kind::Dot => environment.dot(sources),
        _ => environment.stage(&sources.steps()).0,
    }
}

fn early_first(raised: u32, enabled: u32) -> u32 {
    if raised & EARLY_FLAGS & enabled != 0 { raised & EARLY_FLAGS } else { raised }
}

impl Sources {
    fn element(&self, register: &Ymm, index: usize) -> u64 {
        let register = &register.0;
        match self.format {
            Format::Double => register[index],
            Format::Single => register[index / 2] >> (32 * (index & 1)) & 0xFFFF_FFFF,
            Format::Half => register[index / 4] >> (16 * (index & 3)) & 0xFFFF,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let sign = self.format.sign();
        let count = self.bytes / self.format.bytes();
        let vertical = |index: usize| {
            let element = |register| self.element(register, index);
            let (a, b) = (element(&self.a), element(&self.b));
            match self.kind {
                Kind::Add => Step::Add(a, b),
                Kind::Sub => Step::Add(a, b ^ sign),
                Kind::AddSub => Step::Add(a, if index & 1 == 0 { b ^ sign } else { b }),
                Kind::Mul => Step::Mul(a, b),
                Kind::Div => Step::Div(a, b),
                Kind::Fused(fused) => fused.step(sign, index, [element(&self.c), a, b]),
                _ => Step::Narrow(b),
            }
        };
        let horizontal = |register: Ymm, flip: u64| {
            (0..count)
                .step_by(2)
                .map(move |i| Step::Add(self.element(&register, i), self.element(&register, i + 1) ^ flip))
        };
        match self.kind {
            Kind::HorizontalAdd => horizontal(self.a, 0).chain(horizontal(self.b, 0)).collect(),
            Kind::HorizontalSub => horizontal(self.a, sign).chain(horizontal(self.b, sign)).collect(),
            _ => (0..count).map(vertical).collect(),
        }
    }
}

impl Fused {
    fn step(self, sign: u64, index: usize, [dst, a, b]: [u64; 3]) -> Step {
        let (x, y, z) = match self.order {
            Order::O132 => (dst, b, a),
            Order::O213 => (a, dst, b),
            Order::O231 => (a, b, dst),
        };
        let flip = |on| if on { sign } else { 0 };
        Step::Fma(x ^ flip(self.negate_product), y, z ^ flip(self.negate_addend[index & 1]))
    }
}

struct Environment {
    control: u32,
    /// The flags whose exceptions are unmasked.
    enabled: u32,
    format: Format,
}

impl Environment {
    /// The flags of steps that are taken at once, and their results.
    fn stage(&self, steps: &[Step]) -> (u32, Vec<u64>) {
        let done: Vec<(u64, u32)> = steps.iter().map(|&step| self.step(step)).collect();
        let raised = done.iter().fold(0, |all, &(_, flags)| all | flags);
        (early_first(raised, self.enabled), done.into_iter().map(|(result, _)| result).collect())
    }

    /// A dot product: the products, then their sums in pairs; each stage may trap.
    fn dot(&self, sources: &Sources) -> u32 {
        let lane = 16 / self.format.bytes();
        let count = sources.bytes / self.format.bytes();
        let chosen = |i: &usize| sources.imm >> (4 + i % lane) & 1 != 0;
        let product = |i| Step::Mul(sources.element(&sources.a, i), sources.element(&sources.b, i));
        let (mut raised, products) =
            self.stage(&(0..count).filter(chosen).map(product).collect::<Vec<Step>>());
        let mut products = products.into_iter();
        let mut terms: Vec<u64> =
            (0..count).map(|i| if chosen(&i) { products.next().unwrap_or(0) } else { 0 }).collect();
        let mut left = lane;
        while left > 1 && raised & self.enabled == 0 {
            let sums: Vec<Step> = terms.chunks_exact(2).map(|pair| Step::Add(pair[0], pair[1])).collect();
            let (more, results) = self.stage(&sums);
            raised |= more;
            terms = results;
            left /= 2;
        }
        raised
    }

    /// The result and the flags of one step.
    fn step(&self, step: Step) -> (u64, u32) {
        let (result, mut raised) = self.run(step);
        let format = if matches!(step, Step::Narrow(_)) { self.format.narrower() } else { self.format };
        if self.enabled & UE != 0 && format.denormal(result) {
            raised |= UE;
        }
        if raised & self.enabled & (OE | UE) != 0 {
            let exact = match step {
                Step::Add(..) if raised & UE != 0 => true, // as tiny sums are
                // Processors do not look into a source as small as that.
                Step::Narrow(a) if self.format == Format::Single && self.format.denormal(a) => false,
                _ => !self.inexact(step),
            };
            raised = raised & !PE | if exact { 0 } else { PE };
        }
        (result, raised)
    }

    /// Whether the result would be inexact, had the exponent no bounds.
    fn inexact(&self, step: Step) -> bool {
        let format = self.format;
        let normalised = |value| format.normalised(value);
        let moved = match step {
            // A quarter of a sum too large is not too large; a summand too small to be quartered makes it
            // inexact anyhow.
            Step::Add(a, b) => Step::Add(self.quartered(a), self.quartered(b)),
            Step::Mul(a, b) => Step::Mul(normalised(a).0, normalised(b).0),
            Step::Div(a, b) => Step::Div(normalised(a).0, normalised(b).0),
            Step::Narrow(a) => Step::Narrow(normalised(a).0),
            Step::Fma(a, b, c) => {
                let ((a, a_exponent), (b, b_exponent)) = (normalised(a), normalised(b));
                let zeroed = self.control & DAZ != 0 && format.denormal(c);
                let c = if zeroed { c & format.sign() } else { c };
                Step::Fma(a, b, format.scaled(c, -(a_exponent + b_exponent)))
            }
        };
        self.run(moved).1 & PE != 0
    }

    fn quartered(&self, value: u64) -> u64 {
        let small = self.format.exponent(value) < 3;
        if small { value } else { value - (2 << self.format.mantissa_bits()) }
    }

    /// Computes on the host with everything masked.
    fn run(&self, step: Step) -> (u64, u32) {
        let run = |a, b, c, instructions: [Host; 2]| {
            let instruction = instructions[usize::from(self.format == Format::Double)];
            let (result, raised) = instruction(x_from([a, 0]), x_from([b, 0]), x_from([c, 0]), self.control);
            let result = x_words(result)[0];
            let size = if matches!(step, Step::Narrow(_)) { self.format.narrower() } else { self.format };
            (if size == Format::Double { result } else { result & (2 * size.sign() - 1) }, raised)
        };
        match step {
            Step::Add(a, b) => run(a, b, 0, [addss, addsd]),
            Step::Mul(a, b) => run(a, b, 0, [mulss, mulsd]),
            Step::Div(a, b) => run(a, b, 0, [divss, divsd]),
            Step::Narrow(a) => run(0, a, 0, [vcvtps2ph, cvtsd2ss]),
            Step::Fma(a, b, c) => run(a, b, c, [vfmadd213ss, vfmadd213sd]),
        }
    }
}

/// A scalar instruction on the host, under an MXCSR: the result and the flags raised.
type Host = fn(X, X, X, u32) -> (X, u32);

macro_rules! hosts {
    ($($name:ident $operands:literal $($third:ident)?),+ $(,)?) => {
        $(fn $name(a: X, b: X, _third: X, control: u32) -> (X, u32) {
            run_float_x!(
                (control), a, b, [concat!(stringify!($name), " ", $operands)]
                $(, $third = in(xmm_reg) _third)?
            )
        })+
    };
}

hosts! {
    addss "{a}, {b}", addsd "{a}, {b}", mulss "{a}, {b}", mulsd "{a}, {b}", divss "{a}, {b}", divsd "{a}, {b}",
    cvtsd2ss "{a}, {b}", vcvtps2ph "{a}, {b}, 4", vfmadd213ss "{a}, {b}, {c}" c, vfmadd213sd "{a}, {b}, {c}" c,
}

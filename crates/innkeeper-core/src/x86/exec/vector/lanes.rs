//! Running an operation on the host's own vector unit.
//!
//! Guest and host have the same instruction set, so the exact result of a vector instruction is had by
//! executing it on the guest's operands. An instruction set is presented to the guest only if the host
//! has it (`CpuidTable`), so nothing here is reached on a host that lacks it.

/// Runs instructions on XMM registers: `{a}` holds the first source and then the result, `{b}` the
/// second source.
macro_rules! run_x {
    ($a:expr, $b:expr, [$($line:expr),+ $(,)?] $(, $($operand:tt)+)?) => {{
        let result: crate::x86::exec::vector::operand::X;
        // SAFETY: computes on registers only; the host has the instruction, since the guest sees it.
        unsafe {
            core::arch::asm!(
                $($line,)+
                "/* {a} {b} */", // not every instruction has both
                a = inout(xmm_reg) $a => result, b = in(xmm_reg) $b,
                $($($operand)+ ,)?
                options(nostack),
            );
        }
        result
    }};
}

/// Runs instructions on YMM registers: `ymm0` holds the first source and then the result, `ymm1` the
/// second source. They are loaded by halves, so that a store of either width is forwarded.
macro_rules! run_y {
    ($a:expr, $b:expr, [$($line:expr),+ $(,)?] $(, $($operand:tt)+)?) => {{
        let mut result = std::mem::MaybeUninit::<crate::x86::cpu::Ymm>::uninit();
        let (a, b): (&crate::x86::cpu::Ymm, &crate::x86::cpu::Ymm) = ($a, $b);
        // SAFETY: reads `a` and `b`, writes `result`, whole; the host has AVX, since the guest sees it.
        unsafe {
            core::arch::asm!(
                "vmovdqu xmm0, [{a}]",
                "vinsertf128 ymm0, ymm0, [{a} + 16], 1",
                "vmovdqu xmm1, [{b}]",
                "vinsertf128 ymm1, ymm1, [{b} + 16], 1",
                $($line,)+
                "vmovdqu [{r}], ymm0",
                "vzeroupper",
                a = in(reg) a, b = in(reg) b, r = in(reg) result.as_mut_ptr(),
                $($($operand)+ ,)?
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _,
                out("ymm5") _, out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _,
                out("ymm10") _, out("ymm11") _, out("ymm12") _, out("ymm13") _, out("ymm14") _,
                out("ymm15") _, // VZEROUPPER, were this built for a host with AVX
                options(nostack),
            );
            result.assume_init()
        }
    }};
}

/// As `run_x`, under an MXCSR that masks every exception; gives the flags raised, too.
macro_rules! run_float_x {
    (($control:expr), $a:expr, $b:expr, [$($line:expr),+ $(,)?] $(, $($operand:tt)+)?) => {
        run_float!(run_x, $control, $a, $b, [$($line),+] $(, $($operand)+)?)
    };
}

/// As `run_y`, under an MXCSR that masks every exception; gives the flags raised, too.
macro_rules! run_float_y {
    (($control:expr), $a:expr, $b:expr, [$($line:expr),+ $(,)?] $(, $($operand:tt)+)?) => {
        run_float!(run_y, $control, $a, $b, [$($line),+] $(, $($operand)+)?)
    };
}

macro_rules! run_float {
    ($run:ident, $control:expr, $a:expr, $b:expr, [$($line:expr),+] $(, $($operand:tt)+)?) => {{
        let mut mxcsr: u32 = $control;
        let result = $run!(
            $a,
            $b,
            ["ldmxcsr [{mxcsr}]", $($line,)+ "stmxcsr [{mxcsr}]", "ldmxcsr [{host}]"],
            mxcsr = in(reg) &raw mut mxcsr,
            host = in(reg) &raw const $crate::x86::exec::vector::mxcsr::HOST_MXCSR
            $(, $($operand)+)?
        );
        (result, mxcsr & $crate::x86::exec::vector::mxcsr::FLAGS)
    }};
}

/// Runs one instruction whose immediate is known only now, by a jump into a table of `$count` copies.
/// `$text` lacks the last operand. `$run` is one of the macros above, with its MXCSR if it has one;
/// other instructions and operands may follow.
macro_rules! run_immediate {
    ($run:ident $(($control:expr))?, $a:expr, $b:expr, $imm:expr, $count:literal, $text:expr
     $(; [$($after:expr),+], $($operand:tt)+)?) => {{
        let slot = u64::from($imm) & ($count - 1);
        $run!(
            $(($control),)?
            $a,
            $b,
            [
                "lea {table}, [rip + 2f]",
                "shl {slot}, 4",
                "add {table}, {slot}",
                "jmp {table}",
                ".balign 16",
                "2:",
                ".set .Limmediate, 0",
                concat!(".rept ", $count),
                concat!($text, ", .Limmediate"),
                "jmp 3f",
                ".balign 16",
                ".set .Limmediate, .Limmediate + 1",
                ".endr",
                "3:",
                $($($after,)+)?
            ],
            table = out(reg) _,
            slot = inout(reg) slot => _
            $(, $($operand)+)?
        )
    }};
}

/// A table of instructions that depend on nothing but their operands. Each line reads: bytes of the
/// r/m operand in memory (128-bit form, 256-bit form); `inlined` or `called` accesses to it, or for
/// instructions with an immediate, how many values of it differ; operands of the host instruction on
/// XMM and on YMM registers (or `none` where there is no such form); then pairs of a legacy mnemonic,
/// which names the operation, and its VEX mnemonic. An instruction with one encoding is written twice.
macro_rules! lanes {
    ($([$low:literal $high:literal $how:tt] $x:tt, $y:tt: $($sse:ident $vex:ident),+ $(,)?;)+) => {
        $($(
            struct $sse;
            impl $crate::x86::exec::vector::form::Operation for $sse {
                const BYTES: [usize; 2] = [$low, $high];
                const HOT: bool = lanes!(@hot $how);
                lanes!(@x $sse $how $x);
                lanes!(@y $vex $how $y);
            }
        )+)+
        lanes!(@select $($($sse $vex)+)+);
    };
    (@select $($sse:ident $vex:ident)+) => {
        fn select_lanes(code: Code) -> Option<Handler> {
            #[allow(unreachable_patterns)] // the second of a pair of equals
            match code.mnemonic() {
                $(Mnemonic::$sse | Mnemonic::$vex => $crate::x86::exec::vector::form::pick::<$sse>(code),)+
                _ => None,
            }
        }
    };
    (@hot inlined) => { true };
    (@hot $how:tt) => { false };
    (@x $sse:ident $how:tt none) => {};
    (@x $sse:ident $count:literal $x:literal) => {
        #[inline(never)]
        fn x(_: &mut Cpu, a: X, b: X, imm: u8) -> Result<X, Stop> {
            Ok(run_immediate!(run_x, a, b, imm, $count, concat!(stringify!($sse), " ", $x)))
        }
    };
    (@x $sse:ident $how:ident $x:literal) => {
        #[inline(always)]
        fn x(_: &mut Cpu, a: X, b: X, _: u8) -> Result<X, Stop> {
            Ok(run_x!(a, b, [concat!(stringify!($sse), " ", $x)]))
        }
    };
    (@y $vex:ident $how:tt none) => {};
    (@y $vex:ident $count:literal $y:literal) => {
        #[inline(never)]
        fn y(_: &mut Cpu, a: &Ymm, b: &Ymm, imm: u8) -> Result<Ymm, Stop> {
            Ok(run_immediate!(run_y, a, b, imm, $count, concat!(stringify!($vex), " ", $y)))
        }
    };
    (@y $vex:ident $how:ident $y:literal) => {
        #[inline(always)]
        fn y(_: &mut Cpu, a: &Ymm, b: &Ymm, _: u8) -> Result<Ymm, Stop> {
            Ok(run_y!(a, b, [concat!(stringify!($vex), " ", $y)]))
        }
    };
}

/// As `lanes`, for instructions that read MXCSR and set its flags. Behind the brackets, for
/// `unmasked`: what is computed, and the format of the sources.
macro_rules! float_lanes {
    ($([$low:literal $high:literal $how:tt] $kind:ident $format:ident $x:tt, $y:tt:
       $($sse:ident $vex:ident),+ $(,)?;)+) => {
        $($(
            struct $sse;
            impl $crate::x86::exec::vector::form::Operation for $sse {
                const BYTES: [usize; 2] = [$low, $high];
                const HOT: bool = lanes!(@hot $how);
                float_lanes!(@x $sse $how ($kind $format) $x);
                float_lanes!(@y $vex $how ($kind $format) $y);
            }
        )+)+
        lanes!(@select $($($sse $vex)+)+);
    };
    (@x $sse:ident $count:literal $what:tt $x:literal) => {
        #[inline(never)]
        fn x(cpu: &mut Cpu, a: X, b: X, imm: u8) -> Result<X, Stop> {
            let mxcsr = control(cpu.mxcsr);
            let done = run_immediate!(run_float_x(mxcsr), a, b, imm, $count, concat!(stringify!($sse), " ", $x));
            float_lanes!(@settle cpu, done, $what, Self::BYTES[0], imm, Ymm::from_low(a), Ymm::from_low(b))
        }
    };
    (@x $sse:ident $how:ident $what:tt $x:literal) => {
        #[inline(always)]
        fn x(cpu: &mut Cpu, a: X, b: X, imm: u8) -> Result<X, Stop> {
            let mxcsr = control(cpu.mxcsr);
            let done = run_float_x!((mxcsr), a, b, [concat!(stringify!($sse), " ", $x)]);
            float_lanes!(@settle cpu, done, $what, Self::BYTES[0], imm, Ymm::from_low(a), Ymm::from_low(b))
        }
    };
    (@y $vex:ident $how:tt $what:tt none) => {};
    (@y $vex:ident $count:literal $what:tt $y:literal) => {
        #[inline(never)]
        fn y(cpu: &mut Cpu, a: &Ymm, b: &Ymm, imm: u8) -> Result<Ymm, Stop> {
            let mxcsr = control(cpu.mxcsr);
            let done = run_immediate!(run_float_y(mxcsr), a, b, imm, $count, concat!(stringify!($vex), " ", $y));
            float_lanes!(@settle cpu, done, $what, Self::BYTES[1], imm, *a, *b)
        }
    };
    (@y $vex:ident $how:ident $what:tt $y:literal) => {
        #[inline(always)]
        fn y(cpu: &mut Cpu, a: &Ymm, b: &Ymm, imm: u8) -> Result<Ymm, Stop> {
            let mxcsr = control(cpu.mxcsr);
            let done = run_float_y!((mxcsr), a, b, [concat!(stringify!($vex), " ", $y)]);
            float_lanes!(@settle cpu, done, $what, Self::BYTES[1], imm, *a, *b)
        }
    };
    (@settle $cpu:ident, $done:ident, ($kind:ident $format:ident), $bytes:expr, $imm:ident, $a:expr, $b:expr) => {{
        let (result, raised) = $done;
        $cpu.settle(raised, || Sources {
            kind: Kind::$kind,
            format: Format::$format,
            bytes: $bytes,
            imm: $imm,
            a: $a,
            b: $b,
            c: Ymm::default(),
        })?;
        Ok(result)
    }};
}

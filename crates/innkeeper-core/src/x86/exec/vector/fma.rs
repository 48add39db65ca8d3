//! Fused multiply-add (FMA3).
//!
//! Intel SDM vol. 2, VFMADD132PD and its kin. In `VFMxxx abc`, the factors are operands a and b and the
//! addend is c, where 1 is the destination, 2 is VEX.vvvv and 3 is r/m.

use iced_x86::{Code, Mnemonic};

use super::form::{Operation3, pick_fused};
use super::mxcsr::control;
use super::operand::X;
use super::unmasked::{Format, Fused, Kind, Sources};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::Handler;

/// Each line: bytes of the r/m operand (128-bit form, 256-bit form), format, whether there is a 256-bit
/// form, mnemonics.
macro_rules! fused {
    ($([$low:literal $high:literal] $format:ident $y:ident: $($name:ident),+ $(,)?;)+) => {
        $($(
            struct $name;
            impl Operation3 for $name {
                const BYTES: [usize; 2] = [$low, $high];
                fn x(cpu: &mut Cpu, a: X, b: X, c: X) -> Result<X, Stop> {
                    let mxcsr = control(cpu.mxcsr);
                    let (result, raised) = run_float_x!(
                        (mxcsr),
                        c,
                        b,
                        [concat!(stringify!($name), " {a}, {second}, {b}")],
                        second = in(xmm_reg) a
                    );
                    cpu.settle(raised, || Sources {
                        kind: Kind::Fused(const { Fused::from_name(stringify!($name)) }),
                        format: Format::$format,
                        bytes: $low,
                        imm: 0,
                        a: Ymm::from_low(a),
                        b: Ymm::from_low(b),
                        c: Ymm::from_low(c),
                    })?;
                    Ok(result)
                }
                fused!(@y $y $name $format);
            }
        )+)+
        pub fn select(code: Code, _memory: bool) -> Option<Handler> {
            match code.mnemonic() {
                $($(Mnemonic::$name => pick_fused::<$name>(code),)+)+
                _ => None,
            }
        }
    };
    (@y scalar $name:ident $format:ident) => {};
    (@y packed $name:ident $format:ident) => {
        fn y(cpu: &mut Cpu, a: &Ymm, b: &Ymm, c: &Ymm) -> Result<Ymm, Stop> {
            let mxcsr = control(cpu.mxcsr);
            let (result, raised) = run_float_y!(
                (mxcsr),
                c,
                b,
                [
                    "vmovdqu xmm2, [{second}]",
                    "vinsertf128 ymm2, ymm2, [{second} + 16], 1",
                    concat!(stringify!($name), " ymm0, ymm2, ymm1"),
                ],
                second = in(reg) std::ptr::from_ref(a)
            );
            cpu.settle(raised, || Sources {
                kind: Kind::Fused(const { Fused::from_name(stringify!($name)) }),
                format: Format::$format,
                bytes: 32,
                imm: 0,
                a: *a,
                b: *b,
                c: *c,
            })?;
            Ok(result)
        }
    };
}

fused! {
    [16 32] Single packed:
        Vfmadd132ps, Vfmadd213ps, Vfmadd231ps, Vfmsub132ps, Vfmsub213ps, Vfmsub231ps,
        Vfnmadd132ps, Vfnmadd213ps, Vfnmadd231ps, Vfnmsub132ps, Vfnmsub213ps, Vfnmsub231ps,
        Vfmaddsub132ps, Vfmaddsub213ps, Vfmaddsub231ps, Vfmsubadd132ps, Vfmsubadd213ps, Vfmsubadd231ps;
    [16 32] Double packed:
        Vfmadd132pd, Vfmadd213pd, Vfmadd231pd, Vfmsub132pd, Vfmsub213pd, Vfmsub231pd,
        Vfnmadd132pd, Vfnmadd213pd, Vfnmadd231pd, Vfnmsub132pd, Vfnmsub213pd, Vfnmsub231pd,
        Vfmaddsub132pd, Vfmaddsub213pd, Vfmaddsub231pd, Vfmsubadd132pd, Vfmsubadd213pd, Vfmsubadd231pd;
    [4 4] Single scalar:
        Vfmadd132ss, Vfmadd213ss, Vfmadd231ss, Vfmsub132ss, Vfmsub213ss, Vfmsub231ss,
        Vfnmadd132ss, Vfnmadd213ss, Vfnmadd231ss, Vfnmsub132ss, Vfnmsub213ss, Vfnmsub231ss;
    [8 8] Double scalar:
        Vfmadd132sd, Vfmadd213sd, Vfmadd231sd, Vfmsub132sd, Vfmsub213sd, Vfmsub231sd,
        Vfnmadd132sd, Vfnmadd213sd, Vfnmadd231sd, Vfnmsub132sd, Vfnmsub213sd, Vfnmsub231sd;
}

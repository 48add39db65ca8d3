//! Moving elements about: unpacking, widening, broadcasts, variable permutes and blends.
//!
//! Intel SDM vol. 2, under each mnemonic. Those with an immediate are in `immediate`.

use iced_x86::{Code, Mnemonic, OpCodeOperandKind as Kind};

use super::form::{Operation, Operation3, pick, pick_blend};
use super::operand::{X, x_from, x_words};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::Handler;

lanes! {
    [16 32 called] "{a}, {b}", "ymm0, ymm0, ymm1":
        Punpcklbw Vpunpcklbw, Punpcklwd Vpunpcklwd, Punpckldq Vpunpckldq, Punpcklqdq Vpunpcklqdq,
        Punpckhbw Vpunpckhbw, Punpckhwd Vpunpckhwd, Punpckhdq Vpunpckhdq, Punpckhqdq Vpunpckhqdq,
        Unpcklps Vunpcklps, Unpcklpd Vunpcklpd, Unpckhps Vunpckhps, Unpckhpd Vunpckhpd;
    [16 32 called] "{a}, {b}", "ymm0, ymm1": Movsldup Vmovsldup, Movshdup Vmovshdup;
    [8 32 called] "{a}, {b}", "ymm0, ymm1": Movddup Vmovddup;
    [8 16 called] "{a}, {b}", "ymm0, xmm1":
        Pmovsxbw Vpmovsxbw, Pmovsxwd Vpmovsxwd, Pmovsxdq Vpmovsxdq,
        Pmovzxbw Vpmovzxbw, Pmovzxwd Vpmovzxwd, Pmovzxdq Vpmovzxdq;
    [4 8 called] "{a}, {b}", "ymm0, xmm1":
        Pmovsxbd Vpmovsxbd, Pmovsxwq Vpmovsxwq, Pmovzxbd Vpmovzxbd, Pmovzxwq Vpmovzxwq;
    [2 4 called] "{a}, {b}", "ymm0, xmm1": Pmovsxbq Vpmovsxbq, Pmovzxbq Vpmovzxbq;
    [16 32 called] "{a}, {a}, {b}", "ymm0, ymm0, ymm1": Vpermilps Vpermilps, Vpermilpd Vpermilpd;
    [16 32 called] none, "ymm0, ymm0, ymm1": Vpermd Vpermd, Vpermps Vpermps;
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    let info = code.op_code();
    if info.op_kinds().last() == Some(&Kind::imm8) {
        return None;
    }
    match code.mnemonic() {
        Mnemonic::Vpbroadcastb => pick::<Broadcast<1>>(code),
        Mnemonic::Vpbroadcastw => pick::<Broadcast<2>>(code),
        Mnemonic::Vpbroadcastd | Mnemonic::Vbroadcastss => pick::<Broadcast<4>>(code),
        Mnemonic::Vpbroadcastq | Mnemonic::Vbroadcastsd => pick::<Broadcast<8>>(code),
        Mnemonic::Vbroadcastf128 | Mnemonic::Vbroadcasti128 => pick::<Broadcast<16>>(code),
        Mnemonic::Pblendvb | Mnemonic::Vpblendvb => pick_blend::<Pblendvb>(code),
        Mnemonic::Blendvps | Mnemonic::Vblendvps => pick_blend::<Blendvps>(code),
        Mnemonic::Blendvpd | Mnemonic::Vblendvpd => pick_blend::<Blendvpd>(code),
        _ => select_lanes(code),
    }
}

/// Copies the lowest `N` bytes to every element. Not the host's, because the forms that read a
/// register came later (AVX2) than those that read memory (AVX).
struct Broadcast<const N: usize>;

impl<const N: usize> Broadcast<N> {
    #[inline(always)]
    fn spread(b: X) -> X {
        let [low, high] = x_words(b);
        let word = match N {
            1 => (low & 0xFF) * 0x0101_0101_0101_0101,
            2 => (low & 0xFFFF) * 0x0001_0001_0001_0001,
            4 => (low & 0xFFFF_FFFF) * 0x0000_0001_0000_0001,
            8 => low,
            _ => return x_from([low, high]),
        };
        x_from([word, word])
    }
}

impl<const N: usize> Operation for Broadcast<N> {
    const BYTES: [usize; 2] = [N, N];
    fn x(_: &mut Cpu, _: X, b: X, _: u8) -> Result<X, Stop> {
        Ok(Self::spread(b))
    }
    fn y(_: &mut Cpu, _: &Ymm, b: &Ymm, _: u8) -> Result<Ymm, Stop> {
        let x = Self::spread(b.low());
        Ok(Ymm::from_halves(x, x))
    }
}

/// Variable blends: the top bit of each element of the third source chooses the second over the first.
macro_rules! blends {
    ($($sse:ident $vex:ident),+) => {
        $(
            struct $sse;
            impl Operation3 for $sse {
                const BYTES: [usize; 2] = [16, 32];
                fn x(_: &mut Cpu, a: X, b: X, c: X) -> Result<X, Stop> {
                    Ok(run_x!(a, b, [concat!(stringify!($sse), " {a}, {b}")], in("xmm0") c))
                }
                fn y(_: &mut Cpu, a: &Ymm, b: &Ymm, c: &Ymm) -> Result<Ymm, Stop> {
                    Ok(run_y!(
                        a,
                        b,
                        [
                            "vmovdqu xmm2, [{c}]",
                            "vinsertf128 ymm2, ymm2, [{c} + 16], 1",
                            concat!(stringify!($vex), " ymm0, ymm0, ymm1, ymm2"),
                        ],
                        c = in(reg) std::ptr::from_ref(c)
                    ))
                }
            }
        )+
    };
}

blends!(Pblendvb Vpblendvb, Blendvps Vblendvps, Blendvpd Vblendvpd);

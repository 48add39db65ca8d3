//! Floating-point arithmetic: sums, products, quotients, roots, minima, maxima, dot products, rounding,
//! comparison into masks, and conversions within vector registers.
//!
//! Intel SDM vol. 2, under each mnemonic; vol. 1, 11.5 for exceptions.

use iced_x86::{Code, Mnemonic};

use super::mxcsr::control;
use super::operand::X;
use super::unmasked::{Format, Kind, Sources};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::Handler;

float_lanes! {
    [4 4 inlined] Add Single "{a}, {b}", none: Addss Vaddss;
    [8 8 inlined] Add Double "{a}, {b}", none: Addsd Vaddsd;
    [16 32 called] Add Single "{a}, {b}", "ymm0, ymm0, ymm1": Addps Vaddps;
    [16 32 called] Add Double "{a}, {b}", "ymm0, ymm0, ymm1": Addpd Vaddpd;
    [4 4 inlined] Sub Single "{a}, {b}", none: Subss Vsubss;
    [8 8 inlined] Sub Double "{a}, {b}", none: Subsd Vsubsd;
    [16 32 called] Sub Single "{a}, {b}", "ymm0, ymm0, ymm1": Subps Vsubps;
    [16 32 called] Sub Double "{a}, {b}", "ymm0, ymm0, ymm1": Subpd Vsubpd;
    [4 4 inlined] Mul Single "{a}, {b}", none: Mulss Vmulss;
    [8 8 inlined] Mul Double "{a}, {b}", none: Mulsd Vmulsd;
    [16 32 called] Mul Single "{a}, {b}", "ymm0, ymm0, ymm1": Mulps Vmulps;
    [16 32 called] Mul Double "{a}, {b}", "ymm0, ymm0, ymm1": Mulpd Vmulpd;
    [4 4 inlined] Div Single "{a}, {b}", none: Divss Vdivss;
    [8 8 inlined] Div Double "{a}, {b}", none: Divsd Vdivsd;
    [16 32 called] Div Single "{a}, {b}", "ymm0, ymm0, ymm1": Divps Vdivps;
    [16 32 called] Div Double "{a}, {b}", "ymm0, ymm0, ymm1": Divpd Vdivpd;
    [16 32 called] AddSub Single "{a}, {b}", "ymm0, ymm0, ymm1": Addsubps Vaddsubps;
    [16 32 called] AddSub Double "{a}, {b}", "ymm0, ymm0, ymm1": Addsubpd Vaddsubpd;
    [16 32 called] HorizontalAdd Single "{a}, {b}", "ymm0, ymm0, ymm1": Haddps Vhaddps;
    [16 32 called] HorizontalAdd Double "{a}, {b}", "ymm0, ymm0, ymm1": Haddpd Vhaddpd;
    [16 32 called] HorizontalSub Single "{a}, {b}", "ymm0, ymm0, ymm1": Hsubps Vhsubps;
    [16 32 called] HorizontalSub Double "{a}, {b}", "ymm0, ymm0, ymm1": Hsubpd Vhsubpd;
    [16 32 256] Dot Single "{a}, {b}", "ymm0, ymm0, ymm1": Dpps Vdpps;
    [16 16 256] Dot Double "{a}, {b}", none: Dppd Vdppd;

    [4 4 called] Plain Single "{a}, {b}", none: Minss Vminss, Maxss Vmaxss, Sqrtss Vsqrtss;
    [8 8 called] Plain Double "{a}, {b}", none: Minsd Vminsd, Maxsd Vmaxsd, Sqrtsd Vsqrtsd;
    [16 32 called] Plain Single "{a}, {b}", "ymm0, ymm0, ymm1": Minps Vminps, Maxps Vmaxps;
    [16 32 called] Plain Double "{a}, {b}", "ymm0, ymm0, ymm1": Minpd Vminpd, Maxpd Vmaxpd;
    [16 32 called] Plain Single "{a}, {b}", "ymm0, ymm1": Sqrtps Vsqrtps;
    [16 32 called] Plain Double "{a}, {b}", "ymm0, ymm1": Sqrtpd Vsqrtpd;
    [4 4 16] Plain Single "{a}, {b}", none: Roundss Vroundss;
    [8 8 16] Plain Double "{a}, {b}", none: Roundsd Vroundsd;
    [16 32 16] Plain Single "{a}, {b}", "ymm0, ymm1": Roundps Vroundps;
    [16 32 16] Plain Double "{a}, {b}", "ymm0, ymm1": Roundpd Vroundpd;

    // Legacy encodings have 8 predicates, VEX encodings 32.
    [4 4 8] Plain Single "{a}, {b}", none: Cmpss Cmpss;
    [8 8 8] Plain Double "{a}, {b}", none: Cmpsd Cmpsd;
    [16 32 8] Plain Single "{a}, {b}", none: Cmpps Cmpps;
    [16 32 8] Plain Double "{a}, {b}", none: Cmppd Cmppd;
    [4 4 32] Plain Single "{a}, {a}, {b}", none: Vcmpss Vcmpss;
    [8 8 32] Plain Double "{a}, {a}, {b}", none: Vcmpsd Vcmpsd;
    [16 32 32] Plain Single "{a}, {a}, {b}", "ymm0, ymm0, ymm1": Vcmpps Vcmpps;
    [16 32 32] Plain Double "{a}, {a}, {b}", "ymm0, ymm0, ymm1": Vcmppd Vcmppd;

    [4 4 called] Plain Single "{a}, {b}", none: Cvtss2sd Vcvtss2sd;
    [8 8 called] Narrow Double "{a}, {b}", none: Cvtsd2ss Vcvtsd2ss;
    [8 16 called] Plain Single "{a}, {b}", "ymm0, xmm1": Cvtps2pd Vcvtps2pd, Cvtdq2pd Vcvtdq2pd;
    [8 16 called] Plain Half "{a}, {b}", "ymm0, xmm1": Vcvtph2ps Vcvtph2ps;
    [16 32 called] Narrow Double "{a}, {b}", "xmm0, ymm1": Cvtpd2ps Vcvtpd2ps;
    [16 32 called] Plain Double "{a}, {b}", "xmm0, ymm1": Cvtpd2dq Vcvtpd2dq, Cvttpd2dq Vcvttpd2dq;
    [16 32 called] Plain Single "{a}, {b}", "ymm0, ymm1":
        Cvtps2dq Vcvtps2dq, Cvttps2dq Vcvttps2dq, Cvtdq2ps Vcvtdq2ps;
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    select_lanes(code)
}

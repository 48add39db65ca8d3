//! AES-NI and SHA, except what takes an immediate (`immediate`).
//!
//! Intel SDM vol. 2, under each mnemonic.

use iced_x86::{Code, Mnemonic};

use super::form::{Operation3, pick_blend};
use super::operand::X;
use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::op::Handler;

lanes! {
    [16 16 called] "{a}, {b}", none:
        Aesenc Vaesenc, Aesenclast Vaesenclast, Aesdec Vaesdec, Aesdeclast Vaesdeclast, Aesimc Vaesimc,
        Sha1nexte Sha1nexte, Sha1msg1 Sha1msg1, Sha1msg2 Sha1msg2,
        Sha256msg1 Sha256msg1, Sha256msg2 Sha256msg2;
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    match code {
        Code::Sha256rnds2_xmm_xmmm128 => pick_blend::<Sha256rnds2>(code),
        // The 256-bit forms (VAES) have the same mnemonics.
        _ if code.op_code().l() != 0 => None,
        _ => select_lanes(code),
    }
}

/// The message words and round constants are in XMM0.
struct Sha256rnds2;

impl Operation3 for Sha256rnds2 {
    const BYTES: [usize; 2] = [16, 16];
    fn x(_: &mut Cpu, a: X, b: X, c: X) -> Result<X, Stop> {
        Ok(run_x!(a, b, ["sha256rnds2 {a}, {b}"], in("xmm0") c))
    }
}

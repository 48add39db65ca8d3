//! MXCSR: its load and store, and how SIMD floating-point exceptions are raised.
//!
//! Intel SDM vol. 1, 10.2.3 and 11.5. The host computes with the guest's rounding, DAZ and FTZ but
//! every exception masked; which flags that sets decides whether the guest would have trapped.

use iced_x86::Code;

use super::unmasked::{self, Sources};
use crate::x86::cpu::{Cpu, cr};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op};

// 15 FTZ │ 14…13 RC │ 12 PM │ 11 UM │ 10 OM │ 9 ZM │ 8 DM │ 7 IM │ 6 DAZ │ 5 PE │ 4 UE │ 3 OE │ 2 ZE │ 1 DE │ 0 IE
pub const OE: u32 = 1 << 3;
pub const UE: u32 = 1 << 4;
pub const PE: u32 = 1 << 5;
pub const FLAGS: u32 = 0x3F;
/// Those found before computing: IE, DE, ZE.
pub const EARLY_FLAGS: u32 = 7;
/// From a flag to its mask.
pub const MASK_SHIFT: u32 = 7;
pub const MASKS: u32 = FLAGS << MASK_SHIFT;
pub const ROUNDING_SHIFT: u32 = 13;
pub const ROUNDING: u32 = 3 << ROUNDING_SHIFT;
pub const DAZ: u32 = 1 << 6;
const UM: u32 = UE << MASK_SHIFT;
const FTZ: u32 = 1 << 15;
/// The bits that may be set (MXCSR_MASK).
const VALID: u32 = 0xFFFF;

/// What Rust code expects to find in the host's MXCSR.
pub static HOST_MXCSR: u32 = 0x1F80;

/// The MXCSR to compute with: all exceptions masked, no flag set yet.
#[inline(always)]
pub fn control(mxcsr: u32) -> u32 {
    // FTZ counts only while underflow is masked (Intel SDM vol. 1, 10.2.3.3).
    let ignored = if mxcsr & UM == 0 { FLAGS | FTZ } else { FLAGS };
    mxcsr & !ignored | MASKS
}

impl Cpu {
    /// Accounts for the flags that a computation raised: sets them, and raises #XM if the guest has one
    /// of them unmasked. `sources` tells what was computed, for the flags of one that traps.
    #[inline(always)]
    pub fn settle(&mut self, raised: u32, sources: impl FnOnce() -> Sources) -> Result<(), Stop> {
        if self.mxcsr & MASKS == MASKS {
            self.mxcsr |= raised;
            return Ok(());
        }
        self.settle_unmasked(raised, &sources())
    }

    #[cold]
    #[inline(never)]
    fn settle_unmasked(&mut self, raised: u32, sources: &Sources) -> Result<(), Stop> {
        let raised = unmasked::flags(self.mxcsr, raised, sources);
        self.mxcsr |= raised;
        if raised & !(self.mxcsr >> MASK_SHIFT) & FLAGS == 0 {
            return Ok(());
        }
        let reported = self.cr4 & cr::CR4_OSXMMEXCPT != 0;
        Err(if reported { self.raise(vector::XM, 0) } else { self.ud() })
    }
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Ldmxcsr_m32 => ldmxcsr::<false>,
        Code::VEX_Vldmxcsr_m32 => ldmxcsr::<true>,
        Code::Stmxcsr_m32 => stmxcsr::<false>,
        Code::VEX_Vstmxcsr_m32 => stmxcsr::<true>,
        _ => return None,
    })
}

fn ldmxcsr<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let value = cpu.load_op::<u32>(op)?;
    if value & !VALID != 0 {
        return Err(cpu.gp(0));
    }
    cpu.mxcsr = value;
    Ok(())
}

fn stmxcsr<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    cpu.store_op(op, cpu.mxcsr)
}

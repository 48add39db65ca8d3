//! Vector registers as handlers see them, the checks before any vector instruction, and its operands.
//!
//! Checks: Intel SDM vol. 2, 2.4 (exception classes of VEX instructions) and vol. 3, 13.1 (CR0.EM,
//! CR0.TS and CR4.OSFXSR for the legacy encodings). Alignment: classes 1, 2 and 4 of the same.

use std::arch::x86_64::__m128i;

use crate::x86::cpu::{Cpu, Ymm, cr};
use crate::x86::fault::Stop;
use crate::x86::op::Op;
use crate::x86::word::{Int, Word};

/// The contents of an XMM register, whatever its elements.
pub type X = __m128i;

// SAFETY: 16 bytes of plain data, valid for every bit pattern.
unsafe impl Word for X {}
// SAFETY: 32 bytes of plain data without padding, valid for every bit pattern.
unsafe impl Word for Ymm {}

#[inline(always)]
pub fn x_from(words: [u64; 2]) -> X {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(words) }
}

#[inline(always)]
pub fn x_words(x: X) -> [u64; 2] {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(x) }
}

impl Ymm {
    /// The XMM register.
    #[inline(always)]
    pub fn low(&self) -> X {
        // SAFETY: the first 16 of 32 bytes, aligned to 32.
        unsafe { *std::ptr::from_ref(self).cast::<X>() }
    }

    #[inline(always)]
    pub fn high(&self) -> X {
        // SAFETY: the last 16 of 32 bytes, aligned to 16.
        unsafe { *std::ptr::from_ref(self).cast::<X>().add(1) }
    }

    /// Writes the XMM register and leaves the upper half alone, as legacy encodings do.
    #[inline(always)]
    pub fn set_low(&mut self, x: X) {
        // SAFETY: the first 16 of 32 bytes, aligned to 32.
        unsafe { *std::ptr::from_mut(self).cast::<X>() = x };
    }

    #[inline(always)]
    pub fn from_halves(low: X, high: X) -> Self {
        let mut ymm = Self::from_low(low);
        // SAFETY: the last 16 of 32 bytes, aligned to 16.
        unsafe { *std::ptr::from_mut(&mut ymm).cast::<X>().add(1) = high };
        ymm
    }

    /// The upper half is zero, as VEX.128 encodings leave it.
    #[inline(always)]
    pub fn from_low(low: X) -> Self {
        let mut ymm = Self([0; 4]);
        ymm.set_low(low);
        ymm
    }
}

impl Ymm {
    /// Element `index` of those of type `T`; indices wrap at 32 bytes.
    #[inline(always)]
    pub fn element<T: Int>(&self, index: u64) -> T {
        let byte = index.wrapping_mul(T::BYTES);
        T::truncate(self.0[(byte / 8) as usize & 3] >> (8 * (byte & 7)))
    }

    #[inline(always)]
    pub fn set_element<T: Int>(&mut self, index: u64, value: T) {
        let (byte, ones) = (index.wrapping_mul(T::BYTES), u64::MAX >> (64 - T::BITS));
        let (quadword, shift) = (&mut self.0[(byte / 8) as usize & 3], 8 * (byte & 7));
        *quadword = *quadword & !(ones << shift) | value.zero_extend() << shift;
    }
}

/// Which memory operands of 16 bytes and more must be aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Those of legacy encodings: most instructions.
    Legacy,
    /// None: MOVUPS and its kin, the string comparisons.
    Never,
    /// All: MOVAPS and its kin, non-temporal moves.
    Always,
}

impl Cpu {
    /// Whether legacy SSE instructions may run now.
    #[inline(always)]
    pub fn need_sse(&mut self) -> Result<(), Stop> {
        if self.cr0 & (cr::CR0_EM | cr::CR0_TS) != 0 || self.cr4 & cr::CR4_OSFXSR == 0 {
            return Err(self.sse_disabled());
        }
        Ok(())
    }

    #[cold]
    fn sse_disabled(&mut self) -> Stop {
        let unknown = self.cr0 & cr::CR0_EM != 0 || self.cr4 & cr::CR4_OSFXSR == 0;
        if unknown { self.ud() } else { self.nm() }
    }

    /// Whether VEX-encoded vector instructions may run now.
    #[inline(always)]
    pub fn need_avx(&mut self) -> Result<(), Stop> {
        let enabled = self.protected && self.cr4 & cr::CR4_OSXSAVE != 0 && self.xcr0 & 6 == 6;
        if !enabled || self.cr0 & cr::CR0_TS != 0 {
            return Err(if enabled { self.nm() } else { self.ud() });
        }
        Ok(())
    }

    #[inline(always)]
    pub fn ymm(&self, number: u8) -> &Ymm {
        &self.ymm[number as usize & 15]
    }

    #[inline(always)]
    pub fn ymm_mut(&mut self, number: u8) -> &mut Ymm {
        &mut self.ymm[number as usize & 15]
    }

    #[inline(always)]
    pub fn is_aligned(&self, op: &Op, bytes: u64) -> bool {
        self.bases[op.segment as usize & 7].wrapping_add(self.ea(op)) & (bytes - 1) == 0
    }

    /// #GP unless the memory operand is aligned to `bytes`.
    #[inline(always)]
    pub fn need_alignment(&mut self, op: &Op, bytes: u64) -> Result<(), Stop> {
        if self.is_aligned(op, bytes) { Ok(()) } else { Err(self.gp(0)) }
    }

    /// The memory operand of `N` bytes, up to 16, zero-extended.
    #[inline(never)]
    pub fn load_x<const N: usize>(&mut self, op: &Op, aligned: bool) -> Result<X, Stop> {
        let low = match N {
            1 => u64::from(self.load_op::<u8>(op)?),
            2 => u64::from(self.load_op::<u16>(op)?),
            4 => u64::from(self.load_op::<u32>(op)?),
            8 => self.load_op::<u64>(op)?,
            _ => {
                if aligned {
                    self.need_alignment(op, 16)?;
                }
                return self.load_op::<X>(op);
            }
        };
        Ok(x_from([low, 0]))
    }

    /// The memory operand of `N` bytes, up to 32, zero-extended.
    #[inline(never)]
    pub fn load_y<const N: usize>(&mut self, op: &Op, aligned: bool) -> Result<Ymm, Stop> {
        if N < 32 {
            return Ok(Ymm::from_low(self.load_x::<N>(op, aligned)?));
        }
        if aligned {
            self.need_alignment(op, 32)?;
        }
        self.load_op::<Ymm>(op)
    }

    /// `load_y` with the common path inlined, for `N` of 32.
    #[inline(always)]
    pub fn load_y_hot(&mut self, op: &Op, aligned: bool) -> Result<Ymm, Stop> {
        if aligned {
            self.need_alignment(op, 32)?;
        }
        match self.quick_load_op::<Ymm>(op) {
            Some(y) => Ok(y),
            None => self.load_y::<32>(op, aligned),
        }
    }
}

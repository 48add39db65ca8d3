//! AVX2 gathers: elements from addresses that a vector of indices makes.
//!
//! Intel SDM vol. 2, VPGATHERDD and its kin. A gather can be interrupted by a fault: what was loaded
//! stays, and its mask elements are clear (the others are all ones or zero), so that execution goes on
//! from there.

use iced_x86::{Code, Mnemonic as M};

use super::form::{Form, form};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    let full = form(code)? == Form::Vex256;
    Some(match code.mnemonic() {
        M::Vpgatherdd | M::Vgatherdps => pick::<u32, u32>(full),
        M::Vpgatherdq | M::Vgatherdpd => pick::<u32, u64>(full),
        M::Vpgatherqd | M::Vgatherqps => pick::<u64, u32>(full),
        M::Vpgatherqq | M::Vgatherqpd => pick::<u64, u64>(full),
        _ => return None,
    })
}

fn pick<I: Int, T: Int>(full: bool) -> Handler {
    if full { gather::<I, T, 32> } else { gather::<I, T, 16> }
}

/// Indices of type `I`, elements of type `T`, in registers of `BYTES`.
fn gather<I: Int, T: Int, const BYTES: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let (destination, mask, indices) = (op.reg, op.vvvv, op.is4);
    if destination == mask || destination == indices || mask == indices {
        return Err(cpu.ud());
    }
    let indices = *cpu.ymm(indices);
    let start = cpu.regs[op.base as usize & 31].wrapping_add(op.disp);
    let count = BYTES / I::BYTES.max(T::BYTES);
    // Before the first element: a fault leaves this behind.
    let wanted = |mask: &Ymm, index| mask.element::<T>(index).sign_extend() >> 63 != 0;
    for index in 0..BYTES / T::BYTES {
        let all = if wanted(cpu.ymm(mask), index) { u64::MAX } else { 0 };
        cpu.ymm_mut(mask).set_element(index, T::truncate(all));
    }
    cpu.ymm_mut(mask).0[BYTES as usize / 8..].fill(0);
    for index in 0..count {
        if !wanted(cpu.ymm(mask), index) {
            continue;
        }
        let scaled = indices.element::<I>(index).sign_extend() << op.scale;
        let value = cpu.load::<T>(op.segment, start.wrapping_add(scaled) & op.address_mask)?;
        cpu.ymm_mut(destination).set_element(index, value);
        cpu.ymm_mut(destination).0[BYTES as usize / 8..].fill(0);
        cpu.ymm_mut(mask).set_element(index, T::truncate(0));
    }
    // What lies beyond the elements is cleared, in both registers.
    let kept = (count * T::BYTES / 8) as usize;
    cpu.ymm_mut(destination).0[kept..].fill(0);
    *cpu.ymm_mut(mask) = Ymm::default();
    Ok(())
}

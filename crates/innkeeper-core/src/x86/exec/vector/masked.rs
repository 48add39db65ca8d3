//! Loads and stores under a mask: VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ, MASKMOVDQU.
//!
//! Intel SDM vol. 2, under each mnemonic. Elements that are masked out are not accessed, so they
//! cannot fault; a store writes nothing until all of its elements are known to be writable.

use iced_x86::{Code, Mnemonic as M, OpCodeOperandKind as Kind};

use super::form::{Form, form};
use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, RDI, Ymm};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    match code {
        Code::Maskmovdqu_rDI_xmm_xmm => return Some(maskmovdqu::<false>),
        Code::VEX_Vmaskmovdqu_rDI_xmm_xmm => return Some(maskmovdqu::<true>),
        _ => {}
    }
    let store = code.op_code().op_kinds().first() == Some(&Kind::mem);
    let full = form(code)? == Form::Vex256;
    Some(match code.mnemonic() {
        M::Vmaskmovps | M::Vpmaskmovd => pick::<u32>(store, full),
        M::Vmaskmovpd | M::Vpmaskmovq => pick::<u64>(store, full),
        _ => return None,
    })
}

fn pick<T: Int>(store: bool, full: bool) -> Handler {
    match (store, full) {
        (false, false) => load::<T, 16>,
        (false, true) => load::<T, 32>,
        (true, false) => store_masked::<T, 16>,
        (true, true) => store_masked::<T, 32>,
    }
}

/// The elements within `BYTES` that the mask has chosen by their sign bits, by index.
fn chosen<T: Int, const BYTES: u64>(mask: Ymm) -> impl Iterator<Item = u64> {
    let sign = move |index: &u64| mask.element::<T>(*index).sign_extend() >> 63 != 0;
    (0..BYTES / T::BYTES).filter(sign)
}

fn load<T: Int, const BYTES: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let start = cpu.ea(op);
    let mut result = Ymm::default();
    for index in chosen::<T, BYTES>(*cpu.ymm(op.vvvv)) {
        let value = cpu.load::<T>(op.segment, start.wrapping_add(index * T::BYTES))?;
        result.set_element(index, value);
    }
    *cpu.ymm_mut(op.reg) = result;
    Ok(())
}

fn store_masked<T: Int, const BYTES: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let (mask, source) = (*cpu.ymm(op.vvvv), *cpu.ymm(op.reg));
    scatter::<T, BYTES>(cpu, op.segment, cpu.ea(op), mask, source)
}

fn scatter<T: Int, const BYTES: u64>(
    cpu: &mut Cpu,
    segment: u8,
    start: u64,
    mask: Ymm,
    source: Ymm,
) -> Result<(), Stop> {
    let at = |index: u64| start.wrapping_add(index * T::BYTES);
    for index in chosen::<T, BYTES>(mask) {
        if let Err(stop) = cpu.probe_write(segment, at(index), T::BYTES) {
            let first = chosen::<T, BYTES>(mask).next().map_or(start, at);
            let last = chosen::<T, BYTES>(mask).last().map_or(start, at);
            report_span(cpu, segment, first, last.wrapping_add(T::BYTES - 1));
            return Err(stop);
        }
    }
    for index in chosen::<T, BYTES>(mask) {
        cpu.store(segment, at(index), source.element::<T>(index))?;
    }
    Ok(())
}

/// Of a masked store that begins on one page and faults on the next, Intel's processors report the last
/// byte that would be written.
fn report_span(cpu: &mut Cpu, segment: u8, first: u64, last: u64) {
    let linear = |offset| {
        let linear = cpu.bases[segment as usize & 7].wrapping_add(offset);
        if cpu.long { linear } else { linear & 0xFFFF_FFFF }
    };
    if cpu.fault.vector == vector::PF && linear(first) / PAGE_SIZE != cpu.fault.address / PAGE_SIZE {
        cpu.fault.address = linear(last);
    }
}

/// MASKMOVDQU: bytes, to DS:rDI.
fn maskmovdqu<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let (source, mask) = (*cpu.ymm(op.reg), *cpu.ymm(op.rm));
    let start = cpu.regs[RDI] & op.address_mask;
    // All must be writable, whatever the mask.
    cpu.probe_write(op.segment, start, 16)?;
    scatter::<u8, 16>(cpu, op.segment, start, mask, source)
}

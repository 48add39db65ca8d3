//! Segment registers: MOV, PUSH, POP and the far-pointer loads.
//! Source: Intel SDM vol. 2. PUSH of a segment register writes the whole zero-extended operand, as
//! AMD processors do.

use iced_x86::Code;

use crate::x86::cpu::{Cpu, RSP, Shadow, with_sp};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::word::Int;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Mov_rm16_Sreg => mov_from::<u16>,
        Code::Mov_r32m16_Sreg => mov_from::<u32>,
        Code::Mov_r64m16_Sreg => mov_from::<u64>,
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => mov_to,
        Code::Pushw_ES | Code::Pushw_CS | Code::Pushw_SS | Code::Pushw_DS => push::<u16>,
        Code::Pushd_ES | Code::Pushd_CS | Code::Pushd_SS | Code::Pushd_DS => push::<u32>,
        Code::Pushw_FS | Code::Pushw_GS => push::<u16>,
        Code::Pushd_FS | Code::Pushd_GS => push::<u32>,
        Code::Pushq_FS | Code::Pushq_GS => push::<u64>,
        Code::Popw_ES | Code::Popw_SS | Code::Popw_DS => pop::<u16>,
        Code::Popd_ES | Code::Popd_SS | Code::Popd_DS => pop::<u32>,
        Code::Popw_FS | Code::Popw_GS => pop::<u16>,
        Code::Popd_FS | Code::Popd_GS => pop::<u32>,
        Code::Popq_FS | Code::Popq_GS => pop::<u64>,
        Code::Les_r16_m1616 => far_load::<u16, { seg::ES }>,
        Code::Les_r32_m1632 => far_load::<u32, { seg::ES }>,
        Code::Lds_r16_m1616 => far_load::<u16, { seg::DS }>,
        Code::Lds_r32_m1632 => far_load::<u32, { seg::DS }>,
        Code::Lss_r16_m1616 => far_load::<u16, { seg::SS }>,
        Code::Lss_r32_m1632 => far_load::<u32, { seg::SS }>,
        Code::Lss_r64_m1664 => far_load::<u64, { seg::SS }>,
        Code::Lfs_r16_m1616 => far_load::<u16, { seg::FS }>,
        Code::Lfs_r32_m1632 => far_load::<u32, { seg::FS }>,
        Code::Lfs_r64_m1664 => far_load::<u64, { seg::FS }>,
        Code::Lgs_r16_m1616 => far_load::<u16, { seg::GS }>,
        Code::Lgs_r32_m1632 => far_load::<u32, { seg::GS }>,
        Code::Lgs_r64_m1664 => far_load::<u64, { seg::GS }>,
        _ => return None,
    })
}

/// To a register the selector is zero-extended; to memory it is always 16 bits.
fn mov_from<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let selector = cpu.segments[op.reg as usize].selector;
    if op.memory {
        cpu.store_op(op, selector)
    } else {
        cpu.set_reg(op.rm, T::truncate(u64::from(selector)));
        Ok(())
    }
}

fn mov_to(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.reg == seg::CS {
        return Err(cpu.ud());
    }
    let selector = cpu.rm::<u16>(op)?;
    cpu.load_segment(op.reg, selector)?;
    if op.reg == seg::SS {
        cpu.begin_stack_shadow();
    }
    Ok(())
}

fn push<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let selector = cpu.segments[op.reg as usize].selector;
    cpu.push(T::truncate(u64::from(selector)))
}

fn pop<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (sp, mask) = (cpu.sp(), cpu.stack_mask);
    let selector: u64 = cpu.load::<T>(seg::SS, sp)?.zero_extend();
    cpu.load_segment(op.reg, selector as u16)?;
    // POP SS may have changed the stack's width; RSP moves as the old one saw it.
    cpu.regs[RSP] = with_sp(cpu.regs[RSP], sp.wrapping_add(T::BYTES), mask);
    if op.reg == seg::SS {
        cpu.begin_stack_shadow();
    }
    Ok(())
}

fn far_load<T: Int, const SEGMENT: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (selector, offset) = cpu.far_pointer::<T>(op)?;
    cpu.load_segment(SEGMENT, selector)?;
    cpu.set_reg(op.reg, T::truncate(offset));
    Ok(())
}

impl Cpu {
    /// A load of SS holds interrupts and debug exceptions back for one instruction (the run loop sees
    /// to it that a second one in a row does not).
    fn begin_stack_shadow(&mut self) {
        self.shadow = Shadow::MovSs;
        self.leave = true;
    }
}

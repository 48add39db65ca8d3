//! IRET in every mode: to the same and to outer levels, to virtual-8086 mode, and back to another task.
//! Source: Intel SDM vol. 2, IRET; vol. 3, 6.7.1 (NMIs are blocked until IRET).

use iced_x86::Code;

use crate::state::SegmentState;
use crate::x86::attention::{LOCAL, NMI};
use crate::x86::cpu::{Cpu, RIP, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::segment::rpl;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Iretw => iret::<2>,
        Code::Iretd => iret::<4>,
        Code::Iretq => iret::<8>,
        _ => return None,
    })
}

/// Flags that any program may load.
const PLAIN: u64 = flag::STATUS | flag::TF | flag::DF | flag::NT;
/// Those beyond the low 16 that any program may load.
const PLAIN_HIGH: u64 = flag::RF | flag::AC | flag::ID;

fn iret<const SIZE: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.v86() && cpu.iopl() < 3 {
        return Err(cpu.gp(0));
    }
    if cpu.nmi_blocked {
        cpu.nmi_blocked = false;
        cpu.attention.raise(NMI | LOCAL); // if none is held back, nothing comes of it
    }
    if !cpu.protected {
        return iret_real::<SIZE>(cpu);
    }
    if cpu.has_flag(flag::NT) {
        return if cpu.lma() { Err(cpu.gp(0)) } else { cpu.task_return(u64::from(op.length)) };
    }
    let size = u64::from(SIZE);
    let offset = cpu.peek(0, SIZE)?;
    let selector = cpu.peek(size, SIZE)? as u16;
    let image = cpu.peek(2 * size, SIZE)?;
    if SIZE == 4 && image & flag::VM != 0 && cpu.cpl == 0 && !cpu.lma() {
        return iret_to_v86(cpu, offset, selector, image);
    }
    let mut entry = cpu.return_target(selector, offset)?;
    let loaded = loadable::<SIZE>(cpu);
    if cpu.long || rpl(selector) != cpu.cpl {
        let sp = cpu.peek(3 * size, SIZE)?;
        let ss = cpu.peek(4 * size, SIZE)? as u16;
        cpu.return_outward(entry, ss, sp, 0)?;
    } else {
        cpu.mark_accessed(&mut entry.descriptor)?;
        cpu.set_sp(cpu.sp().wrapping_add(3 * size));
        cpu.enter_code(entry);
    }
    load_flags(cpu, image, loaded);
    Ok(())
}

/// The flags that IRET may load at the level it is executed at.
fn loadable<const SIZE: u8>(cpu: &Cpu) -> u64 {
    let mut mask = PLAIN;
    if SIZE != 2 {
        mask |= PLAIN_HIGH;
    }
    if cpu.cpl <= cpu.iopl() {
        mask |= flag::IF;
    }
    if cpu.cpl == 0 {
        mask |= flag::IOPL | if SIZE == 2 { 0 } else { flag::VIF | flag::VIP };
    }
    mask
}

fn load_flags(cpu: &mut Cpu, image: u64, mask: u64) {
    let before = cpu.rflags;
    cpu.rflags = before & !mask | image & mask | flag::FIXED;
    if cpu.dr[7] & 0xFF == 0 {
        // RF only holds instruction breakpoints back, and there are none.
        cpu.rflags &= !flag::RF;
    }
    cpu.refresh_tlb_view(); // AC
    if cpu.rflags & !before & flag::IF != 0 {
        cpu.attention.raise(LOCAL);
    }
    cpu.leave = true;
}

/// Real mode, and virtual-8086 mode with IOPL 3.
fn iret_real<const SIZE: u8>(cpu: &mut Cpu) -> Result<(), Stop> {
    let size = u64::from(SIZE);
    let offset = cpu.peek(0, SIZE)?;
    let selector = cpu.peek(size, SIZE)? as u16;
    let image = cpu.peek(2 * size, SIZE)?;
    if offset > u64::from(cpu.segments[seg::CS as usize].limit) {
        return Err(cpu.gp(0));
    }
    let mut mask = PLAIN | flag::IF;
    if SIZE != 2 {
        mask |= PLAIN_HIGH;
    }
    if !cpu.v86() {
        mask |= flag::IOPL;
    }
    cpu.set_sp(cpu.sp().wrapping_add(3 * size));
    cpu.segments[seg::CS as usize] = cpu.real_segment(seg::CS, selector);
    cpu.regs[RIP] = offset;
    cpu.refresh_mode();
    load_flags(cpu, image, mask);
    Ok(())
}

fn iret_to_v86(cpu: &mut Cpu, offset: u64, selector: u16, image: u64) -> Result<(), Stop> {
    let mut words = [0; 6];
    for (i, word) in words.iter_mut().enumerate() {
        *word = cpu.peek(12 + 4 * i as u64, 4)?;
    }
    if offset > 0xFFFF {
        return Err(cpu.gp(0));
    }
    let [sp, ss, es, ds, fs, gs] = words;
    let selectors = [es, u64::from(selector), ss, ds, fs, gs];
    for (segment, selector) in cpu.segments.iter_mut().zip(selectors) {
        *segment = SegmentState::real(selector as u16, 3);
    }
    cpu.regs[RIP] = offset;
    cpu.regs[crate::x86::cpu::RSP] = sp;
    cpu.set_rflags(image);
    Ok(())
}

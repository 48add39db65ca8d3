//! Descriptor-table registers, LDTR and TR, and the instructions that look at descriptors.
//! Source: Intel SDM vol. 2, LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, LAR, LSL, VERR, VERW, ARPL.

use iced_x86::Code;

use crate::state::{SegmentState, TableState};
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::{Stop, vector};
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op};
use crate::x86::segment::{Descriptor, is_null, rpl};
use crate::x86::word::Int;

/// System descriptor types, as bits of a set indexed by type.
const LDT: u32 = 1 << 2;
const TSS_AVAILABLE: u32 = 1 << 1 | 1 << 9;
const TSS_BUSY: u32 = 1 << 3 | 1 << 0xB;
const LONG_TSS: u32 = 1 << 9 | 1 << 0xB;
const CALL_GATES: u32 = 1 << 4 | 1 << 0xC;
const LONG_CALL_GATE: u32 = 1 << 0xC;
const TASK_GATE: u32 = 1 << 5;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Lgdt_m1632_16 => load_table::<false, 3>,
        Code::Lgdt_m1632 => load_table::<false, 4>,
        Code::Lgdt_m1664 => load_table::<false, 8>,
        Code::Lidt_m1632_16 => load_table::<true, 3>,
        Code::Lidt_m1632 => load_table::<true, 4>,
        Code::Lidt_m1664 => load_table::<true, 8>,
        Code::Sgdt_m1632_16 | Code::Sgdt_m1632 => store_table::<u32, false>,
        Code::Sgdt_m1664 => store_table::<u64, false>,
        Code::Sidt_m1632_16 | Code::Sidt_m1632 => store_table::<u32, true>,
        Code::Sidt_m1664 => store_table::<u64, true>,
        Code::Lldt_rm16 | Code::Lldt_r32m16 | Code::Lldt_r64m16 => lldt,
        Code::Ltr_rm16 | Code::Ltr_r32m16 | Code::Ltr_r64m16 => ltr,
        Code::Sldt_rm16 => store_selector::<u16, false>,
        Code::Sldt_r32m16 => store_selector::<u32, false>,
        Code::Sldt_r64m16 => store_selector::<u64, false>,
        Code::Str_rm16 => store_selector::<u16, true>,
        Code::Str_r32m16 => store_selector::<u32, true>,
        Code::Str_r64m16 => store_selector::<u64, true>,
        Code::Lar_r16_rm16 => lar::<u16>,
        Code::Lar_r32_r32m16 => lar::<u32>,
        Code::Lar_r64_r64m16 => lar::<u64>,
        Code::Lsl_r16_rm16 => lsl::<u16>,
        Code::Lsl_r32_r32m16 => lsl::<u32>,
        Code::Lsl_r64_r64m16 => lsl::<u64>,
        Code::Verr_rm16 | Code::Verr_r32m16 | Code::Verr_r64m16 => verify::<false>,
        Code::Verw_rm16 | Code::Verw_r32m16 | Code::Verw_r64m16 => verify::<true>,
        Code::Arpl_rm16_r16 | Code::Arpl_r32m16_r32 => arpl,
        _ => return None,
    })
}

/// LGDT and LIDT. `BASE` is the number of bytes of the base that count.
fn load_table<const IDT: bool, const BASE: u32>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let at = cpu.ea(op);
    let limit = cpu.load::<u16>(op.segment, at)?;
    let at = at.wrapping_add(2) & op.address_mask;
    let base = match BASE {
        8 => cpu.load::<u64>(op.segment, at)?,
        4 => u64::from(cpu.load::<u32>(op.segment, at)?),
        _ => u64::from(cpu.load::<u32>(op.segment, at)? & 0xFF_FFFF),
    };
    if !canonical(base) {
        return Err(cpu.gp(0));
    }
    let table = if IDT { &mut cpu.idtr } else { &mut cpu.gdtr };
    *table = TableState { base, limit };
    Ok(())
}

fn store_table<T: Int, const IDT: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_umip()?;
    let table = if IDT { cpu.idtr } else { cpu.gdtr };
    let at = cpu.ea(op);
    let next = at.wrapping_add(2) & op.address_mask;
    cpu.probe_write(op.segment, next, T::BYTES)?;
    cpu.store(op.segment, at, table.limit)?;
    cpu.store(op.segment, next, T::truncate(table.base))
}

fn lldt(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_protected()?;
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let selector = cpu.rm::<u16>(op)?;
    cpu.ldtr = if is_null(selector) {
        SegmentState::null(selector)
    } else {
        let descriptor = cpu.system_descriptor(selector, LDT)?;
        cpu.system_segment(selector, descriptor)?
    };
    Ok(())
}

fn ltr(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_protected()?;
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let selector = cpu.rm::<u16>(op)?;
    if is_null(selector) {
        return Err(cpu.gp(0));
    }
    let kinds = if cpu.lma() { TSS_AVAILABLE & LONG_TSS } else { TSS_AVAILABLE };
    let mut descriptor = cpu.system_descriptor(selector, kinds)?;
    descriptor.raw |= 2 << 40; // busy
    let loaded = cpu.system_segment(selector, descriptor)?;
    cpu.store_system(descriptor.address.wrapping_add(5), (descriptor.raw >> 40) as u8)?;
    cpu.tr = loaded;
    Ok(())
}

/// SLDT and STR: to memory always 16 bits.
fn store_selector<T: Int, const TR: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_protected()?;
    cpu.check_umip()?;
    let selector = if TR { cpu.tr.selector } else { cpu.ldtr.selector };
    if op.memory {
        return cpu.store_op(op, selector);
    }
    cpu.set_reg(op.rm, T::truncate(u64::from(selector)));
    Ok(())
}

/// Access rights: bits 8-23 of the upper half. (The manual leaves 16-19, which are limit bits, open;
/// processors give them.)
fn lar<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let kinds = match cpu.lma() {
        true => LDT | LONG_TSS | LONG_CALL_GATE,
        false => LDT | TSS_AVAILABLE | TSS_BUSY | CALL_GATES | TASK_GATE,
    };
    if let Some(descriptor) = cpu.look_up(op, kinds)? {
        cpu.set_reg(op.reg, T::truncate(descriptor.raw >> 32 & 0x00FF_FF00));
    }
    Ok(())
}

fn lsl<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let kinds = if cpu.lma() { LDT | LONG_TSS } else { LDT | TSS_AVAILABLE | TSS_BUSY };
    if let Some(descriptor) = cpu.look_up(op, kinds)? {
        cpu.set_reg(op.reg, T::truncate(u64::from(descriptor.segment(0).limit)));
    }
    Ok(())
}

/// VERR, and VERW if `WRITE`.
fn verify<const WRITE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let found = cpu.look_up(op, 0)?;
    let fits = found.is_some_and(|found| if WRITE { found.is_writable_data() } else { found.is_readable() });
    cpu.set_flag(flag::ZF, fits);
    Ok(())
}

fn arpl(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_protected()?;
    let (selector, wanted) = (cpu.rm::<u16>(op)?, cpu.reg::<u16>(op.reg) & 3);
    let raises = selector & 3 < wanted;
    if raises {
        cpu.set_rm(op, selector & !3 | wanted)?;
    }
    cpu.set_flag(flag::ZF, raises);
    Ok(())
}

impl Cpu {
    /// #UD in real and virtual-8086 mode, which know no descriptors.
    fn check_protected(&mut self) -> Result<(), Stop> {
        if self.protected { Ok(()) } else { Err(self.ud()) }
    }

    /// A present system descriptor in the GDT, of one of the types in the set.
    fn system_descriptor(&mut self, selector: u16, kinds: u32) -> Result<Descriptor, Stop> {
        if selector & 4 != 0 {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        let descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        if !descriptor.is_system() || kinds >> descriptor.kind() & 1 == 0 {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        Ok(descriptor)
    }

    /// The hidden part that LLDT and LTR load: in IA-32e mode the descriptor has 16 bytes.
    fn system_segment(&mut self, selector: u16, descriptor: Descriptor) -> Result<SegmentState, Stop> {
        if !self.lma() {
            return Ok(descriptor.segment(selector));
        }
        let high = self.read_upper_half(selector, vector::GP, 0)?;
        let segment = SegmentState::from_descriptor(selector, descriptor.raw, high & 0xFFFF_FFFF);
        if high >> 40 & 0x1F != 0 || !canonical(segment.base) {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        Ok(segment)
    }

    /// The descriptor that the operand's selector names, if LAR and its like may see it; ZF says so.
    /// `kinds`: the system types that count.
    fn look_up(&mut self, op: &Op, kinds: u32) -> Result<Option<Descriptor>, Stop> {
        self.check_protected()?;
        let selector = self.rm::<u16>(op)?;
        let found = if is_null(selector) { None } else { self.find_descriptor(selector)? };
        let privilege = self.cpl.max(rpl(selector));
        let visible = found.filter(|found| {
            let known = !found.is_system() || kinds >> found.kind() & 1 != 0;
            known && (found.is_conforming() || privilege <= found.dpl())
        });
        self.set_flag(flag::ZF, visible.is_some());
        Ok(visible)
    }
}

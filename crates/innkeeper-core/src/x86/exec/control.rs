//! Control and debug registers, EFER, and XCR0: what may be written, and what follows from it.
//! Source: Intel SDM vol. 3, 2.5 (control registers), 4.1 (paging modes), 4.4.1 (PDPTEs), 4.10.4
//! (invalidation), 10.8.5 (IA-32e mode), 17.2 (debug registers).

use iced_x86::Code;

use super::event::DR7_GD;
use crate::x86::cpu::{Cpu, RAX, RCX, RDX, cr};
use crate::x86::cpuid::Flags;
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op, seg};
use crate::x86::paging::PHYSICAL_BITS;
use crate::x86::segment as attr;

/// CR0 bits that exist; the others ignore writes.
const CR0_WRITABLE: u64 = cr::CR0_PE
    | cr::CR0_MP
    | cr::CR0_EM
    | cr::CR0_TS
    | cr::CR0_NE
    | cr::CR0_WP
    | cr::CR0_AM
    | cr::CR0_NW
    | cr::CR0_CD
    | cr::CR0_PG;
/// The machine status word: what LMSW loads.
const MSW: u64 = cr::CR0_PE | cr::CR0_MP | cr::CR0_EM | cr::CR0_TS;
/// Automatic IBRS, which has nothing to do here.
const EFER_AIBRSE: u64 = 1 << 21;
/// CR3 bit 63 of a MOV under CR4.PCIDE: keep the translations.
const CR3_KEEP: u64 = 1 << 63;
/// Bits of physical addresses that do not exist.
const BEYOND_PHYSICAL: u64 = !((1 << PHYSICAL_BITS) - 1);

/// DR6.BD: a debug register was to be accessed while DR7.GD was set.
const DR6_BD: u64 = 1 << 13;
const DR6_WRITABLE: u64 = 0xE00F;
const DR7_WRITABLE: u64 = 0xFFFF_23FF;
const DR7_ENABLES: u64 = 0xFF;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Mov_r32_cr => read_control::<false>,
        Code::Mov_r64_cr => read_control::<true>,
        Code::Mov_cr_r32 => write_control::<false>,
        Code::Mov_cr_r64 => write_control::<true>,
        Code::Mov_r32_dr => read_debug::<false>,
        Code::Mov_r64_dr => read_debug::<true>,
        Code::Mov_dr_r32 => write_debug::<false>,
        Code::Mov_dr_r64 => write_debug::<true>,
        Code::Clts => clts,
        Code::Lmsw_rm16 | Code::Lmsw_r32m16 | Code::Lmsw_r64m16 => lmsw,
        Code::Smsw_rm16 | Code::Smsw_r32m16 | Code::Smsw_r64m16 => smsw,
        Code::Xgetbv => xgetbv,
        Code::Xsetbv => xsetbv,
        _ => return None,
    })
}

fn read_control<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.control_access(op.reg)?;
    let value = match op.reg {
        0 => cpu.cr0,
        2 => cpu.cr2,
        3 => cpu.cr3,
        4 => cpu.cr4,
        _ => u64::from(cpu.lapic.cr8()),
    };
    if WIDE {
        cpu.set_reg(op.rm, value)
    } else {
        cpu.set_reg(op.rm, value as u32)
    }
    Ok(())
}

fn write_control<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.control_access(op.reg)?;
    cpu.stats.control_register_writes.add(1);
    let value = if WIDE { cpu.reg::<u64>(op.rm) } else { u64::from(cpu.reg::<u32>(op.rm)) };
    match op.reg {
        0 => cpu.write_cr0(value),
        2 => {
            cpu.cr2 = value;
            Ok(())
        }
        3 => cpu.write_cr3(value),
        4 => cpu.write_cr4(value),
        _ if value > 15 => Err(cpu.gp(0)),
        _ => {
            cpu.lapic.set_cr8(value as u8);
            cpu.leave = true;
            Ok(())
        }
    }
}

fn clts(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    cpu.cr0 &= !cr::CR0_TS;
    Ok(())
}

/// LMSW sets PE but cannot clear it.
fn lmsw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let value = u64::from(cpu.rm::<u16>(op)?);
    let kept = cpu.cr0 & (!MSW | cr::CR0_PE);
    cpu.stats.control_register_writes.add(1);
    cpu.write_cr0(kept | value & MSW)
}

fn smsw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_umip()?;
    let value = cpu.cr0;
    match op.code {
        Code::Smsw_r64m16 if !op.memory => cpu.set_reg(op.rm, value),
        Code::Smsw_r32m16 if !op.memory => cpu.set_reg(op.rm, value as u32),
        _ => cpu.set_rm(op, value as u16)?,
    }
    Ok(())
}

fn xgetbv(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.cr4 & cr::CR4_OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    let value = match cpu.regs[RCX] as u32 {
        0 => cpu.xcr0,
        // XINUSE: we track no initial states, so everything enabled counts as in use.
        1 if cpu.platform.cpuid.has(Flags::LeafD1Eax, 2) => cpu.xcr0,
        _ => return Err(cpu.gp(0)),
    };
    cpu.regs[RAX] = value & 0xFFFF_FFFF;
    cpu.regs[RDX] = value >> 32;
    Ok(())
}

fn xsetbv(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.cr4 & cr::CR4_OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    let value = cpu.regs[RDX] << 32 | cpu.regs[RAX] & 0xFFFF_FFFF;
    if cpu.cpl != 0 || cpu.regs[RCX] as u32 != 0 || !cpu.is_xcr0(value) {
        return Err(cpu.gp(0));
    }
    cpu.xcr0 = value;
    cpu.leave = true;
    Ok(())
}

/// Whether CR0 may have a value. Unknown bits of the lower half are ignored.
pub(in crate::x86) fn is_cr0(value: u64) -> bool {
    let set = |bit| value & bit != 0;
    let contradiction = (set(cr::CR0_PG) && !set(cr::CR0_PE)) || (set(cr::CR0_NW) && !set(cr::CR0_CD));
    value >> 32 == 0 && !contradiction
}

impl Cpu {
    /// CR4.UMIP keeps programs from reading what belongs to the system.
    pub(super) fn check_umip(&mut self) -> Result<(), Stop> {
        if self.cpl != 0 && self.cr4 & cr::CR4_UMIP != 0 { Err(self.gp(0)) } else { Ok(()) }
    }

    fn control_access(&mut self, number: u8) -> Result<(), Stop> {
        match number {
            0 | 2 | 3 | 4 | 8 if self.cpl == 0 => Ok(()),
            0 | 2 | 3 | 4 | 8 => Err(self.gp(0)),
            _ => Err(self.ud()),
        }
    }

    pub(super) fn write_cr0(&mut self, value: u64) -> Result<(), Stop> {
        let new = value & CR0_WRITABLE | cr::CR0_ET;
        let (paging, was_paging) = (new & cr::CR0_PG != 0, self.cr0 & cr::CR0_PG != 0);
        if !is_cr0(value) {
            return Err(self.gp(0));
        }
        let mut pdptes = None;
        if paging && !was_paging {
            self.check_paging_start()?;
        } else if was_paging && !paging && (self.long || self.cr4 & cr::CR4_PCIDE != 0) {
            return Err(self.gp(0));
        }
        let changed = self.cr0 ^ new;
        let starts_long = paging && self.efer & cr::EFER_LME != 0;
        let reloads = changed & (cr::CR0_CD | cr::CR0_NW | cr::CR0_PG) != 0;
        if paging && !starts_long && self.cr4 & cr::CR4_PAE != 0 && reloads {
            pdptes = Some(self.load_pdptes(self.cr3)?);
        }
        self.cr0 = new;
        self.pdptes = pdptes.unwrap_or(self.pdptes);
        self.efer = self.efer & !cr::EFER_LMA | if starts_long { cr::EFER_LMA } else { 0 };
        // Without paging, protection changes no translation: a BIOS goes to and fro thousands of times.
        if changed & cr::CR0_PG != 0 || paging && changed & cr::CR0_WP != 0 {
            self.flush_tlb();
        }
        self.refresh_mode();
        Ok(())
    }

    /// Turning paging on with EFER.LME activates IA-32e mode, which has conditions.
    fn check_paging_start(&mut self) -> Result<(), Stop> {
        let long_code = self.segments[seg::CS as usize].has(attr::LONG);
        let tss_16 = self.tr.kind() & 8 == 0;
        let refused = self.cr4 & cr::CR4_PAE == 0 || long_code || tss_16;
        if self.efer & cr::EFER_LME != 0 && refused { Err(self.gp(0)) } else { Ok(()) }
    }

    fn write_cr3(&mut self, value: u64) -> Result<(), Stop> {
        let pcid = self.cr4 & cr::CR4_PCIDE != 0;
        let keep = pcid && value & CR3_KEEP != 0;
        let value = if pcid { value & !CR3_KEEP } else { value };
        if self.long && value & BEYOND_PHYSICAL != 0 {
            return Err(self.gp(0));
        }
        if self.cr0 & cr::CR0_PG != 0 && self.cr4 & cr::CR4_PAE != 0 && !self.lma() {
            self.pdptes = self.load_pdptes(value)?;
        }
        self.cr3 = value;
        self.switch_address_space(keep);
        Ok(())
    }

    pub(super) fn write_cr4(&mut self, value: u64) -> Result<(), Stop> {
        let changed = self.cr4 ^ value;
        let starts_pcid = changed & value & cr::CR4_PCIDE != 0;
        let refused = value & !self.platform.cpuid.cr4_mask() != 0
            || (self.lma() && value & cr::CR4_PAE == 0)
            || (starts_pcid && (!self.lma() || self.cr3 & 0xFFF != 0));
        if refused {
            return Err(self.gp(0));
        }
        let pae = self.cr0 & cr::CR0_PG != 0 && value & cr::CR4_PAE != 0 && !self.lma();
        let reloads = cr::CR4_PAE | cr::CR4_PGE | cr::CR4_PSE | cr::CR4_SMEP;
        if pae && changed & reloads != 0 {
            self.pdptes = self.load_pdptes(self.cr3)?;
        }
        self.cr4 = value;
        if changed & (reloads | cr::CR4_PCIDE | cr::CR4_SMAP) != 0 {
            self.flush_tlb();
        }
        self.refresh_mode();
        Ok(())
    }

    /// The bits of EFER that exist.
    pub(in crate::x86) fn efer_mask(&self) -> u64 {
        let ibrs = if self.platform.cpuid.has(Flags::Extended21Eax, 8) { EFER_AIBRSE } else { 0 };
        cr::EFER_SCE | cr::EFER_LME | cr::EFER_LMA | cr::EFER_NXE | ibrs
    }

    /// Whether XCR0 may have a value: x87 always, AVX only with SSE, and nothing unknown.
    pub(in crate::x86) fn is_xcr0(&self, value: u64) -> bool {
        value & !self.platform.cpuid.xcr0_mask() == 0 && value & 1 != 0 && value & 6 != 4
    }

    /// WRMSR to EFER. Tells whether the value is legal; if not, #GP.
    pub(super) fn write_efer(&mut self, value: u64) -> bool {
        let mask = self.efer_mask();
        let changed = self.efer ^ value;
        let paging = self.cr0 & cr::CR0_PG != 0;
        if value & !mask != 0 || (paging && changed & cr::EFER_LME != 0) {
            return false;
        }
        self.efer = value & !cr::EFER_LMA | self.efer & cr::EFER_LMA;
        if changed & cr::EFER_NXE != 0 {
            self.flush_tlb();
        }
        true
    }

    /// The four page-directory-pointer entries at CR3 (PAE paging); `None` if one has reserved bits.
    pub(in crate::x86) fn read_pdptes(&self, cr3: u64) -> Option<[u64; 4]> {
        let mut bytes = [0xFF; 32];
        // A table outside RAM reads as a floating bus: all ones, which is not legal.
        self.platform.memory.read(cr3 & 0xFFFF_FFE0, &mut bytes).ok()?;
        let mut entries = [0; 4];
        for (entry, bytes) in entries.iter_mut().zip(bytes.chunks_exact(8)) {
            *entry = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let reserved = BEYOND_PHYSICAL | 0x1E6;
        entries.iter().all(|entry| entry & 1 == 0 || entry & reserved == 0).then_some(entries)
    }

    fn load_pdptes(&mut self, cr3: u64) -> Result<[u64; 4], Stop> {
        self.read_pdptes(cr3).ok_or_else(|| self.gp(0))
    }

    /// The number of a debug register as it is accessed: 4 and 5 are 6 and 7, unless CR4.DE.
    fn debug_access(&mut self, number: u8) -> Result<usize, Stop> {
        let number = match number {
            4 | 5 if self.cr4 & cr::CR4_DE != 0 => return Err(self.ud()),
            4 | 5 => number + 2,
            0..=7 => number,
            _ => return Err(self.ud()),
        };
        if self.cpl != 0 {
            return Err(self.gp(0));
        }
        if self.dr[7] & DR7_GD != 0 {
            self.dr[6] |= DR6_BD;
            return Err(self.raise(vector::DB, 0));
        }
        self.stats.debug_register_accesses.add(1);
        Ok(usize::from(number))
    }
}

fn read_debug<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = {
        let number = cpu.debug_access(op.reg)?;
        cpu.dr[number]
    };
    if WIDE {
        cpu.set_reg(op.rm, value)
    } else {
        cpu.set_reg(op.rm, value as u32)
    }
    Ok(())
}

fn write_debug<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let number = cpu.debug_access(op.reg)?;
    let value = if WIDE { cpu.reg::<u64>(op.rm) } else { u64::from(cpu.reg::<u32>(op.rm)) };
    if number >= 6 && value >> 32 != 0 {
        return Err(cpu.gp(0));
    }
    cpu.dr[number] = match number {
        6 => value & DR6_WRITABLE | crate::x86::reset::DR6,
        7 => value & DR7_WRITABLE | crate::x86::reset::DR7,
        _ => value,
    };
    if number != 6 && cpu.dr[7] & DR7_ENABLES != 0 {
        // Pages with a data breakpoint must not stay in the TLB: their accesses take the slow path.
        cpu.flush_tlb();
    }
    cpu.leave = true;
    Ok(())
}

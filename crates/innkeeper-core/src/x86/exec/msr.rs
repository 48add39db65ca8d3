//! Model-specific registers. Source: Intel SDM vol. 4; AMD APM vol. 2, appendix A; the KVM ones from
//! Linux's `Documentation/virt/kvm/x86/msr.rst`. An unknown MSR is #GP.

use iced_x86::Code;

use crate::x86::cpu::{Cpu, Platform, RAX, RCX, RDX};
use crate::x86::fault::Stop;
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::paging::PHYSICAL_BITS;

const TSC: u32 = 0x10;
pub const APIC_BASE: u32 = 0x1B;
/// APIC_BASE.EN.
pub const APIC_ENABLE: u64 = 1 << 11;
const TSC_ADJUST: u32 = 0x3B;
const PATCH_LEVEL: u32 = 0x8B;
const MTRR_CAP: u32 = 0xFE;
/// Machine-check capabilities: no banks. Software reads it without asking for a flag.
const MCG_CAP: u32 = 0x179;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MISC_ENABLE: u32 = 0x1A0;
const DEBUG_CTL: u32 = 0x1D9;
const MTRR_VARIABLE: u32 = 0x200;
const LAST_MTRR_VARIABLE: u32 = 0x20F;
/// The MSRs of the fixed ranges, in order of address.
const MTRR_FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F];
const PAT: u32 = 0x277;
const MTRR_DEF_TYPE: u32 = 0x2FF;
const TSC_DEADLINE: u32 = 0x6E0;
const X2APIC: u32 = 0x800;
const LAST_X2APIC: u32 = 0x8FF;
const EFER: u32 = 0xC000_0080;
const STAR: u32 = 0xC000_0081;
const LSTAR: u32 = 0xC000_0082;
const CSTAR: u32 = 0xC000_0083;
const SFMASK: u32 = 0xC000_0084;
const FS_BASE: u32 = 0xC000_0100;
const GS_BASE: u32 = 0xC000_0101;
const KERNEL_GS_BASE: u32 = 0xC000_0102;
const TSC_AUX: u32 = 0xC000_0103;
const KVM_WALL_CLOCK_OLD: u32 = 0x11;
const KVM_SYSTEM_TIME_OLD: u32 = 0x12;
const KVM_WALL_CLOCK: u32 = 0x4B56_4D00;
const KVM_SYSTEM_TIME: u32 = 0x4B56_4D01;
/// The four event selectors and counters that every AMD processor has; here they count nothing.
const PERF_EVENT_SELECT: u32 = 0xC001_0000;
const LAST_PERF_COUNTER: u32 = 0xC001_0007;
const SYSCFG: u32 = 0xC001_0010;
const HWCR: u32 = 0xC001_0015;
const NB_CFG: u32 = 0xC001_001F;
const DE_CFG: u32 = 0xC001_1029;

/// MTRRcap: 8 variable ranges, fixed ranges, write combining.
const MTRR_CAP_VALUE: u64 = 0x508;
/// The microcode revision that KVM shows of AMD processors.
const PATCH_LEVEL_VALUE: u64 = 0x0100_0065;
/// HWCR.TscFreqSel: the TSC counts at the nominal frequency.
const HWCR_TSC: u64 = 1 << 24;
/// HWCR bits that software may set, to no effect: cache and interrupt details of real hardware.
const HWCR_WRITABLE: u64 = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 18 | HWCR_TSC;
/// DE_CFG: LFENCE serializes, which it always does.
const DE_CFG_LFENCE: u64 = 1 << 1;
/// DEBUGCTL.BTF: single step on branches.
pub const DEBUG_CTL_BTF: u64 = 1 << 1;

/// The MSRs in the vCPU state, apart from those it has fields for.
#[rustfmt::skip]
pub const STATE: &[u32] = &[
    KVM_WALL_CLOCK,
    KVM_SYSTEM_TIME,
    TSC_ADJUST,
    SYSENTER_CS,
    SYSENTER_ESP,
    SYSENTER_EIP,
    MISC_ENABLE,
    DEBUG_CTL,
    PAT,
    MTRR_DEF_TYPE,
    STAR,
    LSTAR,
    CSTAR,
    SFMASK,
    KERNEL_GS_BASE,
    TSC_AUX,
    SYSCFG,
    HWCR,
    NB_CFG,
    DE_CFG,
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20A, 0x20B, 0x20C, 0x20D, 0x20E, 0x20F,
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F,
];

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Rdmsr => rdmsr,
        Code::Wrmsr => wrmsr,
        _ => return None,
    })
}

fn rdmsr(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()?;
    cpu.stats.msr_reads.add(1);
    let Some(value) = cpu.read_msr(cpu.regs[RCX] as u32) else { return Err(cpu.gp(0)) };
    cpu.regs[RAX] = value & 0xFFFF_FFFF;
    cpu.regs[RDX] = value >> 32;
    Ok(())
}

fn wrmsr(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()?;
    cpu.stats.msr_writes.add(1);
    let value = cpu.regs[RDX] << 32 | cpu.regs[RAX] & 0xFFFF_FFFF;
    if !cpu.write_msr(cpu.regs[RCX] as u32, value) {
        return Err(cpu.gp(0));
    }
    cpu.leave = true;
    Ok(())
}

/// Memory types of MTRRs: UC, WC, WT, WP, WB.
fn is_mtrr_type(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4 | 5 | 6)
}

impl Cpu {
    /// The value of an MSR; `None` where reading it is #GP.
    pub fn read_msr(&self, msr: u32) -> Option<u64> {
        let msrs = &self.msrs;
        Some(match msr {
            TSC => self.guest_tsc(),
            TSC_ADJUST => msrs.tsc_adjust,
            PATCH_LEVEL => PATCH_LEVEL_VALUE,
            MTRR_CAP => MTRR_CAP_VALUE,
            MCG_CAP => 0,
            SYSENTER_CS => msrs.sysenter_cs,
            SYSENTER_ESP => msrs.sysenter_esp,
            SYSENTER_EIP => msrs.sysenter_eip,
            MISC_ENABLE => msrs.misc_enable,
            DEBUG_CTL => msrs.debug_ctl,
            MTRR_VARIABLE..=LAST_MTRR_VARIABLE => msrs.mtrr_variable[(msr - MTRR_VARIABLE) as usize],
            PAT => msrs.pat,
            MTRR_DEF_TYPE => msrs.mtrr_def_type,
            APIC_BASE | TSC_DEADLINE | X2APIC..=LAST_X2APIC => self.lapic.read_msr(msr)?,
            EFER => self.efer,
            STAR => msrs.star,
            LSTAR => msrs.lstar,
            CSTAR => msrs.cstar,
            SFMASK => msrs.sfmask,
            FS_BASE => self.segments[seg::FS as usize].base,
            GS_BASE => self.segments[seg::GS as usize].base,
            KERNEL_GS_BASE => msrs.kernel_gs_base,
            TSC_AUX => msrs.tsc_aux,
            KVM_WALL_CLOCK | KVM_SYSTEM_TIME | KVM_WALL_CLOCK_OLD | KVM_SYSTEM_TIME_OLD => {
                self.kvmclock.read_msr(msr)?
            }
            PERF_EVENT_SELECT..=LAST_PERF_COUNTER => 0,
            SYSCFG => msrs.syscfg,
            HWCR => msrs.hwcr | HWCR_TSC,
            NB_CFG => msrs.nb_cfg,
            DE_CFG => msrs.de_cfg | DE_CFG_LFENCE,
            _ => msrs.mtrr_fixed[MTRR_FIXED.iter().position(|&fixed| fixed == msr)?],
        })
    }

    /// Writes an MSR; tells whether the write is legal. If not, it is #GP and nothing has changed.
    pub fn write_msr(&mut self, msr: u32, value: u64) -> bool {
        match msr {
            EFER => return self.write_efer(value),
            TSC => self.adjust_tsc(value.wrapping_sub(self.platform.clock.tsc())),
            TSC_ADJUST => self.adjust_tsc(value),
            TSC_DEADLINE | X2APIC..=LAST_X2APIC => return self.lapic.write_msr(msr, value),
            KVM_WALL_CLOCK | KVM_SYSTEM_TIME | KVM_WALL_CLOCK_OLD | KVM_SYSTEM_TIME_OLD => {
                let Platform { memory, clock, .. } = &*self.platform;
                return self.kvmclock.write_msr(memory, clock, msr, value);
            }
            APIC_BASE => {
                let accepted = self.lapic.write_msr(msr, value);
                // The page of its registers may have moved.
                self.flush_tlb();
                return accepted;
            }
            PATCH_LEVEL => {}
            PERF_EVENT_SELECT..=LAST_PERF_COUNTER => return value == 0,
            FS_BASE | GS_BASE | KERNEL_GS_BASE | LSTAR | CSTAR | SYSENTER_ESP | SYSENTER_EIP => {
                return self.write_address_msr(msr, value);
            }
            PAT | MTRR_VARIABLE..=LAST_MTRR_VARIABLE | MTRR_DEF_TYPE => {
                return self.write_memory_type(msr, value);
            }
            _ => return self.write_plain_msr(msr, value),
        }
        true
    }

    /// MSRs that hold linear addresses, which must be canonical.
    fn write_address_msr(&mut self, msr: u32, value: u64) -> bool {
        if !canonical(value) {
            return false;
        }
        match msr {
            FS_BASE => self.set_segment_base(seg::FS, value),
            GS_BASE => self.set_segment_base(seg::GS, value),
            KERNEL_GS_BASE => self.msrs.kernel_gs_base = value,
            LSTAR => self.msrs.lstar = value,
            CSTAR => self.msrs.cstar = value,
            SYSENTER_ESP => self.msrs.sysenter_esp = value,
            _ => self.msrs.sysenter_eip = value,
        }
        true
    }

    /// PAT and MTRRs: kept and checked, though all memory is write-back here.
    fn write_memory_type(&mut self, msr: u32, value: u64) -> bool {
        let low = value as u8;
        match msr {
            PAT => {
                if !value.to_le_bytes().iter().all(|&kind| is_mtrr_type(kind) || kind == 7) {
                    return false;
                }
                self.msrs.pat = value;
            }
            MTRR_DEF_TYPE => {
                if value & !0xCFF != 0 || !is_mtrr_type(low) {
                    return false;
                }
                self.msrs.mtrr_def_type = value;
            }
            _ => {
                let is_mask = msr & 1 != 0;
                let reserved = !((1u64 << PHYSICAL_BITS) - 1) | if is_mask { 0x7FF } else { 0xF00 };
                if value & reserved != 0 || (!is_mask && !is_mtrr_type(low)) {
                    return false;
                }
                self.msrs.mtrr_variable[(msr - MTRR_VARIABLE) as usize] = value;
            }
        }
        true
    }

    fn write_plain_msr(&mut self, msr: u32, value: u64) -> bool {
        let msrs = &mut self.msrs;
        let (field, writable) = match msr {
            SYSENTER_CS => (&mut msrs.sysenter_cs, u64::MAX),
            MISC_ENABLE => (&mut msrs.misc_enable, u64::MAX),
            DEBUG_CTL => (&mut msrs.debug_ctl, DEBUG_CTL_BTF),
            STAR => (&mut msrs.star, u64::MAX),
            SFMASK => (&mut msrs.sfmask, u64::MAX),
            TSC_AUX => (&mut msrs.tsc_aux, 0xFFFF_FFFF),
            SYSCFG => (&mut msrs.syscfg, u64::MAX),
            HWCR => (&mut msrs.hwcr, HWCR_WRITABLE),
            NB_CFG => (&mut msrs.nb_cfg, u64::MAX),
            DE_CFG => (&mut msrs.de_cfg, u64::MAX),
            _ => {
                let Some(at) = MTRR_FIXED.iter().position(|&fixed| fixed == msr) else { return false };
                if !value.to_le_bytes().into_iter().all(is_mtrr_type) {
                    return false;
                }
                (&mut msrs.mtrr_fixed[at], u64::MAX)
            }
        };
        if value & !writable != 0 {
            return false;
        }
        *field = value;
        true
    }

    /// Moves this vCPU's TSC, and with it the clocks that the guest reckons from it.
    pub(in crate::x86) fn adjust_tsc(&mut self, adjust: u64) {
        self.msrs.tsc_adjust = adjust;
        self.lapic.set_tsc_adjust(adjust);
        let Platform { memory, clock, .. } = &*self.platform;
        self.kvmclock.set_tsc_adjust(memory, clock, adjust);
    }
}

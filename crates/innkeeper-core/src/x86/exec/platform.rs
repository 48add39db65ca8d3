//! What a program asks of the processor or the hypervisor: CPUID, time stamps, HLT, the interrupt
//! flag, invalidation, hypercalls. Source: Intel SDM vol. 2; Linux's
//! `Documentation/virt/kvm/x86/hypercalls.rst`.

use iced_x86::Code;

use crate::state::Activity;
use crate::x86::attention::LOCAL;
use crate::x86::cpu::{Cpu, RAX, RBX, RCX, RDX, RSI, Shadow, cr, flag};
use crate::x86::cpuid::View;
use crate::x86::fault::Stop;
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

/// KVM's error numbers for hypercalls.
const KVM_ENOSYS: u64 = 1000;
const KVM_EPERM: u64 = 1;
const KVM_EINVAL: u64 = 22;
/// Asks for nothing that is not done anyway.
const KVM_HC_VAPIC_POLL_IRQ: u64 = 1;
const KVM_HC_SEND_IPI: u64 = 10;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Cpuid => cpuid,
        Code::Hlt => hlt,
        Code::Cli => cli,
        Code::Sti => sti,
        Code::Stac => set_access_check::<true>,
        Code::Clac => set_access_check::<false>,
        Code::Rdtsc => rdtsc,
        Code::Rdtscp => rdtscp,
        Code::Rdpid_r32 => rdpid::<u32>,
        Code::Rdpid_r64 => rdpid::<u64>,
        Code::Rdpmc => rdpmc,
        Code::Invlpg_m => invlpg,
        Code::Invpcid_r32_m128 => invpcid::<u32>,
        Code::Invpcid_r64_m128 => invpcid::<u64>,
        Code::Invd | Code::Wbinvd | Code::Wbnoinvd => flush_caches,
        Code::Vmcall | Code::Vmmcall => hypercall,
        _ => return None,
    })
}

fn cpuid(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.stats.cpuids.add(1);
    let apic = cpu.lapic.read_msr(super::msr::APIC_BASE).unwrap_or(0) & super::msr::APIC_ENABLE != 0;
    let view = View { apic_id: cpu.index, apic, osxsave: cpu.cr4 & cr::CR4_OSXSAVE != 0, xcr0: cpu.xcr0 };
    let leaf = cpu.platform.cpuid.query(cpu.regs[RAX] as u32, cpu.regs[RCX] as u32, &view);
    for (register, value) in [RAX, RBX, RCX, RDX].into_iter().zip(leaf) {
        cpu.regs[register] = u64::from(value);
    }
    Ok(())
}

fn hlt(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()?;
    cpu.stats.halts.add(1);
    cpu.activity = Activity::Halted;
    cpu.attention.raise(LOCAL);
    cpu.leave = true;
    Ok(())
}

fn cli(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_interrupt_privilege()?;
    cpu.stats.interrupt_flag_changes.add(1);
    cpu.rflags &= !flag::IF;
    Ok(())
}

fn sti(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_interrupt_privilege()?;
    if !cpu.has_flag(flag::IF) {
        cpu.stats.interrupt_flag_changes.add(1);
        cpu.rflags |= flag::IF;
        // MOV SS's shadow covers this instruction, not the next.
        cpu.shadow = Shadow::Sti;
        cpu.leave = true;
    }
    Ok(())
}

/// STAC and CLAC.
fn set_access_check<const ON: bool>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.cpl != 0 || cpu.v86() {
        return Err(cpu.ud());
    }
    cpu.set_flag(flag::AC, ON);
    cpu.refresh_tlb_view();
    Ok(())
}

fn rdtsc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_time_stamp()?;
    let tsc = cpu.guest_tsc();
    cpu.regs[RAX] = tsc & 0xFFFF_FFFF;
    cpu.regs[RDX] = tsc >> 32;
    Ok(())
}

fn rdtscp(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    rdtsc(cpu, op)?;
    cpu.regs[RCX] = cpu.msrs.tsc_aux & 0xFFFF_FFFF;
    Ok(())
}

fn rdpid<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.set_reg(op.rm, T::truncate(cpu.msrs.tsc_aux));
    Ok(())
}

/// There are no performance counters, so every counter number is illegal.
fn rdpmc(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    Err(cpu.gp(0))
}

fn invlpg(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()?;
    let linear = cpu.bases[op.segment as usize].wrapping_add(cpu.ea(op));
    let linear = if cpu.long { linear } else { linear & 0xFFFF_FFFF };
    if canonical(linear) {
        cpu.flush_page(linear);
    }
    Ok(())
}

fn invpcid<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()?;
    let kind = cpu.reg::<T>(op.reg).zero_extend();
    let descriptor: u128 = cpu.load_op(op)?;
    let (pcid, linear) = (descriptor as u64, (descriptor >> 64) as u64);
    let by_pcid = kind < 2;
    let refused = kind > 3
        || pcid > 0xFFF
        || (kind == 0 && !canonical(linear))
        || (by_pcid && pcid != 0 && cpu.cr4 & cr::CR4_PCIDE == 0);
    if refused {
        return Err(cpu.gp(0));
    }
    match kind {
        0 => cpu.flush_page(linear), // of every PCID: more than asked for is always allowed
        1 => cpu.flush_pcid(pcid as u16),
        2 => cpu.flush_tlb(),
        _ => cpu.flush_all_but_global(),
    }
    cpu.leave = true;
    Ok(())
}

/// Caches are always coherent here.
fn flush_caches(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.check_cpl_0()
}

/// VMCALL and VMMCALL, answered as KVM does.
fn hypercall(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.stats.hypercalls.add(1);
    let mask = if cpu.long { u64::MAX } else { 0xFFFF_FFFF };
    let result = match cpu.regs[RAX] & mask {
        _ if cpu.cpl != 0 => KVM_EPERM.wrapping_neg(),
        KVM_HC_VAPIC_POLL_IRQ => 0,
        KVM_HC_SEND_IPI => send_ipis(cpu, mask),
        _ => KVM_ENOSYS.wrapping_neg(),
    };
    cpu.regs[RAX] = result & mask;
    cpu.leave |= cpu.attention.bits() != 0;
    Ok(())
}

/// RBX and RCX: a set of APIC IDs, RDX: the ID of its first bit, RSI: the interrupt command.
fn send_ipis(cpu: &Cpu, mask: u64) -> u64 {
    let (low, high) = (cpu.regs[RBX] & mask, cpu.regs[RCX] & mask);
    let ids = u128::from(low) | u128::from(high) << mask.count_ones();
    let sent = cpu.platform.fabric.send_to_set(ids, cpu.regs[RDX] as u32, cpu.regs[RSI] & mask);
    sent.unwrap_or(KVM_EINVAL.wrapping_neg())
}

impl Cpu {
    /// The time-stamp counter as this vCPU reads it.
    pub fn guest_tsc(&self) -> u64 {
        self.platform.clock.tsc().wrapping_add(self.msrs.tsc_adjust)
    }

    pub(super) fn check_cpl_0(&mut self) -> Result<(), Stop> {
        if self.cpl == 0 { Ok(()) } else { Err(self.gp(0)) }
    }

    /// CLI and STI: allowed up to IOPL, and in virtual-8086 mode only if that is 3.
    fn check_interrupt_privilege(&mut self) -> Result<(), Stop> {
        if self.cpl <= self.iopl() || self.real() { Ok(()) } else { Err(self.gp(0)) }
    }

    fn check_time_stamp(&mut self) -> Result<(), Stop> {
        if self.cpl != 0 && self.cr4 & cr::CR4_TSD != 0 { Err(self.gp(0)) } else { Ok(()) }
    }
}

//! Control registers, MSRs, ports, system calls, hypercalls and invalidation.

use super::*;
use crate::x86::cpu::{RAX, RBX, RCX, RDX, RSI, cr, flag};
use crate::x86::fault::{Fault, vector};
use crate::x86::testing::{DATA, machine_16, run};

const GP: Result<(), Fault> = Err(Fault { vector: vector::GP, error: 0, address: 0 });
const UD: Result<(), Fault> = Err(Fault { vector: vector::UD, error: 0, address: 0 });

fn write_cr(number: u8, value: u64) -> (Result<(), Fault>, Box<Cpu>) {
    let mut cpu = guest(&[0x0F, 0x22, 0xC0 | number << 3]);
    cpu.regs[RAX] = value;
    (run(&mut cpu), cpu)
}

#[test]
fn contradictory_control_registers_are_refused() {
    let pg = cr::CR0_PG | cr::CR0_PE;
    assert_eq!(write_cr(0, cr::CR0_PG).0, GP);
    assert_eq!(write_cr(0, pg | cr::CR0_NW).0, GP);
    assert_eq!(write_cr(0, cr::CR0_PE).0, GP); // paging off in 64-bit code
    assert_eq!(write_cr(0, pg | 1 << 32).0, GP);
    assert_eq!(write_cr(3, 1 << 52).0, GP);
    assert_eq!(write_cr(4, cr::CR4_PSE).0, GP); // PAE off in IA-32e mode
    assert_eq!(write_cr(4, cr::CR4_PAE | 1 << 13).0, GP); // VMXE
    assert_eq!(write_cr(4, cr::CR4_PAE | 1 << 22).0, GP); // PKE, not presented
    assert_eq!(write_cr(1, 0).0, UD);
    assert_eq!(write_cr(5, 0).0, UD);
    let (result, cpu) = write_cr(0, pg | cr::CR0_CD | cr::CR0_NW);
    assert_eq!((result, cpu.cr0), (Ok(()), pg | cr::CR0_CD | cr::CR0_NW | cr::CR0_ET));
}

#[test]
fn pcids_need_a_cleared_cr3() {
    let mut cpu = guest(&[0x0F, 0x22, 0xE0]); // mov cr4, rax
    cpu.regs[RAX] = cpu.cr4 | cr::CR4_PCIDE;
    cpu.cr3 |= 8;
    assert_eq!(run(&mut cpu), GP);
    cpu.cr3 &= !8;
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.cr4 & cr::CR4_PCIDE, cr::CR4_PCIDE);
}

#[test]
fn lmsw_cannot_clear_pe() {
    let mut cpu = guest(&[0x0F, 0x01, 0xF0]); // lmsw ax
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.cr0 & (cr::CR0_PE | cr::CR0_MP), cr::CR0_PE);
    let mut cpu = machine_16(&[0x0F, 0x01, 0xF0]);
    cpu.regs[RAX] = 0xFFFF;
    assert_eq!(run(&mut cpu), Ok(()));
    assert!(cpu.protected);
}

#[test]
fn protection_alone_changes_no_translation() {
    let mut cpu = machine_16(&[0x0F, 0x22, 0xC0]); // mov cr0, eax
    let flushes = cpu.stats.tlb_flushes.get();
    for protected in [true, false, true] {
        cpu.regs[RIP] = 0;
        cpu.regs[RAX] = cpu.cr0 & !cr::CR0_PE | u64::from(protected);
        assert_eq!(run(&mut cpu), Ok(()));
        assert_eq!(cpu.protected, protected);
    }
    assert_eq!(cpu.stats.tlb_flushes.get(), flushes);
}

#[test]
fn paging_moves_memory_when_it_is_turned_on_and_off() {
    let code = [
        [0xA1, 0, 0, 2, 0].as_slice(), // mov eax, [DATA]
        &[0x0F, 0x22, 0xC1],           // mov cr0, ecx
        &[0x8B, 0x1D, 0, 0, 2, 0],     // mov ebx, [DATA]
        &[0x0F, 0x22, 0xC2],           // mov cr0, edx
        &[0x8B, 0x35, 0, 0, 2, 0],     // mov esi, [DATA]
    ];
    let mut cpu = guest_32(&code.concat());
    let elsewhere = 0x6_0000u64;
    poke(&cpu, DATA, &1u32.to_le_bytes());
    poke(&cpu, elsewhere, &2u32.to_le_bytes());
    poke(&cpu, 0x1000, &0x2003u32.to_le_bytes());
    for page in 0..1024u64 {
        let gpa = if page << 12 == DATA { elsewhere } else { page << 12 };
        poke(&cpu, 0x2000 + 4 * page, &(gpa as u32 | 3).to_le_bytes());
    }
    cpu.cr3 = 0x1000;
    (cpu.regs[RCX], cpu.regs[RDX]) = (cpu.cr0 | cr::CR0_PG, cpu.cr0);
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!((cpu.regs[RAX], cpu.regs[RBX], cpu.regs[RSI]), (1, 2, 1));
}

#[test]
fn long_mode_starts_with_paging() {
    let mut cpu = guest_32(&[0x0F, 0x22, 0xC0]); // mov cr0, eax
    let tables = machine(&[]);
    for page in 1..5 {
        poke(&cpu, page << 12, &peek::<4096>(&tables, page << 12));
    }
    cpu.regs[RAX] = cpu.cr0 | cr::CR0_PG;
    cpu.efer = cr::EFER_LME;
    cpu.cr3 = 0x1000;
    assert_eq!(run(&mut cpu), GP); // CR4.PAE is clear
    cpu.cr4 |= cr::CR4_PAE;
    assert_eq!(run(&mut cpu), Ok(()));
    assert!(cpu.lma() && !cpu.long && cpu.bitness == 32);
}

#[test]
fn pae_pointers_with_reserved_bits_are_refused() {
    let mut cpu = guest_32(&[0x0F, 0x22, 0xD8]); // mov cr3, eax
    cpu.cr4 |= cr::CR4_PAE;
    poke(&cpu, 0x5000, &0x3000u64.to_le_bytes());
    poke(&cpu, 0x1000, &0x2001u64.to_le_bytes());
    poke(&cpu, 0x2000, &0x83u64.to_le_bytes());
    (cpu.cr3, cpu.pdptes) = (0x1000, [0x2001, 0, 0, 0]);
    cpu.cr0 |= cr::CR0_PG;
    cpu.flush_tlb();
    cpu.regs[RAX] = 0x1000;
    assert_eq!(run(&mut cpu), Ok(()));
    cpu.regs[RIP] = CODE;
    poke(&cpu, 0x1008, &0x2003u64.to_le_bytes());
    assert_eq!(run(&mut cpu), GP);
    assert_eq!((cpu.cr3, cpu.pdptes[1]), (0x1000, 0));
}

fn write_msr(msr: u32, value: u64) -> Result<(), Fault> {
    let mut cpu = guest(&[0x0F, 0x30, 0x0F, 0x32]); // wrmsr; rdmsr
    cpu.regs[RCX] = u64::from(msr);
    (cpu.regs[RAX], cpu.regs[RDX]) = (value & 0xFFFF_FFFF, value >> 32);
    let result = run(&mut cpu);
    if result.is_ok() {
        assert_eq!(cpu.regs[RDX] << 32 | cpu.regs[RAX], value, "{msr:#x}");
    }
    result
}

#[test]
fn msrs_hold_what_is_legal_and_refuse_the_rest() {
    for msr in [0xC000_0100, 0xC000_0101, 0xC000_0102, 0xC000_0082, 0xC000_0083, 0x175, 0x176] {
        assert_eq!(write_msr(msr, 0xFFFF_8000_1234_5678), Ok(()), "{msr:#x}");
        assert_eq!(write_msr(msr, 0xAAAA_AAAA_AAAA_AAAA), GP, "{msr:#x}");
    }
    assert_eq!(write_msr(0x277, 0x0606_0606_0606_0707), Ok(()));
    assert_eq!(write_msr(0x277, 2), GP);
    assert_eq!(write_msr(0x200, 6 | 1 << 30), Ok(()));
    assert_eq!(write_msr(0x201, 0x800 | 1 << 39), Ok(()));
    assert_eq!(write_msr(0x201, 1 << 40), GP);
    assert_eq!(write_msr(0x2FF, 0xC06), Ok(()));
    assert_eq!(write_msr(0x26F, 0x0707_0707_0707_0707), GP);
    assert_eq!(write_msr(0xC000_0103, 1 << 32), GP);
    assert_eq!(write_msr(0xC000_0080, 1 << 1), GP);
    assert_eq!(write_msr(0xC000_0080, cr::EFER_SCE | cr::EFER_NXE), GP); // LME cleared under paging
    assert_eq!(write_msr(0xFE, 0x508), GP);
    assert_eq!(write_msr(0xDEAD, 0), GP);
}

#[test]
fn the_tsc_moves_with_its_adjustment() {
    let mut cpu = guest(&[0x0F, 0x30, 0x0F, 0x31]); // wrmsr; rdtsc
    (cpu.regs[RCX], cpu.regs[RDX]) = (0x10, 0x100);
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.regs[RDX], 0x100);
    assert_eq!(
        cpu.read_msr(0x3B).map(|adjust| adjust.wrapping_add(cpu.platform.clock.tsc()) >> 32),
        Some(0x100)
    );
    cpu.cr4 |= cr::CR4_TSD;
    to_user(&mut cpu);
    cpu.regs[RIP] = CODE + 2;
    assert_eq!(run(&mut cpu), GP);
}

#[test]
fn ports_below_iopl_ask_the_bitmap() {
    let mut cpu = guest(&[0xED]); // in eax, dx
    to_user(&mut cpu);
    cpu.tr.limit = 0x100;
    poke(&cpu, TSS + 0x66, &0x68u16.to_le_bytes());
    poke(&cpu, TSS + 0x68, &[0xFF; 0x40]);
    poke(&cpu, TSS + 0x68 + 0x10, &[0b0001_1111, 0b1111_1000]); // 0x85-0x8A
    for (port, expected) in [(0x85, Ok(())), (0x87, Ok(())), (0x88, GP), (0x84, GP), (0x4C0, GP)] {
        cpu.regs[RIP] = CODE;
        cpu.regs[RDX] = port;
        assert_eq!(run(&mut cpu), expected, "{port:#x}");
    }
    cpu.rflags |= flag::IOPL;
    cpu.regs[RIP] = CODE;
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.regs[RAX], 0xFFFF_FFFF); // nobody there
}

#[test]
fn syscall_and_sysret_are_each_others_inverse() {
    let mut cpu = guest(&[0x0F, 0x05, 0xCD, 0x80]); // syscall; int 0x80
    to_user(&mut cpu);
    gate_64(&cpu, 0x80, KERNEL_CODE, HANDLERS + 0x80, INTERRUPT_GATE | DPL_3, 0);
    cpu.msrs.star = 0x1B << 48 | u64::from(KERNEL_CODE) << 32;
    cpu.msrs.lstar = DATA;
    cpu.msrs.sfmask = flag::IF | flag::DF;
    poke(&cpu, DATA, &[0x9C, 0x5B, 0x48, 0x0F, 0x07]); // pushfq; pop rbx; sysretq
    cpu.rflags |= flag::DF | flag::CF;
    assert_eq!(stop(&mut cpu), Some(0x80));
    assert_eq!(cpu.regs[RBX], flag::FIXED | flag::CF);
    assert_eq!(cpu.regs[RCX], CODE + 2);
    assert_eq!((stacked(&cpu, 1), stacked(&cpu, 4)), (u64::from(USER_CODE), u64::from(USER_DATA)));
    assert_eq!(stacked(&cpu, 2), flag::FIXED | flag::CF | flag::DF);
    cpu.efer &= !cr::EFER_SCE;
    restart(&mut cpu);
    assert_eq!(run(&mut cpu), UD);
}

#[test]
fn swapgs_and_the_base_instructions() {
    // swapgs; wrfsbase rax; rdgsbase rbx
    let mut cpu = guest(&[0x0F, 0x01, 0xF8, 0xF3, 0x48, 0x0F, 0xAE, 0xD0, 0xF3, 0x48, 0x0F, 0xAE, 0xCB]);
    cpu.cr4 |= cr::CR4_FSGSBASE;
    cpu.msrs.kernel_gs_base = 0x1234;
    cpu.regs[RAX] = 0x5678;
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!((cpu.regs[RBX], cpu.bases[4], cpu.msrs.kernel_gs_base), (0x1234, 0x5678, 0));
    cpu.regs[RIP] = CODE + 3;
    cpu.regs[RAX] = 1 << 63;
    assert_eq!(run(&mut cpu), GP);
}

#[test]
fn hypercalls_answer_as_kvm_does() {
    for code in [[0x0F, 0x01, 0xC1], [0x0F, 0x01, 0xD9]] {
        let mut cpu = guest(&code);
        cpu.regs[RAX] = 1;
        assert_eq!(run(&mut cpu), Ok(()));
        assert_eq!(cpu.regs[RAX], 0);
        restart(&mut cpu);
        cpu.regs[RAX] = 0x99;
        assert_eq!(run(&mut cpu), Ok(()));
        assert_eq!(cpu.regs[RAX] as i64, -1000);
        to_user(&mut cpu);
        restart(&mut cpu);
        assert_eq!(run(&mut cpu), Ok(()));
        assert_eq!(cpu.regs[RAX] as i64, -1);
    }
}

#[test]
fn umip_hides_the_tables_from_programs() {
    // sgdt, sidt, sldt, str, smsw with [rax]
    for code in
        [[0x0F, 0x01, 0x00], [0x0F, 0x01, 0x08], [0x0F, 0x00, 0x00], [0x0F, 0x00, 0x08], [0x0F, 0x01, 0x20]]
    {
        let mut cpu = guest(&code);
        cpu.regs[RAX] = DATA;
        to_user(&mut cpu);
        assert_eq!(run(&mut cpu), Ok(()));
        restart(&mut cpu);
        cpu.cr4 |= cr::CR4_UMIP;
        assert_eq!(run(&mut cpu), GP);
    }
}

#[test]
fn invpcid_checks_its_descriptor() {
    // invpcid rax, [rcx]
    for (kind, pcid, linear, expected) in [
        (0, 0, 0, Ok(())),
        (0, 1, 0, GP),
        (0, 0, 1 << 47, GP),
        (2, 0, 0, Ok(())),
        (3, 0x1000, 0, GP),
        (4, 0, 0, GP),
    ] {
        let mut cpu = guest(&[0x66, 0x0F, 0x38, 0x82, 0x01]);
        (cpu.regs[RAX], cpu.regs[RCX]) = (kind, DATA);
        poke(&cpu, DATA, &u64::to_le_bytes(pcid));
        poke(&cpu, DATA + 8, &u64::to_le_bytes(linear));
        assert_eq!(run(&mut cpu), expected, "{kind} {pcid} {linear}");
    }
}

#[test]
fn what_only_ring_0_may_do() {
    let privileged: &[&[u8]] = &[
        &[0x0F, 0x22, 0xC0], // mov cr0, rax
        &[0x0F, 0x20, 0xC0], // mov rax, cr0
        &[0x0F, 0x21, 0xC0], // mov rax, dr0
        &[0x0F, 0x06],       // clts
        &[0x0F, 0x01, 0x10], // lgdt [rax]
        &[0x0F, 0x00, 0xD8], // ltr ax
        &[0x0F, 0x30],       // wrmsr
        &[0x0F, 0x32],       // rdmsr
        &[0x0F, 0x01, 0x38], // invlpg [rax]
        &[0x0F, 0x09],       // wbinvd
        &[0x0F, 0x01, 0xF8], // swapgs
        &[0x48, 0x0F, 0x07], // sysretq
        &[0xFA],             // cli
        &[0xFB],             // sti
    ];
    for code in privileged {
        let mut cpu = guest(code);
        to_user(&mut cpu);
        cpu.regs[RAX] = DATA;
        assert_eq!(run(&mut cpu), GP, "{code:x?}");
    }
}

#[test]
fn smap_guards_the_users_pages_from_the_kernel() {
    let kernel = |code: &[u8]| {
        let mut cpu = guest(code);
        to_user(&mut cpu); // makes the pages the user's
        let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
        cpu.segments[1] = flat(KERNEL_CODE, 0xA09B);
        cpu.segments[2] = flat(KERNEL_DATA, 0xC093);
        cpu.cr4 |= cr::CR4_SMAP;
        cpu.regs[RAX] = DATA;
        cpu.flush_tlb();
        cpu.refresh_mode();
        cpu
    };
    let refused = |address| Err(Fault { vector: vector::PF, error: 1, address });
    let mut cpu = kernel(&[0x8A, 0x18]); // mov bl, [rax]
    assert_eq!(run(&mut cpu), refused(DATA));
    cpu.rflags |= flag::AC;
    cpu.refresh_tlb_view();
    assert_eq!(run(&mut cpu), Ok(()));
    // Descriptors are read implicitly, which AC does not help.
    let mut cpu = kernel(&[0x8E, 0xC0]); // mov es, eax
    cpu.regs[RAX] = KERNEL_DATA.into();
    cpu.rflags |= flag::AC;
    cpu.refresh_tlb_view();
    assert_eq!(run(&mut cpu), refused(GDT + u64::from(KERNEL_DATA)));
}

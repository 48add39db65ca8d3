//! vCPUs on threads of their own, with the real run loop and local APICs: start-up, IPIs that wake
//! from HLT, NMIs, timers. The guest is 16-bit code that drives its x2APIC by MSR; every vCPU runs the
//! same image, whose first instruction is what a SIPI starts.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::attention::{Attention, KICK};
use super::cpu::{Cpu, Platform, RIP};
use super::cpuid::CpuidTable;
use super::op::seg;
use super::run::CodeGuard;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::exit::Exit;
use crate::irq::Fabric;
use crate::memory::GuestMemory;
use crate::state::SegmentState;

const IMAGE: u64 = 0x8000;
/// Words that the guest and the test share.
const AP_UP: u64 = 0x500;
const PINGS: u64 = 0x502;
const PONGS: u64 = 0x504;
const NMIS: u64 = 0x50A;
const TICKS: u64 = 0x50C;

core::arch::global_asm!(
    r#"
.pushsection .rodata
.globl innkeeper_smp_image, innkeeper_smp_bsp, innkeeper_smp_nmi_bsp, innkeeper_smp_timer_bsp
.globl innkeeper_smp_die, innkeeper_smp_end
.set AP_UP, 0x500; .set PINGS, 0x502; .set PONGS, 0x504; .set SENT, 0x506; .set STOP, 0x508
.set NMIS, 0x50A; .set TICKS, 0x50C; .set ICR, 0x830
.macro handler vector, at
  movw $(\at - innkeeper_smp_image), 4 * \vector
  movw $0x800, 4 * \vector + 2
.endm
.code16
innkeeper_smp_image:
  movw $0x7000, %bp
  call smp_setup
  movw $1, AP_UP
smp_serve:
  sti
  hlt
  cli
  cmpw $0, STOP
  je smp_serve
innkeeper_smp_die: // with interrupts off
  hlt
  jmp innkeeper_smp_die
smp_setup: // clears the segments, sets the stack from BP, turns the x2APIC on
  popw %bx
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw %bp, %sp
  movl $0x1B, %ecx
  rdmsr
  orl $0xC00, %eax
  wrmsr
  movl $0x80F, %ecx
  movl $0x1FF, %eax
  xorl %edx, %edx
  wrmsr
  jmp *%bx
smp_send: // the command EAX to EDX
  movl $ICR, %ecx
  wrmsr
  ret
smp_eoi:
  movl $0x80B, %ecx
  xorl %eax, %eax
  xorl %edx, %edx
  wrmsr
  ret
smp_ping: // on vCPU 1: answers with a pong
  pushal
  incw PINGS
  call smp_eoi
  movl $0x41, %eax
  call smp_send
  popal
  iretw
smp_pong: // on vCPU 0
  pushal
  incw PONGS
  call smp_eoi
  popal
  iretw
innkeeper_smp_bsp: // starts vCPU 1, INIT and SIPI back to back, then pings it
  movw $0x6000, %bp
  call smp_setup
  handler 0x40, smp_ping
  handler 0x41, smp_pong
  movl $1, %edx
  movl $0xC500, %eax
  call smp_send
  movl $0x4608, %eax
  call smp_send
smp_wait_up:
  pause
  cmpw $0, AP_UP
  je smp_wait_up
  movw $1000, %si
smp_round:
  cmpw $1, %si
  jne smp_not_last
  movw $1, STOP
smp_not_last:
  incw SENT
  movl $1, %edx
  movl $0x40, %eax
  call smp_send
smp_wait_pong:
  cli
  movw SENT, %ax
  cmpw %ax, PONGS
  je smp_answered
  sti
  hlt
  jmp smp_wait_pong
smp_answered:
  sti
  decw %si
  jnz smp_round
  cli
  jmp innkeeper_smp_die
smp_nmi: // the odd ones send ten more, of which one is held back and the rest are lost
  pushal
  incw NMIS
  testb $1, NMIS
  jz smp_nmi_done
  movw $10, %si
smp_nmi_more:
  movl $0x400, %eax
  xorl %edx, %edx
  call smp_send
  decw %si
  jnz smp_nmi_more
smp_nmi_done:
  popal
  iretw
innkeeper_smp_nmi_bsp:
  movw $0x6000, %bp
  call smp_setup
  handler 2, smp_nmi
  movw $100, %di
smp_nmi_round:
  movl $0x400, %eax
  xorl %edx, %edx
  call smp_send
  decw %di
  jnz smp_nmi_round
  jmp innkeeper_smp_die
smp_tick: // the timer; arms itself again
  pushal
  incw TICKS
  call smp_arm
  call smp_eoi
  popal
  iretw
smp_arm:
  rdtsc
  addl $200000, %eax
  adcl $0, %edx
  movl $0x6E0, %ecx
  wrmsr
  ret
innkeeper_smp_timer_bsp:
  movw $0x6000, %bp
  call smp_setup
  handler 0x43, smp_tick
  movl $0x832, %ecx
  movl $0x40043, %eax
  xorl %edx, %edx
  wrmsr
  call smp_arm
smp_sleep:
  sti
  hlt
  cli
  cmpw $50, TICKS
  jb smp_sleep
  jmp innkeeper_smp_die
innkeeper_smp_end:
.code64
.popsection
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static innkeeper_smp_image: u8;
    static innkeeper_smp_bsp: u8;
    static innkeeper_smp_nmi_bsp: u8;
    static innkeeper_smp_timer_bsp: u8;
    static innkeeper_smp_die: u8;
    static innkeeper_smp_end: u8;
}

/// Runs `count` vCPUs, the first from `entry`, until the VM is dead; gives its memory.
fn run(count: usize, entry: *const u8) -> Arc<GuestMemory> {
    let attentions: Vec<_> = (0..count).map(|_| Arc::new(Attention::default())).collect();
    let clock = Arc::new(Clock::new());
    let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).unwrap());
    let image = &raw const innkeeper_smp_image;
    // SAFETY: the assembler put the labels around one run of bytes.
    let bytes = unsafe {
        std::slice::from_raw_parts(image, (&raw const innkeeper_smp_end).offset_from(image) as usize)
    };
    memory.write(IMAGE, bytes).unwrap();
    let platform = Arc::new(Platform {
        memory: Arc::clone(&memory),
        ports: Arc::new(Bus::default()),
        mmio: Arc::new(Bus::default()),
        fabric: Fabric::new(Arc::clone(&clock), &attentions),
        cpuid: CpuidTable::new(count as u32, clock.khz()),
        clock,
        code_guard: CodeGuard::new(&attentions),
    });
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = attentions
        .iter()
        .enumerate()
        .map(|(index, attention)| {
            let mut cpu = Cpu::new(
                index as u32,
                Arc::clone(&platform),
                platform.fabric.lapic(index),
                Arc::clone(attention),
            );
            if index == 0 {
                cpu.segments[seg::CS as usize] = SegmentState::real((IMAGE >> 4) as u16, 0);
                cpu.regs[RIP] = entry as u64 - image as u64;
                cpu.refresh_mode();
            }
            let send = send.clone();
            std::thread::spawn(move || send.send((index, cpu.run())).unwrap())
        })
        .collect();
    let (_, exit) = receive.recv_timeout(Duration::from_secs(60)).expect("the guest got stuck");
    assert_eq!(exit, Exit::Halt);
    attentions.iter().for_each(|attention| attention.raise(KICK));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    memory
}

fn word(memory: &GuestMemory, gpa: u64) -> u16 {
    let mut bytes = [0; 2];
    memory.read(gpa, &mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}

#[test]
fn two_vcpus_start_wake_each_other_and_die_together() {
    let memory = run(2, &raw const innkeeper_smp_bsp);
    assert_eq!((word(&memory, AP_UP), word(&memory, PINGS), word(&memory, PONGS)), (1, 1000, 1000));
}

#[test]
fn nmis_sent_by_their_handler_leave_one_behind() {
    let memory = run(1, &raw const innkeeper_smp_nmi_bsp);
    assert_eq!(word(&memory, NMIS), 200);
}

#[test]
fn the_timer_wakes_a_halted_vcpu_each_time() {
    let memory = run(1, &raw const innkeeper_smp_timer_bsp);
    assert!(word(&memory, TICKS) >= 50);
}

#[test]
fn a_vm_whose_vcpus_never_start_is_dead_whoever_notices() {
    for _ in 0..20 {
        run(3, &raw const innkeeper_smp_die);
    }
}

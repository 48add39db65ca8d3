//! Blocks that are counted, in small guests that run to a HLT.

use std::sync::Arc;

use super::*;
use crate::engine::TracedBlock;
use crate::exit::Exit;
use crate::state::Activity;
use crate::x86::attention::LOCAL;
use crate::x86::bt::Settings;
use crate::x86::cpu::flag;
use crate::x86::testing::{self, ABSENT, CODE as START, DATA};

/// What a test asks for beside the run itself.
type Check<'a> = &'a dyn Fn(&mut Cpu);

fn translating(code: &[u8], counting: bool) -> Option<Box<Cpu>> {
    testing::translating(code, Settings { code_cache_bytes: 1 << 20, counting, ..Settings::default() })
}

/// Runs `code` with its blocks counted.
fn counted(code: &[u8], check: Check<'_>) {
    if let Some(mut cpu) = translating(code, true) {
        assert!(matches!(cpu.run(), Exit::Halt));
        check(&mut cpu);
    }
}

fn again(cpu: &mut Cpu) {
    (cpu.regs[RIP], cpu.activity) = (START, Activity::Runnable);
    assert!(matches!(cpu.run(), Exit::Halt));
}

fn block(cpu: &Cpu, offset: u64) -> TracedBlock {
    let found = cpu.trace().into_iter().find(|block| block.rip == START + offset);
    found.unwrap_or_else(|| panic!("no block at {offset}: {:x?}", cpu.trace()))
}

fn left(block: &TracedBlock, reason: &str) -> u64 {
    block.exits.iter().find(|(known, _)| known == reason).map_or(0, |&(_, times)| times)
}

/// mov ecx,1000; loop: sub ecx,1; jnz loop
const LOOP: [u8; 10] = [0xB9, 0xE8, 3, 0, 0, 0x83, 0xE9, 1, 0x75, 0xFB];

#[test]
fn a_loop_is_a_block_of_its_own_and_counts_each_round() {
    counted(&LOOP, &|cpu| {
        // The first round is the first block's.
        assert_eq!((block(cpu, 0).executions, block(cpu, 5).executions), (1, 999));
        again(cpu);
        assert_eq!((block(cpu, 0).executions, block(cpu, 5).executions), (2, 1998));
    });
}

#[test]
fn a_block_is_shown_with_its_bytes_place_and_mode() {
    counted(&LOOP, &|cpu| {
        let shown = block(cpu, 5);
        assert_eq!((shown.vcpu, shown.gpa, &shown.guest[..5]), (0, START + 5, &LOOP[5..]));
        assert_eq!(shown.mode, "64-bit CPL0, AC or no SMAP");
        // SUB is the host's as it is, behind what counts.
        assert_eq!(shown.host[..3], LOOP[5..8]);
        // SAFETY: the code cache lives as long as the vCPU, and is mapped readable.
        let executed = unsafe { *(shown.host_address as *const [u8; 3]) };
        assert_eq!(executed, LOOP[5..8]);
    });
}

#[test]
fn nothing_is_emitted_or_told_where_nobody_traces() {
    let Some(mut cpu) = translating(&LOOP, false) else { return };
    assert!(matches!(cpu.run(), Exit::Halt));
    assert!(cpu.trace().is_empty() && cpu.flight_record().is_empty());
    let cache = &cpu.translator.as_ref().expect("translating").cache;
    assert!(!cache.blocks.is_empty());
    for block in &cache.blocks {
        assert_eq!((block.entry, block.counter), (block.hot.0, None));
    }
}

#[test]
fn counting_changes_neither_flags_nor_registers() {
    // stc; jmp over; ud2; over: setc al; adc r10d,r11d; pushfq; pop rbx
    let code = [0xF9, 0xEB, 2, 0x0F, 0x0B, 0x0F, 0x92, 0xC0, 0x45, 0x11, 0xDA, 0x9C, 0x5B];
    let results = [false, true].map(|counting| {
        let mut cpu = translating(&code, counting)?;
        (cpu.regs[10], cpu.regs[11]) = (u32::MAX.into(), 7);
        assert!(matches!(cpu.run(), Exit::Halt));
        Some((cpu.regs, cpu.rflags))
    });
    assert_eq!(results[0], results[1]);
    if let Some((regs, rflags)) = results[1] {
        assert_eq!((regs[0], regs[10], regs[11]), (1, 7, 7));
        assert!(rflags & flag::CF != 0 && regs[3] & flag::CF != 0);
    }
}

#[test]
fn a_block_that_wants_vectors_counts_once_however_it_is_entered() {
    // mov ecx,10; loop: addps xmm0,xmm0; sub ecx,1; jnz loop
    counted(&[0xB9, 10, 0, 0, 0, 0x0F, 0x58, 0xC0, 0x83, 0xE9, 1, 0x75, 0xF8], &|cpu| {
        assert_eq!((block(cpu, 0).executions, block(cpu, 5).executions), (1, 9));
    });
    // The same over fld1; fstp st0
    counted(&[0xB9, 10, 0, 0, 0, 0xD9, 0xE8, 0xDD, 0xD8, 0x83, 0xE9, 1, 0x75, 0xF7], &|cpu| {
        assert_eq!((block(cpu, 0).executions, block(cpu, 5).executions), (1, 9));
    });
}

#[test]
fn an_emulated_instruction_is_named() {
    // mov ecx,0xC0000080; rdmsr; rdmsr; cpuid
    counted(&[0xB9, 0x80, 0, 0, 0xC0, 0x0F, 0x32, 0x0F, 0x32, 0x0F, 0xA2], &|cpu| {
        let shown = block(cpu, 0);
        let expected = [("emulated RDMSR", 2), ("emulated CPUID", 1), ("emulated HLT", 1)];
        assert_eq!(shown.exits, expected.map(|(reason, times)| (reason.to_string(), times)));
    });
}

#[test]
fn memory_accesses_that_leave_say_why() {
    // mov [rbx],eax; mov [rcx],eax; mov [rdx+4093],eax; movaps xmm0,[rsi+4]
    let code = [0x89, 3, 0x89, 1, 0x89, 0x82, 0xFD, 0x0F, 0, 0, 0x0F, 0x28, 0x46, 4];
    let Some(mut cpu) = translating(&code, true) else { return };
    for register in [1, 2, 3, 6] {
        cpu.regs[register] = DATA;
    }
    cpu.run(); // there is no IDT for the misaligned one's #GP
    let shown = block(&cpu, 0);
    assert_eq!(left(&shown, "TLB miss"), 1, "{:?}", shown.exits);
    assert_eq!(left(&shown, "access across pages"), 1, "{:?}", shown.exits);
    assert_eq!(left(&shown, "misaligned access"), 1, "{:?}", shown.exits);
}

#[test]
fn a_write_to_code_and_a_page_fault_are_told_from_misses() {
    // mov byte [rbx],0; mov eax,[rcx]
    let Some(mut cpu) = translating(&[0xC6, 3, 0, 0x8B, 1], true) else { return };
    (cpu.regs[3], cpu.regs[1]) = (START + 0x800, ABSENT);
    cpu.run();
    assert_eq!(left(&block(&cpu, 0), "access to a device or a page with code"), 1);
    // Right behind the write others are looked for.
    let faulted: u64 = cpu.trace().iter().map(|block| left(block, "page fault")).sum();
    assert_eq!(faulted, 1, "{:?}", cpu.trace());
}

#[test]
fn jumps_are_told_until_they_are_chained() {
    // mov ecx,9; loop: call f; sub ecx,1; jnz loop; hlt; f: ret
    let code = [0xB9, 9, 0, 0, 0, 0xE8, 6, 0, 0, 0, 0x83, 0xE9, 1, 0x75, 0xF6, 0xF4, 0xC3];
    counted(&code, &|cpu| {
        let f = block(cpu, 16);
        assert_eq!(f.executions, 9);
        assert!(left(&f, "indirect branch miss") <= 1, "{:?}", f.exits);
        let caller = block(cpu, 0);
        assert_eq!(left(&caller, &format!("unchained jump to {:x}", START + 16)), 1, "{:?}", caller.exits);
    });
}

#[test]
fn a_loop_that_is_interrupted_says_so() {
    // loop: mov dword [rbx],1; jmp loop
    let Some(mut cpu) = translating(&[0xC7, 3, 1, 0, 0, 0, 0xEB, 0xF8], true) else { return };
    cpu.regs[3] = DATA;
    let (memory, attention) = (Arc::clone(&cpu.platform.memory), Arc::clone(&cpu.attention));
    let kicker = std::thread::spawn(move || {
        let mut word = [0; 4];
        while word == [0; 4] {
            memory.read(DATA, &mut word).expect("RAM");
        }
        attention.raise(KICK);
    });
    assert!(matches!(cpu.run(), Exit::Kicked));
    kicker.join().expect("kicker");
    let shown = block(&cpu, 0);
    assert_eq!(left(&shown, "kick"), 1, "{:?}", shown.exits);
}

#[test]
fn the_flight_record_ends_with_the_last_block() {
    counted(&LOOP, &|cpu| {
        let record = cpu.flight_record();
        assert_eq!(record, vec![START + 5; FLIGHT]);
    });
    counted(&[0x90], &|cpu| assert_eq!(cpu.flight_record(), vec![START]));
}

/// call f; jmp rax; f: lea rax,[rip+1]; ret; hlt
const CALL: [u8; 15] = [0xE8, 2, 0, 0, 0, 0xFF, 0xE0, 0x48, 0x8D, 5, 1, 0, 0, 0, 0xC3];

#[test]
fn a_return_is_recorded_and_what_follows_is_the_callers() {
    counted(&CALL, &|cpu| {
        let (caller, callee) = (block(cpu, 0), block(cpu, 7));
        assert_eq!((caller.executions, callee.executions), (1, 1));
        let caller_again = cpu.trace().into_iter().find(|block| block.rip == START + 5);
        let shown = caller_again.unwrap_or(caller);
        assert_eq!(left(&shown, "indirect branch miss"), 1, "{:?}", cpu.trace());
        assert_eq!(cpu.flight_record(), [0, 7, 5, 15].map(|at| START + at));
        again(cpu);
        assert_eq!(cpu.flight_record()[4..], [0, 7, 5, 15].map(|at| START + at));
        assert!(left(&block(cpu, 7), "indirect branch miss") <= 1, "{:?}", cpu.trace());
    });
}

#[test]
fn the_flight_record_has_interpreted_blocks_too() {
    let Some(mut cpu) = translating(&[0x90], true) else { return };
    cpu.cpl = 1; // nobody translates for that
    assert!(matches!(cpu.run(), Exit::Halt | Exit::Shutdown));
    assert_eq!(cpu.flight_record(), vec![START]);
}

#[test]
fn a_flush_forgets_counts_and_blocks() {
    counted(&LOOP, &|cpu| {
        cpu.clear_translations();
        assert!(cpu.trace().is_empty());
        again(cpu);
        assert_eq!((block(cpu, 0).executions, block(cpu, 5).executions), (1, 999));
    });
}

#[test]
fn counters_keep_their_addresses_as_their_number_grows() {
    let mut tracer = Tracer::default();
    let addresses: Vec<u64> = (0..3 * CHUNK).map(|_| tracer.counter().1).collect();
    tracer.clear();
    assert!((0..3 * CHUNK).all(|at| tracer.counter() == (at, addresses[at])));
}

#[test]
fn the_most_telling_bit_of_attention_is_named() {
    assert_eq!(attention(KICK | INTERRUPT), "kick");
    assert_eq!(attention(INTERRUPT | CODE), "interrupt");
    assert_eq!(attention(LOCAL), "interrupt check");
    assert_eq!(attention(0), "calls too deep");
}

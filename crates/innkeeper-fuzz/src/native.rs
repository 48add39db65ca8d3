//! The host CPU's answer. A forked child enters each case by returning from a signal handler into
//! it, so that the kernel loads the whole register state; the trap that ends the case enters the
//! handler again, which stores the whole state and goes on with the next case.

use std::ptr;

use crate::state::{CODE, CODE_AT, Case, DATA, DATA_SIZE, Outcome, State, Trap, WINDOW_AT};

/// Bytes of one instruction, padded with INT3.
type CodeBytes = [u8; 16];

#[repr(C)]
struct Slot {
    code: CodeBytes,
    code_segment: u64,
    outcome: Outcome,
}

/// What the child's handler works on; there is one child at a time, and it has one thread.
struct Work {
    slots: *mut Slot,
    count: usize,
    next: usize,
    /// The code page.
    code: *mut u8,
    ymm_offset: usize,
}

static mut WORK: Work =
    Work { slots: ptr::null_mut(), count: 0, next: 0, code: ptr::null_mut(), ymm_offset: 0 };

const USER64: u64 = 0x33;
const USER32: u64 = 0x23;
const USER_DATA: u64 = 0x2B;
/// x87, SSE, AVX.
const COMPONENTS: u64 = 7;
/// Offsets in the signal frame's XSAVE image (Intel SDM vol. 1, 13.4).
const HEADER: usize = 512;
const FOP: usize = 6;
const FIP: usize = 8;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;

/// Runs the cases and gives an outcome for each.
///
/// # Panics
/// If the host refuses what the oracle needs; there is no result to give then.
pub fn run(cases: &[Case]) -> Vec<Outcome> {
    let bytes = size_of::<Slot>() * cases.len();
    let slots: *mut Slot = map(0, bytes, libc::MAP_SHARED).cast();
    for (i, case) in cases.iter().enumerate() {
        let mut code = [0xCC; 16];
        code[..case.bytes.len()].copy_from_slice(&case.bytes);
        let code_segment = if case.bitness == 64 { USER64 } else { USER32 };
        let outcome = Outcome { state: case.state, trap: Trap::default() };
        // SAFETY: the mapping has room for that many slots.
        unsafe { slots.add(i).write(Slot { code, code_segment, outcome }) };
    }
    // SAFETY: the child only runs async-signal-safe code and ends with _exit.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => child(slots, cases.len()),
        pid => {
            let mut status = 0;
            // SAFETY: plain system call on our own child.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!(status, 0, "the oracle's child died with wait status {status:#x}");
        }
    }
    // SAFETY: the child has ended; the slots are initialised plain data.
    let outcomes = (0..cases.len()).map(|i| unsafe { (*slots.add(i)).outcome }).collect();
    // SAFETY: our own mapping, no longer referenced.
    unsafe { libc::munmap(slots.cast(), bytes) };
    outcomes
}

fn map(at: u64, bytes: usize, sharing: i32) -> *mut libc::c_void {
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_ANONYMOUS | sharing | fixed;
    // SAFETY: anonymous memory at a free address.
    let mapped = unsafe { libc::mmap(at as *mut libc::c_void, bytes, rights, flags, -1, 0) };
    assert!(mapped != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    mapped
}

/// The code page: for the cases to execute and read at `CODE`, for us to write elsewhere.
fn map_code() -> *mut u8 {
    let writable = map(0, 0x1000, libc::MAP_SHARED);
    // SAFETY: an old size of 0 makes a second mapping of shared pages, at an address of our choice.
    let mapped = unsafe {
        libc::mremap(
            writable,
            0,
            0x1000,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            CODE as *mut libc::c_void,
        )
    };
    assert!(mapped != libc::MAP_FAILED, "mremap: {}", std::io::Error::last_os_error());
    // SAFETY: our own page.
    let refused = unsafe { libc::mprotect(mapped, 0x1000, libc::PROT_READ | libc::PROT_EXEC) };
    assert!(refused == 0, "mprotect: {}", std::io::Error::last_os_error());
    writable.cast()
}

fn child(slots: *mut Slot, count: usize) -> ! {
    let code = map_code();
    map(DATA, DATA_SIZE as usize, libc::MAP_PRIVATE);
    let stack = map(0, 1 << 16, libc::MAP_PRIVATE);
    // SAFETY: everything below is set-up of this process's own signal state and mappings.
    unsafe {
        ptr::write_bytes(code, 0xCC, 0x1000);
        // The AVX component's place in an XSAVE image.
        let ymm_offset = core::arch::x86_64::__cpuid_count(0xD, 2).ebx as usize;
        WORK = Work { slots, count, next: 0, code, ymm_offset };
        let alternate = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: 1 << 16 };
        libc::sigaltstack(&alternate, ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [libc::SIGUSR1, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP]
        {
            libc::sigaction(signal, &action, ptr::null_mut());
        }
        // A 64-bit process starts with null data segments, which 32-bit code cannot use.
        core::arch::asm!("mov ds, {0:x}", "mov es, {0:x}", in(reg) USER_DATA, options(nostack, preserves_flags));
        libc::alarm(60);
        libc::raise(libc::SIGUSR1);
        libc::_exit(1)
    }
}

extern "C" fn on_signal(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid context; WORK is this single-threaded child's own.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let work = &mut *ptr::addr_of_mut!(WORK);
        if signal != libc::SIGUSR1 {
            store(context, work, &mut (*work.slots.add(work.next)).outcome);
            work.next += 1;
        }
        if work.next == work.count {
            libc::_exit(0);
        }
        load(context, work, &*work.slots.add(work.next));
    }
}

const ORDER: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

unsafe fn load(context: &mut libc::ucontext_t, work: &Work, slot: &Slot) {
    let state = &slot.outcome.state;
    let registers = &mut context.uc_mcontext.gregs;
    for (number, register) in ORDER.iter().enumerate() {
        registers[*register as usize] = state.gpr[number] as i64;
    }
    registers[libc::REG_RIP as usize] = state.rip as i64;
    registers[libc::REG_EFL as usize] = state.rflags as i64;
    let selectors = &mut registers[libc::REG_CSGSFS as usize];
    *selectors = *selectors & !0xFFFF | slot.code_segment as i64;
    // SAFETY: the frame's XSAVE image holds these components at these offsets; the fixed pages are ours.
    unsafe {
        let image: *mut u8 = context.uc_mcontext.fpregs.cast();
        image.cast::<u16>().write_unaligned(state.fcw);
        image.add(2).cast::<u16>().write_unaligned(state.fsw);
        image.add(4).cast::<u16>().write_unaligned(state.ftw);
        image.add(FOP).cast::<u16>().write_unaligned(state.fop);
        image.add(FIP).cast::<[u64; 2]>().write_unaligned([state.fip, state.fdp]);
        image.add(MXCSR).cast::<u32>().write_unaligned(state.mxcsr);
        for i in 0..8 {
            ptr::copy_nonoverlapping(state.st[i].as_ptr(), image.add(ST + 16 * i), 10);
        }
        for (i, ymm) in state.ymm.iter().enumerate() {
            image.add(XMM + 16 * i).cast::<[u64; 2]>().write_unaligned([ymm[0], ymm[1]]);
            image.add(work.ymm_offset + 16 * i).cast::<[u64; 2]>().write_unaligned([ymm[2], ymm[3]]);
        }
        let present: *mut u64 = image.add(HEADER).cast();
        present.write_unaligned(present.read_unaligned() & !COMPONENTS | in_use(state));
        ptr::copy_nonoverlapping(slot.code.as_ptr(), work.code.add(CODE_AT as usize), 16);
        ptr::write_bytes(DATA as *mut u8, 0, DATA_SIZE as usize);
        let window = (DATA + WINDOW_AT) as *mut u8;
        ptr::copy_nonoverlapping(state.window.as_ptr(), window, state.window.len());
    }
}

/// The components that are not in their initial state: the others are handed over as initial, so that
/// the host, too, takes them for unused.
fn in_use(state: &State) -> u64 {
    let half = |at: usize| state.ymm.iter().any(|ymm| ymm[at] | ymm[at + 1] != 0);
    let pointers = u64::from(state.fop) | state.fip | state.fdp;
    let x87 = state.fcw != 0x37F || state.fsw | state.ftw != 0 || pointers != 0 || state.st != [[0; 10]; 8];
    u64::from(x87) | u64::from(half(0)) << 1 | u64::from(half(2)) << 2
}

unsafe fn store(context: &libc::ucontext_t, work: &Work, outcome: &mut Outcome) {
    let registers = &context.uc_mcontext.gregs;
    let state: &mut State = &mut outcome.state;
    for (number, register) in ORDER.iter().enumerate() {
        state.gpr[number] = registers[*register as usize] as u64;
    }
    state.rip = registers[libc::REG_RIP as usize] as u64;
    state.rflags = registers[libc::REG_EFL as usize] as u64;
    // SAFETY: as in `load`. Components in their initial state are absent from the header, and the
    // kernel writes their initial values into the legacy area only.
    unsafe {
        let image: *const u8 = context.uc_mcontext.fpregs.cast();
        let present = image.add(HEADER).cast::<u64>().read_unaligned();
        state.fcw = image.cast::<u16>().read_unaligned();
        state.fsw = image.add(2).cast::<u16>().read_unaligned();
        state.ftw = u16::from(*image.add(4));
        state.fop = image.add(FOP).cast::<u16>().read_unaligned();
        [state.fip, state.fdp] = image.add(FIP).cast::<[u64; 2]>().read_unaligned();
        state.mxcsr = image.add(MXCSR).cast::<u32>().read_unaligned();
        for i in 0..8 {
            ptr::copy_nonoverlapping(image.add(ST + 16 * i), state.st[i].as_mut_ptr(), 10);
        }
        for (i, ymm) in state.ymm.iter_mut().enumerate() {
            [ymm[0], ymm[1]] = image.add(XMM + 16 * i).cast::<[u64; 2]>().read_unaligned();
            [ymm[2], ymm[3]] = match present & 4 {
                0 => [0, 0],
                _ => image.add(work.ymm_offset + 16 * i).cast::<[u64; 2]>().read_unaligned(),
            };
        }
        let window = (DATA + WINDOW_AT) as *const u8;
        ptr::copy_nonoverlapping(window, state.window.as_mut_ptr(), state.window.len());
    }
    outcome.trap = Trap {
        vector: registers[libc::REG_TRAPNO as usize] as u8,
        error: registers[libc::REG_ERR as usize] as u32,
        address: registers[libc::REG_CR2 as usize] as u64,
    };
}

//! The fixed code at the start of every code cache: into translated code, out of it, and from it to
//! run-time helpers in Rust.
//!
//! In translated code guest registers live in the host registers of the same name, except RSP (in
//! R9), R9, R10 and R11 (in memory); R10 and R11 are scratch, RSP is the host's stack, GS the vCPU.

use std::mem::offset_of;

use super::asm::{Asm, R9, R10, R11, RAX, RBP, RDI, RDX, RSI, RSP, Size, at, cc, gs};
use super::context::{JUMP_CODE, JUMP_ENTRIES, JUMP_HASH, JUMP_SHIFT, Jumps, field, register};
use super::{helpers, runtime};
use crate::x86::cpu::{self, Cpu, Ymm};
use crate::x86::mmu::VIEWS;

/// Guest registers that have a host register, and which.
const PINNED: [(usize, u8); 13] = [
    (0, 0),
    (1, 1),
    (2, 2),
    (3, 3),
    (4, R9),
    (5, 5),
    (6, 6),
    (7, 7),
    (8, 8),
    (12, 12),
    (13, 13),
    (14, 14),
    (15, 15),
];
const CALLEE_SAVED: [u8; 6] = [3, 5, 12, 13, 14, 15];

/// Where each is, as an offset in the code buffer.
#[derive(Clone, Copy, Default)]
pub struct Thunks {
    /// `extern "sysv64" fn(cpu, code)`: from Rust to translated code.
    pub enter: usize,
    /// Leave by exit R11D.
    pub exit: usize,
    /// Leave for the guest address in R10.
    pub exit_indirect: usize,
    /// A memory access (R11D: site, R10: address) that the first-level TLB has no answer to.
    pub slow: usize,
    /// Hand an instruction (R11D: site) to the interpreter.
    pub emulate: usize,
    /// Go to the translation of R10, by view; the same where flags matter; and where a return leads that no
    /// call is known of.
    pub look_up: [usize; VIEWS],
    pub look_up_keeping: [usize; VIEWS],
    pub unpaired: [usize; VIEWS],
    /// Load the vector registers; a subroutine.
    pub load_vectors: usize,
    /// Load the x87 registers and resume at R11.
    pub load_x87: usize,
    pub end: usize,
}

pub fn emit() -> (Thunks, Asm) {
    let (mut asm, mut thunks) = (Asm::new(0), Thunks::default());
    let asm_ref = &mut asm;
    let save_vectors = subroutine_save_vectors(asm_ref);
    thunks.load_vectors = subroutine_load_vectors(asm_ref);
    thunks.enter = enter(asm_ref);
    let leave = leave(asm_ref);
    let resume = resume(asm_ref, thunks.load_vectors);
    thunks.exit_indirect = asm_ref.here();
    asm_ref.store(gs(register(cpu::RIP)), R10);
    asm_ref.mov_imm(R11, u64::from(runtime::INDIRECT));
    thunks.exit = asm_ref.here();
    save(asm_ref);
    save_flags(asm_ref);
    unload_vectors(asm_ref, save_vectors);
    asm_ref.mov(Size::D, RAX, R11);
    asm_ref.jmp_to(leave);
    let call = call(asm_ref, save_vectors, resume, leave);
    for view in 0..VIEWS {
        thunks.unpaired[view] = asm_ref.here();
        asm_ref.load(R11, gs(field!(unpaired)));
        push(asm_ref, R11);
        thunks.look_up_keeping[view] = asm_ref.here();
        put_flags_aside(asm_ref);
        let out = [doorbell(asm_ref), look_up(asm_ref, view, Target::Register)];
        asm_ref.load(R10, at(R11, JUMP_CODE));
        take_flags_back(asm_ref);
        asm_ref.jmp_reg(R10);
        out.into_iter().for_each(|from| asm_ref.patch(from, asm_ref.here()));
        take_flags_back(asm_ref);
        asm_ref.jmp_to(thunks.exit_indirect);
        thunks.look_up[view] = asm_ref.here();
        let found = doorbell(asm_ref);
        let miss = look_up(asm_ref, view, Target::Register);
        asm_ref.jmp_mem(at(R11, JUMP_CODE));
        asm_ref.patch(found, thunks.exit_indirect);
        asm_ref.patch(miss, thunks.exit_indirect);
    }
    thunks.slow = asm_ref.here();
    quick_fill(asm_ref);
    save(asm_ref);
    asm_ref.mov_imm(RAX, helpers::slow_access as *const () as u64);
    asm_ref.jmp_to(call);
    thunks.emulate = asm_ref.here();
    save(asm_ref);
    save_flags(asm_ref);
    asm_ref.mov_imm(RAX, helpers::emulate as *const () as u64);
    asm_ref.jmp_to(call);
    thunks.load_x87 = asm_ref.here();
    // The flags, if anyone needs them, have been put aside by who comes here.
    save(asm_ref);
    asm_ref.mov(Size::Q, R10, R11);
    asm_ref.mov_imm(RAX, helpers::load_x87 as *const () as u64);
    asm_ref.jmp_to(call);
    thunks.end = asm_ref.here();
    (thunks, asm)
}

/// Tries what needs few registers: a helper that only fills the first-level TLB. Goes on with the access if
/// it did, else falls through with everything as it was.
fn quick_fill(asm: &mut Asm) {
    const LOST: [(usize, u8); 7] = [(0, 0), (1, 1), (2, 2), (4, R9), (6, 6), (7, 7), (8, 8)];
    asm.cmp_byte(gs(field!(vectors_loaded)), 0);
    let vectors = asm.jcc(cc::NE);
    for (guest, host) in LOST.into_iter().chain([(5, RBP)]) {
        asm.store(gs(register(guest)), host);
    }
    asm.store(gs(field!(r10)), R10);
    asm.store(gs(field!(r11)), R11);
    asm.load(RDI, gs(field!(cpu)));
    asm.mov(Size::D, RSI, R11);
    asm.mov(Size::Q, RDX, R10);
    asm.mov(Size::Q, RBP, RSP);
    asm.alu_imm(Size::Q, 4, RSP, -16);
    asm.mov_imm(RAX, helpers::quick_fill as *const () as u64);
    asm.rr(Size::D, &[0xFF], 2, RAX);
    asm.mov(Size::Q, RSP, RBP);
    asm.store(gs(field!(target)), RAX);
    asm.rr(Size::Q, &[0x85], RAX, RAX); // test
    for (guest, host) in LOST.into_iter().chain([(5, RBP)]) {
        asm.load(host, gs(register(guest)));
    }
    asm.load(R10, gs(field!(r10)));
    asm.load(R11, gs(field!(r11)));
    let no = asm.jcc(cc::E);
    asm.jmp_mem(gs(field!(target)));
    asm.patch(vectors, asm.here());
    asm.patch(no, asm.here());
}

fn save(asm: &mut Asm) {
    for (guest, host) in PINNED {
        asm.store(gs(register(guest)), host);
    }
}

/// Status flags to `host_flags`; RAX is lost.
fn save_flags(asm: &mut Asm) {
    asm.raw(&[0x9F]); // lahf
    asm.raw(&[0x0F, 0x90, 0xC0]); // seto al
    asm.rm(Size::W, &[0x89], RAX, gs(field!(host_flags)));
}

/// Status flags from `host_flags`; RAX is lost.
fn restore_flags(asm: &mut Asm) {
    asm.rm(Size::D, &[0x8B], RAX, gs(field!(host_flags)));
    asm.raw(&[0x04, 0x7F]); // add al, 127: OF
    asm.raw(&[0x9E]); // sahf
}

/// Saves flags around code that has RAX live.
pub fn put_flags_aside(asm: &mut Asm) {
    asm.store(gs(field!(rax)), RAX);
    save_flags(asm);
    asm.load(RAX, gs(field!(rax)));
}

pub fn take_flags_back(asm: &mut Asm) {
    asm.store(gs(field!(rax)), RAX);
    restore_flags(asm);
    asm.load(RAX, gs(field!(rax)));
}

fn vector(number: u8) -> usize {
    offset_of!(Cpu, ymm) + size_of::<Ymm>() * usize::from(number)
}

/// VMOVUPS between a YMM register and its place in the vCPU.
fn move_vectors(asm: &mut Asm, opcode: u8) {
    for number in 0..16 {
        let high = if number < 8 { 0x80 } else { 0 };
        asm.raw(&[0x65, 0xC5, 0x7C | high, opcode, (number & 7) << 3 | 4, 0x25]);
        asm.raw(&(vector(number) as u32).to_le_bytes());
    }
}

/// A VEX.128 instruction on XMM0 and the upper half of a YMM register in the vCPU.
fn upper_half(asm: &mut Asm, opcode: u8, number: u8) {
    asm.raw(&[0x65, 0xC5, 0xF8, opcode, 0x04, 0x25]);
    asm.raw(&(vector(number) as u32 + 16).to_le_bytes());
}

fn subroutine_save_vectors(asm: &mut Asm) -> usize {
    let start = asm.here();
    move_vectors(asm, 0x11);
    asm.raw(&[0xC5, 0xF8, 0x77]); // vzeroupper
    asm.rm(Size::D, &[0x0F, 0xAE], 3, gs(offset_of!(Cpu, mxcsr))); // stmxcsr
    asm.rm(Size::D, &[0x0F, 0xAE], 2, gs(field!(host_mxcsr))); // ldmxcsr
    asm.mov_byte(gs(field!(vectors_loaded)), 0);
    asm.raw(&[0xC3]);
    start
}

fn subroutine_load_vectors(asm: &mut Asm) -> usize {
    let start = asm.here();
    // Where no upper half is used, processors are to know that: many are slow with SSE code otherwise.
    upper_half(asm, 0x10, 0); // vmovups xmm0, upper half of ymm0
    (1..16).for_each(|number| upper_half(asm, 0x56, number)); // vorps xmm0, xmm0, upper half
    asm.raw(&[0xC4, 0xE2, 0x79, 0x17, 0xC0]); // vptest xmm0, xmm0
    let used = asm.jcc(cc::NE);
    asm.raw(&[0xC5, 0xF8, 0x77]); // vzeroupper
    for number in 0..16 {
        asm.rm(Size::D, &[0x0F, 0x10], number, gs(vector(number))); // movups
    }
    let loaded = asm.jmp();
    asm.patch(used, asm.here());
    move_vectors(asm, 0x10);
    asm.patch(loaded, asm.here());
    asm.rm(Size::D, &[0x0F, 0xAE], 2, gs(offset_of!(Cpu, mxcsr))); // ldmxcsr
    asm.mov_byte(gs(field!(vectors_loaded)), 1);
    asm.raw(&[0xC3]);
    start
}

fn unload_vectors(asm: &mut Asm, save_vectors: usize) {
    asm.cmp_byte(gs(field!(vectors_loaded)), 0);
    let skip = asm.jcc(cc::E);
    asm.call_to(save_vectors);
    asm.patch(skip, asm.here());
}

fn enter(asm: &mut Asm) -> usize {
    let start = asm.here();
    for reg in CALLEE_SAVED {
        push(asm, reg);
    }
    asm.alu_imm(Size::Q, 5, RSP, 8);
    asm.store(gs(field!(host_rsp)), RSP);
    asm.load(R11, gs(field!(unpaired)));
    push(asm, R11);
    asm.store(gs(field!(target)), RSI);
    load(asm);
    start
}

/// How a branch's target is known.
#[derive(Clone, Copy)]
pub enum Target {
    /// It is in R10.
    Register,
    /// It is in R10, and this.
    Constant(u64),
}

/// Looks R10 up in a view's jump table; R11 is then its entry. Gives the jump taken where it is not
/// there. Changes flags.
pub fn look_up(asm: &mut Asm, view: usize, target: Target) -> usize {
    match target {
        Target::Register => {
            asm.rr(Size::D, &[0x69], R11, R10); // imul
            asm.raw(&JUMP_HASH.to_le_bytes());
            asm.rr(Size::D, &[0xC1], 5, R11); // shr
            asm.raw(&[(32 - JUMP_ENTRIES.trailing_zeros() - JUMP_SHIFT) as u8]);
            asm.alu_imm(Size::D, 4, R11, ((JUMP_ENTRIES - 1) << JUMP_SHIFT) as i32);
        }
        Target::Constant(rip) => asm.mov_imm(R11, (Jumps::slot(rip) << JUMP_SHIFT) as u64),
    }
    asm.rm(Size::Q, &[0x03], R11, gs(field!(jump_bases) + 8 * view)); // add
    asm.rm(Size::Q, &[0x3B], R10, at(R11, 0)); // cmp
    asm.jcc(cc::NE)
}

/// Compares the host's stack pointer with the doorbell; gives the jump taken where someone rang, or
/// where the stack is to be emptied.
pub fn doorbell(asm: &mut Asm) -> usize {
    asm.load(R11, gs(field!(doorbell)));
    asm.rm(Size::Q, &[0x3B], RSP, at(R11, 0)); // cmp
    asm.jcc(cc::B)
}

fn push(asm: &mut Asm, reg: u8) {
    if reg >= 8 {
        asm.raw(&[0x41]);
    }
    asm.raw(&[0x50 | reg & 7]);
}

/// Loads flags and registers, and goes on where `Context::target` says.
fn load(asm: &mut Asm) {
    restore_flags(asm);
    for (guest, host) in PINNED {
        asm.load(host, gs(register(guest)));
    }
    asm.load(R10, gs(field!(r10)));
    asm.load(R11, gs(field!(r11)));
    asm.jmp_mem(gs(field!(target)));
}

/// Returns RAX to whoever entered.
fn leave(asm: &mut Asm) -> usize {
    let start = asm.here();
    asm.load(RSP, gs(field!(host_rsp)));
    asm.lea(Size::Q, RSP, at(RSP, 8));
    for reg in CALLEE_SAVED.into_iter().rev() {
        if reg >= 8 {
            asm.raw(&[0x41]);
        }
        asm.raw(&[0x58 | reg & 7]);
    }
    asm.raw(&[0xC3]);
    start
}

/// Goes on in translated code at RAX.
fn resume(asm: &mut Asm, load_vectors: usize) -> usize {
    let start = asm.here();
    asm.store(gs(field!(target)), RAX);
    asm.rm(Size::D, &[0x81], 7, gs(field!(unpair))); // cmp
    asm.raw(&0_u32.to_le_bytes());
    let paired = asm.jcc(cc::E);
    asm.load(RSP, gs(field!(host_rsp)));
    asm.load(RAX, gs(field!(unpaired)));
    push(asm, RAX);
    asm.patch(paired, asm.here());
    asm.cmp_byte(gs(field!(vectors_wanted)), 0);
    let skip = asm.jcc(cc::E);
    asm.call_to(load_vectors);
    asm.patch(skip, asm.here());
    load(asm);
    start
}

/// Calls the helper in RAX with the vCPU, R11D and R10. It gives where to go on, or 0 to leave.
fn call(asm: &mut Asm, save_vectors: usize, resume: usize, leave: usize) -> usize {
    let start = asm.here();
    unload_vectors(asm, save_vectors);
    asm.load(RDI, gs(field!(cpu)));
    asm.mov(Size::D, RSI, R11);
    asm.mov(Size::Q, RDX, R10);
    asm.mov(Size::Q, RBP, RSP);
    asm.alu_imm(Size::Q, 4, RSP, -16);
    asm.rr(Size::D, &[0xFF], 2, RAX);
    asm.mov(Size::Q, RSP, RBP);
    asm.rr(Size::Q, &[0x85], RAX, RAX); // test
    asm.jcc_to(cc::NE, resume);
    asm.jmp_to(leave);
    start
}

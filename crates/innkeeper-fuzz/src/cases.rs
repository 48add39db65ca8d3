//! Every bug that fuzzing has found, as a named case: what went wrong, the instruction, and what its
//! state needs for the bug to show. New ones go to the end of their family.

use crate::state::{Case, DATA, MIDDLE, State, UNMAPPED, WINDOW_AT};

/// One case: its name is a sentence about the right behaviour.
pub struct Regression {
    pub name: &'static str,
    pub bitness: u32,
    bytes: &'static [u8],
    prepare: fn(&mut State),
}

impl Regression {
    pub fn case(&self) -> Case {
        let mut state = State::default();
        (self.prepare)(&mut state);
        Case { name: self.name.to_owned(), bitness: self.bitness, bytes: self.bytes.to_vec(), state }
    }
}

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSP: usize = 4;
const RSI: usize = 6;
const RDI: usize = 7;
/// The middle of the data, where its two pages meet.
const HERE: u64 = DATA + WINDOW_AT + MIDDLE;
const END: u64 = DATA + 0x2000;
const NOT_CANONICAL: u64 = 0x8000_0000_0000_0000;

const INVALID: u16 = 1 << 0;
const DENORMAL: u16 = 1 << 1;
/// C0 to C3, all of them set, so that a case sees which are cleared.
const CONDITIONS: u16 = 0x4700;

const ONE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F];
const QUIET_NAN: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0x7F];
const SIGNALLING_NAN: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xA0, 0xFF, 0x7F];

/// ST(0) to ST(7) hold 1; TOP is 0 and the condition bits are set.
fn ones(state: &mut State) {
    state.st = [ONE; 8];
    state.ftw = 0xFF;
    state.fsw = CONDITIONS;
}

fn poke(state: &mut State, address: u64, bytes: &[u8]) {
    let at = (address - DATA - WINDOW_AT) as usize;
    state.window[at..at + bytes.len()].copy_from_slice(bytes);
}

macro_rules! regressions {
    ($($bitness:literal $bytes:expr, $name:literal, $prepare:expr;)+) => {
        pub const REGRESSIONS: &[Regression] =
            &[$(Regression { name: $name, bitness: $bitness, bytes: &$bytes, prepare: $prepare }),+];
    };
}

regressions! {
    // ---- registers and addresses ----
    64 [0x40, 0x88, 0xE5], "SPL and BPL are low bytes, not AH to BH", |state| state.gpr[RSP] = 0x1234; // mov bpl, spl
    64 [0x36, 0x8A, 0x01], "an SS override does not make a bad address #SS in 64-bit mode", |state| {
        state.gpr[RCX] = NOT_CANONICAL;
    };
    64 [0x3E, 0x8A, 0x04, 0x24], "a DS override does not make a bad stack address #GP in 64-bit mode", |state| {
        state.gpr[RSP] = NOT_CANONICAL;
    };
    32 [0x66, 0x0F, 0xB1, 0x18], "an access wraps around at the end of a 4 GiB segment", |state| {
        state.gpr[RAX] = 0xFFFF_FFFF; // cmpxchg [eax], bx
    };
    64 [0x48, 0x0F, 0xB1, 0x19], "an unequal CMPXCHG writes no register but the accumulator", |state| {
        (state.gpr[RCX], state.gpr[RBX]) = (HERE, 0xFFFF_FFFF_0000_0000);
    };
    // ---- branches and strings ----
    64 [0xFF, 0xD0], "a call faults on its stack before it looks at its target", |state| {
        (state.gpr[RAX], state.gpr[RSP]) = (NOT_CANONICAL, UNMAPPED);
    };
    32 [0x62, 0x03], "BOUND reads no upper bound for an index below the lower one", |state| {
        state.gpr[RBX] = END - 4; // bound eax, [ebx]
        state.gpr[RAX] = 0x8000_0000;
    };
    64 [0xF3, 0x6E], "OUTS asks for permission even for no repetitions", |state| state.gpr[RCX] = 0;
    64 [0xA6], "of two bad operands CMPS reports the second", |state| {
        (state.gpr[RSI], state.gpr[RDI]) = (UNMAPPED, UNMAPPED + 0x1000);
    };
    // ---- x87 ----
    64 [0xD9, 0xDA], "FSTPNCE of an empty register only pops", |state| { // fstpnce st(2)
        ones(state);
        state.ftw = 0xFE;
    };
    64 [0xDA, 0xC1], "FCMOVcc leaves C1 alone", |state| { // fcmovb st(0), st(1)
        ones(state);
        state.rflags |= 1;
    };
    64 [0xDB, 0xF1], "FCOMI leaves C1 alone", ones; // fcomi st(0), st(1)
    64 [0xD8, 0xD9], "an unmasked FCOMP sets its conditions but does not pop", |state| {
        ones(state);
        (state.st[0], state.fsw, state.fcw) = (SIGNALLING_NAN, 0, 0x37F & !INVALID);
    };
    64 [0xDF, 0xF1], "an unmasked FCOMIP sets RFLAGS but does not pop", |state| {
        ones(state);
        (state.st[0], state.fcw) = (QUIET_NAN, 0x37F & !INVALID);
    };
    64 [0xD9, 0x03], "an unmasked denormal is pushed by FLD all the same", |state| { // fld dword ptr [rbx]
        (state.gpr[RBX], state.fcw) = (HERE, 0x37F & !DENORMAL);
        poke(state, HERE, &1u32.to_le_bytes());
    };
    64 [0xDF, 0x13], "a store that an unmasked exception forbids does not touch memory", |state| { // fist word ptr [rbx]
        ones(state);
        (state.gpr[RBX], state.st[0], state.fcw) = (UNMAPPED, QUIET_NAN, 0x37F & !INVALID);
    };
    64 [0xD9, 0xF8], "FPREM without a quotient leaves C0 and C3 alone", |state| {
        ones(state);
        state.st[0] = QUIET_NAN;
    };
    64 [0xD9, 0xF5], "FPREM1 with an unmasked denormal leaves C0 and C3 alone", |state| {
        ones(state);
        (state.st[1], state.fcw) = ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0x37F & !DENORMAL);
    };
    64 [0xD9, 0xFB], "FSINCOS clears C2 when the stack overflows", ones;
    64 [0xD9, 0xFE], "FSIN clears C2 when the stack underflows", |state| state.fsw = CONDITIONS;
    // ---- MMX ----
    64 [0x0F, 0x2A, 0x03], "CVTPI2PS from memory does not wait for x87 exceptions", |state| {
        (state.gpr[RBX], state.fcw, state.fsw) = (HERE, 0x340, INVALID);
    };
    64 [0x0F, 0x2D, 0xC1], "an unmasked invalid operand keeps CVTPS2PI from being inexact", |state| { // mm0, xmm1
        (state.ymm[1][0], state.mxcsr) = (0x3F80_0001_7FC0_0000, 0x1F00);
    };
    64 [0x0F, 0xF7, 0xC1], "MASKMOVQ demands writable memory whatever its mask", |state| state.gpr[RDI] = UNMAPPED;
    64 [0x66, 0x0F, 0xF7, 0xC1], "MASKMOVDQU demands writable memory whatever its mask", |state| {
        state.gpr[RDI] = END - 8;
    };
    // ---- gathers ----
    64 [0xC4, 0xE2, 0x69, 0x90, 0x04, 0x0B], "a gather that faults has spread its mask's sign bits", |state| {
        state.gpr[RBX] = END; // vpgatherdd xmm0, [rbx+xmm1], xmm2
        state.ymm[0] = [7; 4];
        state.ymm[1] = [0x0000_0000_FFFF_FFFC, 0, 0, 0];
        state.ymm[2] = [0x8000_0001_8000_0001, 0x8000_0000_0000_0001, 5, 5];
    };
    // ---- state images ----
    64 [0x0F, 0xC7, 0x23], "XSAVEC writes no more of the header than two words", |state| { // xsavec [rbx]
        (state.gpr[RAX], state.gpr[RDX], state.gpr[RBX]) = (7, 0, DATA + WINDOW_AT);
        poke(state, DATA + WINDOW_AT + 512, &[0xAA; 64]);
    };
    64 [0x48, 0x0F, 0xAE, 0x0B], "x87 pointers are as wide as linear addresses", |state| { // fxrstor64 [rbx]
        state.gpr[RBX] = DATA + WINDOW_AT;
        poke(state, DATA + WINDOW_AT + 8, &[0xFF; 16]);
    };
    64 [0x0F, 0xAE, 0x24, 0x24], "XSAVE to a stack address that is not canonical is #SS, aligned or not", |state| {
        state.gpr[RSP] = NOT_CANONICAL + 8;
    };
}

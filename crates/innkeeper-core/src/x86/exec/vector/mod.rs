//! The vector instructions: SSE to SSE4.2, AVX, AVX2, FMA3, F16C, AES-NI, PCLMULQDQ and SHA.
//!
//! Results come from the host executing the same instruction (`lanes`), so they are exact down to NaN
//! payloads; what is here is everything around that: which registers, which memory, which faults, what
//! happens to upper halves. Tables name the instructions, `form` turns a table line into handlers.
//! MMX registers belong to `x87`, which borrows `mmx`.

#[macro_use]
mod lanes;

mod compare;
mod convert;
mod crypto;
mod element;
mod float;
mod fma;
mod form;
mod gather;
mod immediate;
mod integer;
mod masked;
pub mod mmx;
mod moves;
pub mod mxcsr;
mod operand;
mod shuffle;
mod string;
pub mod unmasked;

#[cfg(test)]
mod tests;

use iced_x86::Code;

use crate::x86::op::Handler;

type Select = fn(Code, bool) -> Option<Handler>;

const PARTS: &[Select] = &[
    moves::select,
    integer::select,
    shuffle::select,
    immediate::select,
    float::select,
    compare::select,
    convert::select,
    element::select,
    masked::select,
    gather::select,
    string::select,
    crypto::select,
    fma::select,
    mxcsr::select,
];

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    PARTS.iter().find_map(|select| select(code, memory))
}

//! Tier 1: guest code translated to host code, executed in this process (binary translation).
//!
//! `translate` turns a block of guest code into host code that keeps guest registers in host registers
//! and checks each memory access with one comparison; `cache` holds the blocks of one vCPU, chains
//! them and forgets those whose bytes change; `context` is what translated code reads beside the
//! registers; `runtime` is the loop that enters it, and `helpers` is what it calls. What is not translated goes
//! to the interpreter's handlers, one instruction at a time, so both tiers are one processor.

mod asm;
mod buffer;
mod cache;
mod classify;
pub mod context;
mod helpers;
mod mode;
pub(in crate::x86) mod runtime;
#[cfg(test)]
mod tests;
mod thunks;
mod trace;
mod translate;
mod translator;
mod verify;
mod x87;

pub use translator::{Settings, Stress, Translator, unavailable};
pub use verify::Verify;

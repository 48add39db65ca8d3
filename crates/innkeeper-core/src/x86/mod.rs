//! The software x86-64 processor, tier 0: an interpreter over cached, pre-decoded blocks.
//!
//! `fetch` turns guest bytes into [`op::Op`]s (through iced-x86 and the handler table in `exec`);
//! `run` executes blocks and delivers interrupts between them; `mmu` and `paging` translate
//! addresses; `exec` holds one file per family of instructions. A handler sees [`cpu::Cpu`] and its
//! `Op`, and nothing else.

pub mod attention;
pub mod block;
pub mod bt;
pub mod cpu;
pub mod cpuid;
mod debug;
pub mod exec;
pub mod fault;
pub mod mmu;
pub mod op;
pub mod paging;
mod reset;
pub mod run;
pub mod segment;
#[cfg(test)]
mod smp_tests;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod watch_tests;
pub mod word;

//! Innkeeper's core: the interrupt fabric, and the CPU engines behind one VM entry / VM exit contract, over the
//! memory and the buses of `innkeeper-bus`. Pure Rust; knows no Python, opens no files, prints nothing.
//!
//! Rooms, lowest first: `clock`, `state`, `stats`, `debug`, `exit`, `engine` (the
//! contract) · `irq` · `x86` (the software CPU) · `soft` and `kvm` (the two engines, which never
//! import each other).

pub mod clock;
pub mod debug;
pub mod engine;
pub mod exit;
pub mod irq;
pub mod kvm;
pub mod soft;
pub mod state;
pub mod stats;
pub mod x86;

pub use innkeeper_bus::{bus, memory};

//! The hardware-assist engine: the host's KVM, with its in-kernel interrupt controllers and PIT.
//!
//! Follows Documentation/virt/kvm/api.rst of Linux. Left out so far: irqfd and ioeventfd, dirty
//! logging, nested state, SMM, user-space MSRs, guest debugging.
//!
//! `vm` builds a VM, `vcpu` runs it, `watchdog` ends a KVM_RUN that would not end by itself, `exits`
//! puts KVM's failures into words, `slots` gives it guest memory, `cpuid`, `msrs` and `state` translate what their names say; `chips`
//! is a reset line for KVM's interrupt controllers, `probe` finds out what the host's KVM is worth.

mod chips;
mod cpuid;
mod exits;
mod microguest;
mod msrs;
mod probe;
mod slots;
mod state;
mod vcpu;
mod vm;
mod watchdog;

#[cfg(test)]
mod tests;

pub use probe::{Probe, probe};
pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

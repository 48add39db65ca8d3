//! Guests of a few bytes, started straight in the mode they are about: no firmware, no mode switch.
//!
//! Memory: page tables from [`TABLES`], a GDT and an IDT, code at [`CODE`], results at [`RESULT`].

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kvm_bindings::kvm_cpuid_entry2;

use super::KvmVm;
use crate::engine::{EngineError, Vcpu, Vm};
use crate::exit::Exit;
use crate::memory::{GuestMemory, MemoryError};
use crate::state::{CpuStateV1, SegmentState, TableState};

pub const CODE: u64 = 0x1000;
pub const HANDLER: u64 = 0x2000;
pub const RESULT: u64 = 0x3000;
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const STACK: u64 = 0x8000;
const TABLES: u64 = 0x9000;
const RAM: u64 = 0x2_0000;

const CODE64: u32 = 0xA09B;
const CODE32: u32 = 0xC09B;
const DATA: u32 = 0xC093;
const DPL3: u32 = 0x60;
const KERNEL_CODE: u16 = 8;
const KERNEL_DATA: u16 = 16;
const USER_DATA: u16 = 24 | 3;
const USER_CODE: u16 = 32 | 3;
const BREAKPOINT: u64 = 3;

const MSR_STAR: u32 = 0xC000_0081;
const MSR_LSTAR: u32 = 0xC000_0082;
const EFER_SYSCALL: u64 = 1;
/// Paging, write protection off, protected mode.
const CR0: u64 = 0x8000_0031;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE_OSFXSR: u64 = 0x220;
const EFER_LONG: u64 = 0x500;

/// A guest under one vCPU and no interrupt controller.
pub struct MicroGuest {
    memory: Arc<GuestMemory>,
    vcpu: Arc<dyn Vcpu>,
    _vm: KvmVm,
}

/// The mode that a guest starts in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 64-bit, CPL 0; the first 4 GiB map onto themselves. #BP goes to [`HANDLER`].
    Long,
    /// The same at CPL 3, with SYSCALL leading to [`HANDLER`].
    LongUser,
    /// 32-bit, CPL 0, 4 MiB pages: the first maps onto itself, the second onto the first.
    Paged32,
}

fn refused(error: MemoryError) -> EngineError {
    EngineError::Refused(error.to_string())
}

impl MicroGuest {
    pub fn new(mode: Mode, code: &[u8], handler: &[u8]) -> Result<Self, EngineError> {
        Self::with_cpuid(mode, code, handler, &|_| {})
    }

    /// As `new`, under a CPUID that `edit` changed.
    pub fn with_cpuid(
        mode: Mode,
        code: &[u8],
        handler: &[u8],
        edit: &dyn Fn(&mut kvm_cpuid_entry2),
    ) -> Result<Self, EngineError> {
        let memory = Arc::new(GuestMemory::new(&[(0, RAM)]).map_err(refused)?);
        memory.write(CODE, code).map_err(refused)?;
        memory.write(HANDLER, handler).map_err(refused)?;
        let vm = KvmVm::build(Arc::clone(&memory), 1, false, edit)?;
        let vcpu = vm.vcpu(0).ok_or_else(|| EngineError::Refused("the VM has no vCPU".into()))?;
        prepare(&memory, &*vcpu, mode)?;
        Ok(Self { memory, vcpu, _vm: vm })
    }

    /// Changes the state that the guest will start in.
    pub fn adjust(&self, change: impl FnOnce(&mut CpuStateV1)) -> Result<(), EngineError> {
        let mut state = self.vcpu.get_state()?;
        change(&mut state);
        self.vcpu.set_state(&state)
    }

    /// Runs the guest, kicking it at `limit`, and tells how long it took.
    pub fn run(&self, limit: Duration) -> (Exit, Duration) {
        let (done, finished) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let finished = finished;
                if finished.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    self.vcpu.kick();
                }
            });
            let started = Instant::now();
            let exit = self.vcpu.run();
            let took = started.elapsed();
            drop(done);
            (exit, took)
        })
    }

    /// The 64-bit word that the guest left at [`RESULT`].
    pub fn result(&self) -> Result<u64, EngineError> {
        let mut word = [0; 8];
        self.memory.read(RESULT, &mut word).map_err(refused)?;
        Ok(u64::from_le_bytes(word))
    }
}

/// Writes the tables of `mode` and makes the vCPU start in it.
pub fn prepare(memory: &GuestMemory, vcpu: &dyn Vcpu, mode: Mode) -> Result<(), EngineError> {
    write_tables(memory, mode).map_err(refused)?;
    let mut state = vcpu.get_state()?;
    enter(&mut state, mode);
    vcpu.set_state(&state)
}

fn write_tables(memory: &GuestMemory, mode: Mode) -> Result<(), MemoryError> {
    // Present, writable, user; in the last level a large page.
    const TABLE: u64 = 7;
    const LARGE: u64 = 0x87;
    if mode == Mode::Paged32 {
        for entry in 0..2 {
            memory.write(TABLES + 4 * entry, &(LARGE as u32).to_le_bytes())?;
        }
    } else {
        let (pdpt, directories) = (TABLES + 0x1000, TABLES + 0x2000);
        memory.write(TABLES, &(pdpt | TABLE).to_le_bytes())?;
        for gib in 0..4 {
            memory.write(pdpt + 8 * gib, &((directories + 0x1000 * gib) | TABLE).to_le_bytes())?;
        }
        for leaf in 0..2048 {
            memory.write(directories + 8 * leaf, &(leaf << 21 | LARGE).to_le_bytes())?;
        }
    }
    let descriptor = |attributes: u32| u64::from(attributes) << 40 | 0x000F_0000_0000_FFFF;
    memory.write(GDT + u64::from(KERNEL_CODE), &descriptor(CODE64).to_le_bytes())?;
    memory.write(GDT + u64::from(KERNEL_DATA), &descriptor(DATA).to_le_bytes())?;
    // A 64-bit interrupt gate: the handler lies below 64 KiB, so the rest of the offset is zero.
    let gate = HANDLER | u64::from(KERNEL_CODE) << 16 | 0x8E << 40;
    memory.write(IDT + 16 * BREAKPOINT, &gate.to_le_bytes())
}

fn enter(state: &mut CpuStateV1, mode: Mode) {
    let (code, data, cs, ss) = match mode {
        Mode::Long => (CODE64, DATA, KERNEL_CODE, KERNEL_DATA),
        Mode::LongUser => (CODE64 | DPL3, DATA | DPL3, USER_CODE, USER_DATA),
        Mode::Paged32 => (CODE32, DATA, KERNEL_CODE, KERNEL_DATA),
    };
    let segment = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
    let flat = segment(ss, data);
    state.segments = [flat, segment(cs, code), flat, flat, flat, flat];
    state.gdtr = TableState { base: GDT, limit: 0x17 };
    state.idtr = TableState { base: IDT, limit: 16 * BREAKPOINT as u16 + 15 };
    (state.rip, state.gpr[4], state.rflags) = (CODE, STACK, 2);
    (state.cr0, state.cr3) = (CR0, TABLES);
    (state.cr4, state.efer) = if mode == Mode::Paged32 { (CR4_PSE, 0) } else { (CR4_PAE_OSFXSR, EFER_LONG) };
    if mode == Mode::LongUser {
        state.efer |= EFER_SYSCALL;
        for (msr, value) in &mut state.msrs {
            match *msr {
                MSR_STAR => *value = u64::from(KERNEL_CODE) << 32,
                MSR_LSTAR => *value = HANDLER,
                _ => {}
            }
        }
    }
}

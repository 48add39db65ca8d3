//! The interpreter's answer: one user-mode vCPU with the same pages at the same addresses.

use std::sync::Arc;

use innkeeper_core::bus::Bus;
use innkeeper_core::clock::Clock;
use innkeeper_core::irq::Fabric;
use innkeeper_core::memory::GuestMemory;
use innkeeper_core::state::SegmentState;
use innkeeper_core::x86::attention::Attention;
use innkeeper_core::x86::cpu::{Cpu, Platform, Ymm, cr};
use innkeeper_core::x86::cpuid::CpuidTable;
use innkeeper_core::x86::fault::{Stop, vector};
use innkeeper_core::x86::run::CodeGuard;

use crate::state::{CODE, CODE_AT, Case, DATA, DATA_SIZE, Outcome, State, Trap, WINDOW_AT};

const TABLES: u64 = 0x1000;
const CODE_FRAME: u64 = 0x10_000;
const DATA_FRAME: u64 = 0x20_000;
const USER: u64 = 5;
const USER_WRITABLE: u64 = 7;
const RIP: usize = 17;

pub struct Interpreter {
    cpu: Cpu,
    memory: Arc<GuestMemory>,
}

impl Interpreter {
    /// # Panics
    /// If the host has no memory for a small guest.
    pub fn new(bitness: u32) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).expect("guest memory"));
        map_pages(&memory);
        let attention = Arc::new(Attention::default());
        let clock = Arc::new(Clock::new());
        let fabric = Fabric::new(Arc::clone(&clock), std::slice::from_ref(&attention));
        let platform = Arc::new(Platform {
            memory: Arc::clone(&memory),
            ports: Arc::new(Bus::default()),
            mmio: Arc::new(Bus::default()),
            cpuid: CpuidTable::new(1, clock.khz()),
            code_guard: CodeGuard::new(std::slice::from_ref(&attention)),
            fabric,
            clock,
        });
        let lapic = platform.fabric.lapic(0);
        let mut cpu = Cpu::new(0, platform, lapic, attention);
        let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
        cpu.segments = [flat(0x2B, 0xC0F3); 6];
        (cpu.segments[4].selector, cpu.segments[5].selector) = (0, 0);
        cpu.segments[1] = if bitness == 64 { flat(0x33, 0xA0FB) } else { flat(0x23, 0xC0FB) };
        cpu.tr.limit = 0; // no permission for any port
        cpu.cr0 = cr::CR0_PG | cr::CR0_WP | cr::CR0_NE | cr::CR0_ET | cr::CR0_MP | cr::CR0_PE;
        cpu.cr4 = cr::CR4_PAE | cr::CR4_OSFXSR | cr::CR4_OSXMMEXCPT | cr::CR4_OSXSAVE | cr::CR4_FSGSBASE;
        cpu.efer = cr::EFER_LME | cr::EFER_LMA | cr::EFER_NXE | cr::EFER_SCE;
        cpu.xcr0 = 7;
        cpu.cr3 = TABLES;
        cpu.set_rflags(0x202);
        cpu.flush_tlb();
        Self { cpu, memory }
    }

    /// Runs one case to its trap.
    pub fn run(&mut self, case: &Case) -> Outcome {
        let mut code = [0xCC; 16];
        code[..case.bytes.len()].copy_from_slice(&case.bytes);
        self.write(CODE_FRAME, &[0xCC; 0x1000]);
        self.write(CODE_FRAME + CODE_AT, &code);
        self.write(DATA_FRAME, &[0; DATA_SIZE as usize]);
        self.write(DATA_FRAME + WINDOW_AT, &case.state.window);
        self.load(&case.state);
        let trap = self.execute();
        Outcome { state: self.store(), trap }
    }

    fn write(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write(gpa, bytes).expect("within the guest's RAM");
    }

    /// The instruction (a REP as often as it asks), then the INT3 that it leads to.
    fn execute(&mut self) -> Trap {
        let cpu = &mut self.cpu;
        loop {
            let start = cpu.regs[RIP];
            let fetched = cpu.code_linear().and_then(|linear| cpu.fetch_one(linear));
            let result = fetched.and_then(|(op, length)| {
                cpu.regs[RIP] = cpu.regs[RIP].wrapping_add(length as u64);
                (op.handler)(cpu, &op)
            });
            match result {
                Ok(()) | Err(Stop::Leave) if cpu.regs[RIP] == start => {} // an unfinished REP
                Ok(()) | Err(Stop::Leave) => {
                    if cpu.code_linear().and_then(|linear| cpu.fetch_one(linear)).is_err() {
                        return fault(cpu);
                    }
                    cpu.regs[RIP] = cpu.regs[RIP].wrapping_add(1);
                    return Trap { vector: vector::BP, error: 0, address: 0 };
                }
                Err(Stop::Fault) => {
                    cpu.regs[RIP] = start;
                    return fault(cpu);
                }
                Err(Stop::Exit) => panic!("an unprivileged instruction left the guest: {:?}", cpu.exit),
            }
        }
    }

    fn load(&mut self, state: &State) {
        let cpu = &mut self.cpu;
        cpu.regs[..16].copy_from_slice(&state.gpr);
        cpu.regs[RIP] = state.rip;
        cpu.set_rflags(state.rflags);
        for (ymm, value) in cpu.ymm.iter_mut().zip(state.ymm) {
            *ymm = Ymm(value);
        }
        cpu.mxcsr = state.mxcsr;
        cpu.x87.set_control(state.fcw);
        cpu.x87.set_status_word(state.fsw);
        cpu.x87.valid = state.ftw as u8;
        cpu.x87.opcode = state.fop;
        cpu.x87.instruction_pointer = state.fip;
        cpu.x87.data_pointer = state.fdp;
        for (i, st) in state.st.iter().enumerate() {
            let mut wide = [0; 16];
            wide[..10].copy_from_slice(st);
            cpu.x87.regs[(usize::from(cpu.x87.top) + i) & 7] = u128::from_le_bytes(wide);
        }
    }

    fn store(&self) -> State {
        let cpu = &self.cpu;
        let top = usize::from(cpu.x87.top);
        let mut state = State {
            gpr: [0; 16],
            rip: cpu.regs[RIP],
            rflags: cpu.rflags,
            ymm: std::array::from_fn(|i| cpu.ymm[i].0),
            mxcsr: cpu.mxcsr,
            fcw: cpu.x87.control,
            fsw: cpu.x87.status_word(),
            ftw: u16::from(cpu.x87.valid),
            fop: cpu.x87.opcode,
            fip: cpu.x87.instruction_pointer,
            fdp: cpu.x87.data_pointer,
            st: [[0; 10]; 8],
            window: [0; crate::state::WINDOW],
        };
        state.gpr.copy_from_slice(&cpu.regs[..16]);
        for (i, st) in state.st.iter_mut().enumerate() {
            st.copy_from_slice(&cpu.x87.regs[(top + i) & 7].to_le_bytes()[..10]);
        }
        self.memory.read(DATA_FRAME + WINDOW_AT, &mut state.window).expect("within the guest's RAM");
        state
    }
}

fn fault(cpu: &Cpu) -> Trap {
    let error = if cpu.fault.has_error() { cpu.fault.error } else { 0 };
    Trap { vector: cpu.fault.vector, error, address: cpu.fault.address }
}

/// Four-level tables for the code page (read and execute) and the two data pages.
fn map_pages(memory: &GuestMemory) {
    let entry = |table: u64, index: u64, value: u64| {
        memory.write(table + 8 * index, &value.to_le_bytes()).expect("within the guest's RAM");
    };
    let (pdpt, directory) = (TABLES + 0x1000, TABLES + 0x2000);
    entry(TABLES, 0, pdpt | USER_WRITABLE);
    entry(pdpt, 0, directory | USER_WRITABLE);
    let ranges = [(CODE, CODE_FRAME, 1, USER), (DATA, DATA_FRAME, DATA_SIZE >> 12, USER_WRITABLE)];
    for (n, (linear, frame, pages, rights)) in ranges.into_iter().enumerate() {
        let table = TABLES + 0x3000 + 0x1000 * n as u64;
        entry(directory, linear >> 21 & 0x1FF, table | USER_WRITABLE);
        for page in 0..pages {
            entry(table, (linear >> 12 & 0x1FF) + page, (frame + (page << 12)) | rights);
        }
    }
}

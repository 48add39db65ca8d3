//! The vCPU that both tiers' answers come from: user-mode code and data at the addresses that the host's
//! child has them, and a supervisor whose handlers halt, so that a run shows what was delivered.

use std::sync::Arc;

use innkeeper_core::bus::Bus;
use innkeeper_core::clock::Clock;
use innkeeper_core::exit::Exit;
use innkeeper_core::irq::Fabric;
use innkeeper_core::memory::{CodeWrites, GuestMemory};
use innkeeper_core::state::{Activity, SegmentState, TableState};
use innkeeper_core::x86::attention::{Attention, WRITTEN};
use innkeeper_core::x86::bt::{Settings, Translator};
use innkeeper_core::x86::cpu::{Cpu, Platform, Ymm, cr};
use innkeeper_core::x86::cpuid::CpuidTable;
use innkeeper_core::x86::fault::Fault;
use innkeeper_core::x86::run::CodeGuard;

use crate::state::{CODE, DATA, DATA_SIZE, State, Trap, WINDOW, WINDOW_AT};

/// How many pages a guest has from `CODE` and `DATA` on, and whose they are.
#[derive(Clone, Copy)]
pub struct Pages {
    pub code: u64,
    pub data: u64,
    pub writable_code: bool,
    /// The code runs at CPL 0, under SMAP.
    pub supervisor: bool,
}

/// As many as the host's child has.
pub const FOR_CASES: Pages =
    Pages { code: 1, data: DATA_SIZE >> 12, writable_code: false, supervisor: false };

const RAM: u64 = 1 << 20;
const TABLES: u64 = 0x1000;
const CODE_FRAME: u64 = 0x10_000;
const DATA_FRAME: u64 = 0x20_000;
const SYSTEM_FRAME: u64 = 0x30_000;
/// The supervisor's pages: descriptors and task state, gates, handlers, and a stack.
const SYSTEM: u64 = 0x2300_0000;
const SYSTEM_PAGES: u64 = 4;
const TASK: u64 = SYSTEM + 0x100;
const GATES: u64 = SYSTEM + 0x1000;
const HANDLERS: u64 = SYSTEM + 0x2000;
const STACK_TOP: u64 = SYSTEM + 0x4000;
const KERNEL_CS: u64 = 0x10;

const SUPERVISOR_WRITABLE: u64 = 3;
const USER: u64 = 5;
const USER_WRITABLE: u64 = 7;
const RIP: usize = 17;
const HLT: u8 = 0xF4;

pub struct Guest {
    pub cpu: Box<Cpu>,
    pub attention: Arc<Attention>,
    memory: Arc<GuestMemory>,
    bitness: u32,
    pages: Pages,
}

impl Guest {
    /// A guest whose code is translated, or interpreted if there is no `translation`.
    ///
    /// # Panics
    /// If the host has no memory for a small guest.
    pub fn new(bitness: u32, pages: Pages, translation: Option<Settings>) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, RAM)]).expect("guest memory"));
        map_pages(&memory, pages);
        furnish_system(&memory);
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
        let mut cpu = Cpu::new(0, platform, lapic, Arc::clone(&attention));
        if let Some(settings) = translation {
            let ringer = Arc::clone(&attention);
            let writes = CodeWrites::new(Box::new(move || ringer.raise_quietly(WRITTEN)));
            memory.watch_code(vec![Arc::clone(&writes)]);
            cpu.translator = Some(Box::new(Translator::new(settings, writes).expect("a code cache")));
        }
        cpu.cr0 = cr::CR0_PG | cr::CR0_WP | cr::CR0_NE | cr::CR0_ET | cr::CR0_MP | cr::CR0_PE;
        cpu.cr4 = cr::CR4_PAE | cr::CR4_OSFXSR | cr::CR4_OSXMMEXCPT | cr::CR4_OSXSAVE | cr::CR4_FSGSBASE;
        if pages.supervisor {
            cpu.cr4 |= cr::CR4_SMAP;
        }
        cpu.efer = cr::EFER_LME | cr::EFER_LMA | cr::EFER_NXE | cr::EFER_SCE;
        cpu.xcr0 = 7;
        cpu.cr3 = TABLES;
        cpu.gdtr = TableState { base: SYSTEM, limit: 0x1F };
        cpu.idtr = TableState { base: GATES, limit: 0xFFF };
        cpu.tr = SegmentState { selector: 0x20, attributes: 0x8B, limit: 0x67, base: TASK };
        let mut guest = Self { cpu, attention, memory, bitness, pages };
        guest.enter(0x202);
        guest.cpu.flush_tlb();
        guest
    }

    /// Flat segments and the level of the code.
    fn enter(&mut self, rflags: u64) {
        let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
        let cpu = &mut self.cpu;
        let (data, code) = match (self.pages.supervisor, self.bitness) {
            (true, 64) => (flat(0x18, 0xC093), flat(KERNEL_CS as u16, 0xA09B)),
            (true, _) => (flat(0x18, 0xC093), flat(8, 0xC09B)),
            (false, 64) => (flat(0x2B, 0xC0F3), flat(0x33, 0xA0FB)),
            (false, _) => (flat(0x2B, 0xC0F3), flat(0x23, 0xC0FB)),
        };
        cpu.segments = [data; 6];
        (cpu.segments[4].selector, cpu.segments[5].selector) = (0, 0);
        cpu.segments[1] = code;
        cpu.activity = Activity::Runnable;
        cpu.nmi_blocked = false;
        cpu.set_rflags(rflags);
    }

    pub fn write_code(&self, offset: u64, bytes: &[u8]) {
        self.write(CODE_FRAME + offset, bytes);
    }

    pub fn write_data(&self, offset: u64, bytes: &[u8]) {
        self.write(DATA_FRAME + offset, bytes);
    }

    pub fn data(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.pages.data << 12) as usize];
        self.memory.read(DATA_FRAME, &mut bytes).expect("within the guest's RAM");
        bytes
    }

    fn write(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write(gpa, bytes).expect("within the guest's RAM");
    }

    /// Takes on `state`, its window included.
    pub fn load(&mut self, state: &State) {
        self.write_data(WINDOW_AT, &state.window);
        self.enter(state.rflags);
        let cpu = &mut self.cpu;
        cpu.msrs.kernel_gs_base = 0;
        cpu.regs[..16].copy_from_slice(&state.gpr);
        cpu.regs[RIP] = state.rip;
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

    /// The state that the vCPU is in.
    pub fn store(&self) -> State {
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
            window: [0; WINDOW],
        };
        state.gpr.copy_from_slice(&cpu.regs[..16]);
        for (i, st) in state.st.iter_mut().enumerate() {
            st.copy_from_slice(&cpu.x87.regs[(top + i) & 7].to_le_bytes()[..10]);
        }
        self.memory.read(DATA_FRAME + WINDOW_AT, &mut state.window).expect("within the guest's RAM");
        state
    }

    /// Runs the engine's own loop until a handler halts: what was delivered, and the state it found,
    /// which is the program's. Kicks are passed over.
    ///
    /// # Errors
    /// How the vCPU ended otherwise: every path of user code leads to a handler.
    pub fn run(&mut self) -> Result<(Trap, State), String> {
        loop {
            match self.cpu.run() {
                Exit::Halt => break,
                Exit::Kicked => {}
                Exit::InternalError(what) => return Err(what),
                other => return Err(format!("the guest ended: {other:?} at {:x?}", self.cpu.regs)),
            }
        }
        let vector = (self.cpu.regs[RIP] - HANDLERS - 1) as u8;
        let fault = Fault { vector, error: 0, address: 0 };
        let mut frame = [0; 6];
        let start = if fault.has_error() { 0 } else { 1 };
        let at = SYSTEM_FRAME + (STACK_TOP - SYSTEM) - 8 * (6 - start as u64);
        for (i, word) in frame[start..].iter_mut().enumerate() {
            let mut bytes = [0; 8];
            self.memory.read(at + 8 * i as u64, &mut bytes).expect("within the guest's RAM");
            *word = u64::from_le_bytes(bytes);
        }
        let [error, rip, _, rflags, rsp, _] = frame;
        let mut state = self.store();
        (state.rip, state.rflags, state.gpr[4]) = (rip, rflags, rsp);
        Ok((Trap { vector, error: error as u32, address: self.cpu.cr2 }, state))
    }
}

fn put(memory: &GuestMemory, gpa: u64, word: u64) {
    memory.write(gpa, &word.to_le_bytes()).expect("within the guest's RAM");
}

/// Four-level tables for the code, the data, and the supervisor's pages.
fn map_pages(memory: &GuestMemory, pages: Pages) {
    let (pdpt, directory) = (TABLES + 0x1000, TABLES + 0x2000);
    put(memory, TABLES, pdpt | USER_WRITABLE);
    put(memory, pdpt, directory | USER_WRITABLE);
    let (code, data) = match (pages.supervisor, pages.writable_code) {
        (true, _) => (SUPERVISOR_WRITABLE, SUPERVISOR_WRITABLE),
        (false, true) => (USER_WRITABLE, USER_WRITABLE),
        (false, false) => (USER, USER_WRITABLE),
    };
    let ranges = [
        (CODE, CODE_FRAME, pages.code, code),
        (DATA, DATA_FRAME, pages.data, data),
        (SYSTEM, SYSTEM_FRAME, SYSTEM_PAGES, SUPERVISOR_WRITABLE),
    ];
    for (n, (linear, frame, pages, rights)) in ranges.into_iter().enumerate() {
        let table = TABLES + 0x3000 + 0x1000 * n as u64;
        put(memory, directory + 8 * (linear >> 21 & 0x1FF), table | USER_WRITABLE);
        for page in 0..pages {
            put(memory, table + 8 * ((linear >> 12 & 0x1FF) + page), (frame + (page << 12)) | rights);
        }
    }
}

/// Segments, the stack of all handlers, and a gate and a HLT for each vector.
fn furnish_system(memory: &GuestMemory) {
    const SEGMENTS: [u64; 3] = [0x00CF_9B00_0000_FFFF, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];
    const INTERRUPT_GATE: u64 = 0x8E;
    /// The first of the interrupt stack table.
    const STACK: u64 = 1;
    const FOR_PROGRAMS: u64 = 0x60;
    /// The permission map's offset in the task state: beyond its limit.
    const NO_PORTS: u64 = 0x1000;
    for (number, segment) in (1..).zip(SEGMENTS) {
        put(memory, SYSTEM_FRAME + 8 * number, segment);
    }
    put(memory, SYSTEM_FRAME + (TASK - SYSTEM) + 0x24, STACK_TOP);
    put(memory, SYSTEM_FRAME + (TASK - SYSTEM) + 0x60, NO_PORTS << 48);
    for vector in 0..256 {
        let handler = HANDLERS + vector;
        let kind = INTERRUPT_GATE | if matches!(vector, 3 | 4) { FOR_PROGRAMS } else { 0 };
        let low =
            handler & 0xFFFF | KERNEL_CS << 16 | STACK << 32 | kind << 40 | (handler & 0xFFFF_0000) << 32;
        put(memory, SYSTEM_FRAME + (GATES - SYSTEM) + 16 * vector, low);
        let at = SYSTEM_FRAME + (HANDLERS - SYSTEM) + vector;
        memory.write(at, &[HLT]).expect("within the guest's RAM");
    }
}

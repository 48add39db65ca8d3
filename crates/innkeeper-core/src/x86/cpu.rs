//! The register file and mode of one software vCPU, and the small verbs that handlers are made of.

use std::sync::Arc;

use super::attention::{Attention, LOCAL};
use super::block::BlockCache;
use super::bt::Translator;
use super::bt::context::Context;
use super::debug::Debugger;
use super::fault::{Fault, Stop, vector};
use super::mmu::Tlb;
use super::op::{Op, seg};
use super::segment as attr;
use super::word::{Int, Word};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::exit::Exit;
use crate::irq::kvmclock::Kvmclock;
use crate::irq::{Fabric, Lapic};
use crate::memory::GuestMemory;
use crate::state::{Activity, SegmentState, TableState};
use crate::stats::Stats;

/// RFLAGS bits.
pub mod flag {
    pub const CF: u64 = 1 << 0;
    pub const FIXED: u64 = 1 << 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// The six that arithmetic sets.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}

/// CR0, CR4 and EFER bits.
pub mod cr {
    pub const CR0_PE: u64 = 1 << 0;
    pub const CR0_MP: u64 = 1 << 1;
    pub const CR0_EM: u64 = 1 << 2;
    pub const CR0_TS: u64 = 1 << 3;
    pub const CR0_ET: u64 = 1 << 4;
    pub const CR0_NE: u64 = 1 << 5;
    pub const CR0_WP: u64 = 1 << 16;
    pub const CR0_AM: u64 = 1 << 18;
    pub const CR0_NW: u64 = 1 << 29;
    pub const CR0_CD: u64 = 1 << 30;
    pub const CR0_PG: u64 = 1 << 31;
    pub const CR4_VME: u64 = 1 << 0;
    pub const CR4_PVI: u64 = 1 << 1;
    pub const CR4_TSD: u64 = 1 << 2;
    pub const CR4_DE: u64 = 1 << 3;
    pub const CR4_PSE: u64 = 1 << 4;
    pub const CR4_PAE: u64 = 1 << 5;
    pub const CR4_MCE: u64 = 1 << 6;
    pub const CR4_PGE: u64 = 1 << 7;
    pub const CR4_PCE: u64 = 1 << 8;
    pub const CR4_OSFXSR: u64 = 1 << 9;
    pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
    pub const CR4_UMIP: u64 = 1 << 11;
    pub const CR4_FSGSBASE: u64 = 1 << 16;
    pub const CR4_PCIDE: u64 = 1 << 17;
    pub const CR4_OSXSAVE: u64 = 1 << 18;
    pub const CR4_SMEP: u64 = 1 << 20;
    pub const CR4_SMAP: u64 = 1 << 21;
    pub const EFER_SCE: u64 = 1 << 0;
    pub const EFER_LME: u64 = 1 << 8;
    pub const EFER_LMA: u64 = 1 << 10;
    pub const EFER_NXE: u64 = 1 << 11;
}

pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RBX: usize = 3;
pub const RSP: usize = 4;
pub const RBP: usize = 5;
pub const RSI: usize = 6;
pub const RDI: usize = 7;
/// The pseudo-register that holds RIP, so that RIP-relative addressing is ordinary addressing.
pub const RIP: usize = super::op::RIP as usize;

/// A vector register: the low 128 bits are XMM.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C, align(32))]
pub struct Ymm(pub [u64; 4]);

/// x87 state: the registers by physical number (`st(i)` is `regs[(top + i) & 7]`), each 80 bits in
/// the low bytes; MMX registers are their low 64 bits, by physical number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct X87 {
    pub regs: [u128; 8],
    pub control: u16,
    /// Without TOP, which is `top`, and without ES and B, which follow from the rest.
    pub status: u16,
    pub top: u8,
    /// One bit per physical register: 1 = not empty (the FXSAVE form).
    pub valid: u8,
    pub opcode: u16,
    pub instruction_pointer: u64,
    pub data_pointer: u64,
}

/// MSRs that are plain storage with rules for writing; the rest live where they act.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Msrs {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    pub tsc_aux: u64,
    pub tsc_adjust: u64,
    pub misc_enable: u64,
    pub spec_ctrl: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_variable: [u64; 16],
    pub debug_ctl: u64,
    pub syscfg: u64,
    pub hwcr: u64,
    pub nb_cfg: u64,
    pub de_cfg: u64,
}

/// What the vCPUs of one VM share.
pub struct Platform {
    pub memory: Arc<GuestMemory>,
    pub ports: Arc<Bus>,
    pub mmio: Arc<Bus>,
    pub fabric: Arc<Fabric>,
    pub clock: Arc<Clock>,
    pub cpuid: super::cpuid::CpuidTable,
    pub code_guard: Arc<super::run::CodeGuard>,
}

/// One software vCPU.
pub struct Cpu {
    /// General registers, then a zero, then RIP; the rest is never used, but makes every masked
    /// number an index.
    pub regs: [u64; 32],
    /// RFLAGS, always exact (no lazy flags).
    pub rflags: u64,
    /// Segment bases as addressing uses them: 0 for all but FS and GS in 64-bit mode. From index 6 on 0.
    pub bases: [u64; 8],
    /// 64-bit code (EFER.LMA and CS.L).
    pub long: bool,
    /// CR0.PE and not VM86: selectors index descriptor tables.
    pub protected: bool,
    pub cpl: u8,
    /// Width of the stack pointer as a mask: 16, 32 or 64 bits of ones.
    pub stack_mask: u64,
    /// Default operand and address size of code: 16, 32 or 64.
    pub bitness: u32,
    /// Leave the current block after this instruction.
    pub leave: bool,
    /// An interrupt shadow covers the next instruction (STI, MOV SS, POP SS).
    pub shadow: Shadow,
    pub fault: Fault,
    pub exit: Option<Exit>,
    pub activity: Activity,
    pub tlb: Box<Tlb>,

    pub segments: [SegmentState; 6],
    pub ldtr: SegmentState,
    pub tr: SegmentState,
    pub gdtr: TableState,
    pub idtr: TableState,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub xcr0: u64,
    /// PAE page-directory-pointer entries, loaded with CR3 (Intel SDM vol. 3, 4.4.1).
    pub pdptes: [u64; 4],
    pub dr: [u64; 8],
    /// #DB conditions found while executing the current instruction, as DR6 bits; reported behind it.
    pub debug_hits: u64,
    /// What a debugger waits for, if there is one.
    pub debugger: Option<Box<Debugger>>,
    pub ymm: [Ymm; 16],
    pub mxcsr: u32,
    pub x87: X87,
    pub msrs: Msrs,
    pub kvmclock: Kvmclock,
    /// PAUSE instructions so far, to yield the host's processor now and then.
    pub pauses: u32,
    /// NMIs are held back until IRET.
    pub nmi_blocked: bool,
    /// While an event is being delivered: its vector, for double-fault rules.
    pub delivering: Option<u8>,

    pub index: u32,
    pub platform: Arc<Platform>,
    pub lapic: Arc<Lapic>,
    pub attention: Arc<Attention>,
    pub stats: Arc<Stats>,
    pub blocks: BlockCache,
    /// Translates to host code; without one, every instruction is interpreted.
    pub translator: Option<Box<Translator>>,
    /// What translated code works on, beside the registers.
    pub context: Context,
}

/// Interrupt shadows: both last for one instruction (Intel SDM vol. 3, 6.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shadow {
    #[default]
    None,
    Sti,
    /// Also holds back debug exceptions.
    MovSs,
}

/// RSP after a new stack pointer of the width of `mask`.
#[inline(always)]
pub fn with_sp(rsp: u64, value: u64, mask: u64) -> u64 {
    let kept = if mask == 0xFFFF { !0xFFFF } else { 0 };
    rsp & kept | value & mask
}

impl Cpu {
    // ---- faults: `return Err(cpu.gp(0))` --------------------------------------------------------

    pub fn raise(&mut self, vector: u8, error: u32) -> Stop {
        self.fault = Fault { vector, error, address: 0 };
        Stop::Fault
    }
    pub fn ud(&mut self) -> Stop {
        self.raise(vector::UD, 0)
    }
    pub fn gp(&mut self, error: u32) -> Stop {
        self.raise(vector::GP, error)
    }
    pub fn nm(&mut self) -> Stop {
        self.raise(vector::NM, 0)
    }
    pub fn stop_with(&mut self, exit: Exit) -> Stop {
        self.exit = Some(exit);
        Stop::Exit
    }

    // ---- registers ------------------------------------------------------------------------------

    #[inline(always)]
    pub fn rip(&self) -> u64 {
        self.regs[RIP]
    }

    /// Reads register `number` at width `T`. For `u8` the number is a byte offset (see [`Op`]).
    #[inline(always)]
    pub fn reg<T: Int>(&self, number: u8) -> T {
        if T::BYTES == 1 {
            T::truncate(self.regs[(number >> 3) as usize & 15] >> (8 * (number & 1)))
        } else {
            T::truncate(self.regs[usize::from(number & 31)])
        }
    }

    /// Writes register `number` at width `T`: 32 bits zero-extend, 8 and 16 leave the rest alone.
    #[inline(always)]
    pub fn set_reg<T: Int>(&mut self, number: u8, value: T) {
        let value: u64 = value.zero_extend();
        if T::BYTES == 1 {
            let (slot, shift) = (&mut self.regs[(number >> 3) as usize & 15], 8 * (number & 1));
            *slot = *slot & !(0xFF << shift) | value << shift;
        } else if T::BYTES == 2 {
            let slot = &mut self.regs[usize::from(number & 31)];
            *slot = *slot & !0xFFFF | value;
        } else {
            self.regs[usize::from(number & 31)] = value;
        }
    }

    // ---- operands -------------------------------------------------------------------------------

    /// The effective address (offset in the segment) of the memory operand.
    #[inline(always)]
    pub fn ea(&self, op: &Op) -> u64 {
        let index = self.regs[usize::from(op.index & 31)] << (op.scale & 3);
        self.regs[usize::from(op.base & 31)].wrapping_add(index).wrapping_add(op.disp) & op.address_mask
    }

    /// Reads the r/m operand.
    #[inline(always)]
    pub fn rm<T: Int>(&mut self, op: &Op) -> Result<T, Stop> {
        if op.memory { self.load(op.segment, self.ea(op)) } else { Ok(self.reg(op.rm)) }
    }

    /// Writes the r/m operand.
    #[inline(always)]
    pub fn set_rm<T: Int>(&mut self, op: &Op, value: T) -> Result<(), Stop> {
        if op.memory {
            self.store(op.segment, self.ea(op), value)
        } else {
            self.set_reg(op.rm, value);
            Ok(())
        }
    }

    /// Reads, changes and writes the r/m operand; atomically if `op` has LOCK. The closure may run
    /// more than once, so it must only compute. Gives the value before.
    #[inline(always)]
    pub fn modify_rm<T: Int>(&mut self, op: &Op, mut change: impl FnMut(T) -> T) -> Result<T, Stop> {
        if op.memory {
            let locked = op.prefixes & super::op::LOCK != 0;
            self.modify(op.segment, self.ea(op), locked, change)
        } else {
            let before = self.reg::<T>(op.rm);
            self.set_reg(op.rm, change(before));
            Ok(before)
        }
    }

    // ---- the stack ------------------------------------------------------------------------------

    /// RSP as the stack segment's size sees it.
    #[inline(always)]
    pub fn sp(&self) -> u64 {
        self.regs[RSP] & self.stack_mask
    }

    /// Sets RSP, ESP (zero-extending it, as 32-bit results are) or SP.
    #[inline(always)]
    pub fn set_sp(&mut self, value: u64) {
        self.regs[RSP] = with_sp(self.regs[RSP], value, self.stack_mask);
    }

    /// Pushes at operand width `T`; RSP moves only if the write succeeds.
    #[inline(always)]
    pub fn push<T: Int>(&mut self, value: T) -> Result<(), Stop> {
        let sp = self.sp().wrapping_sub(T::BYTES) & self.stack_mask;
        self.store(seg::SS, sp, value)?;
        self.set_sp(sp);
        Ok(())
    }

    #[inline(always)]
    pub fn pop<T: Int>(&mut self) -> Result<T, Stop> {
        let sp = self.sp();
        let value = self.load(seg::SS, sp)?;
        self.set_sp(sp.wrapping_add(T::BYTES));
        Ok(value)
    }

    // ---- flags ----------------------------------------------------------------------------------

    #[inline(always)]
    pub fn has_flag(&self, mask: u64) -> bool {
        self.rflags & mask != 0
    }

    /// Replaces the six status flags.
    #[inline(always)]
    pub fn set_status(&mut self, status: u64) {
        self.rflags = self.rflags & !flag::STATUS | status & flag::STATUS;
    }

    pub fn set_flag(&mut self, mask: u64, on: bool) {
        self.rflags = if on { self.rflags | mask } else { self.rflags & !mask };
    }

    pub fn iopl(&self) -> u8 {
        (self.rflags >> 12 & 3) as u8
    }

    /// Replaces RFLAGS whole (fixed bits kept right) and recomputes what depends on it.
    pub fn set_rflags(&mut self, value: u64) {
        self.rflags = value & 0x3F_7FD5 | flag::FIXED;
        self.refresh_mode();
        self.attention.raise(LOCAL);
    }

    // ---- modes ----------------------------------------------------------------------------------

    pub fn v86(&self) -> bool {
        self.rflags & flag::VM != 0
    }
    /// IA-32e mode, 64-bit or compatibility.
    pub fn lma(&self) -> bool {
        self.efer & cr::EFER_LMA != 0
    }
    /// Real mode: CR0.PE clear.
    pub fn real(&self) -> bool {
        self.cr0 & cr::CR0_PE == 0
    }

    /// Recomputes what is derived from CR0, CR4, EFER, RFLAGS, CS and SS. Call after changing any of
    /// them; the instruction must end its block. `cpl` is SS.DPL (3 in virtual-8086, 0 in real mode).
    pub fn refresh_mode(&mut self) {
        let cs = self.segments[seg::CS as usize];
        let ss = self.segments[seg::SS as usize];
        self.protected = !self.real() && !self.v86();
        self.cpl = if self.real() {
            0
        } else if self.v86() {
            3
        } else {
            ss.dpl()
        };
        self.long = self.lma() && cs.has(attr::LONG);
        self.bitness = match () {
            () if self.long => 64,
            () if cs.has(attr::BIG) && !self.v86() => 32,
            () => 16,
        };
        self.stack_mask = match () {
            () if self.long => u64::MAX,
            () if ss.has(attr::BIG) && !self.v86() => 0xFFFF_FFFF,
            () => 0xFFFF,
        };
        for number in 0..6 {
            let flat = self.long && number < seg::FS as usize;
            self.bases[number] = if flat { 0 } else { self.segments[number].base };
        }
        self.refresh_tlb_view();
        self.context.cpuid = Default::default();
        self.leave = true;
    }

    /// An access of `T` at a stack-relative or data segment: loads through the MMU.
    #[inline(always)]
    pub fn load_op<T: Word>(&mut self, op: &Op) -> Result<T, Stop> {
        self.load(op.segment, self.ea(op))
    }

    #[inline(always)]
    pub fn store_op<T: Word>(&mut self, op: &Op, value: T) -> Result<(), Stop> {
        self.store(op.segment, self.ea(op), value)
    }
}

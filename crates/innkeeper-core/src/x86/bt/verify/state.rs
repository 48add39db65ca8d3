//! All of a vCPU that a program can see, to be put back or compared.

use std::fmt::{self, Write as _};

use crate::state::{SegmentState, TableState};
use crate::x86::cpu::{Cpu, Msrs, RIP, Shadow, X87, Ymm, flag};
use crate::x86::fault::Fault;

#[derive(Clone)]
pub struct State {
    regs: [u64; 32],
    rflags: u64,
    bases: [u64; 8],
    mode: (bool, bool, u8, u64, u32),
    shadow: Shadow,
    fault: Fault,
    segments: [SegmentState; 6],
    system: (SegmentState, SegmentState, TableState, TableState),
    control: [u64; 6],
    pdptes: [u64; 4],
    dr: [u64; 8],
    debug_hits: u64,
    ymm: [Ymm; 16],
    mxcsr: u32,
    x87: X87,
    msrs: Msrs,
    nmi_blocked: bool,
    data_view: usize,
}

impl State {
    pub fn of(cpu: &Cpu) -> Self {
        Self {
            regs: cpu.regs,
            rflags: cpu.rflags,
            bases: cpu.bases,
            mode: (cpu.long, cpu.protected, cpu.cpl, cpu.stack_mask, cpu.bitness),
            shadow: cpu.shadow,
            fault: cpu.fault,
            segments: cpu.segments,
            system: (cpu.ldtr, cpu.tr, cpu.gdtr, cpu.idtr),
            control: [cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.efer, cpu.xcr0],
            pdptes: cpu.pdptes,
            dr: cpu.dr,
            debug_hits: cpu.debug_hits,
            ymm: cpu.ymm,
            mxcsr: cpu.mxcsr,
            x87: cpu.x87.clone(),
            msrs: cpu.msrs.clone(),
            nmi_blocked: cpu.nmi_blocked,
            data_view: cpu.tlb.data,
        }
    }

    pub fn restore(&self, cpu: &mut Cpu) {
        (cpu.regs, cpu.rflags, cpu.bases) = (self.regs, self.rflags, self.bases);
        (cpu.long, cpu.protected, cpu.cpl, cpu.stack_mask, cpu.bitness) = self.mode;
        (cpu.shadow, cpu.fault, cpu.segments) = (self.shadow, self.fault, self.segments);
        (cpu.ldtr, cpu.tr, cpu.gdtr, cpu.idtr) = self.system;
        [cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.efer, cpu.xcr0] = self.control;
        (cpu.pdptes, cpu.dr, cpu.debug_hits) = (self.pdptes, self.dr, self.debug_hits);
        (cpu.ymm, cpu.mxcsr) = (self.ymm, self.mxcsr);
        (cpu.x87, cpu.msrs) = (self.x87.clone(), self.msrs.clone());
        cpu.nmi_blocked = self.nmi_blocked;
        cpu.refresh_tlb_view();
    }

    pub fn rip(&self) -> u64 {
        self.regs[RIP]
    }

    pub fn rflags(&self) -> u64 {
        self.rflags
    }

    /// What is otherwise in `other`, which translated code made; of the status flags, only these count.
    pub fn difference(&self, other: &Self, flags: u64) -> String {
        let mut text = String::new();
        let mut word = |name: &str, ours: u64, theirs: u64| {
            if ours != theirs {
                let _ = write!(text, "{name} is {theirs:x}, not {ours:x}; ");
            }
        };
        for number in 0..=RIP {
            word(&register(number), self.regs[number], other.regs[number]);
        }
        let compared = !flag::STATUS | flags;
        word("rflags", self.rflags & compared, other.rflags & compared);
        word("mxcsr", self.mxcsr.into(), other.mxcsr.into());
        word("the view of data", self.data_view as u64, other.data_view as u64);
        let (ours, theirs) = (&self.x87, &other.x87);
        word("fcw", ours.control.into(), theirs.control.into());
        word("fsw", ours.status.into(), theirs.status.into());
        word("top", ours.top.into(), theirs.top.into());
        word("ftw", ours.valid.into(), theirs.valid.into());
        for number in 0..8 {
            word(&format!("base {number}"), self.bases[number], other.bases[number]);
        }
        for number in 0..8 {
            if ours.regs[number] != theirs.regs[number] {
                let (ours, theirs) = (ours.regs[number], theirs.regs[number]);
                let _ = write!(text, "x87 register {number} is {theirs:x}, not {ours:x}; ");
            }
        }
        for (number, (ours, theirs)) in self.ymm.iter().zip(&other.ymm).enumerate() {
            if ours != theirs {
                let _ = write!(text, "ymm{number} is {:x?}, not {:x?}; ", theirs.0, ours.0);
            }
        }
        let rest = [
            ("mode", self.mode == other.mode),
            // Translated code has no shadow behind STI: it just looks for no interrupt there.
            ("shadows", self.shadow == other.shadow || self.shadow == Shadow::Sti),
            ("segments", self.segments == other.segments),
            ("descriptor tables", self.system == other.system),
            ("control registers", self.control == other.control && self.pdptes == other.pdptes),
            ("debug registers", self.dr == other.dr && self.debug_hits == other.debug_hits),
            ("MSRs", self.msrs == other.msrs && self.nmi_blocked == other.nmi_blocked),
        ];
        for (name, same) in rest {
            if !same {
                let _ = write!(text, "{name} differ; ");
            }
        }
        text
    }
}

fn register(number: usize) -> String {
    const NAMES: [&str; 8] = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
    match number {
        RIP => "rip".into(),
        0..8 => NAMES[number].into(),
        _ => format!("r{number}"),
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for number in (0..16).chain([RIP]) {
            write!(out, "{} {:x} ", register(number), self.regs[number])?;
        }
        write!(
            out,
            "rflags {:x} cpl {} fs {:x} gs {:x} ",
            self.rflags, self.mode.2, self.bases[4], self.bases[5]
        )?;
        write!(out, "cr {:x?} mxcsr {:x} fcw {:x}", self.control, self.mxcsr, self.x87.control)
    }
}

//! A vCPU's architectural state, out and in: the plain structure that all engines share.

use super::attention::LOCAL;
use super::cpu::{Cpu, RIP, Shadow};
use super::exec::msr::STATE;
use super::exec::xsave::{load_xsave_image, xsave_image};
use crate::state::CpuStateV1;

impl Cpu {
    /// The state between two instructions.
    pub fn to_state(&self) -> CpuStateV1 {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&self.regs[..16]);
        CpuStateV1 {
            gpr,
            rip: self.regs[RIP],
            rflags: self.rflags,
            segments: self.segments,
            ldtr: self.ldtr,
            tr: self.tr,
            gdtr: self.gdtr,
            idtr: self.idtr,
            cr0: self.cr0,
            cr2: self.cr2,
            cr3: self.cr3,
            cr4: self.cr4,
            cr8: self.lapic.cr8().into(),
            xcr0: self.xcr0,
            efer: self.efer,
            dr: self.dr,
            msrs: STATE.iter().filter_map(|&msr| Some((msr, self.read_msr(msr)?))).collect(),
            xsave: xsave_image(self),
            activity: self.activity,
        }
    }

    /// Takes on a state. MSRs that are not part of it here are passed over (the APIC and the TSC keep
    /// their own), and so are values that no processor could hold.
    pub fn from_state(&mut self, state: &CpuStateV1) {
        self.regs[..16].copy_from_slice(&state.gpr);
        self.regs[RIP] = state.rip;
        self.segments = state.segments;
        (self.ldtr, self.tr) = (state.ldtr, state.tr);
        (self.gdtr, self.idtr) = (state.gdtr, state.idtr);
        (self.cr0, self.cr2, self.cr3, self.cr4) = (state.cr0, state.cr2, state.cr3, state.cr4);
        (self.xcr0, self.efer, self.dr) = (state.xcr0, state.efer, state.dr);
        self.lapic.set_cr8(state.cr8 as u8 & 15);
        for &(msr, value) in state.msrs.iter().filter(|(msr, _)| STATE.contains(msr)) {
            self.write_msr(msr, value);
        }
        load_xsave_image(self, &state.xsave);
        self.activity = state.activity;
        (self.shadow, self.debug_hits, self.delivering) = (Shadow::None, 0, None);
        self.flush_tlb();
        self.pdptes = self.read_pdptes(self.cr3).unwrap_or_default();
        self.set_rflags(state.rflags); // refreshes the mode
        self.attention.raise(LOCAL);
    }
}

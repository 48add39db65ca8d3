//! A vCPU's architectural state, out and in: the plain structure that all engines share.

use super::attention::LOCAL;
use super::cpu::{Cpu, Msrs, RIP, Shadow};
use super::exec::xsave::{load_xsave_image, xsave_image};
use crate::state::CpuStateV1;

/// The MSRs that are plain storage, with where they are stored.
type Place = fn(&mut Msrs) -> &mut u64;
const STORED: &[(u32, Place)] = &[
    (0x3B, |msrs| &mut msrs.tsc_adjust),
    (0x174, |msrs| &mut msrs.sysenter_cs),
    (0x175, |msrs| &mut msrs.sysenter_esp),
    (0x176, |msrs| &mut msrs.sysenter_eip),
    (0x1A0, |msrs| &mut msrs.misc_enable),
    (0x1D9, |msrs| &mut msrs.debug_ctl),
    (0x277, |msrs| &mut msrs.pat),
    (0x2FF, |msrs| &mut msrs.mtrr_def_type),
    (0xC000_0081, |msrs| &mut msrs.star),
    (0xC000_0082, |msrs| &mut msrs.lstar),
    (0xC000_0083, |msrs| &mut msrs.cstar),
    (0xC000_0084, |msrs| &mut msrs.sfmask),
    (0xC000_0102, |msrs| &mut msrs.kernel_gs_base),
    (0xC000_0103, |msrs| &mut msrs.tsc_aux),
];

impl Cpu {
    /// The state between two instructions.
    pub fn to_state(&self) -> CpuStateV1 {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&self.regs[..16]);
        let mut msrs = self.msrs.clone();
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
            msrs: STORED.iter().map(|(msr, place)| (*msr, *place(&mut msrs))).collect(),
            xsave: xsave_image(self),
            activity: self.activity,
        }
    }

    /// Takes on a state. MSRs that are not stored here are passed over: the APIC and the clock keep
    /// their own.
    pub fn from_state(&mut self, state: &CpuStateV1) {
        self.regs[..16].copy_from_slice(&state.gpr);
        self.regs[RIP] = state.rip;
        self.segments = state.segments;
        (self.ldtr, self.tr) = (state.ldtr, state.tr);
        (self.gdtr, self.idtr) = (state.gdtr, state.idtr);
        (self.cr0, self.cr2, self.cr3, self.cr4) = (state.cr0, state.cr2, state.cr3, state.cr4);
        (self.xcr0, self.efer, self.dr) = (state.xcr0, state.efer, state.dr);
        self.lapic.set_cr8(state.cr8 as u8 & 15);
        for (msr, value) in &state.msrs {
            if let Some((_, place)) = STORED.iter().find(|(stored, _)| stored == msr) {
                *place(&mut self.msrs) = *value;
            }
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

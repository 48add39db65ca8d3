//! A vCPU's architectural state, out and in: the plain structure that all engines share.

use super::attention::LOCAL;
use super::cpu::{Cpu, RIP, Shadow, cr, flag};
use super::exec::control::is_cr0;
use super::exec::msr::STATE;
use super::exec::xsave::{load_xsave_image, xsave_image};
use crate::engine::EngineError;
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

    /// Takes on a state. MSRs that are not part of it here are passed over: the APIC and the TSC keep
    /// their own.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for what no processor of this kind can hold; nothing has changed then.
    pub fn from_state(&mut self, state: &CpuStateV1) -> Result<(), EngineError> {
        self.check_state(state)?;
        self.take_msrs(&state.msrs)?;
        self.regs[..16].copy_from_slice(&state.gpr);
        self.regs[RIP] = state.rip;
        self.segments = state.segments;
        (self.ldtr, self.tr) = (state.ldtr, state.tr);
        (self.gdtr, self.idtr) = (state.gdtr, state.idtr);
        (self.cr0, self.cr2, self.cr3, self.cr4) = (state.cr0, state.cr2, state.cr3, state.cr4);
        (self.xcr0, self.efer, self.dr) = (state.xcr0, state.efer, state.dr);
        self.lapic.set_cr8(state.cr8 as u8 & 15);
        load_xsave_image(self, &state.xsave);
        self.activity = state.activity;
        (self.shadow, self.debug_hits, self.delivering) = (Shadow::None, 0, None);
        self.flush_tlb();
        self.pdptes = self.read_pdptes(self.cr3).unwrap_or_default();
        self.set_rflags(state.rflags); // refreshes the mode
        self.attention.raise(LOCAL);
        Ok(())
    }

    fn check_state(&self, state: &CpuStateV1) -> Result<(), EngineError> {
        let paging = state.cr0 & cr::CR0_PG != 0;
        let long = state.efer & cr::EFER_LMA != 0;
        let pae = paging && state.cr4 & cr::CR4_PAE != 0;
        let checks = [
            (is_cr0(state.cr0), "CR0", state.cr0),
            (state.cr4 & !self.platform.cpuid.cr4_mask() == 0, "CR4", state.cr4),
            (state.cr8 < 16, "CR8", state.cr8),
            (state.efer & !self.efer_mask() == 0, "EFER", state.efer),
            (self.is_xcr0(state.xcr0), "XCR0", state.xcr0),
            (long == (pae && state.efer & cr::EFER_LME != 0), "EFER.LMA for this CR0 and CR4 of", state.efer),
            (!long || state.rflags & flag::VM == 0, "RFLAGS in IA-32e mode", state.rflags),
            (long || !pae || self.read_pdptes(state.cr3).is_some(), "CR3", state.cr3),
        ];
        match checks.iter().find(|(legal, ..)| !legal) {
            Some((_, name, value)) => Err(refused(name, *value)),
            None => Ok(()),
        }
    }

    /// Takes on the MSRs that are state here; all or none.
    fn take_msrs(&mut self, msrs: &[(u32, u64)]) -> Result<(), EngineError> {
        let before = self.msrs.clone();
        for &(msr, value) in msrs.iter().filter(|(msr, _)| STATE.contains(msr)) {
            if !self.write_msr(msr, value) {
                self.adjust_tsc(before.tsc_adjust);
                self.msrs = before;
                return Err(refused(&format!("MSR {msr:#x}"), value));
            }
        }
        Ok(())
    }
}

fn refused(name: &str, value: u64) -> EngineError {
    EngineError::Refused(format!("no processor has {name} {value:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x86::testing::{machine, machine_16};

    #[test]
    fn a_state_survives_the_journey() {
        let mut from = machine(&[]);
        from.regs[3] = 0x1234;
        from.msrs.lstar = 0xFFFF_8000_0000_0000;
        from.msrs.mtrr_variable[3] = 0x800;
        from.dr[0] = 77;
        let state = from.to_state();
        let mut to = machine_16(&[]);
        to.platform.memory.write(0, &[0]).expect("RAM");
        to.from_state(&state).expect("legal");
        assert_eq!(to.to_state(), state);
        assert!(to.long && to.bitness == 64);
    }

    #[test]
    fn what_no_processor_holds_is_refused_and_changes_nothing() {
        let state = machine(&[]).to_state();
        let spoil: &[fn(&mut CpuStateV1)] = &[
            |state| state.cr0 &= !cr::CR0_PE,
            |state| state.cr4 |= 1 << 40,
            |state| state.cr4 &= !cr::CR4_PAE,
            |state| state.efer &= !cr::EFER_LME,
            |state| state.xcr0 = 4,
            |state| state.cr8 = 16,
            |state| state.rflags |= flag::VM,
            |state| state.msrs.push((0x277, 2)),
        ];
        let mut cpu = machine_16(&[]);
        let before = cpu.to_state();
        for spoil in spoil {
            let mut state = state.clone();
            spoil(&mut state);
            assert!(matches!(cpu.from_state(&state), Err(EngineError::Refused(_))));
            assert_eq!(cpu.to_state(), before);
        }
    }
}

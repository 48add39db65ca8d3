//! KVM's own interrupt controllers as they were at power-up, and their way back there: KVM has no reset line.
//!
//! Follows Documentation/virt/kvm/api.rst of Linux: KVM_SET_IRQCHIP, KVM_SET_PIT2, KVM_SET_LAPIC,
//! KVM_SET_VCPU_EVENTS.

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip, kvm_lapic_state,
    kvm_pit_state2, kvm_vcpu_events,
};
use kvm_ioctls::{VcpuFd, VmFd};

use super::vm::host;
use crate::engine::EngineError;

/// IA32_APIC_BASE: 11 the local APIC is on, 10 in x2APIC mode.
const APIC_MODES: u64 = 3 << 10;

/// What all vCPUs of a VM share: the 8259 pair, the I/O APIC, the 8254.
pub struct Chips {
    irqchips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}

impl Chips {
    pub fn of(fd: &VmFd) -> Result<Self, EngineError> {
        let mut irqchips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC]
            .map(|chip_id| kvm_irqchip { chip_id, ..Default::default() });
        for chip in &mut irqchips {
            fd.get_irqchip(chip).map_err(host("read the interrupt controllers"))?;
        }
        Ok(Self { irqchips, pit: fd.get_pit2().map_err(host("read the PIT"))? })
    }

    pub fn restore(&self, fd: &VmFd) -> Result<(), EngineError> {
        for chip in &self.irqchips {
            fd.set_irqchip(chip).map_err(host("reset the interrupt controllers"))?;
        }
        fd.set_pit2(&self.pit).map_err(host("reset the PIT"))
    }
}

/// The local APIC of one vCPU, and what waits to be delivered there.
pub struct LocalApic {
    base: u64,
    registers: kvm_lapic_state,
    events: kvm_vcpu_events,
}

impl LocalApic {
    pub fn of(fd: &VcpuFd) -> Result<Self, EngineError> {
        Ok(Self {
            base: fd.get_sregs().map_err(host("read system registers"))?.apic_base,
            registers: fd.get_lapic().map_err(host("read the local APIC"))?,
            events: fd.get_vcpu_events().map_err(host("read pending events"))?,
        })
    }

    /// The base comes first: KVM reads the registers in the form of the mode that the APIC is in.
    pub fn restore(&self, fd: &VcpuFd) -> Result<(), EngineError> {
        let mut sregs = fd.get_sregs().map_err(host("read system registers"))?;
        (sregs.apic_base, sregs.interrupt_bitmap) = (self.base, [0; 4]);
        fd.set_sregs(&sregs).map_err(host("move the local APIC back"))?;
        fd.set_lapic(&self.registers).map_err(host("reset the local APIC"))?;
        fd.set_vcpu_events(&self.events).map_err(host("forget pending events"))
    }

    /// Takes it off the bus.
    pub fn switch_off(fd: &VcpuFd) -> Result<(), EngineError> {
        let mut sregs = fd.get_sregs().map_err(host("read system registers"))?;
        sregs.apic_base &= !APIC_MODES;
        fd.set_sregs(&sregs).map_err(host("switch the local APIC off"))
    }
}

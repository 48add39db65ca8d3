//! One VM: memory slots, interrupt fabric, vCPUs.

use std::sync::Arc;

use kvm_bindings::{
    KVM_API_VERSION, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KVM_PIT_SPEAKER_DUMMY, KvmIrqRouting, kvm_cpuid_entry2, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip, kvm_msi, kvm_pit_config,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};

use super::chips::{Chips, LocalApic};
use super::vcpu::KvmVcpu;
use super::watchdog::{Runner, Watchdog};
use super::{cpuid, msrs, slots};
use innkeeper_bus::interrupt::InterruptFabric;

use crate::bus::{Bus, Device, ones};
use crate::engine::{EngineError, Vcpu, Vm};
use crate::memory::GuestMemory;
use crate::stats::Snapshot;

/// Four pages that KVM on Intel processors needs for itself, clear of the APICs and under the largest firmware.
const IDENTITY_MAP: u64 = 0xFEFF_C000;
const TSS: usize = 0xFEFF_D000;
const IOAPIC: u64 = 0xFEC0_0000;
const IOAPIC_BYTES: u64 = 0x1000;
const IOAPIC_PINS: u32 = 24;

/// A VM of the host's KVM.
pub struct KvmVm {
    // In this order they are dropped: guest memory goes last.
    vcpus: Vec<Arc<KvmVcpu>>,
    fd: Arc<VmFd>,
    shared: Arc<Shared>,
    /// As they were at power-up, if there are any.
    chips: Option<Chips>,
    tsc_khz: u64,
}

/// What the vCPUs have in common.
pub struct Shared {
    pub ports: Arc<Bus>,
    pub mmio: Arc<Bus>,
    pub watchdog: Watchdog,
    /// The MSRs of a vCPU's state.
    pub msrs: Vec<u32>,
    /// KVM maps this: it must outlive every vCPU.
    pub memory: Arc<GuestMemory>,
}

/// Turns a refusal of KVM into one that says what was being done.
pub fn host<A: Into<String>>(action: A) -> impl FnOnce(kvm_ioctls::Error) -> EngineError {
    move |error| EngineError::Host { action: action.into(), source: error.into() }
}

impl KvmVm {
    /// Makes a VM with KVM's interrupt controllers, PIT and local APICs; the vCPUs are in their reset
    /// state, the first ready to run and the others waiting for a SIPI.
    ///
    /// # Errors
    /// [`EngineError`] if this host has no usable KVM, or `vcpus` is out of its range.
    pub fn new(memory: Arc<GuestMemory>, vcpus: u32) -> Result<Self, EngineError> {
        Self::build(memory, vcpus, true, &|_| {})
    }

    /// Makes a VM with one vCPU and no interrupt controller, whose HLT is [`crate::exit::Exit::Halt`].
    /// `set_irq` and `signal_msi` do nothing.
    ///
    /// # Errors
    /// [`EngineError`] if this host has no usable KVM.
    pub fn bare(memory: Arc<GuestMemory>) -> Result<Self, EngineError> {
        Self::build(memory, 1, false, &|_| {})
    }

    /// `edit` may change each CPUID leaf that KVM supports.
    pub(super) fn build(
        memory: Arc<GuestMemory>,
        vcpus: u32,
        irqchip: bool,
        edit: &dyn Fn(&mut kvm_cpuid_entry2),
    ) -> Result<Self, EngineError> {
        let kvm = open()?;
        let most = u32::try_from(kvm.get_max_vcpus()).unwrap_or(u32::MAX).min(255);
        if vcpus == 0 || vcpus > most {
            return Err(EngineError::Refused(format!("{vcpus} vCPUs; this host's KVM takes 1 to {most}")));
        }
        let fd = kvm.create_vm().map_err(host("create a VM"))?;
        fd.set_identity_map_address(IDENTITY_MAP).map_err(host("place the identity map"))?;
        fd.set_tss_address(TSS).map_err(host("place the TSS"))?;
        let fd = Arc::new(fd);
        slots::follow(&fd, &memory)?;
        if irqchip {
            add_irqchip(&fd)?;
        }
        let mut leaves = cpuid::supported(&kvm)?;
        leaves.iter_mut().for_each(edit);
        let mut fds = Vec::new();
        for index in 0..vcpus {
            let vcpu = fd.create_vcpu(index.into()).map_err(host(format!("create vCPU {index}")))?;
            vcpu.set_cpuid2(&cpuid::for_vcpu(&leaves, index, vcpus)?).map_err(host("set CPUID"))?;
            fds.push(vcpu);
        }
        if irqchip {
            index_apics(&fds[0])?;
        }
        let tsc_khz = fds[0].get_tsc_khz().map_err(host("learn the TSC's rate"))?.into();
        let runners: Vec<_> = (0..vcpus).map(|index| Arc::new(Runner::new(index != 0))).collect();
        let watchdog = Watchdog::new(runners.clone())
            .map_err(|source| EngineError::Host { action: "start the watchdog".into(), source })?;
        let (ports, mmio) = (Arc::new(Bus::default()), Arc::new(Bus::default()));
        if irqchip {
            claim_chips(&ports, &mmio);
        }
        let shared = Arc::new(Shared { ports, mmio, watchdog, msrs: msrs::of_guest(&kvm, &fds[0])?, memory });
        let chips = irqchip.then(|| Chips::of(&fd)).transpose()?;
        let vcpus = fds.into_iter().zip(runners).map(|(fd, runner)| {
            let apic = irqchip.then(|| LocalApic::of(&fd)).transpose()?;
            Ok(Arc::new(KvmVcpu::new(fd, runner, Arc::clone(&shared), apic)))
        });
        Ok(Self { vcpus: vcpus.collect::<Result<_, EngineError>>()?, fd, shared, chips, tsc_khz })
    }
}

impl InterruptFabric for KvmVm {
    fn set_irq(&self, gsi: u32, level: bool) {
        // Fails only for a VM without an irqchip, which promises to do nothing.
        let _ = self.fd.set_irq_line(gsi, level);
    }

    fn signal_msi(&self, address: u64, data: u32) {
        let (address_lo, address_hi) = (address as u32, (address >> 32) as u32);
        // Address and data are the guest's: where no APIC takes them, the write is lost, as on a bus.
        let _ = self.fd.signal_msi(kvm_msi { address_lo, address_hi, data, ..Default::default() });
    }
}

impl Vm for KvmVm {
    fn vcpu(&self, index: u32) -> Option<Arc<dyn Vcpu>> {
        self.vcpus.get(index as usize).map(|vcpu| Arc::clone(vcpu) as Arc<dyn Vcpu>)
    }

    fn ports(&self) -> &Arc<Bus> {
        &self.shared.ports
    }

    fn mmio(&self) -> &Arc<Bus> {
        &self.shared.mmio
    }

    fn tsc_khz(&self) -> u64 {
        self.tsc_khz
    }

    fn statistics(&self) -> Vec<Snapshot> {
        self.vcpus.iter().map(|vcpu| vcpu.statistics()).collect()
    }

    fn reset_interrupts(&self) -> Result<(), EngineError> {
        let standing = self.vcpus.iter().map(|vcpu| vcpu.idle()).collect::<Result<Vec<_>, _>>()?;
        if let Some(chips) = &self.chips {
            chips.restore(&self.fd)?;
        }
        self.vcpus.iter().zip(&standing).try_for_each(|(vcpu, fd)| vcpu.reset_apic(fd))
    }

    fn set_plugged(&self, index: u32, plugged: bool) -> Result<(), EngineError> {
        let there = self.vcpus.len();
        let vcpu = self.vcpus.get(index as usize).ok_or_else(|| EngineError::no_vcpu(index, there))?;
        vcpu.set_plugged(plugged)
    }
}

/// Opens /dev/kvm and makes sure that it is what it says, with all that this engine needs.
pub(super) fn open() -> Result<Kvm, EngineError> {
    let kvm = Kvm::new().map_err(host("open /dev/kvm"))?;
    let version = kvm.get_api_version();
    if version < 0 {
        return Err(EngineError::Refused("/dev/kvm is something else than KVM".into()));
    }
    if version != KVM_API_VERSION as i32 {
        return Err(EngineError::Refused(format!(
            "/dev/kvm speaks version {version}, not {KVM_API_VERSION}"
        )));
    }
    let needed = [
        (Cap::UserMemory, "guest memory from user space"),
        (Cap::Irqchip, "interrupt controllers"),
        (Cap::Pit2, "a PIT"),
        (Cap::IrqRouting, "interrupt routing"),
        (Cap::SignalMsi, "message-signalled interrupts"),
        (Cap::ImmediateExit, "immediate_exit"),
    ];
    match needed.iter().find(|(capability, _)| !kvm.check_extension(*capability)) {
        None => Ok(kvm),
        Some((_, name)) => Err(EngineError::Refused(format!("this host's KVM lacks {name}"))),
    }
}

fn add_irqchip(fd: &VmFd) -> Result<(), EngineError> {
    fd.create_irq_chip().map_err(host("create the interrupt controllers"))?;
    let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    fd.create_pit2(pit).map_err(host("create the PIT"))?;
    let routes = KvmIrqRouting::from_entries(&isa_routes())
        .map_err(|_| EngineError::Refused("too many interrupt routes".into()))?;
    fd.set_gsi_routing(&routes).map_err(host("route interrupts"))
}

/// What KVM's own chips answer never comes to a bus; claimed here, so that nothing else can hope to.
struct InKernel;

impl Device for InKernel {
    fn read(&self, _offset: u64, size: u8) -> u64 {
        ones(size)
    }
    fn write(&self, _offset: u64, _size: u8, _value: u64) {}
}

fn claim_chips(ports: &Bus, mmio: &Bus) {
    const PIC_PIT_LATCH_ELCR: [(u64, u64); 5] = [(0x20, 2), (0xA0, 2), (0x40, 4), (0x61, 1), (0x4D0, 2)];
    for (base, size) in PIC_PIT_LATCH_ELCR {
        ports.map(base, size, Arc::new(InKernel)).expect("the bus is new");
    }
    mmio.map(IOAPIC, IOAPIC_BYTES, Arc::new(InKernel)).expect("the bus is new");
}

/// KVM finds an IPI's target in an index of APIC IDs, which it last rebuilt before the newest vCPU
/// was in its list; writing any APIC's registers back makes it do so again.
fn index_apics(vcpu: &VcpuFd) -> Result<(), EngineError> {
    let registers = vcpu.get_lapic().map_err(host("read the local APIC"))?;
    vcpu.set_lapic(&registers).map_err(host("write the local APIC"))
}

/// GSIs 0 to 15 reach both the PIC and the IOAPIC, the PIT's at IOAPIC pin 2 as every PC since the
/// MultiProcessor Specification has it; GSI 2 is the PIC's cascade.
fn isa_routes() -> Vec<kvm_irq_routing_entry> {
    let route = |gsi, irqchip, pin| kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip: kvm_irq_routing_irqchip { irqchip, pin } },
        ..Default::default()
    };
    let mut routes = Vec::new();
    for gsi in (0..IOAPIC_PINS).filter(|&gsi| gsi != 2) {
        match gsi {
            0..8 => routes.push(route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi)),
            8..16 => routes.push(route(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8)),
            _ => {}
        }
        routes.push(route(gsi, KVM_IRQCHIP_IOAPIC, if gsi == 0 { 2 } else { gsi }));
    }
    routes
}

//! The software engine: vCPUs that this process translates or interprets, with the interrupt fabric
//! beside them.

mod saving;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use innkeeper_bus::interrupt::InterruptFabric;
use innkeeper_bus::state::Value;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::debug::Stops;
use crate::engine::{EngineError, TracedBlock, Vcpu, Vm};
use crate::exit::Exit;
use crate::irq::Fabric;
use crate::memory::{CodeWrites, GuestMemory};
use crate::state::CpuStateV1;
use crate::stats::{Snapshot, Stats};
use crate::x86::attention::{Attention, KICK, MOVED, WRITTEN};
use crate::x86::bt::{self, Translator};
use crate::x86::cpu::{Cpu, Platform};
use crate::x86::cpuid::CpuidTable;
use crate::x86::run::CodeGuard;

/// How the software engine runs its guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Translate to host code; else interpret.
    pub translate: bool,
    /// Bytes of code cache, for each vCPU.
    pub code_cache_bytes: usize,
    /// Count what each block does, and keep a record of the last ones.
    pub trace: bool,
    pub testing: Testing,
}

/// What only tests ask of translation; see [`bt::Settings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Testing {
    pub exact_flags: bool,
    pub verify: Option<bt::Verify>,
    pub stress: bt::Stress,
}

impl Default for Settings {
    fn default() -> Self {
        let code_cache_bytes = bt::Settings::default().code_cache_bytes;
        Self { translate: true, code_cache_bytes, trace: false, testing: Testing::default() }
    }
}

/// Why this host cannot run translated code, if so.
pub fn bt_unavailable() -> Option<String> {
    bt::unavailable()
}

/// A virtual machine whose processors are software.
pub struct SoftVm {
    platform: Arc<Platform>,
    vcpus: Vec<Arc<SoftVcpu>>,
}

/// One of its vCPUs. `run` holds the lock; `kick` and the counters need none.
pub struct SoftVcpu {
    cpu: Mutex<Box<Cpu>>,
    attention: Arc<Attention>,
    stats: Arc<Stats>,
}

impl SoftVm {
    /// Builds `vcpus` interpreted processors in their reset state over `memory`, their interrupt
    /// controllers mapped.
    pub fn new(memory: Arc<GuestMemory>, vcpus: u32) -> Self {
        let attentions: Vec<_> = (0..vcpus).map(|_| Arc::new(Attention::default())).collect();
        let clock = Arc::new(Clock::new());
        let fabric = Fabric::new(Arc::clone(&clock), &attentions);
        let (ports, mmio) = (Arc::new(Bus::default()), Arc::new(Bus::default()));
        fabric.map(&ports, &mmio);
        let cpuid = CpuidTable::new(vcpus, clock.khz());
        let code_guard = CodeGuard::new(&attentions);
        let flushed = attentions.clone();
        let moved = move |_| {
            // Pages are known by where they are backed: only the way to them has changed. A vCPU that sleeps
            // looks when it wakes; one that runs, at its next step between blocks, as with any TLB shootdown
            // that a guest does not wait for.
            flushed.iter().for_each(|attention| attention.raise_quietly(MOVED));
            Ok(())
        };
        memory.watch_layout(Box::new(moved), |_, _| Ok(())).expect("nothing is refused");
        memory.set_engine(Some(Arc::clone(&code_guard) as _));
        let platform = Arc::new(Platform { memory, ports, mmio, fabric, clock, cpuid, code_guard });
        let vcpu = |(index, attention): (usize, Arc<Attention>)| {
            let lapic = platform.fabric.lapic(index);
            let cpu = Cpu::new(index as u32, Arc::clone(&platform), lapic, Arc::clone(&attention));
            Arc::new(SoftVcpu { attention, stats: Arc::clone(&cpu.stats), cpu: Mutex::new(cpu) })
        };
        let vcpus = attentions.into_iter().enumerate().map(vcpu).collect();
        Self { platform, vcpus }
    }

    /// The same with a choice of how instructions are run.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if this host cannot run translated code, [`EngineError::Host`] if it
    /// refuses memory for it.
    pub fn with_settings(
        memory: Arc<GuestMemory>,
        vcpus: u32,
        settings: Settings,
    ) -> Result<Self, EngineError> {
        let vm = Self::new(memory, vcpus);
        if !settings.translate {
            return Ok(vm);
        }
        if let Some(why) = bt_unavailable() {
            return Err(EngineError::Refused(why));
        }
        let translation = bt::Settings {
            code_cache_bytes: settings.code_cache_bytes,
            counting: settings.trace,
            exact_flags: settings.testing.exact_flags,
            verify: settings.testing.verify,
            stress: settings.testing.stress,
        };
        let mut watchers = Vec::new();
        for vcpu in &vm.vcpus {
            let attention = Arc::clone(&vcpu.attention);
            let writes = CodeWrites::new(Box::new(move || attention.raise_quietly(WRITTEN)));
            watchers.push(Arc::clone(&writes));
            let translator = Translator::new(translation, writes).map_err(|source| EngineError::Host {
                action: format!("map {} bytes for translated code", settings.code_cache_bytes),
                source,
            })?;
            vcpu.idle()?.translator = Some(Box::new(translator));
        }
        vm.platform.memory.watch_code(watchers);
        Ok(vm)
    }

    pub fn platform(&self) -> &Platform {
        &self.platform
    }
}

impl InterruptFabric for SoftVm {
    fn set_irq(&self, gsi: u32, level: bool) {
        self.platform.fabric.set_irq(gsi, level);
    }

    fn signal_msi(&self, address: u64, data: u32) {
        self.platform.fabric.signal_msi(address, data);
    }
}

impl Vm for SoftVm {
    fn vcpu(&self, index: u32) -> Option<Arc<dyn Vcpu>> {
        self.vcpus.get(index as usize).map(|vcpu| Arc::clone(vcpu) as Arc<dyn Vcpu>)
    }

    fn ports(&self) -> &Arc<Bus> {
        &self.platform.ports
    }

    fn mmio(&self) -> &Arc<Bus> {
        &self.platform.mmio
    }

    fn tsc_khz(&self) -> u64 {
        self.platform.clock.khz()
    }

    fn statistics(&self) -> Vec<Snapshot> {
        self.vcpus.iter().map(|vcpu| vcpu.stats.snapshot()).collect()
    }

    fn reset_interrupts(&self) -> Result<(), EngineError> {
        let _standing = self.vcpus.iter().map(|vcpu| vcpu.idle()).collect::<Result<Vec<_>, _>>()?;
        self.platform.fabric.reset();
        // The pages of the local APICs are where they were at power-up.
        self.vcpus.iter().for_each(|vcpu| vcpu.attention.raise_quietly(MOVED));
        Ok(())
    }

    fn set_plugged(&self, index: u32, plugged: bool) -> Result<(), EngineError> {
        let there = self.vcpus.len();
        let vcpu = self.vcpus.get(index as usize).ok_or_else(|| EngineError::no_vcpu(index, there))?;
        let _standing = vcpu.idle()?;
        self.platform.fabric.set_plugged(index as usize, plugged);
        // Its local APIC's page is where it was at power-up.
        vcpu.attention.raise_quietly(MOVED);
        Ok(())
    }

    fn state(&self) -> Result<Value, EngineError> {
        saving::state(self)
    }

    fn restore(&self, state: &Value, vcpus: &[CpuStateV1]) -> Result<(), EngineError> {
        saving::restore(self, state, vcpus)
    }

    fn trace(&self) -> Vec<TracedBlock> {
        self.idle_vcpus(Cpu::trace)
    }

    fn flight_record(&self) -> Vec<Vec<u64>> {
        self.idle_vcpus(|cpu| vec![cpu.flight_record()])
    }
}

impl SoftVm {
    /// What `ask` gives for each vCPU that is not running.
    fn idle_vcpus<T>(&self, ask: impl Fn(&Cpu) -> Vec<T>) -> Vec<T> {
        let answers = self.vcpus.iter().filter_map(|vcpu| vcpu.idle().ok()).map(|cpu| ask(&cpu));
        answers.flatten().collect()
    }
}

impl SoftVcpu {
    fn idle(&self) -> Result<MutexGuard<'_, Box<Cpu>>, EngineError> {
        match self.cpu.try_lock() {
            Ok(cpu) => Ok(cpu),
            Err(TryLockError::WouldBlock) => Err(EngineError::Running),
            Err(TryLockError::Poisoned(_)) => {
                Err(EngineError::Refused("the vCPU's thread has panicked; its state is lost".into()))
            }
        }
    }
}

impl Vcpu for SoftVcpu {
    fn run(&self) -> Exit {
        // Waits for a `get_state` that another thread has begun.
        match self.cpu.lock() {
            Ok(mut cpu) => cpu.run(),
            Err(_) => Exit::InternalError("the vCPU's thread has panicked; its state is lost".into()),
        }
    }

    fn kick(&self) {
        self.attention.raise(KICK);
    }

    fn get_state(&self) -> Result<CpuStateV1, EngineError> {
        Ok(self.idle()?.to_state())
    }

    fn set_state(&self, state: &CpuStateV1) -> Result<(), EngineError> {
        self.idle()?.from_state(state)
    }

    fn set_stops(&self, stops: &Stops) -> Result<(), EngineError> {
        self.idle()?.set_stops(stops);
        Ok(())
    }
}

//! What a machine needs beyond its vCPUs' architectural state to go on elsewhere, written down and taken on again.

use innkeeper_bus::plain_enum;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::SoftVm;
use crate::engine::EngineError;
use crate::state::CpuStateV1;
use crate::x86::attention::LOCAL;
use crate::x86::cpu::{Cpu, Shadow};

plain_enum!(Shadow { None, Sti, MovSs });

/// Conditions of #DB: B0-B3, BD, BS, BT.
const DEBUG_HITS: u64 = 0xE00F;

pub fn state(vm: &SoftVm) -> Result<Value, EngineError> {
    let mut vcpus = Vec::new();
    for vcpu in &vm.vcpus {
        vcpus.push(beside_registers(&*vcpu.idle()?));
    }
    let platform = &vm.platform;
    Ok(map([
        ("clock", platform.clock.state()),
        ("vcpus", Value::List(vcpus)),
        ("fabric", platform.fabric.state()),
    ]))
}

pub fn restore(vm: &SoftVm, state: &Value, vcpus: &[CpuStateV1]) -> Result<(), EngineError> {
    let refused = |error: BadState| EngineError::Refused(error.to_string());
    let mut fields = Fields::of(state).map_err(refused)?;
    let clock = fields.value("clock").map_err(refused)?;
    let beside = fields.take::<Vec<Beside>>("vcpus").map_err(refused)?;
    let fabric = fields.value("fabric").map_err(refused)?;
    fields.end().map_err(refused)?;
    if vcpus.len() != vm.vcpus.len() || beside.len() != vm.vcpus.len() {
        let (saved, here) = (vcpus.len().min(beside.len()), vm.vcpus.len());
        return Err(EngineError::Refused(format!("it has {saved} vCPUs; the machine has {here}")));
    }
    // The clock first: vCPUs tell their guest the time as they take on their state.
    vm.platform.clock.restore(clock).map_err(|error| refused(error.within("clock")))?;
    for (vcpu, (state, beside)) in vm.vcpus.iter().zip(vcpus.iter().zip(beside)) {
        let mut cpu = vcpu.idle()?;
        cpu.from_state(state)?;
        beside.put(&mut cpu);
    }
    vm.platform.fabric.restore(fabric).map_err(refused)
}

/// What a vCPU is in the middle of between two instructions, and what it keeps that no instruction reads.
struct Beside {
    shadow: Shadow,
    nmi_blocked: bool,
    debug_hits: u64,
    pdptes: [u64; 4],
}

innkeeper_bus::plain_struct!(Beside { shadow, nmi_blocked, debug_hits, pdptes } if Beside::is_sound);

fn beside_registers(cpu: &Cpu) -> Value {
    let Cpu { shadow, nmi_blocked, debug_hits, pdptes, .. } = *cpu;
    Beside { shadow, nmi_blocked, debug_hits, pdptes }.save()
}

impl Beside {
    fn is_sound(&self) -> bool {
        self.debug_hits & !DEBUG_HITS == 0
    }

    fn put(&self, cpu: &mut Cpu) {
        (cpu.shadow, cpu.nmi_blocked, cpu.debug_hits) = (self.shadow, self.nmi_blocked, self.debug_hits);
        cpu.pdptes = self.pdptes;
        cpu.attention.raise(LOCAL);
    }
}

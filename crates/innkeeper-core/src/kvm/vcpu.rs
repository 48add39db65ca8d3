//! One vCPU and its run loop: KVM_RUN, and what each exit asks for (api.rst, section 5).

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use kvm_bindings::{KVM_EXIT_IO_OUT, kvm_run};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::chips::LocalApic;
use super::vm::{Shared, host};
use super::watchdog::Runner;
use super::{exits, state};
use crate::bus::Bus;
use crate::engine::{EngineError, Vcpu};
use crate::exit::Exit;
use crate::state::{Activity, CpuStateV1};
use crate::stats::{Snapshot, Stats};

const PANICKED: &str = "this vCPU's thread has panicked; its state is lost";
const INTERRUPT_FLAG: u64 = 1 << 9;
/// The counters that this engine keeps: the guest's own instructions are out of its sight.
const COUNTED: [&str; 8] = [
    "halts",
    "host_entries",
    "host_interruptions",
    "kicks",
    "mmio_reads",
    "mmio_writes",
    "port_reads",
    "port_writes",
];

/// A vCPU of the host's KVM.
pub struct KvmVcpu {
    fd: Mutex<VcpuFd>,
    /// In the page that `fd` shares with KVM.
    immediate_exit: *const AtomicU8,
    kicked: AtomicBool,
    runner: Arc<Runner>,
    stats: Stats,
    shared: Arc<Shared>,
    /// As it was at power-up, if there is one.
    apic: Option<LocalApic>,
    /// Changes only while `fd` is held.
    plugged: AtomicBool,
}

// SAFETY: `immediate_exit` points into a mapping that lives as long as `fd`, and is only used
// atomically; everything else is Send and Sync by itself.
unsafe impl Send for KvmVcpu {}
// SAFETY: as above.
unsafe impl Sync for KvmVcpu {}

/// What KVM_RUN came back with.
enum Reason {
    Interrupted,
    Again,
    Port,
    Mmio,
    Halt,
    Shutdown,
    Debug,
    InternalError,
    Failed(String),
}

impl KvmVcpu {
    pub fn new(mut fd: VcpuFd, runner: Arc<Runner>, shared: Arc<Shared>, apic: Option<LocalApic>) -> Self {
        let immediate_exit = (&raw mut fd.get_kvm_run().immediate_exit).cast::<AtomicU8>().cast_const();
        let (kicked, stats, plugged) = (AtomicBool::new(false), Stats::default(), AtomicBool::new(true));
        Self { fd: Mutex::new(fd), immediate_exit, kicked, runner, stats, shared, apic, plugged }
    }

    /// Keeps it from running meanwhile.
    pub fn idle(&self) -> Result<MutexGuard<'_, VcpuFd>, EngineError> {
        self.fd.try_lock().map_err(running)
    }

    /// `fd` is that of [`Self::idle`].
    pub fn reset_apic(&self, fd: &VcpuFd) -> Result<(), EngineError> {
        let Some(apic) = &self.apic else { return Ok(()) };
        apic.restore(fd)?;
        if self.plugged.load(Ordering::SeqCst) { Ok(()) } else { LocalApic::switch_off(fd) }
    }

    /// KVM has no way to take a vCPU away. One whose local APIC is switched off is no destination of any message, so
    /// that none waits there when it is plugged in again.
    pub fn set_plugged(&self, plugged: bool) -> Result<(), EngineError> {
        let fd = self.idle()?;
        self.plugged.store(plugged, Ordering::SeqCst);
        if !plugged {
            self.runner.set_waiting_for_sipi();
        }
        self.reset_apic(&fd)
    }

    pub fn statistics(&self) -> Snapshot {
        let mut snapshot = self.stats.snapshot();
        snapshot.counters.retain(|(name, _)| COUNTED.contains(name));
        snapshot
    }

    fn set_immediate_exit(&self, on: bool) {
        // SAFETY: see the field; it was made from a valid, aligned pointer.
        unsafe { &*self.immediate_exit }.store(on.into(), Ordering::SeqCst);
    }

    fn serve(&self, fd: &mut VcpuFd) -> Exit {
        loop {
            let reason = self.enter(fd);
            if !matches!(reason, Reason::Interrupted | Reason::Again) {
                self.runner.set_alive();
            }
            match reason {
                Reason::Again => {}
                // Only here may a kick end the loop: KVM completes an access on the way into the next
                // KVM_RUN, so the registers are stale until then.
                Reason::Interrupted => {
                    if let Some(exit) = self.interrupted(fd) {
                        return exit;
                    }
                }
                Reason::Port => self.serve_ports(fd.get_kvm_run()),
                Reason::Mmio => self.serve_mmio(fd.get_kvm_run()),
                Reason::Halt => {
                    self.stats.halts.add(1);
                    return Exit::Halt;
                }
                Reason::Shutdown => return Exit::Shutdown,
                Reason::Debug => return Exit::Debug(crate::debug::Reason::Host),
                Reason::InternalError => {
                    return Exit::InternalError(exits::internal_error(fd, &self.shared.memory));
                }
                Reason::Failed(why) => return Exit::InternalError(why),
            }
        }
    }

    fn enter(&self, fd: &mut VcpuFd) -> Reason {
        self.stats.host_entries.add(1);
        self.runner.enter_kvm();
        let result = fd.run();
        self.runner.leave_kvm();
        match result {
            Ok(VcpuExit::IoIn(..) | VcpuExit::IoOut(..)) => Reason::Port,
            Ok(VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..)) => Reason::Mmio,
            Ok(VcpuExit::Hlt) => Reason::Halt,
            Ok(VcpuExit::Shutdown) => Reason::Shutdown,
            Ok(VcpuExit::Debug(_)) => Reason::Debug,
            Ok(VcpuExit::Intr) => Reason::Interrupted,
            Ok(VcpuExit::InternalError) => Reason::InternalError,
            Ok(VcpuExit::FailEntry(why, cpu)) => {
                Reason::Failed(format!("the processor refused VM entry: reason {why:#x} on CPU {cpu}"))
            }
            Ok(other) => Reason::Failed(format!("KVM left the guest with an exit not asked for: {other:?}")),
            Err(error) if error.errno() == libc::EINTR => Reason::Interrupted,
            // An application processor that waited for its INIT or SIPI got it.
            Err(error) if error.errno() == libc::EAGAIN => Reason::Again,
            Err(error) => Reason::Failed(format!("KVM_RUN failed: {error}")),
        }
    }

    /// A signal ended KVM_RUN: a kick, the heartbeat, or somebody else's.
    fn interrupted(&self, fd: &VcpuFd) -> Option<Exit> {
        self.stats.host_interruptions.add(1);
        self.set_immediate_exit(false);
        if self.kicked.swap(false, Ordering::SeqCst) {
            self.stats.kicks.add(1);
            return Some(Exit::Kicked);
        }
        let dead = match is_dead(fd) {
            Ok(dead) => dead,
            Err(error) => return Some(Exit::InternalError(error.to_string())),
        };
        self.shared.watchdog.answer(&self.runner, dead).then_some(Exit::Halt)
    }

    fn serve_ports(&self, run: &mut kvm_run) {
        let start = (&raw mut *run).cast::<u8>();
        // SAFETY: the exit reason says that this is the valid member of the union.
        let io = unsafe { run.__bindgen_anon_1.io };
        let size = usize::from(io.size);
        // SAFETY: KVM put `count` elements there, within the mapping that starts at `run`, and does
        // not touch them until the next KVM_RUN.
        let data = unsafe {
            std::slice::from_raw_parts_mut(start.add(io.data_offset as usize), size * io.count as usize)
        };
        let write = u32::from(io.direction) == KVM_EXIT_IO_OUT;
        self.stats.count_port(io.port, write, io.count.into());
        let (ports, port) = (&self.shared.ports, u64::from(io.port));
        if write { ports.write_string(port, io.size, data) } else { ports.read_string(port, io.size, data) }
    }

    fn serve_mmio(&self, run: &mut kvm_run) {
        // SAFETY: the exit reason says that this is the valid member of the union.
        let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
        let write = mmio.is_write != 0;
        if write { &self.stats.mmio_writes } else { &self.stats.mmio_reads }.add(1);
        let length = (mmio.len as usize).min(mmio.data.len());
        let (mut address, mut rest) = (mmio.phys_addr, &mut mmio.data[..length]);
        // An access that straddles a page arrives in pieces of any length; a device sees powers of two.
        while !rest.is_empty() {
            let size = 1 << rest.len().ilog2();
            let (piece, others) = rest.split_at_mut(size);
            access(&self.shared.mmio, address, piece, write);
            (address, rest) = (address.wrapping_add(size as u64), others);
        }
    }
}

/// One access of a power of two of at most eight bytes.
fn access(bus: &Bus, address: u64, bytes: &mut [u8], write: bool) {
    let size = bytes.len();
    let mut word = [0; 8];
    if write {
        word[..size].copy_from_slice(bytes);
        bus.write(address, size as u8, u64::from_le_bytes(word));
    } else {
        word = bus.read(address, size as u8).to_le_bytes();
        bytes.copy_from_slice(&word[..size]);
    }
}

/// Whether only another processor could make this one go on.
fn is_dead(fd: &VcpuFd) -> Result<bool, EngineError> {
    Ok(match state::activity(fd)? {
        Activity::Runnable => false,
        Activity::WaitForSipi => true,
        Activity::Halted => {
            let flags = fd.get_regs().map_err(host("read registers"))?.rflags;
            let events = fd.get_vcpu_events().map_err(host("read pending events"))?;
            flags & INTERRUPT_FLAG == 0 && events.nmi.pending == 0
        }
    })
}

impl Vcpu for KvmVcpu {
    fn run(&self) -> Exit {
        // Waits for a `get_state` that another thread has begun.
        let Ok(mut fd) = self.fd.lock() else { return Exit::InternalError(PANICKED.into()) };
        let _running = self.shared.watchdog.enter(&self.runner);
        self.serve(&mut fd)
    }

    fn kick(&self) {
        self.kicked.store(true, Ordering::SeqCst);
        self.set_immediate_exit(true);
        self.runner.interrupt();
    }

    fn get_state(&self) -> Result<CpuStateV1, EngineError> {
        let fd = self.idle()?;
        state::get(&fd, &self.shared.msrs)
    }

    fn set_state(&self, state: &CpuStateV1) -> Result<(), EngineError> {
        let fd = self.idle()?;
        state::set(&fd, state)?;
        match state.activity {
            Activity::WaitForSipi => self.runner.set_waiting_for_sipi(),
            Activity::Runnable | Activity::Halted => self.runner.set_alive(),
        }
        // The state has the local APIC's base, which says that it is on.
        if self.plugged.load(Ordering::SeqCst) { Ok(()) } else { LocalApic::switch_off(&fd) }
    }
}

fn running<T>(error: TryLockError<T>) -> EngineError {
    match error {
        TryLockError::WouldBlock => EngineError::Running,
        TryLockError::Poisoned(_) => EngineError::Refused(PANICKED.into()),
    }
}

//! The interrupt fabric of the software engine: local APICs, IOAPIC, 8259 pair, 8254, and one timer
//! thread per VM. Other threads reach a vCPU only through its attention word.
//!
//! Lock order: IOAPIC, then local APIC, then timer queue; the PIC and the PIT are never held while
//! another chip is called.

mod ioapic;
pub mod kvmclock;
mod lapic;
mod message;
mod pic;
mod pit;
mod ports;
mod saving;
mod statistics;
mod timers;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ioapic::Ioapic;
use lapic::Wires;
pub use lapic::{Lapic, Model};
use message::{Delivery, Destination, Message};
use pic::Pic;
use pit::Pit;
use statistics::Statistics;
use timers::Timers;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::x86::attention::{Attention, INIT, NMI, SIPI};

/// The I/O APIC input that ISA IRQ 0 is wired to (the MADT says so to the guest).
const TIMER_PIN: usize = 2;

/// What became of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Masked, or nobody is meant.
    Ignored,
    /// An equal one was still waiting; the guest will see one.
    Coalesced,
    Delivered,
}

/// Destination shorthand of an interrupt command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shorthand {
    None,
    Itself,
    All,
    Others,
}

impl Shorthand {
    fn from_icr(icr: u64) -> Self {
        [Self::None, Self::Itself, Self::All, Self::Others][(icr >> 18 & 3) as usize]
    }
}

/// The interrupt controllers of one VM.
pub struct Fabric {
    clock: Arc<Clock>,
    lapics: Vec<Arc<Lapic>>,
    /// Whose local APIC is on the bus: the others hear nothing.
    plugged: Vec<AtomicBool>,
    attentions: Vec<Arc<Attention>>,
    ioapic: Mutex<Ioapic>,
    pic: Mutex<Pic>,
    /// The 8259 pair's INTR.
    intr: Arc<AtomicBool>,
    pit: Mutex<Pit>,
    timers: Arc<Timers>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// vCPUs that only an NMI, INIT or SIPI can wake.
    parked: Vec<AtomicBool>,
    /// Grows with every message of those kinds.
    wakes: AtomicU64,
    /// Where lowest-priority arbitration begins among equals.
    turn: AtomicUsize,
    counts: Statistics,
}

impl Fabric {
    /// Builds the fabric and starts its timer thread, which ends when the fabric is dropped.
    pub fn new(clock: Arc<Clock>, attentions: &[Arc<Attention>]) -> Arc<Self> {
        let timers = Timers::new(Arc::clone(&clock), attentions.len() + 1);
        let intr = Arc::new(AtomicBool::new(false));
        let fabric = Arc::new_cyclic(|fabric| {
            let lapic = |(index, attention): (usize, &Arc<Attention>)| {
                let (clock, timers) = (Arc::clone(&clock), Arc::clone(&timers));
                let wires = Wires { clock, timers, fabric: fabric.clone(), intr: Arc::clone(&intr) };
                Arc::new(Lapic::new(index as u32, Arc::clone(attention), wires))
            };
            Self {
                clock: Arc::clone(&clock),
                lapics: attentions.iter().enumerate().map(lapic).collect(),
                plugged: attentions.iter().map(|_| AtomicBool::new(true)).collect(),
                attentions: attentions.to_vec(),
                ioapic: Mutex::default(),
                pic: Mutex::default(),
                intr: Arc::clone(&intr),
                pit: Mutex::default(),
                timers,
                thread: Mutex::new(None),
                parked: attentions.iter().map(|_| AtomicBool::new(false)).collect(),
                wakes: AtomicU64::new(0),
                turn: AtomicUsize::new(0),
                counts: Statistics::default(),
            }
        });
        let weak = Arc::downgrade(&fabric);
        let thread =
            fabric.timers.start(move |slot| weak.upgrade().inspect(|fabric| fabric.expire(slot)).is_some());
        *fabric.thread.lock().expect("timer thread lock") =
            Some(thread.expect("the host refused a thread for timers"));
        fabric
    }

    /// Claims the ports and MMIO pages of the PIC, PIT and IOAPIC.
    pub fn map(self: &Arc<Self>, ports: &Bus, mmio: &Bus) {
        ports::map(self, ports, mmio);
    }

    pub fn lapic(&self, index: usize) -> Arc<Lapic> {
        Arc::clone(&self.lapics[index])
    }

    pub fn vcpus(&self) -> usize {
        self.lapics.len()
    }

    /// Takes the local APIC of a vCPU that does not run off the bus, or puts it there as after power-up.
    pub fn set_plugged(&self, index: usize, plugged: bool) {
        self.plugged[index].store(false, Ordering::SeqCst);
        self.lapics[index].reset();
        self.plugged[index].store(plugged, Ordering::SeqCst);
    }

    fn is_plugged(&self, index: usize) -> bool {
        self.plugged[index].load(Ordering::SeqCst)
    }

    /// The local APICs on the bus, each with its index.
    fn present(&self) -> impl Iterator<Item = (usize, &Arc<Lapic>)> {
        self.lapics.iter().enumerate().filter(|&(index, _)| self.is_plugged(index))
    }

    /// Everything to its power-up state, as the machine's reset line does.
    pub fn reset(&self) {
        *self.ioapic.lock().expect("ioapic lock") = Ioapic::default();
        self.with_pic(|pic| *pic = Pic::default());
        self.with_pit(|pit, _| *pit = Pit::default());
        self.lapics.iter().for_each(|lapic| lapic.reset());
    }

    /// Counts so far: interrupts by GSI, messages by kind, timer expiries.
    pub fn statistics(&self) -> Vec<(String, u64)> {
        let fires = self.lapics.iter().map(|lapic| lapic.timer_fires()).sum();
        self.counts.list(fires)
    }

    // ---- sources --------------------------------------------------------------------------------

    /// Drives an interrupt line. GSIs 0-15 reach both the PIC and the IOAPIC (ISA IRQ 0 at pin 2).
    pub fn set_irq(&self, gsi: u32, level: bool) {
        self.drive(gsi, level);
    }

    fn drive(&self, gsi: u32, level: bool) -> Outcome {
        if level {
            self.counts.gsi(gsi);
        }
        let pin = match gsi {
            0 => TIMER_PIN,
            2 => return Outcome::Ignored, // the cascade: no device can be there
            1..24 => gsi as usize,
            _ => return Outcome::Ignored,
        };
        let isa =
            if gsi < 16 { self.with_pic(|pic| pic.set_irq(gsi as u8, level)) } else { Outcome::Ignored };
        isa.max(self.with_ioapic(|ioapic, send| ioapic.set_line(pin, level, send)))
    }

    /// Delivers a message-signalled interrupt (Intel SDM vol. 3, 11.11).
    pub fn signal_msi(&self, address: u64, data: u32) {
        if let Some(message) = Message::from_msi(address, data) {
            self.counts.msis.add();
            self.deliver(&message);
        }
    }

    /// Pulses the NMI line, which reaches LINT1 of every local APIC.
    pub fn pulse_nmi(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.present().for_each(|(_, lapic)| lapic.nmi_rises());
    }

    /// A deadline has passed.
    fn expire(&self, slot: usize) {
        if let Some(lapic) = self.lapics.get(slot) {
            return lapic.expire();
        }
        if self.with_pit(|pit, now| pit.expire(now)) {
            self.counts.pit.add();
            self.drive(0, false);
            let outcome = self.drive(0, true);
            self.with_pit(|pit, _| pit.raised(outcome));
        }
    }

    // ---- routing --------------------------------------------------------------------------------

    /// Carries a message to the local APICs that it means.
    fn deliver(&self, message: &Message) -> Outcome {
        if matches!(message.delivery, Delivery::Nmi | Delivery::Init | Delivery::StartUp) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
        }
        let matches = |lapic: &&Arc<Lapic>| lapic.address().matches(message.destination);
        let meant = || self.present().map(|(_, lapic)| lapic).filter(matches);
        if !message.arbitrated() {
            let outcomes = meant().map(|lapic| lapic.receive(message));
            return outcomes.max().unwrap_or(Outcome::Ignored);
        }
        let able = || meant().filter(|lapic| lapic.address().accepts);
        let (turn, count) = (self.turn.fetch_add(1, Ordering::Relaxed), able().count().max(1));
        // Equals take turns; those before `turn` come last.
        let rank = |at: usize| (at + count - turn % count) % count;
        let best = able().enumerate().min_by_key(|(at, lapic)| (lapic.priority() >> 4, rank(*at)));
        best.map_or(Outcome::Ignored, |(_, lapic)| lapic.receive(message))
    }

    fn send_ipi(&self, from: u32, shorthand: Shorthand, message: &Message) {
        self.counts.ipi(message.delivery);
        if shorthand == Shorthand::None {
            self.deliver(message);
            return;
        }
        if message.delivery != Delivery::Fixed {
            self.wakes.fetch_add(1, Ordering::SeqCst);
        }
        for (index, lapic) in self.present() {
            let meant = match shorthand {
                Shorthand::Itself => index == from as usize,
                Shorthand::Others => index != from as usize,
                Shorthand::All | Shorthand::None => true,
            };
            if meant && lapic.enabled() {
                lapic.receive(message);
            }
        }
    }

    /// Sends one interrupt to every APIC ID whose bit is set in `ids`, bit 0 being `first`: the fixed
    /// interrupt or NMI in `icr` (KVM's paravirtual IPI). Gives how many took it; `None` if `icr` asks
    /// for more than that.
    pub fn send_to_set(&self, ids: u128, first: u32, icr: u64) -> Option<u64> {
        if icr & 0xC_0800 != 0 {
            return None;
        }
        let delivery = Delivery::from_bits((icr >> 8) as u32);
        let send = |id: u32| {
            self.counts.ipi(delivery);
            let destination = Destination { id, logical: false, wide: true };
            let message = Message { delivery, vector: icr as u8, level: false, destination, any_one: false };
            u64::from(self.deliver(&message) != Outcome::Ignored)
        };
        let meant = |id: &u32| id.checked_sub(first).is_some_and(|bit| bit < 128 && ids >> bit & 1 != 0);
        Some((0..self.lapics.len() as u32).filter(meant).map(send).sum())
    }

    /// A local APIC ends a level-triggered interrupt.
    fn end_of_interrupt(&self, vector: u8) {
        self.with_ioapic(|ioapic, send| ioapic.end_of_interrupt(vector, send));
    }

    /// A local APIC now accepts interrupts.
    fn retry_levels(&self) {
        self.with_ioapic(|ioapic, send| ioapic.retry(send));
    }

    /// The processor's interrupt acknowledge cycles, answered by the PIC.
    fn acknowledge_pic(&self) -> u8 {
        self.counts.extint.add();
        self.with_pic(Pic::acknowledge)
    }

    // ---- chips ----------------------------------------------------------------------------------

    fn with_ioapic<R>(&self, act: impl FnOnce(&mut Ioapic, ioapic::Send<'_>) -> R) -> R {
        let mut ioapic = self.ioapic.lock().expect("ioapic lock");
        act(&mut ioapic, &|message| self.deliver(message))
    }

    /// Acts on the PIC and carries its output to the processors.
    fn with_pic<R>(&self, act: impl FnOnce(&mut Pic) -> R) -> R {
        let mut pic = self.pic.lock().expect("pic lock");
        let result = act(&mut pic);
        let output = pic.output();
        let rises = !self.intr.swap(output, Ordering::SeqCst) && output;
        drop(pic);
        if rises {
            self.present().for_each(|(_, lapic)| lapic.intr_rises());
        }
        result
    }

    /// Acts on the PIT at the present time and arms its timer.
    fn with_pit<R>(&self, act: impl FnOnce(&mut Pit, u64) -> R) -> R {
        let mut pit = self.pit.lock().expect("pit lock");
        let result = act(&mut pit, self.clock.nanoseconds());
        self.timers.arm(self.lapics.len(), pit.deadline());
        result
    }

    // ---- halted vCPUs ---------------------------------------------------------------------------

    /// `index` looks for something to do.
    pub fn unpark(&self, index: u32) {
        self.parked[index as usize].store(false, Ordering::SeqCst);
    }

    /// `index` reports itself halted with interrupts off, or waiting for a SIPI, until [`Self::unpark`].
    /// Tells whether every vCPU that is plugged in is so, and nothing can wake the VM.
    pub fn all_dead(&self, index: u32) -> bool {
        self.parked[index as usize].store(true, Ordering::SeqCst);
        let wakes = self.wakes.load(Ordering::SeqCst);
        let dead = self.present().all(|(other, _)| {
            // A vCPU unparks before it takes such a bit, so in this order none is overlooked.
            self.attentions[other].bits() & (NMI | INIT | SIPI) == 0
                && self.parked[other].load(Ordering::SeqCst)
        });
        dead && wakes == self.wakes.load(Ordering::SeqCst)
            && !self.ioapic.lock().expect("ioapic lock").may_send_nmi()
            && !self.present().any(|(_, lapic)| lapic.may_get_nmi())
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.timers.stop();
        let thread = self.thread.lock().expect("timer thread lock").take();
        // The timer thread itself drops the fabric if it held the last reference.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            thread.join().expect("the timer thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;

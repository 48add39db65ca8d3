//! The local APIC, in xAPIC and x2APIC mode (Intel SDM vol. 3, chapter 11).
//!
//! One lock guards the register file; what the run loop asks often is published beside it in
//! atomics. While it is held no other chip's lock is taken, only the timer queue's. Left out: SMI,
//! ExtINT by message, CMCI, and sources for the thermal and performance entries.

mod registers;
mod timer;
mod vectors;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

pub use registers::Model;
use registers::{Effect, Registers};
use timer::{Due, Moment};

use super::message::{Address, Delivery, Destination, Message};
use super::timers::Timers;
use super::{Fabric, Outcome, Shorthand};
use crate::clock::Clock;
use crate::x86::attention::{Attention, INIT, INTERRUPT, NMI, SIPI};

const IA32_APIC_BASE: u32 = 0x1B;
const IA32_TSC_DEADLINE: u32 = 0x6E0;
const X2APIC_FIRST: u32 = 0x800;
const X2APIC_LAST: u32 = 0x8FF;
/// No xAPIC page.
const NOWHERE: u64 = u64::MAX;
/// One NMI in delivery and one held back: a processor remembers no more.
const MOST_NMIS: u8 = 2;
/// What may wait for a vCPU beside interrupts.
const SIGNALS: u32 = NMI | INIT | SIPI;

/// What every local APIC of a VM is wired to.
pub(super) struct Wires {
    pub clock: Arc<Clock>,
    pub timers: Arc<Timers>,
    pub fabric: Weak<Fabric>,
    /// INTR of the 8259 pair.
    pub intr: Arc<AtomicBool>,
}

struct Inner {
    registers: Registers,
    model: Model,
    /// The expiry that the timer queue knows of.
    armed: Option<Due>,
}

/// One local APIC. Its vCPU and other threads share it; every change that may make an interrupt
/// deliverable raises `attention::INTERRUPT` on the vCPU.
pub struct Lapic {
    index: u32,
    wires: Wires,
    attention: Arc<Attention>,
    inner: Mutex<Inner>,
    /// The guest's TSC minus the clock's.
    tsc_adjust: AtomicU64,
    timer_fires: AtomicU64,
    nmis: AtomicU8,
    sipi_vector: AtomicU8,
    // Published from the registers.
    mmio_base: AtomicU64,
    address: AtomicU64,
    tpr: AtomicU8,
    pending: AtomicBool,
    takes_extint: AtomicBool,
}

impl Lapic {
    pub(super) fn new(index: u32, attention: Arc<Attention>, wires: Wires) -> Self {
        let model = Model { physical_bits: 52, x2apic: true };
        let lapic = Self {
            index,
            wires,
            attention,
            inner: Mutex::new(Inner { registers: Registers::new(index), model, armed: None }),
            tsc_adjust: AtomicU64::new(0),
            timer_fires: AtomicU64::new(0),
            nmis: AtomicU8::new(0),
            sipi_vector: AtomicU8::new(0),
            mmio_base: AtomicU64::new(NOWHERE),
            address: AtomicU64::new(0),
            tpr: AtomicU8::new(0),
            pending: AtomicBool::new(false),
            takes_extint: AtomicBool::new(false),
        };
        lapic.change(|_, _| ());
        lapic
    }

    // ---- what the vCPU asks ---------------------------------------------------------------------

    /// The page that xAPIC registers appear at, if the APIC is enabled and in xAPIC mode. Hot: one
    /// atomic load.
    #[inline]
    pub fn mmio_base(&self) -> Option<u64> {
        let base = self.mmio_base.load(Ordering::Relaxed);
        (base != NOWHERE).then_some(base)
    }

    /// Whether IA32_APIC_BASE enables the APIC, which CPUID shows.
    pub fn enabled(&self) -> bool {
        self.address().enabled
    }

    /// Whether an interrupt could be delivered now if IF were set.
    #[inline]
    pub fn has_interrupt(&self) -> bool {
        self.pending.load(Ordering::Acquire) || self.has_extint()
    }

    #[inline]
    fn has_extint(&self) -> bool {
        self.takes_extint.load(Ordering::Acquire) && self.wires.intr.load(Ordering::Acquire)
    }

    /// Takes the interrupt to deliver: the highest above the processor priority, else the PIC's
    /// (ExtINT through LINT0, or directly while the APIC is disabled).
    pub fn acknowledge(&self) -> Option<u8> {
        if self.pending.load(Ordering::Acquire)
            && let Some(vector) = self.change(|inner, _| inner.registers.acknowledge())
        {
            return Some(vector);
        }
        if !self.has_extint() {
            return None;
        }
        self.wires.fabric.upgrade().map(|fabric| fabric.acknowledge_pic())
    }

    /// CR8: task priority class, 0-15.
    pub fn cr8(&self) -> u8 {
        self.tpr.load(Ordering::Relaxed) >> 4
    }

    pub fn set_cr8(&self, class: u8) {
        self.change(|inner, _| inner.registers.set_tpr(class << 4));
    }

    /// The vector of the last SIPI: the start page number.
    pub fn sipi_vector(&self) -> u8 {
        self.sipi_vector.load(Ordering::SeqCst)
    }

    /// INIT: registers to their reset values, APIC_BASE kept.
    pub fn init(&self) {
        self.nmis.store(0, Ordering::SeqCst);
        self.change(|inner, _| inner.registers.init());
    }

    /// Power-up: everything to its reset value, and nothing on its way to the vCPU, which does not run.
    pub(super) fn reset(&self) {
        self.init();
        self.change(|inner, _| inner.registers = Registers::new(self.index));
        self.attention.take(INTERRUPT | NMI | INIT | SIPI);
    }

    /// Takes an NMI to deliver. More than one may have come.
    pub fn take_nmi(&self) -> bool {
        let take = |nmis: u8| nmis.checked_sub(1);
        match self.nmis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(before) => {
                if before > 1 {
                    self.attention.raise(NMI);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// NMIs are blocked: of those that came, one is held back and the rest are lost.
    pub fn hold_nmi(&self) {
        self.nmis.fetch_min(1, Ordering::SeqCst);
    }

    /// What the processor presents: which bits of IA32_APIC_BASE exist.
    pub fn set_model(&self, model: Model) {
        self.lock().model = model;
    }

    /// Tells how far the guest's TSC is ahead of the VM's clock (wrapping).
    pub fn set_tsc_adjust(&self, adjust: u64) {
        self.tsc_adjust.store(adjust, Ordering::SeqCst);
        self.change(|inner, _| inner.armed = None);
    }

    // ---- saved and restored ---------------------------------------------------------------------

    /// All of it, with the signals that its vCPU has yet to look at. The vCPU stands still.
    pub(super) fn state(&self) -> Value {
        map([
            ("registers", self.change(|inner, _| inner.registers.save())),
            ("nmis", self.nmis.load(Ordering::SeqCst).save()),
            ("sipi_vector", self.sipi_vector.load(Ordering::SeqCst).save()),
            ("signals", (self.attention.bits() & SIGNALS).save()),
        ])
    }

    pub(super) fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let registers: Registers = fields.take("registers")?;
        let (nmis, sipi_vector): (u8, u8) = (fields.take("nmis")?, fields.take("sipi_vector")?);
        let signals: u32 = fields.take("signals")?;
        fields.end()?;
        if !registers.belong_to(self.index) || nmis > MOST_NMIS || signals & !SIGNALS != 0 {
            return Err(BadState::new("it is not of this processor"));
        }
        self.nmis.store(nmis, Ordering::SeqCst);
        self.sipi_vector.store(sipi_vector, Ordering::SeqCst);
        self.change(|inner, _| (inner.registers, inner.armed) = (registers, None));
        self.attention.take(SIGNALS);
        self.attention.raise(signals | INTERRUPT);
        Ok(())
    }

    // ---- registers ------------------------------------------------------------------------------

    /// Reads a register by its offset in the page.
    pub fn mmio_read(&self, offset: u64) -> u32 {
        if offset & 0xC != 0 {
            return 0; // between registers
        }
        let value = self.lock().registers.read(register_at(offset), self.now());
        if value.is_none() {
            self.change(|inner, _| inner.registers.illegal_access());
        }
        value.unwrap_or(0) >> (8 * (offset & 3))
    }

    /// Writes a register by its offset in the page.
    pub fn mmio_write(&self, offset: u64, value: u32) {
        if offset & 0xF != 0 {
            return;
        }
        let effect = self.change(|inner, now| {
            let effect = inner.registers.write(register_at(offset), value, now);
            if effect.is_none() {
                inner.registers.illegal_access();
            }
            effect
        });
        self.perform(effect.unwrap_or(Effect::None));
    }

    /// APIC_BASE, TSC_DEADLINE and the x2APIC range. `None`: not one of ours, or #GP.
    pub fn read_msr(&self, msr: u32) -> Option<u64> {
        match msr {
            IA32_APIC_BASE => Some(self.lock().registers.base()),
            IA32_TSC_DEADLINE => Some(self.change(|inner, _| inner.registers.timer.deadline())),
            X2APIC_FIRST..=X2APIC_LAST => self.read_x2apic(msr - X2APIC_FIRST),
            _ => None,
        }
    }

    fn read_x2apic(&self, register: u32) -> Option<u64> {
        let inner = self.lock();
        match register {
            _ if !inner.registers.x2apic() => None,
            registers::ICR => Some(inner.registers.icr()),
            registers::EOI => None,
            _ => inner.registers.read(register, self.now()).map(u64::from),
        }
    }

    /// Tells whether the write was accepted; if not, #GP. After a write to APIC_BASE the caller must
    /// drop cached translations, for the xAPIC's page may have moved.
    pub fn write_msr(&self, msr: u32, value: u64) -> bool {
        match msr {
            IA32_APIC_BASE => self.change(|inner, _| inner.registers.set_base(value, inner.model)),
            IA32_TSC_DEADLINE => {
                self.change(|inner, _| inner.registers.timer.set_deadline(value));
                true
            }
            X2APIC_FIRST..=X2APIC_LAST => {
                let effect = self.change(|inner, now| {
                    let registers = &mut inner.registers;
                    registers.x2apic().then(|| registers.write_x2apic(msr - X2APIC_FIRST, value, now))?
                });
                effect.inspect(|&effect| self.perform(effect)).is_some()
            }
            _ => false,
        }
    }

    /// Carries out what a register write asks for, with no lock held.
    fn perform(&self, effect: Effect) {
        if effect == Effect::None {
            return;
        }
        let Some(fabric) = self.wires.fabric.upgrade() else { return };
        match effect {
            Effect::None => {}
            Effect::Broadcast(vector) => fabric.end_of_interrupt(vector),
            Effect::Enabled => fabric.retry_levels(),
            Effect::Send(icr) => self.send(icr, &fabric),
        }
    }

    /// Sends an interrupt command (11.6.1).
    fn send(&self, icr: u64, fabric: &Fabric) {
        let delivery = Delivery::from_bits((icr >> 8) as u32);
        let (asserted, level) = (icr >> 14 & 1 != 0, icr >> 15 & 1 != 0);
        let vector = icr as u8;
        match delivery {
            Delivery::Init if level && !asserted => return, // de-assertion: only very old processors heed it
            Delivery::Fixed | Delivery::Lowest if vector < 16 => {
                self.change(|inner, _| inner.registers.error(registers::SEND_ILLEGAL_VECTOR));
                return;
            }
            _ => {}
        }
        let wide = self.address().x2apic;
        let id = (icr >> if wide { 32 } else { 56 }) as u32;
        let destination = Destination { id, logical: icr >> 11 & 1 != 0, wide };
        let message = Message { delivery, vector, level: false, destination, any_one: false };
        fabric.send_ipi(self.index, Shorthand::from_icr(icr), &message);
    }

    // ---- what others send -----------------------------------------------------------------------

    pub(super) fn address(&self) -> Address {
        Address::unpack(self.address.load(Ordering::Acquire))
    }

    /// The processor priority, for arbitration.
    pub(super) fn priority(&self) -> u8 {
        self.lock().registers.ppr()
    }

    /// Receives a message that means this APIC.
    pub(super) fn receive(&self, message: &Message) -> Outcome {
        match message.delivery {
            Delivery::Fixed | Delivery::Lowest => {
                return self.change(|inner, _| inner.registers.accept(message.vector, message.level));
            }
            Delivery::Nmi => self.nmi(1),
            Delivery::Init => {
                self.attention.take(SIPI); // an earlier one has been overtaken
                self.attention.raise(INIT);
            }
            Delivery::StartUp => {
                self.sipi_vector.store(message.vector, Ordering::SeqCst);
                self.attention.raise(SIPI);
            }
            Delivery::Smi | Delivery::ExtInt | Delivery::Reserved => return Outcome::Ignored,
        }
        Outcome::Delivered
    }

    fn nmi(&self, count: u8) {
        let add = |nmis: u8| Some(nmis.saturating_add(count).min(MOST_NMIS));
        // The closure never gives up, so the result says nothing.
        let _before = self.nmis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        self.attention.raise(NMI);
    }

    /// The 8259 pair's output has risen.
    pub(super) fn intr_rises(&self) {
        if self.takes_extint.load(Ordering::Acquire) {
            self.attention.raise(INTERRUPT);
        } else {
            self.change(|inner, _| inner.registers.raise_local(registers::LVT_LINT0));
        }
    }

    /// The board's NMI line pulses; a disabled APIC lets it through.
    pub(super) fn nmi_rises(&self) {
        if self.enabled() {
            self.change(|inner, _| inner.registers.raise_local(registers::LVT_LINT1));
        } else {
            self.nmi(1);
        }
    }

    /// Whether the 8259 pair raises NMIs here.
    pub(super) fn may_get_nmi(&self) -> bool {
        self.lock().registers.lint0_is_nmi()
    }

    /// The timer queue says that the deadline has passed.
    pub(super) fn expire(&self) {
        self.change(|inner, _| inner.armed = None);
    }

    pub(super) fn timer_fires(&self) -> u64 {
        self.timer_fires.load(Ordering::Relaxed)
    }

    // ---- the register file and what is published from it ----------------------------------------

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("lapic lock")
    }

    fn now(&self) -> Moment {
        let tsc = self.wires.clock.tsc();
        let adjust = self.tsc_adjust.load(Ordering::Relaxed);
        Moment { ns: self.wires.clock.scale().nanoseconds(tsc), guest_tsc: tsc.wrapping_add(adjust) }
    }

    /// Changes registers with the timer up to date before and after, and tells the vCPU.
    fn change<R>(&self, act: impl FnOnce(&mut Inner, Moment) -> R) -> R {
        let mut inner = self.lock();
        let now = self.now();
        let before = inner.registers.tick(now);
        let result = act(&mut inner, now);
        let after = inner.registers.tick(now);
        self.timer_fires.fetch_add(u64::from(before) + u64::from(after), Ordering::Relaxed);
        let raised = self.publish(&mut inner);
        let nmis = std::mem::take(&mut inner.registers.nmis);
        self.arm(&mut inner, now);
        drop(inner);
        if nmis > 0 {
            self.nmi(nmis);
        }
        if raised {
            self.attention.raise(INTERRUPT);
        }
        result
    }

    /// Publishes; tells whether the vCPU has something new to look at.
    fn publish(&self, inner: &mut Inner) -> bool {
        let registers = &inner.registers;
        self.mmio_base.store(registers.mmio_base().unwrap_or(NOWHERE), Ordering::Release);
        self.address.store(registers.address().pack(), Ordering::Release);
        self.tpr.store(registers.tpr(), Ordering::Release);
        let (pending, takes_extint) = (registers.pending().is_some(), registers.takes_extint());
        let was_pending = self.pending.load(Ordering::Relaxed);
        let took_extint = self.takes_extint.load(Ordering::Relaxed);
        self.pending.store(pending, Ordering::Release);
        self.takes_extint.store(takes_extint, Ordering::Release);
        pending && !was_pending || takes_extint && !took_extint
    }

    /// Passes the next expiry to the timer queue if it has changed and anyone would notice it.
    fn arm(&self, inner: &mut Inner, now: Moment) {
        let wanted = inner.registers.timer_wanted();
        let due = inner.registers.timer.due().filter(|_| wanted);
        if due == inner.armed {
            return;
        }
        inner.armed = due;
        let clock = &self.wires.clock;
        let deadline = due.map(|due| match due {
            Due::Ns(ns) => ns,
            Due::GuestTsc(deadline) => {
                let left = deadline.saturating_sub(now.guest_tsc);
                clock.nanoseconds_at(clock.tsc().saturating_add(left))
            }
        });
        self.wires.timers.arm(self.index as usize, deadline);
    }
}

fn register_at(offset: u64) -> u32 {
    (offset >> 4 & 0xFF) as u32
}

#[cfg(test)]
mod tests;

//! The register file of a local APIC: pure state, told the time and never blocking.
//! Source: Intel SDM vol. 3, 11.4 to 11.9 and 11.12.

use innkeeper_bus::plain_struct;

use super::timer::{Mode, Moment, Timer};
use super::vectors::Vectors;
use crate::irq::Outcome;
use crate::irq::message::{Address, Delivery, x2apic_logical_id};
use crate::x86::paging::PHYSICAL_BITS;

/// Version 0x14, six LVT entries, EOI-broadcast suppression.
const VERSION: u32 = 0x14 | 5 << 16 | 1 << 24;

// Registers by number: the MMIO offset / 16, or the MSR - 0x800.
pub const ID: u32 = 0x02;
const VERSION_REGISTER: u32 = 0x03;
const TPR: u32 = 0x08;
const ARBITRATION: u32 = 0x09;
const PPR: u32 = 0x0A;
pub const EOI: u32 = 0x0B;
const REMOTE_READ: u32 = 0x0C;
const LDR: u32 = 0x0D;
const DFR: u32 = 0x0E;
pub const SVR: u32 = 0x0F;
const ISR: u32 = 0x10;
const TMR: u32 = 0x18;
const IRR: u32 = 0x20;
const ESR: u32 = 0x28;
pub const ICR: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT: u32 = 0x32;
const LVT_LAST: u32 = 0x37;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3E;
pub const SELF_IPI: u32 = 0x3F;

// LVT entries by index.
pub const LVT_TIMER: usize = 0;
pub const LVT_LINT0: usize = 3;
pub const LVT_LINT1: usize = 4;
const LVT_ERROR: usize = 5;
const LVT_MASKED: u32 = 1 << 16;
/// Bits 12 (delivery status) and 14 (remote IRR) are read-only and always 0 here.
const LVT_WRITABLE: [u32; 6] = [0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];
const LVT_READ_ONLY: u32 = 1 << 12 | 1 << 14;

const SVR_ENABLED: u32 = 1 << 8;
const SVR_NO_EOI_BROADCAST: u32 = 1 << 12;
const SVR_WRITABLE: u32 = 0x13FF;

// Error status bits.
pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;

// IA32_APIC_BASE.
pub const BASE_BSP: u64 = 1 << 8;
pub const BASE_X2APIC: u64 = 1 << 10;
pub const BASE_ENABLED: u64 = 1 << 11;
const BASE_DEFAULT: u64 = 0xFEE0_0000;
const BASE_ADDRESS: u64 = !0xFFF;

/// Vectors below this are reserved for the processor.
const FIRST_VECTOR: u8 = 16;

/// What a register write asks of the world outside the register file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    /// Tell the I/O APIC that the level-triggered interrupt with this vector has ended.
    Broadcast(u8),
    /// Send the interrupt command.
    Send(u64),
    /// The APIC was enabled by software.
    Enabled,
}

/// What the processor model presents of the APIC; the board sets it once.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// MAXPHYADDR: higher bits of IA32_APIC_BASE are reserved.
    pub physical_bits: u32,
    pub x2apic: bool,
}

#[derive(Clone, Debug)]
pub struct Registers {
    index: u32,
    base: u64,
    id: u8,
    tpr: u8,
    ldr: u8,
    cluster: bool,
    svr: u32,
    esr: u32,
    errors: u32,
    icr: u64,
    lvt: [u32; 6],
    isr: Vectors,
    irr: Vectors,
    tmr: Vectors,
    pub timer: Timer,
    /// NMIs that a local source raised; the owner passes them on.
    pub nmis: u8,
}

plain_struct!(Registers {
    index, base, id, tpr, ldr, cluster, svr, esr, errors, icr, lvt, isr, irr, tmr, timer, nmis,
} if Registers::is_sound);

impl Registers {
    fn is_sound(&self) -> bool {
        let x2apic_alone = self.base & (BASE_ENABLED | BASE_X2APIC) == BASE_X2APIC;
        let entries = self.lvt.iter().zip(&LVT_WRITABLE);
        !x2apic_alone
            && self.base >> PHYSICAL_BITS == 0
            && self.svr & !SVR_WRITABLE == 0
            && entries.clone().all(|(entry, writable)| entry & !writable == 0)
    }

    /// Power-up state. `index` is the initial APIC ID; 0 is the bootstrap processor.
    pub fn new(index: u32) -> Self {
        let bootstrap = if index == 0 { BASE_BSP } else { 0 };
        // Firmware leaves the bootstrap processor's LINT0 open to the 8259; so it is here from the
        // start, for guests that boot without firmware.
        let lint0 = if index == 0 { 0x700 } else { LVT_MASKED };
        Self {
            index,
            base: BASE_DEFAULT | BASE_ENABLED | bootstrap,
            id: index as u8,
            tpr: 0,
            ldr: 0,
            cluster: false,
            svr: 0xFF,
            esr: 0,
            errors: 0,
            icr: 0,
            lvt: [LVT_MASKED, LVT_MASKED, LVT_MASKED, lint0, LVT_MASKED, LVT_MASKED],
            isr: Vectors::default(),
            irr: Vectors::default(),
            tmr: Vectors::default(),
            timer: Timer::default(),
            nmis: 0,
        }
    }

    /// Whether these can be those of the APIC that has this initial ID.
    pub fn belong_to(&self, index: u32) -> bool {
        self.index == index && (self.base & BASE_BSP != 0) == (index == 0)
    }

    /// INIT: as after power-up, but IA32_APIC_BASE and the APIC ID stay.
    pub fn init(&mut self) {
        *self = Self { base: self.base, id: self.id, ..Self::new(self.index) };
    }

    // ---- modes ----------------------------------------------------------------------------------

    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn enabled(&self) -> bool {
        self.base & BASE_ENABLED != 0
    }

    /// Whether fixed interrupts are accepted.
    fn accepts(&self) -> bool {
        self.enabled() && self.svr & SVR_ENABLED != 0
    }

    pub fn x2apic(&self) -> bool {
        self.base & (BASE_ENABLED | BASE_X2APIC) == BASE_ENABLED | BASE_X2APIC
    }

    /// The page of the xAPIC's registers, if they can be seen.
    pub fn mmio_base(&self) -> Option<u64> {
        (self.enabled() && !self.x2apic()).then_some(self.base & BASE_ADDRESS)
    }

    /// Writes IA32_APIC_BASE (11.12.5, figure 11-27); tells whether that is legal.
    pub fn set_base(&mut self, value: u64, model: Model) -> bool {
        let mut reserved = 0x2FF;
        if model.physical_bits < 64 {
            reserved |= u64::MAX << model.physical_bits;
        }
        if !model.x2apic {
            reserved |= BASE_X2APIC;
        }
        let mode = |base: u64| (base & BASE_ENABLED != 0, base & BASE_X2APIC != 0);
        let legal = match (mode(self.base), mode(value)) {
            (_, (false, true)) => false,
            ((false, _), (true, true)) => false,
            ((_, true), (true, false)) => false,
            _ => value & reserved == 0,
        };
        if !legal {
            return false;
        }
        let disabled = self.enabled() && value & BASE_ENABLED == 0;
        self.base = value;
        if disabled {
            // The task priority stays, for CR8 needs no APIC.
            *self = Self { base: value, tpr: self.tpr, ..Self::new(self.index) };
        }
        true
    }

    pub fn address(&self) -> Address {
        Address {
            enabled: self.enabled(),
            accepts: self.accepts(),
            x2apic: self.x2apic(),
            id: if self.x2apic() { self.index } else { u32::from(self.id) },
            logical: self.ldr,
            cluster: self.cluster,
        }
    }

    /// Whether the 8259's output interrupts this processor.
    pub fn takes_extint(&self) -> bool {
        let lint0 = self.lvt[LVT_LINT0];
        let open = lint0 & LVT_MASKED == 0 && Delivery::from_bits(lint0 >> 8) == Delivery::ExtInt;
        if self.enabled() { open } else { self.index == 0 }
    }

    /// Whether LINT0 turns the 8259's output into NMIs.
    pub fn lint0_is_nmi(&self) -> bool {
        let lint0 = self.lvt[LVT_LINT0];
        lint0 & LVT_MASKED == 0 && Delivery::from_bits(lint0 >> 8) == Delivery::Nmi
    }

    // ---- priorities -----------------------------------------------------------------------------

    pub fn tpr(&self) -> u8 {
        self.tpr
    }

    pub fn set_tpr(&mut self, value: u8) {
        self.tpr = value;
    }

    pub fn ppr(&self) -> u8 {
        let serving = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 { self.tpr } else { serving & 0xF0 }
    }

    /// The vector that could be delivered now.
    pub fn pending(&self) -> Option<u8> {
        let requested = self.irr.highest()?;
        (self.enabled() && requested >> 4 > self.ppr() >> 4).then_some(requested)
    }

    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending()?;
        self.irr.set(vector, false);
        self.isr.set(vector, true);
        Some(vector)
    }

    /// A fixed or lowest-priority interrupt arrives.
    pub fn accept(&mut self, vector: u8, level: bool) -> Outcome {
        if !self.accepts() {
            return Outcome::Ignored;
        }
        if vector < FIRST_VECTOR {
            self.error(RECEIVE_ILLEGAL_VECTOR);
            return Outcome::Ignored;
        }
        self.tmr.set(vector, level);
        if self.irr.set(vector, true) { Outcome::Coalesced } else { Outcome::Delivered }
    }

    fn end_of_interrupt(&mut self) -> Effect {
        let Some(vector) = self.isr.highest() else { return Effect::None };
        self.isr.set(vector, false);
        let broadcast = self.tmr.has(vector) && self.svr & SVR_NO_EOI_BROADCAST == 0;
        if broadcast { Effect::Broadcast(vector) } else { Effect::None }
    }

    // ---- local sources --------------------------------------------------------------------------

    /// Raises the interrupt of an LVT entry.
    pub fn raise_local(&mut self, entry: usize) {
        let lvt = self.lvt[entry];
        if lvt & LVT_MASKED != 0 || !self.enabled() {
            return;
        }
        match Delivery::from_bits(lvt >> 8) {
            Delivery::Fixed if lvt as u8 >= FIRST_VECTOR => drop(self.accept(lvt as u8, false)),
            Delivery::Fixed if entry == LVT_ERROR => self.errors |= RECEIVE_ILLEGAL_VECTOR,
            Delivery::Fixed => self.error(RECEIVE_ILLEGAL_VECTOR),
            Delivery::Nmi => self.nmis = self.nmis.saturating_add(1),
            _ => {} // SMI and INIT have no source on this board; ExtINT is `takes_extint`
        }
    }

    pub fn error(&mut self, bit: u32) {
        self.errors |= bit;
        self.raise_local(LVT_ERROR);
    }

    /// Raises the timer's interrupt if it has expired.
    pub fn tick(&mut self, now: Moment) -> bool {
        let expired = self.timer.expire(now);
        if expired {
            self.raise_local(LVT_TIMER);
        }
        expired
    }

    /// Whether an expiry of the timer would be noticed.
    pub fn timer_wanted(&self) -> bool {
        self.lvt[LVT_TIMER] & LVT_MASKED == 0
    }

    // ---- register access ------------------------------------------------------------------------

    /// Reads a register; `None` if there is none to read.
    pub fn read(&self, register: u32, now: Moment) -> Option<u32> {
        let number = (register & 7) as usize;
        Some(match register {
            ID if self.x2apic() => self.index,
            ID => u32::from(self.id) << 24,
            VERSION_REGISTER => VERSION,
            TPR => u32::from(self.tpr),
            ARBITRATION | REMOTE_READ | EOI if !self.x2apic() => 0,
            PPR => u32::from(self.ppr()),
            LDR if self.x2apic() => x2apic_logical_id(self.index),
            LDR => u32::from(self.ldr) << 24,
            DFR if !self.x2apic() => {
                if self.cluster {
                    0x0FFF_FFFF
                } else {
                    u32::MAX
                }
            }
            SVR => self.svr,
            ISR..TMR => self.isr.register(number),
            TMR..IRR => self.tmr.register(number),
            IRR..ESR => self.irr.register(number),
            ESR => self.esr,
            ICR => self.icr as u32,
            ICR_HIGH if !self.x2apic() => (self.icr >> 32) as u32,
            LVT..=LVT_LAST => self.lvt[(register - LVT) as usize],
            INITIAL_COUNT => self.timer.initial(),
            CURRENT_COUNT => self.timer.current(now.ns),
            DIVIDE => self.timer.divide(),
            _ => return None,
        })
    }

    pub fn icr(&self) -> u64 {
        self.icr
    }

    /// An xAPIC access to a register that does not exist.
    pub fn illegal_access(&mut self) {
        self.error(ILLEGAL_REGISTER);
    }

    /// Writes a register as the xAPIC does: what is reserved is ignored. `None` if there is no such
    /// register.
    pub fn write(&mut self, register: u32, value: u32, now: Moment) -> Option<Effect> {
        match register {
            ID => self.id = (value >> 24) as u8,
            TPR => self.tpr = value as u8,
            EOI => return Some(self.end_of_interrupt()),
            LDR => self.ldr = (value >> 24) as u8,
            DFR => self.cluster = value >> 28 != 0xF,
            SVR => return Some(self.set_svr(value)),
            ESR => self.esr = std::mem::take(&mut self.errors),
            ICR => {
                self.icr = self.icr & !0xFFFF_FFFF | u64::from(value & 0xC_CFFF);
                return Some(Effect::Send(self.icr));
            }
            ICR_HIGH => self.icr = self.icr & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32,
            LVT..=LVT_LAST => self.set_lvt((register - LVT) as usize, value, now),
            INITIAL_COUNT => self.timer.set_initial(value, now.ns),
            DIVIDE => self.timer.set_divide(value, now.ns),
            VERSION_REGISTER | ARBITRATION | PPR | REMOTE_READ | ISR..ESR | CURRENT_COUNT => {}
            _ => return None,
        }
        Some(Effect::None)
    }

    /// Writes a register as WRMSR does; `None` is #GP: reserved bits, read-only or missing registers.
    pub fn write_x2apic(&mut self, register: u32, value: u64, now: Moment) -> Option<Effect> {
        let writable = match register {
            ICR => 0xFFFF_FFFF_000C_DFFF,
            TPR | SELF_IPI => 0xFF,
            EOI | ESR => 0,
            SVR => u64::from(SVR_WRITABLE),
            LVT..=LVT_LAST => u64::from(LVT_WRITABLE[(register - LVT) as usize] | LVT_READ_ONLY),
            INITIAL_COUNT => 0xFFFF_FFFF,
            DIVIDE => 0xB,
            _ => return None,
        };
        if value & !writable != 0 {
            return None;
        }
        match register {
            ICR => {
                self.icr = value & !(1 << 12);
                Some(Effect::Send(self.icr))
            }
            // A fixed interrupt to itself, by shorthand.
            SELF_IPI => Some(Effect::Send(1 << 18 | value)),
            _ => self.write(register, value as u32, now),
        }
    }

    fn set_svr(&mut self, value: u32) -> Effect {
        let before = std::mem::replace(&mut self.svr, value & SVR_WRITABLE);
        if self.svr & SVR_ENABLED == 0 {
            self.lvt.iter_mut().for_each(|entry| *entry |= LVT_MASKED);
        }
        let enabled = !before & self.svr & SVR_ENABLED != 0;
        if enabled { Effect::Enabled } else { Effect::None }
    }

    fn set_lvt(&mut self, entry: usize, value: u32, now: Moment) {
        let masked = if self.svr & SVR_ENABLED == 0 { LVT_MASKED } else { 0 };
        self.lvt[entry] = value & LVT_WRITABLE[entry] | masked;
        if entry == LVT_TIMER {
            self.timer.set_mode(Mode::from_lvt(value), now.ns);
        }
    }
}

//! Delivering exceptions and interrupts: IDT gates in every mode, double and triple faults, #DB, NMI,
//! and the instructions that ask for an interrupt.
//! Source: Intel SDM vol. 3, chapter 6; vol. 2, INT n; 17.2 (debug registers).

use iced_x86::Code;

use crate::exit::Exit;
use crate::state::Activity;
use crate::x86::cpu::{Cpu, Shadow, flag};
use crate::x86::fault::{Fault, Stop, vector};
use crate::x86::op::{Handler, Op};

/// DR7.GD: accesses to debug registers are #DB.
pub const DR7_GD: u64 = 1 << 13;
/// The breakpoint conditions in DR6.
const DR6_HITS: u64 = 0xF;

/// An event on its way to its handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub vector: u8,
    pub error: Option<u32>,
    /// INT n, INT3 or INTO: the gate's DPL is checked, and faults do not carry the EXT flag.
    pub software: bool,
    /// An exception, so that the rules for double faults apply.
    exception: bool,
    /// The RFLAGS image to push.
    pub flags: u64,
    /// What the run loop will take off RIP if delivery faults: the length of a software interrupt.
    pub rewind: u64,
}

impl Event {
    /// The EXT flag of error codes that delivery raises.
    pub fn ext(&self) -> u32 {
        u32::from(!self.software)
    }
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Int_imm8 => int,
        Code::Int3 => int3,
        Code::Into => into,
        Code::Int1 => int1,
        _ => return None,
    })
}

fn int(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.v86() && cpu.iopl() < 3 {
        return Err(cpu.gp(0));
    }
    cpu.interrupt_by_program(op.imm as u8, op, true)
}

fn int3(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.interrupt_by_program(vector::BP, op, true)
}

fn into(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.has_flag(flag::OF) { cpu.interrupt_by_program(vector::OF, op, true) } else { Ok(()) }
}

fn int1(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.debug_hits != 0 {
        // Held back by a load of SS: it is the same #DB.
        cpu.enter_debug();
    }
    cpu.interrupt_by_program(vector::DB, op, false)
}

impl Cpu {
    fn interrupt_by_program(&mut self, vector: u8, op: &Op, software: bool) -> Result<(), Stop> {
        self.stats.software_interrupts.add(1);
        let rewind = u64::from(op.length);
        let event = Event { vector, error: None, software, exception: false, flags: self.rflags, rewind };
        self.inject(&event)
    }

    /// Delivers `self.fault`, whose instruction RIP points at. Faults while delivering become #DF, and
    /// then shutdown.
    pub fn deliver_fault(&mut self) -> Option<Exit> {
        let fault = self.fault;
        let mut flags = self.rflags | flag::RF;
        if fault.vector == vector::DB {
            // An instruction breakpoint, or DR7.GD: the handler is to set RF itself.
            flags = self.rflags;
            self.enter_debug();
        }
        let event = self.event_of(fault, flags);
        self.deliver(event)
    }

    /// Delivers #DB as a trap for `self.debug_hits` (which it clears), RIP behind the instruction.
    pub fn deliver_debug_trap(&mut self) -> Option<Exit> {
        self.enter_debug();
        self.deliver(self.debug_event())
    }

    /// Delivers an external interrupt.
    pub fn deliver_interrupt(&mut self, vector: u8) -> Option<Exit> {
        self.deliver(self.hardware_event(vector))
    }

    pub fn deliver_nmi(&mut self) -> Option<Exit> {
        self.nmi_blocked = true;
        self.deliver(self.hardware_event(vector::NMI))
    }

    fn hardware_event(&self, vector: u8) -> Event {
        Event { vector, error: None, software: false, exception: false, flags: self.rflags, rewind: 0 }
    }

    fn debug_event(&self) -> Event {
        Event { exception: true, ..self.hardware_event(vector::DB) }
    }

    fn event_of(&mut self, fault: Fault, flags: u64) -> Event {
        if fault.vector == vector::PF {
            self.cr2 = fault.address;
        }
        let error = (fault.has_error() && !self.real()).then_some(fault.error);
        Event { vector: fault.vector, error, software: false, exception: true, flags, rewind: 0 }
    }

    /// Moves the conditions found into DR6, and takes the debug registers' guard away.
    fn enter_debug(&mut self) {
        self.dr[6] = self.dr[6] & !DR6_HITS | self.debug_hits;
        self.dr[7] &= !DR7_GD;
        self.msrs.debug_ctl &= !super::msr::DEBUG_CTL_BTF;
        self.debug_hits = 0;
    }

    fn deliver(&mut self, first: Event) -> Option<Exit> {
        self.activity = Activity::Runnable;
        self.shadow = Shadow::None;
        let mut event = first;
        loop {
            if event.exception
                && let Some(counter) = self.stats.exceptions.get(event.vector as usize)
            {
                counter.add(1);
            }
            self.stats.page_faults.add((event.exception && event.vector == vector::PF).into());
            self.delivering = Some(event.vector);
            let result = self.inject(&event);
            self.delivering = None;
            match result {
                // A task switch may ask for a debug trap of its own.
                Ok(()) if self.debug_hits != 0 => {
                    self.enter_debug();
                    event = self.debug_event();
                }
                Ok(()) => return None,
                Err(_) => match self.second_fault(&event) {
                    Some(next) => event = next,
                    None => return Some(Exit::Shutdown),
                },
            }
        }
    }

    /// What a fault during delivery becomes (Intel SDM vol. 3, table 6-5); `None` is shutdown.
    fn second_fault(&mut self, first: &Event) -> Option<Event> {
        let fault = self.fault;
        let flags = self.rflags | flag::RF;
        let contributory = is_contributory(fault.vector);
        let page_fault = fault.vector == vector::PF;
        let doubles = match first.vector {
            _ if !first.exception => false,
            vector::DF if contributory || page_fault => return None,
            vector::PF => contributory || page_fault,
            vector => is_contributory(vector) && contributory,
        };
        let event = self.event_of(fault, flags);
        let error = (!self.real()).then_some(0);
        Some(if doubles { Event { vector: vector::DF, error, ..event } } else { event })
    }
}

fn is_contributory(vector: u8) -> bool {
    matches!(vector, vector::DE | vector::TS..=vector::GP)
}

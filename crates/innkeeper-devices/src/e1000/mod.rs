//! An Intel 82540EM, the card that every guest has a driver for.
//!
//! Spec: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453). Left out: VLANs,
//! flow control, wake-up, the TBI, receive checksums, delays of single interrupts (ITR's throttling is there), and
//! statistics other than packets sent, received and missed.

mod chips;
mod receive;
mod registers;
mod saving;
mod transmit;

#[cfg(test)]
mod tests;

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::Line;
use innkeeper_bus::memory::GuestMemory;
use innkeeper_net::{Card, Link as Cable, Offloads};

use chips::{Eeprom, Phy};
use receive::Received;
use registers::*;
use transmit::{Assembly, Taken};

/// Bytes of the memory region; registers are at its start.
pub const MEMORY_BYTES: u64 = 128 << 10;
/// Bytes of the region of ports: an address and a window.
pub const PORT_BYTES: u64 = 64;
const PORT_ADDRESS: u64 = 0;
const PORT_DATA: u64 = 4;
/// Of ITR.
const THROTTLE_UNIT: Duration = Duration::from_nanos(256);
/// Frames after which the link is told, even if there are more.
const BATCH: usize = 32;

struct State {
    registers: Registers,
    eeprom: Eeprom,
    phy: Phy,
    /// Interrupt causes, and which of them interrupt.
    causes: u32,
    mask: u32,
    level: bool,
    /// When the next interrupt may come.
    next_interrupt: Option<Instant>,
    port_address: u32,
    scratch: Vec<u8>,
    // What the thread is to do.
    transmits: bool,
    refilled: bool,
    starving: bool,
    ending: bool,
    /// It shall do nothing, and does nothing.
    paused: bool,
    parked: bool,
    up: bool,
}

struct Shared {
    cable: Arc<dyn Cable>,
    memory: Arc<GuestMemory>,
    line: Arc<dyn Line>,
    mac: [u8; 6],
    master: AtomicBool,
    state: Mutex<State>,
    /// The thread's, but while it is parked. Taken before `state`.
    assembly: Mutex<Assembly>,
    work: Condvar,
    /// The thread has parked.
    parks: Condvar,
}

/// One card on a board, from one power-on to the next.
pub struct E1000 {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The regions that base address registers place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Memory,
    Ports,
}

struct Region {
    shared: Arc<Shared>,
    window: Window,
}

impl E1000 {
    /// The card after power-on, on its cable. If the host has no thread for it, it neither sends nor receives.
    pub fn new(
        mac: [u8; 6],
        up: bool,
        cable: Arc<dyn Cable>,
        memory: Arc<GuestMemory>,
        line: Arc<dyn Line>,
    ) -> Self {
        let mut state = State {
            registers: Registers::new(),
            eeprom: Eeprom::new(mac),
            phy: Phy::new(),
            causes: 0,
            mask: 0,
            level: false,
            next_interrupt: None,
            port_address: 0,
            scratch: Vec::new(),
            transmits: false,
            refilled: false,
            starving: false,
            ending: false,
            paused: false,
            parked: false,
            up,
        };
        state.load_address(mac);
        let shared = Arc::new(Shared {
            cable,
            memory,
            line,
            mac,
            master: AtomicBool::new(false),
            state: Mutex::new(state),
            assembly: Mutex::new(Assembly::new()),
            work: Condvar::new(),
            parks: Condvar::new(),
        });
        let its = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("innkeeper-e1000".into()).spawn(move || its.work()).ok();
        shared.cable.connect(shared.clone(), Offloads::default());
        Self { shared, thread: Mutex::new(thread) }
    }

    pub fn region(&self, window: Window) -> Arc<dyn Device> {
        Arc::new(Region { shared: Arc::clone(&self.shared), window })
    }

    /// The command register of configuration space was written.
    pub fn set_command(&self, command: u16) {
        self.shared.master.store(command & 4 != 0, Ordering::Release);
        self.shared.wake(|state| (state.transmits, state.refilled) = (true, true));
    }

    /// Plugs the cable in, or pulls it; the driver is told.
    pub fn set_up(&self, up: bool) {
        let mut state = self.shared.lock();
        if std::mem::replace(&mut state.up, up) != up {
            self.shared.raise(&mut state, ICR_LSC);
        }
    }

    /// The board is taken apart: returns once nothing touches the guest's memory any more.
    pub fn shut_down(&self) {
        self.shared.cable.disconnect();
        self.shared.wake(|state| state.ending = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join()); // a thread that panicked has said so already
        }
        self.shared.line.set(false);
    }
}

impl Drop for E1000 {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl State {
    /// What the EEPROM does to the address filters at power-on and reset.
    fn load_address(&mut self, mac: [u8; 6]) {
        self.registers[RAL] = u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]);
        self.registers[RAH] = u32::from_le_bytes([mac[4], mac[5], 0, 0]) | RAH_VALID;
    }

    fn receives(&self) -> bool {
        self.up && self.registers[RCTL] & RCTL_EN != 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.work.notify_one();
    }

    // ---- interrupts -----------------------------------------------------------------------------

    fn raise(&self, state: &mut State, causes: u32) {
        state.causes |= causes;
        self.drive(state);
    }

    /// Sets the line as causes and mask say. One that comes too soon after the last waits for the thread.
    fn drive(&self, state: &mut State) {
        let level = state.causes & state.mask != 0;
        if level == state.level {
            return;
        }
        if level {
            let now = Instant::now();
            if state.next_interrupt.is_some_and(|next| next > now) {
                self.work.notify_one();
                return;
            }
            state.next_interrupt = Some(now + THROTTLE_UNIT * (state.registers[ITR] & 0xFFFF));
        }
        state.level = level;
        self.line.set(level);
    }

    // ---- the thread -----------------------------------------------------------------------------

    fn work(&self) {
        let mut state = self.lock();
        while !state.ending {
            if state.parked {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            self.drive(&mut state);
            if std::mem::take(&mut state.transmits) {
                drop(state);
                self.transmit(&mut self.assembly.lock().unwrap_or_else(PoisonError::into_inner));
                state = self.lock();
            } else if state.paused {
                state.parked = true;
                self.parks.notify_all();
            } else if std::mem::take(&mut state.refilled) && std::mem::take(&mut state.starving) {
                drop(state);
                self.cable.ready();
                state = self.lock();
            } else {
                let held_back = state.causes & state.mask != 0 && !state.level;
                state = match state.next_interrupt.filter(|_| held_back) {
                    Some(next) => {
                        let wait =
                            next.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
                        self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None if state.transmits || state.refilled && state.starving || state.ending => state,
                    None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
            }
        }
    }

    /// Sends what the driver has given.
    fn transmit(&self, assembly: &mut Assembly) {
        loop {
            let mut causes = 0;
            for _ in 0..BATCH {
                match self.transmit_one(assembly) {
                    Some(more) => causes |= more,
                    None => {
                        self.cable.flush();
                        return self.raise(&mut self.lock(), causes | ICR_TXQE);
                    }
                }
            }
            self.cable.flush();
            self.raise(&mut self.lock(), causes);
        }
    }

    /// Takes one descriptor, and sends the frame that it ends. Gives the causes for an interrupt; None if there is none.
    fn transmit_one(&self, assembly: &mut Assembly) -> Option<u32> {
        let mut state = self.lock();
        let registers = &mut state.registers;
        let ring = registers.ring(TDLEN);
        let enabled = registers[TCTL] & TCTL_EN != 0 && self.master.load(Ordering::Acquire);
        if !enabled || ring == 0 || registers[TDH] % ring == registers[TDT] % ring {
            return None;
        }
        let head = registers[TDH] % ring;
        let place = registers.address(TDBAL).wrapping_add(DESCRIPTOR_BYTES * u64::from(head));
        let mut descriptor = [0; 16];
        let there = self.memory.read(place, &mut descriptor).is_ok();
        registers[TDH] = (head + 1) % ring;
        if !there {
            return Some(0);
        }
        let (taken, reports) = assembly.take(&self.memory, &descriptor);
        if reports {
            descriptor[12] |= 1;
            let _ = self.memory.write(place + 12, &descriptor[12..13]); // it was read there a moment ago
        }
        if taken == Taken::Whole {
            registers[GPTC] = registers[GPTC].saturating_add(1);
            let up = state.up;
            drop(state);
            let cable = &self.cable;
            assembly.finish(cable.offloads(), |frame| {
                if up {
                    cable.send(&[IoSlice::new(frame)]);
                }
            });
        }
        Some(if reports { ICR_TXDW } else { 0 })
    }

    // ---- registers ------------------------------------------------------------------------------

    fn read_register(&self, offset: u64) -> u32 {
        let mut state = self.lock();
        match offset {
            STATUS => STATUS_FIXED & 0xFFFF | if state.up { STATUS_LU } else { 0 },
            EECD => state.eeprom.control(),
            ICR => {
                let causes = std::mem::take(&mut state.causes);
                self.drive(&mut state);
                causes
            }
            ICS => state.causes,
            IMS => state.mask,
            IMC => 0,
            _ if STATISTICS.contains(&offset) => std::mem::take(&mut state.registers[offset]),
            _ if offset < END => state.registers[offset],
            _ => 0,
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        let mut state = self.lock();
        match offset {
            CTRL if value & CTRL_RST != 0 => self.reset(&mut state),
            CTRL => {
                if value & CTRL_PHY_RST != 0 {
                    state.phy = Phy::new();
                }
                state.registers[CTRL] = value & !CTRL_PHY_RST;
            }
            EECD => state.eeprom.set_control(value),
            EERD if value & EERD_START != 0 => {
                let word = state.eeprom.word((value >> 8 & 0xFF) as usize);
                state.registers[EERD] = u32::from(word) << 16 | value & 0xFF00 | EERD_DONE;
            }
            MDIC => {
                let up = state.up;
                let (result, interrupts) = state.phy.command(value, up);
                state.registers[MDIC] = result;
                if interrupts {
                    self.raise(&mut state, ICR_MDAC);
                }
            }
            ICR => state.causes &= !value,
            ICS => state.causes |= value,
            IMS => state.mask |= value,
            IMC => state.mask &= !value,
            STATUS => {}
            _ if STATISTICS.contains(&offset) => {}
            _ if offset < END => state.registers[offset] = value,
            _ => {}
        }
        self.drive(&mut state);
        match offset {
            TDT | TCTL => state.transmits = true,
            RDT | RCTL => state.refilled = true,
            _ => return,
        }
        self.work.notify_one();
    }

    fn reset(&self, state: &mut State) {
        state.registers = Registers::new();
        (state.causes, state.mask, state.next_interrupt) = (0, 0, None);
        state.load_address(self.mac);
        state.refilled = true; // what waits for room shall not wait for that of before
    }
}

impl Card for Shared {
    fn receive(&self, frame: &[IoSlice<'_>]) -> bool {
        let mut state = self.lock();
        if !state.receives() || !self.master.load(Ordering::Acquire) {
            return true; // nobody listens
        }
        let mut scratch = std::mem::take(&mut state.scratch);
        let received = receive::receive(&mut state.registers, &self.memory, frame, &mut scratch);
        state.scratch = scratch;
        if received == Received::NoRoom {
            // Asked for again when the driver gives more, unless it did a moment ago.
            (state.starving, state.refilled) = (true, false);
            state.registers[MPC] = state.registers[MPC].saturating_add(1);
            self.raise(&mut state, ICR_RXO);
            return false;
        }
        if received == Received::Kept {
            // The line is set by `flush`, once for all.
            state.causes |= ICR_RXT0;
            if receive::free(&state.registers) < state.registers.ring(RDLEN) / 2 {
                state.causes |= ICR_RXDMT0;
            }
        }
        true
    }

    fn flush(&self) {
        self.drive(&mut self.lock());
    }
}

impl Device for Region {
    fn read(&self, offset: u64, size: u8) -> u64 {
        match (self.window, offset) {
            (Window::Memory, _) if size == 4 && offset.is_multiple_of(4) => {
                self.shared.read_register(offset).into()
            }
            (Window::Memory, _) => 0, // only dwords are defined
            (Window::Ports, PORT_ADDRESS) => self.shared.lock().port_address.into(),
            (Window::Ports, PORT_DATA) => {
                let at = self.shared.lock().port_address;
                self.shared.read_register(u64::from(at) & !3).into()
            }
            (Window::Ports, _) => 0,
        }
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        match (self.window, offset) {
            (Window::Memory, _) if size == 4 && offset.is_multiple_of(4) => {
                self.shared.write_register(offset, value as u32)
            }
            (Window::Memory, _) => {}
            (Window::Ports, PORT_ADDRESS) => self.shared.lock().port_address = value as u32,
            (Window::Ports, PORT_DATA) => {
                let at = self.shared.lock().port_address;
                self.shared.write_register(u64::from(at) & !3, value as u32);
            }
            (Window::Ports, _) => {}
        }
    }
}

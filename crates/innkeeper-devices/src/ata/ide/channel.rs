//! A channel: the registers of two drives, one command at a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use innkeeper_bus::interrupt::Line;
use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::super::Drive;
use super::super::taskfile::{DEVICE_SELECT, REASON_TO_HOST, Taskfile, status};
use super::bus_master::BusMaster;
use super::registers::{DEVICE, Registers, STATUS_COMMAND};
use super::transfer::{Progress, Transfer, Way};

/// Device control register.
const CONTROL_BEFORE: u8 = 0x80;
const CONTROL_RESET: u8 = 0x04;
const CONTROL_NO_INTERRUPT: u8 = 0x02;

/// For what drives have begun.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

const DEVICE_RESET: u8 = 0x08;
const EXECUTE_DIAGNOSTIC: u8 = 0x90;

/// One drive from the guest's side.
pub struct Unit {
    pub registers: Registers,
    signature: u64,
    after_reset: u8,
    packet: bool,
}

/// A command that waits for the channel's thread.
pub struct Job {
    pub unit: usize,
    pub taskfile: Taskfile,
    pub generation: u64,
}

#[derive(Default)]
pub struct State {
    pub units: [Option<Unit>; 2],
    selected: usize,
    control: u8,
    irq: bool,
    level: bool,
    pub transfer: Option<Transfer>,
    /// The bytes of a transfer from the host that the guest has ended.
    pub returned: Option<Vec<u8>>,
    pub job: Option<Job>,
    /// Drives that the thread is to reset before it does anything else.
    pub resets: [bool; 2],
    /// Counts resets: what belongs to another generation is void.
    pub generation: u64,
    pub closing: bool,
    /// The thread does something; it waits for the guest to go on.
    pub working: bool,
    pub waits: bool,
    pub bus_master: BusMaster,
    pub master_enabled: bool,
}

pub struct Channel {
    pub memory: Arc<GuestMemory>,
    line: Arc<dyn Line>,
    state: Mutex<State>,
    /// Something happened that the channel's thread may wait for.
    pub changed: Condvar,
}

impl Channel {
    pub fn new(memory: Arc<GuestMemory>, line: Arc<dyn Line>, drives: &[Option<Drive>; 2]) -> Self {
        let units = drives.each_ref().map(|drive| drive.as_ref().map(Unit::new));
        let state = State { units, ..State::default() };
        Self { memory, line, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("IDE channel lock")
    }

    /// Brings the interrupt line up to date.
    pub fn drive_line(&self, state: &mut State) {
        let level = state.irq && state.control & CONTROL_NO_INTERRUPT == 0;
        if std::mem::replace(&mut state.level, level) != level {
            self.line.set(level);
        }
    }

    pub fn interrupt(&self, state: &mut State) {
        state.irq = true;
        state.bus_master.interrupt();
        self.drive_line(state);
    }

    pub fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.generation += 1;
        state.irq = false;
        self.drive_line(&mut state);
        self.changed.notify_all();
    }

    // ---- saved and restored ---------------------------------------------------------------------

    /// Waits until the drives have nothing to do, while the vCPUs stand still; false if it is the guest's turn.
    pub fn settle(&self) -> bool {
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if state.transfer.is_some() || state.waits && state.returned.is_none() {
                return false;
            }
            if !state.working && state.job.is_none() && state.resets == [false; 2] {
                return true;
            }
            if Instant::now() > give_up {
                return false;
            }
            state = self.changed.wait_timeout(state, LOOK).expect("IDE channel lock").0;
        }
    }

    /// The registers, of a channel that has settled.
    pub fn state(&self) -> Value {
        let state = self.lock();
        let units: Vec<_> = state.units.iter().map(|unit| unit.as_ref().map(|unit| unit.registers)).collect();
        map([
            ("units", units.save()),
            ("selected", state.selected.save()),
            ("control", state.control.save()),
            ("irq", state.irq.save()),
            ("level", state.level.save()),
            ("bus_master", state.bus_master.save()),
        ])
    }

    /// # Errors
    /// [`BadState`] for what cannot be.
    pub fn restore(&self, saved: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(saved)?;
        let units: [Option<Registers>; 2] = fields.take("units")?;
        let selected: usize = fields.take("selected")?;
        let (control, irq, level) = (fields.take("control")?, fields.take("irq")?, fields.take("level")?);
        let bus_master = fields.take("bus_master")?;
        fields.end()?;
        let mut state = self.lock();
        let same = units.iter().zip(&state.units).all(|(there, here)| there.is_some() == here.is_some());
        if !same || selected >= units.len() {
            return Err(BadState::new("it has other drives"));
        }
        for (unit, registers) in state.units.iter_mut().zip(units) {
            if let (Some(unit), Some(registers)) = (unit, registers) {
                unit.registers = registers;
            }
        }
        (state.selected, state.control, state.irq) = (selected, control, irq);
        (state.level, state.bus_master) = (level, bus_master);
        self.line.set(level);
        Ok(())
    }

    // ---- command block --------------------------------------------------------------------------

    pub fn read(&self, offset: u64) -> u8 {
        let mut state = self.lock();
        if offset == STATUS_COMMAND {
            state.irq = false;
            self.drive_line(&mut state);
        }
        let before = state.control & CONTROL_BEFORE != 0;
        // Nobody there: the lines are pulled down.
        state.selected().map_or(0, |unit| unit.registers.read(offset, before))
    }

    pub fn write(&self, offset: u64, value: u8) {
        let mut state = self.lock();
        // A write ends what was asked for with HOB.
        state.control &= !CONTROL_BEFORE;
        if offset == STATUS_COMMAND {
            return self.begin(&mut state, value);
        }
        if state.engaged() {
            return;
        }
        if offset == DEVICE {
            state.selected = usize::from(value & DEVICE_SELECT != 0);
        }
        state.units.iter_mut().flatten().for_each(|unit| unit.registers.write(offset, value));
    }

    pub fn read_data(&self, mut out: &mut [u8]) {
        out.fill(0);
        let mut state = self.lock();
        while !out.is_empty() {
            let Some(transfer) = state.transfer.as_mut().filter(|transfer| transfer.way == Way::ToHost)
            else {
                return;
            };
            let (length, progress) = transfer.take(out);
            out = &mut out[length..];
            match progress {
                Progress::Within => {}
                Progress::Block => self.announce(&mut state, true),
                Progress::Done => self.all_taken(&mut state),
            }
        }
    }

    pub fn write_data(&self, mut data: &[u8]) {
        let mut state = self.lock();
        while !data.is_empty() {
            let Some(transfer) = state.transfer.as_mut().filter(|transfer| transfer.way != Way::ToHost)
            else {
                return;
            };
            let (length, progress) = transfer.put(data);
            data = &data[length..];
            match progress {
                Progress::Within => {}
                Progress::Block => self.announce(&mut state, true),
                Progress::Done => {
                    state.returned = state.transfer.take().map(Transfer::into_data);
                    state.set_status(status::BSY);
                    self.changed.notify_all();
                }
            }
        }
    }

    /// Shows that the next block can be moved.
    pub fn announce(&self, state: &mut State, interrupt: bool) {
        let Some(transfer) = &state.transfer else { return };
        let (packet, bytes) = (transfer.pio.packet, transfer.block() as u16);
        let unit = state.selected_mut();
        if let Some(unit) = unit {
            unit.registers.status = if packet { status::DRDY } else { status::READY } | status::DRQ;
            if packet {
                unit.registers.show_block(REASON_TO_HOST, bytes);
            }
        }
        if interrupt {
            self.interrupt(state);
        }
    }

    fn all_taken(&self, state: &mut State) {
        let transfer = state.transfer.take();
        let Some((last, pio)) = transfer.and_then(|transfer| Some((transfer.last?, transfer.pio))) else {
            state.set_status(status::BSY);
            self.changed.notify_all();
            return;
        };
        if let Some(unit) = state.selected_mut() {
            unit.registers.show(&last);
        }
        if pio.packet {
            self.interrupt(state);
        }
    }

    // ---- commands and resets --------------------------------------------------------------------

    fn begin(&self, state: &mut State, command: u8) {
        if command == DEVICE_RESET && state.selected().is_some_and(|unit| unit.packet) {
            let selected = state.selected;
            return self.reset(state, [selected == 0, selected == 1], true);
        }
        if state.engaged() {
            return;
        }
        if command == EXECUTE_DIAGNOSTIC {
            self.reset(state, [true; 2], true);
            state.selected = 0;
            state.units.iter_mut().flatten().for_each(|unit| unit.registers.device = 0);
            return self.interrupt(state);
        }
        let (unit, generation) = (state.selected, state.generation);
        state.irq = false;
        self.drive_line(state);
        let Some(selected) = state.selected_mut() else { return };
        (selected.registers.status, selected.registers.error) = (status::BSY, 0);
        let taskfile = selected.registers.taskfile(command);
        state.job = Some(Job { unit, taskfile, generation });
        self.changed.notify_all();
    }

    /// Forgets what is under way and resets the drives of `which`, at once if `ends`.
    fn reset(&self, state: &mut State, which: [bool; 2], ends: bool) {
        state.generation += 1;
        (state.transfer, state.job, state.returned) = (None, None, None);
        state.irq = false;
        for (index, unit) in state.units.iter_mut().enumerate() {
            let Some(unit) = unit.as_mut().filter(|_| which[index]) else { continue };
            unit.registers.sign(unit.signature, if ends { unit.after_reset } else { status::BSY });
            state.resets[index] = true;
        }
        self.drive_line(state);
        self.changed.notify_all();
    }

    pub fn alternate_status(&self) -> u8 {
        self.lock().selected().map_or(0, |unit| unit.registers.status)
    }

    pub fn write_control(&self, value: u8) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.control, value);
        if value & !before & CONTROL_RESET != 0 {
            self.reset(&mut state, [true; 2], false);
        } else if before & !value & CONTROL_RESET != 0 {
            state.selected = 0;
            for unit in state.units.iter_mut().flatten() {
                unit.registers.device = 0;
                unit.registers.status = unit.after_reset;
            }
        }
        self.drive_line(&mut state);
    }

    // ---- bus master -----------------------------------------------------------------------------

    pub fn read_master(&self, offset: u64) -> u8 {
        self.lock().bus_master.read(offset)
    }

    pub fn write_master(&self, offset: u64, value: u8) {
        let mut state = self.lock();
        state.bus_master.write(offset, value);
        self.changed.notify_all();
    }

    pub fn set_master(&self, enabled: bool) {
        self.lock().master_enabled = enabled;
        self.changed.notify_all();
    }
}

impl Unit {
    fn new(drive: &Drive) -> Self {
        let (signature, after_reset) = (drive.signature(), drive.status_after_reset());
        let mut registers = Registers::default();
        registers.sign(signature, after_reset);
        Self { registers, signature, after_reset, packet: drive.is_packet() }
    }
}

impl State {
    pub fn selected(&self) -> Option<&Unit> {
        self.units[self.selected].as_ref()
    }

    pub fn selected_mut(&mut self) -> Option<&mut Unit> {
        self.units[self.selected].as_mut()
    }

    fn set_status(&mut self, value: u8) {
        if let Some(unit) = self.selected_mut() {
            unit.registers.status = value;
        }
    }

    /// A drive is in the middle of something: only it may change registers. (So the selected one is the busy one.)
    fn engaged(&self) -> bool {
        let busy = |unit: &Unit| unit.registers.status & (status::BSY | status::DRQ) != 0;
        self.units.iter().flatten().any(busy)
    }
}

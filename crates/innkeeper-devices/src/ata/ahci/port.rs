//! A port: its registers, and what its thread finds there.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Plain, Value};

use super::super::Drive;
use super::super::taskfile::{Taskfile, status};
use super::registers::{
    ACTIVE, COMMAND, DETECTION, DETECTION_OFF, DETECTION_RESET, ERROR_EXCHANGED, ERROR_READY_CHANGE,
    INTERRUPT_ENABLE, INTERRUPT_STATUS, ISSUE, LINK_CONTROL, LINK_ERROR, LINK_STATUS, LINK_UP, LIST,
    LIST_UPPER, NO_SIGNATURE, NO_TASK_FILE, RECEIVED, RECEIVED_UPPER, SIGNATURE, SLOTS, TASK_FILE, command,
    interrupt,
};
use super::{Shared, fis};

/// For what a drive has begun.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// The drive that is on it.
struct Attached {
    signature: u64,
    after_reset: u8,
}

#[derive(Default)]
pub struct State {
    pub list: u64,
    received: u64,
    interrupts: u32,
    enabled: u32,
    command: u32,
    task_file: u32,
    signature: u32,
    link: u32,
    link_control: u32,
    link_error: u32,
    pub active: u32,
    pub issue: u32,
    /// A command failed: nothing more until the guest stops the port.
    stalled: bool,
    /// The drive's signature, which could not be stored yet.
    unsent: Option<Taskfile>,
    /// The slot after the one that was taken last.
    next: usize,
    /// The thread is to reset the drive before it does anything else.
    pub reset: bool,
    /// Counts resets and stops: what belongs to another generation is void.
    pub generation: u64,
    pub closing: bool,
    /// The thread does something.
    pub working: bool,
    master_enabled: bool,
}

plain_struct!(State {
    list, received, interrupts, enabled, command, task_file, signature, link, link_control, link_error, active, issue,
    stalled, unsent, next, reset, generation, closing, working, master_enabled,
} if State::is_sound);

pub struct Port {
    index: usize,
    pub shared: Arc<Shared>,
    attached: Option<Attached>,
    state: Mutex<State>,
    /// Something happened that the port's thread may wait for.
    pub changed: Condvar,
}

impl Port {
    pub fn new(index: usize, shared: Arc<Shared>, drive: Option<&Drive>) -> Self {
        let attached = drive
            .map(|drive| Attached { signature: drive.signature(), after_reset: drive.status_after_reset() });
        let port = Self { index, shared, attached, state: Mutex::default(), changed: Condvar::new() };
        port.power_on(&mut port.lock());
        port
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("AHCI port lock")
    }

    pub fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.generation += 1;
        self.changed.notify_all();
    }

    /// Waits until the drive has nothing to do, while the vCPUs stand still; false if that takes too long.
    pub fn settle(&self) -> bool {
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while state.working || state.reset || state.may_take() {
            if Instant::now() > give_up {
                return false;
            }
            state = self.changed.wait_timeout(state, LOOK).expect("AHCI port lock").0;
        }
        true
    }

    /// The registers, of a port that has settled.
    pub fn state(&self) -> Value {
        self.lock().save()
    }

    /// # Errors
    /// [`BadState`] for what cannot be.
    pub fn restore(&self, saved: &Value) -> Result<(), BadState> {
        let saved = State::load(saved)?;
        let mut state = self.lock();
        let State { generation, closing, working, master_enabled, .. } = *state;
        *state = State { generation, closing, working, master_enabled, reset: false, ..saved };
        Ok(())
    }

    pub fn set_master(&self, enabled: bool) {
        self.lock().master_enabled = enabled;
        self.changed.notify_all();
    }

    /// A reset of the whole controller.
    pub fn reset(&self) {
        let mut state = self.lock();
        self.forget(&mut state);
        self.power_on(&mut state);
    }

    fn power_on(&self, state: &mut State) {
        let State { generation, master_enabled, closing, working, .. } = *state;
        *state = State { generation, master_enabled, closing, working, ..State::default() };
        state.command = command::SPIN_UP | command::POWER_ON;
        self.connect(state);
    }

    /// The link comes up, and the drive says what it is.
    fn connect(&self, state: &mut State) {
        (state.task_file, state.signature, state.link) = (NO_TASK_FILE, NO_SIGNATURE, 0);
        let Some(attached) = &self.attached else { return };
        state.link = LINK_UP;
        state.link_error |= ERROR_EXCHANGED | ERROR_READY_CHANGE;
        state.reset = true;
        self.changed.notify_all();
        self.tell_signature(state, &fis::after_reset(attached.signature, attached.after_reset));
    }

    /// The drive says what it is.
    pub fn tell_signature(&self, state: &mut State, taskfile: &Taskfile) {
        state.signature = fis::signature(taskfile);
        state.set_task_file(taskfile);
        if state.command & command::RECEIVE != 0 {
            self.store(state, fis::REGISTERS_AT, &fis::registers(taskfile, false));
        } else {
            state.unsent = Some(*taskfile);
        }
    }

    /// What a software reset ends with.
    pub fn signature(&self) -> Option<Taskfile> {
        self.attached.as_ref().map(|attached| fis::after_reset(attached.signature, attached.after_reset))
    }

    /// Commands that were issued are void.
    fn forget(&self, state: &mut State) {
        state.generation += 1;
        (state.issue, state.active, state.stalled) = (0, 0, false);
        self.changed.notify_all();
    }

    /// Puts a frame into the guest's memory, if it can be there.
    pub fn store(&self, state: &State, at: u64, frame: &[u8]) {
        if state.command & command::RECEIVE != 0 && state.master_enabled {
            let _ = self.shared.memory.write(state.received + at, frame); // not RAM: it has gone to nobody
        }
    }

    pub fn raise(&self, state: &mut State, bits: u32) {
        state.interrupts |= bits;
        self.tell_cause(state);
    }

    fn tell_cause(&self, state: &State) {
        self.shared.cause(self.index, state.pending() & state.enabled != 0);
    }

    /// A command failed.
    pub fn fail(&self, state: &mut State, bits: u32) {
        state.stalled = true;
        self.raise(state, bits | interrupt::TASK_FILE);
    }

    // ---- registers ------------------------------------------------------------------------------

    pub fn read(&self, offset: u64) -> u32 {
        let state = self.lock();
        match offset {
            LIST => state.list as u32,
            LIST_UPPER => (state.list >> 32) as u32,
            RECEIVED => state.received as u32,
            RECEIVED_UPPER => (state.received >> 32) as u32,
            INTERRUPT_STATUS => state.pending(),
            INTERRUPT_ENABLE => state.enabled,
            COMMAND => state.command,
            TASK_FILE => state.task_file,
            SIGNATURE => state.signature,
            LINK_STATUS => state.link,
            LINK_CONTROL => state.link_control,
            LINK_ERROR => state.link_error,
            ACTIVE => state.active,
            ISSUE => state.issue,
            _ => 0,
        }
    }

    pub fn write(&self, offset: u64, value: u32) {
        const ENABLES: u32 = 0xFDC0_00FF;
        let (low, high) = (u64::from(value), u64::from(value) << 32);
        let mut guard = self.lock();
        let state = &mut *guard;
        match offset {
            LIST => state.list = state.list & !0xFFFF_FFFF | low & !0x3FF,
            LIST_UPPER => state.list = state.list & 0xFFFF_FFFF | high,
            RECEIVED => state.received = state.received & !0xFFFF_FFFF | low & !0xFF,
            RECEIVED_UPPER => state.received = state.received & 0xFFFF_FFFF | high,
            INTERRUPT_STATUS => {
                state.interrupts &= !value;
                self.tell_cause(state);
            }
            INTERRUPT_ENABLE => {
                state.enabled = value & ENABLES;
                self.tell_cause(state);
            }
            COMMAND => self.write_command(state, value),
            LINK_CONTROL => self.write_link_control(state, value),
            LINK_ERROR => {
                state.link_error &= !value;
                self.tell_cause(state);
            }
            ACTIVE if state.runs() => state.active |= value,
            ISSUE if state.runs() => {
                state.issue |= value;
                self.changed.notify_all();
            }
            _ => {}
        }
    }

    fn write_command(&self, state: &mut State, value: u32) {
        let before = state.command;
        state.command = before & !command::WRITABLE | value & command::WRITABLE;
        if value & command::OVERRIDE != 0 {
            state.task_file &= !u32::from(status::BSY | status::DRQ);
        }
        state.follow(command::RECEIVE, command::RECEIVES);
        state.follow(command::START, command::RUNS);
        if before & !value & command::START != 0 {
            self.forget(state);
            state.command &= !command::SLOT;
        }
        if value & !before & command::RECEIVE != 0
            && let Some(taskfile) = state.unsent.take()
        {
            self.store(state, fis::REGISTERS_AT, &fis::registers(&taskfile, false));
        }
        self.changed.notify_all();
    }

    /// A guest resets the link by setting DET to 1 for a while, and turns it off with 4.
    fn write_link_control(&self, state: &mut State, value: u32) {
        const WRITABLE: u32 = 0xFFF;
        let before = std::mem::replace(&mut state.link_control, value & WRITABLE) & DETECTION;
        let now = value & DETECTION;
        if matches!(now, DETECTION_RESET | DETECTION_OFF) && now != before {
            self.forget(state);
            (state.task_file, state.signature) = (NO_TASK_FILE | u32::from(status::BSY), NO_SIGNATURE);
            state.link = if now == DETECTION_OFF { DETECTION_OFF } else { 0 };
        } else if now == 0 && before != 0 {
            self.connect(state);
            self.tell_cause(state);
        }
    }
}

impl State {
    fn runs(&self) -> bool {
        self.command & command::START != 0
    }

    /// PxIS with what comes from PxSERR.
    fn pending(&self) -> u32 {
        let connect = if self.link_error & ERROR_EXCHANGED != 0 { interrupt::CONNECT } else { 0 };
        let change = if self.link_error & ERROR_READY_CHANGE != 0 { interrupt::READY_CHANGE } else { 0 };
        self.interrupts & !interrupt::DERIVED | connect | change
    }

    /// A bit that tells what another one asks for.
    fn follow(&mut self, asked: u32, told: u32) {
        self.command = if self.command & asked != 0 { self.command | told } else { self.command & !told };
    }

    pub fn set_task_file(&mut self, taskfile: &Taskfile) {
        self.task_file = u32::from(taskfile.error) << 8 | u32::from(taskfile.status);
    }

    /// A drive that says that it is busy has to be done first.
    fn idle(&self) -> bool {
        self.task_file & u32::from(status::BSY | status::DRQ) == 0
    }

    fn is_sound(&self) -> bool {
        self.list & 0x3FF == 0 && self.received & 0xFF == 0 && self.next < SLOTS
    }

    /// Whether a command may begin.
    fn may_take(&self) -> bool {
        self.runs() && self.master_enabled && !self.stalled && self.issue != 0 && self.idle()
    }

    /// The next slot with a command, if one may begin: in turn, so that none waits for ever.
    pub fn take_slot(&mut self) -> Option<usize> {
        if !self.may_take() {
            return None;
        }
        let slot = (0..SLOTS).map(|i| (self.next + i) % SLOTS).find(|slot| self.issue >> slot & 1 != 0)?;
        self.next = (slot + 1) % SLOTS;
        self.command = self.command & !command::SLOT | (slot as u32) << command::SLOT_SHIFT;
        Some(slot)
    }
}

//! How a function gets its driver's attention: MSI-X with its table and pending bits, or INTA with the ISR status.
//!
//! Spec: PCI Local Bus 3.0, 6.8.2 (MSI-X), 6.2.2 (interrupt disable, bus master); virtio 1.2, 4.1.4.5 and 4.1.5.1.
//! A message that may not be sent (its entry or the function masked, no bus mastering) waits as a pending bit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_bus::interrupt::{InterruptFabric, Line};
use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Plain, Value};

use super::lock;

/// A queue or a configuration without a vector.
pub const NO_VECTOR: u16 = 0xFFFF;
const ENTRY_BYTES: u64 = 16;
const MASKED: u32 = 1;
pub const ISR_QUEUE: u8 = 1;
pub const ISR_CONFIG: u8 = 2;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
const CONTROL_MASK: u16 = 1 << 14;
const CONTROL_ENABLE: u16 = 1 << 15;

/// As it is in the table.
#[derive(Clone, Copy)]
struct Entry {
    /// Low half, high half, data, vector control.
    words: [u32; 4],
    pending: bool,
}

plain_struct!(Entry { words, pending });

struct State {
    isr: u8,
    /// What the line was last set to.
    level: bool,
    intx_disabled: bool,
    enabled: bool,
    masked: bool,
    table: Vec<Entry>,
    config_vector: u16,
    queue_vectors: Vec<u16>,
}

plain_struct!(State { isr, level, intx_disabled, enabled, masked, table, config_vector, queue_vectors });

/// The interrupts of one function.
pub struct Interrupts {
    fabric: Arc<dyn InterruptFabric>,
    line: Arc<dyn Line>,
    /// Bus mastering: without it, there is no access to memory, and a message is one.
    master: AtomicBool,
    state: Mutex<State>,
}

impl Interrupts {
    /// One vector for each queue and one for the configuration.
    pub fn new(fabric: Arc<dyn InterruptFabric>, line: Arc<dyn Line>, queues: usize) -> Self {
        let entry = Entry { words: [0, 0, 0, MASKED], pending: false };
        let state = State {
            isr: 0,
            level: false,
            intx_disabled: false,
            enabled: false,
            masked: false,
            table: vec![entry; queues + 1],
            config_vector: NO_VECTOR,
            queue_vectors: vec![NO_VECTOR; queues],
        };
        Self { fabric, line, master: AtomicBool::new(false), state: Mutex::new(state) }
    }

    pub fn state(&self) -> Value {
        lock(&self.state).save()
    }

    /// Takes on a state, with the level of the line. Bus mastering is configuration space's.
    ///
    /// # Errors
    /// [`BadState`] if it is that of another kind of function.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let saved = State::load(state)?;
        let mut state = lock(&self.state);
        if (saved.table.len(), saved.queue_vectors.len()) != (state.table.len(), state.queue_vectors.len()) {
            let (vectors, here) = (saved.table.len(), state.table.len());
            return Err(BadState::new(format!("it has {vectors} vectors instead of {here}")));
        }
        *state = saved;
        self.line.set(state.level);
        Ok(())
    }

    pub fn vectors(&self) -> usize {
        lock(&self.state).table.len()
    }

    /// Whether the device may reach memory.
    pub fn is_master(&self) -> bool {
        self.master.load(Ordering::Acquire)
    }

    pub fn msix_enabled(&self) -> bool {
        lock(&self.state).enabled
    }

    /// The command register was written.
    pub fn set_command(&self, command: u16) {
        self.master.store(command & COMMAND_MASTER != 0, Ordering::Release);
        let mut state = lock(&self.state);
        state.intx_disabled = command & COMMAND_INTX_DISABLE != 0;
        self.drive(&mut state);
        self.send_pending(&mut state);
    }

    /// The message control of the MSI-X capability was written.
    pub fn set_msix_control(&self, control: u16) {
        let mut state = lock(&self.state);
        state.enabled = control & CONTROL_ENABLE != 0;
        state.masked = control & CONTROL_MASK != 0;
        self.drive(&mut state);
        self.send_pending(&mut state);
    }

    /// A queue has something for its driver.
    pub fn signal_queue(&self, queue: u16) {
        let mut state = lock(&self.state);
        let vector = state.queue_vectors.get(usize::from(queue)).copied().unwrap_or(NO_VECTOR);
        self.signal(&mut state, vector, ISR_QUEUE);
    }

    /// The configuration or the status has changed.
    pub fn signal_config(&self) {
        let mut state = lock(&self.state);
        let vector = state.config_vector;
        self.signal(&mut state, vector, ISR_CONFIG);
    }

    fn signal(&self, state: &mut State, vector: u16, reason: u8) {
        if !state.enabled {
            state.isr |= reason;
            self.drive(state);
        } else if let Some(entry) = state.table.get_mut(usize::from(vector)) {
            entry.pending = true;
            self.send_pending_of(state.masked, entry);
        }
    }

    /// Reading the ISR status clears it.
    pub fn take_isr(&self) -> u8 {
        let mut state = lock(&self.state);
        let isr = std::mem::take(&mut state.isr);
        self.drive(&mut state);
        isr
    }

    /// The driver reset the device: the vectors of queues and configuration go, the table stays the function's.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.isr = 0;
        state.config_vector = NO_VECTOR;
        state.queue_vectors.fill(NO_VECTOR);
        self.drive(&mut state);
    }

    pub fn config_vector(&self) -> u16 {
        lock(&self.state).config_vector
    }

    /// A vector that does not exist becomes none.
    pub fn set_config_vector(&self, vector: u16) {
        let mut state = lock(&self.state);
        state.config_vector = if usize::from(vector) < state.table.len() { vector } else { NO_VECTOR };
    }

    pub fn queue_vector(&self, queue: u16) -> u16 {
        lock(&self.state).queue_vectors.get(usize::from(queue)).copied().unwrap_or(NO_VECTOR)
    }

    /// The same for a queue.
    pub fn set_queue_vector(&self, queue: u16, vector: u16) {
        let mut state = lock(&self.state);
        let vector = if usize::from(vector) < state.table.len() { vector } else { NO_VECTOR };
        if let Some(place) = state.queue_vectors.get_mut(usize::from(queue)) {
            *place = vector;
        }
    }

    fn drive(&self, state: &mut State) {
        let level = state.isr != 0 && !state.intx_disabled && !state.enabled;
        if std::mem::replace(&mut state.level, level) != level {
            self.line.set(level);
        }
    }

    fn send_pending(&self, state: &mut State) {
        if state.enabled {
            let masked = state.masked;
            state.table.iter_mut().for_each(|entry| self.send_pending_of(masked, entry));
        }
    }

    fn send_pending_of(&self, function_masked: bool, entry: &mut Entry) {
        let [low, high, data, control] = entry.words;
        if entry.pending && !function_masked && control & MASKED == 0 && self.is_master() {
            entry.pending = false;
            self.fabric.signal_msi(u64::from(low & !3) | u64::from(high) << 32, data);
        }
    }

    /// Reads the region of table and pending bits, the latter from `pending_at` on.
    pub fn read_table(&self, offset: u64, size: u8, pending_at: u64) -> u64 {
        let state = lock(&self.state);
        let dword = |offset: u64| -> u64 {
            if let Some(first) = offset.checked_sub(pending_at) {
                return pending_bits(&state.table, first as usize * 8).into();
            }
            let entry = state.table.get((offset / ENTRY_BYTES) as usize);
            entry.map_or(0, |entry| entry.words[(offset % ENTRY_BYTES / 4) as usize].into())
        };
        match (size, offset % u64::from(size.max(1))) {
            (4, 0) => dword(offset),
            (8, 0) => dword(offset) | dword(offset + 4) << 32,
            // The specification leaves other accesses undefined.
            _ => dword(offset & !3) >> (8 * (offset % 4)),
        }
    }

    /// Writes the table: dwords and qwords, as the specification has it; others, and pending bits, are left alone.
    pub fn write_table(&self, offset: u64, size: u8, value: u64, pending_at: u64) {
        if !matches!(size, 4 | 8) || !offset.is_multiple_of(u64::from(size)) || offset >= pending_at {
            return;
        }
        let mut state = lock(&self.state);
        let (enabled, masked) = (state.enabled, state.masked);
        let Some(entry) = state.table.get_mut((offset / ENTRY_BYTES) as usize) else { return };
        let word = (offset % ENTRY_BYTES / 4) as usize;
        entry.words[word] = value as u32;
        if size == 8 {
            entry.words[word + 1] = (value >> 32) as u32;
        }
        entry.words[3] &= MASKED;
        if enabled {
            self.send_pending_of(masked, entry);
        }
    }
}

fn pending_bits(table: &[Entry], first: usize) -> u32 {
    let bits = table.iter().skip(first).take(32).enumerate();
    bits.fold(0, |bits, (bit, entry)| bits | u32::from(entry.pending) << bit)
}

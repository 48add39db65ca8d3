//! Input devices: a keyboard, and a tablet whose pointer has absolute coordinates. Events are Linux's own.
//!
//! Spec: virtio 1.2, 5.8; codes of linux/input-event-codes.h. Left out: force feedback, sound, and the LEDs that a
//! driver sets, which nobody shows.
//!
//! There is no thread: an event is written to the driver's buffer by whoever has it.

use std::collections::VecDeque;
use std::sync::Mutex;

use innkeeper_bus::state::{BadState, Plain, Value};

use super::class::{Activation, Class, Saving, VirtQueue, read_config_bytes};
use super::lock;
use super::queue::Chain;

const KIND: u16 = 18;
const QUEUE_SIZE: u16 = 64;
const EVENTS: u16 = 0;
const EVENT_BYTES: u64 = 8;
/// Events that wait for a driver that is slow. Beyond that whole reports are lost.
const MOST_WAITING: usize = 1024;

// Selectors of configuration space.
const ID_NAME: u8 = 0x01;
const ID_SERIAL: u8 = 0x02;
const ID_DEVICES: u8 = 0x03;
const PROPERTY_BITS: u8 = 0x10;
const EVENT_BITS: u8 = 0x11;
const ABSOLUTE: u8 = 0x12;

const EV_KEY: u8 = 0x01;
const EV_REL: u8 = 0x02;
const EV_ABS: u8 = 0x03;
const EV_REP: u8 = 0x14;
const REL_HWHEEL: u16 = 0x06;
const REL_WHEEL: u16 = 0x08;
const BUS_VIRTUAL: u16 = 0x06;
/// Keys that a keyboard has: all up to the last of the main block and its neighbours.
const KEYS: std::ops::RangeInclusive<u16> = 1..=248;
const BUTTONS: [u16; 6] = [0x110, 0x111, 0x112, 0x113, 0x114, 0x14A]; // left, right, middle, side, extra, touch
/// A tablet's coordinates go from 0 to here.
pub const TABLET_RANGE: u32 = 0x7FFF;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Keyboard,
    Tablet,
}

/// One event of Linux's: type, code and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: u16,
    pub code: u16,
    pub value: i32,
}

impl Event {
    const REPORT: Self = Self { kind: 0, code: 0, value: 0 };

    fn to_bytes(self) -> [u8; EVENT_BYTES as usize] {
        let mut bytes = [0; EVENT_BYTES as usize];
        bytes[..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.code.to_le_bytes());
        bytes[4..].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }
}

struct Active {
    events: Option<VirtQueue>,
    status: Option<VirtQueue>,
    chain: Chain,
    waiting: VecDeque<Event>,
}

#[derive(Default)]
struct State {
    select: u8,
    subselect: u8,
    active: Option<Active>,
}

pub struct Input {
    model: Model,
    state: Mutex<State>,
}

impl Input {
    pub fn new(model: Model) -> Self {
        Self { model, state: Mutex::default() }
    }

    /// Has the guest see these events as one report; what nobody listens to, or takes in time, is lost.
    pub fn send(&self, events: &[Event]) {
        let mut state = lock(&self.state);
        let Some(active) = &mut state.active else { return };
        if active.waiting.len() + events.len() < MOST_WAITING {
            active.waiting.extend(events);
            active.waiting.push_back(Event::REPORT);
        }
        active.deliver();
    }

    /// Whether a driver takes events.
    pub fn is_listening(&self) -> bool {
        lock(&self.state).active.is_some()
    }

    fn selected(&self, select: u8, subselect: u8) -> Vec<u8> {
        match (select, self.model) {
            (ID_NAME, Model::Keyboard) => b"Innkeeper keyboard".to_vec(),
            (ID_NAME, Model::Tablet) => b"Innkeeper tablet".to_vec(),
            (ID_SERIAL, _) => b"1".to_vec(),
            (ID_DEVICES, model) => {
                let ids = [BUS_VIRTUAL, 0x1AF4, if model == Model::Keyboard { 1 } else { 2 }, 1];
                ids.iter().flat_map(|id| id.to_le_bytes()).collect()
            }
            (PROPERTY_BITS, _) => Vec::new(),
            (EVENT_BITS, model) => event_bits(model, subselect),
            (ABSOLUTE, Model::Tablet) if subselect < 2 => {
                let values = [0, TABLET_RANGE, 0, 0, 0]; // least, most, fuzz, flat, resolution
                values.iter().flat_map(|value: &u32| value.to_le_bytes()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Which codes of a type there are, a bit for each.
fn event_bits(model: Model, kind: u8) -> Vec<u8> {
    let codes: Vec<u16> = match (model, kind) {
        (Model::Keyboard, EV_KEY) => KEYS.collect(),
        (Model::Keyboard, EV_REP) => vec![0, 1],
        (Model::Tablet, EV_KEY) => BUTTONS.to_vec(),
        (Model::Tablet, EV_ABS) => vec![0, 1],
        (Model::Tablet, EV_REL) => vec![REL_WHEEL, REL_HWHEEL],
        _ => return Vec::new(),
    };
    let mut bits = vec![0; codes.iter().max().map_or(0, |&code| usize::from(code) / 8 + 1)];
    codes.iter().for_each(|&code| bits[usize::from(code) / 8] |= 1 << (code % 8));
    bits
}

impl Active {
    /// Writes what waits into the driver's buffers, as far as there are any.
    fn deliver(&mut self) {
        let Some(queue) = &mut self.events else { return };
        while let Some(&event) = self.waiting.front() {
            if !queue.pop(&mut self.chain) {
                if queue.listen() {
                    continue;
                }
                break;
            }
            let written = self.chain.write(0, &event.to_bytes());
            queue.push(self.chain.head(), written as u32);
            self.waiting.pop_front();
        }
        queue.interrupt();
    }

    fn drop_status(&mut self) {
        if let Some(queue) = &mut self.status {
            queue.drain(&mut self.chain, |_| Ok(0));
        }
    }
}

impl Class for Input {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let (select, subselect) = {
            let state = lock(&self.state);
            (state.select, state.subselect)
        };
        let value = self.selected(select, subselect);
        let mut config = vec![select, subselect, value.len() as u8, 0, 0, 0, 0, 0];
        config.extend(value);
        read_config_bytes(&config, offset, out);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        let mut state = lock(&self.state);
        for (at, &byte) in (offset..).zip(data) {
            match at {
                0 => state.select = byte,
                1 => state.subselect = byte,
                _ => {}
            }
        }
    }

    fn activate(&self, mut driver: Activation) {
        let chain = Chain::new(&driver.memory);
        let (events, status) = (driver.take(0), driver.take(1));
        let mut active = Active { events, status, chain, waiting: VecDeque::new() };
        active.drop_status();
        lock(&self.state).active = Some(active);
    }

    fn notify(&self, queue: u16) {
        if let Some(active) = &mut lock(&self.state).active {
            if queue == EVENTS { active.deliver() } else { active.drop_status() }
        }
    }

    fn reset(&self) {
        *lock(&self.state) = State::default();
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Input {
    /// Events that nobody has taken yet are lost: whoever pressed a key then sees that nothing came of it.
    fn pause(&self) {
        lock(&self.state).active = None;
    }

    fn state(&self) -> Value {
        let state = lock(&self.state);
        (state.select, state.subselect).save()
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let selected = Plain::load(state)?;
        let mut state = lock(&self.state);
        (state.select, state.subselect) = selected;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::testing::{BUFFERS, Driver, writable};
    use std::sync::Arc;

    fn select(driver: &Driver, select: u8, subselect: u8) -> Vec<u8> {
        driver.modern.write(0x2000, 1, select.into());
        driver.modern.write(0x2001, 1, subselect.into());
        let size = driver.modern.read(0x2002, 1);
        (0..size).map(|at| driver.modern.read(0x2008 + at, 1) as u8).collect()
    }

    #[test]
    fn configuration_says_what_it_can_send() {
        let driver = Driver::ready(Arc::new(Input::new(Model::Tablet)), 0);
        assert_eq!(select(&driver, ID_NAME, 0), b"Innkeeper tablet");
        assert_eq!(select(&driver, EVENT_BITS, EV_ABS), [3]);
        assert_eq!(select(&driver, ABSOLUTE, 1)[4..8], TABLET_RANGE.to_le_bytes());
        assert_eq!(select(&driver, ABSOLUTE, 2), []);
        let keyboard = Driver::ready(Arc::new(Input::new(Model::Keyboard)), 0);
        assert_eq!(select(&keyboard, EVENT_BITS, EV_KEY)[3], 0xFF);
        assert_eq!(select(&keyboard, EVENT_BITS, EV_ABS), []);
    }

    #[test]
    fn events_arrive_as_reports_and_wait_for_buffers() {
        let input = Arc::new(Input::new(Model::Keyboard));
        let mut driver = Driver::ready(input.clone(), 0);
        let key = Event { kind: 1, code: 30, value: 1 };
        driver.offer(0, &[writable(BUFFERS, 8)]);
        driver.kick(0);
        input.send(&[key]);
        assert_eq!(driver.used(0).map(|used| used.1), Some(8));
        assert_eq!(driver.bytes(BUFFERS, 8), [1, 0, 30, 0, 1, 0, 0, 0]);
        assert_eq!(driver.used(0), None);
        assert_eq!(driver.request(0, &[writable(BUFFERS, 8)]), Some(8));
        assert_eq!(driver.bytes(BUFFERS, 8), [0; 8]);
        (0..10_000).for_each(|_| input.send(&[key, key]));
        assert!(lock(&input.state).active.as_ref().unwrap().waiting.len() <= MOST_WAITING);
        driver.reset();
        input.send(&[key]);
    }

    #[test]
    fn drivers_that_mean_harm_end_the_keyboard_and_nothing_else() {
        (0..200).for_each(|seed| crate::virtio::hostile::run(Arc::new(Input::new(Model::Keyboard)), seed));
    }
}

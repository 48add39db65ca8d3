//! A channel: a port with a name, which a program in the guest opens by it (`/dev/virtio-ports/NAME`), and bytes both ways.
//!
//! Spec: virtio 1.2, 5.3, with `VIRTIO_CONSOLE_F_MULTIPORT`: what the two sides say of ports goes through two queues of its own. One
//! device has one port. What is written to a port that no program has open is dropped. Left out: more ports, consoles among them.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper_bus::state::{BadState, Bytes, Plain, Value};

use super::class::{Activation, Class, Link, Saving, VirtQueue, read_config_bytes};
use super::lock;
use super::outlet::{MOST_WAITING, Outlet, Sink, transmit};
use super::queue::Chain;
use super::worker::Workers;

const KIND: u16 = 3;
const QUEUE_SIZE: u16 = 64;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const CONTROL_RECEIVE: u16 = 2;
const CONTROL_TRANSMIT: u16 = 3;
const MULTIPORT: u64 = 1 << 1;
const PORT: u32 = 0;
const NAME_LIMIT: usize = 200;

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;
const MESSAGE: usize = 8;
/// Answers to a driver that takes none.
const MOST_MESSAGES: usize = 64;

struct Queue {
    queue: VirtQueue,
    chain: Chain,
}

impl Queue {
    fn of(queue: VirtQueue) -> Self {
        Self { chain: queue.chain(), queue }
    }

    /// Gives the next buffer to `fill`, which returns how much it wrote; false if the driver has offered none.
    fn next(&mut self, fill: impl FnOnce(&mut Chain) -> usize) -> bool {
        while !self.queue.pop(&mut self.chain) {
            if !self.queue.listen() {
                return false;
            }
        }
        let written = fill(&mut self.chain);
        self.queue.push(self.chain.head(), written as u32);
        true
    }
}

#[derive(Default)]
struct State {
    /// For the guest's program.
    waiting: VecDeque<u8>,
    /// For its driver.
    messages: VecDeque<Vec<u8>>,
    /// A program has the port open.
    open: bool,
    receive: Option<Queue>,
    control_receive: Option<Queue>,
    control_transmit: Option<Queue>,
    device: Option<Arc<Link>>,
}

impl State {
    fn deliver(&mut self) {
        let Self { waiting, messages, receive, control_receive, .. } = self;
        if let Some(queue) = receive {
            while !waiting.is_empty()
                && queue.next(|chain| {
                    let written = chain.write(0, waiting.make_contiguous());
                    waiting.drain(..written);
                    written
                })
            {}
            queue.queue.interrupt();
        }
        if let Some(queue) = control_receive {
            while let Some(message) = messages.front() {
                // One that does not fit into a buffer is cut, which only its driver has to bear.
                if !queue.next(|chain| chain.write(0, message)) {
                    break;
                }
                messages.pop_front();
            }
            queue.queue.interrupt();
        }
    }

    fn tell(&mut self, event: u16, value: u16, more: &[u8]) {
        if self.messages.len() < MOST_MESSAGES {
            let mut message = message(event, value).to_vec();
            message.extend_from_slice(more);
            self.messages.push_back(message);
        }
    }

    /// What the driver has said of ports.
    fn listen(&mut self, name: &[u8]) {
        let Some(mut queue) = self.control_transmit.take() else { return };
        let mut heard = Vec::new();
        while queue.next(|chain| {
            let mut bytes = [0; MESSAGE];
            if chain.read(0, &mut bytes) == MESSAGE {
                heard.push(bytes);
            }
            0
        }) && heard.len() < MOST_MESSAGES
        {}
        queue.queue.interrupt();
        self.control_transmit = Some(queue);
        for bytes in heard {
            let port = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let (event, value) =
                (u16::from_le_bytes([bytes[4], bytes[5]]), u16::from_le_bytes([bytes[6], bytes[7]]));
            match event {
                DEVICE_READY if value == 1 => self.tell(PORT_ADD, 1, &[]),
                PORT_READY if port == PORT && value == 1 => {
                    self.tell(PORT_NAME, 1, name);
                    self.tell(PORT_OPEN, 1, &[]);
                }
                PORT_OPEN if port == PORT => {
                    self.open = value != 0;
                    self.waiting.clear(); // it was for the program before
                }
                _ => {}
            }
        }
        self.deliver();
    }
}

fn message(event: u16, value: u16) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[..4].copy_from_slice(&PORT.to_le_bytes());
    bytes[4..6].copy_from_slice(&event.to_le_bytes());
    bytes[6..].copy_from_slice(&value.to_le_bytes());
    bytes
}

pub struct Channel {
    name: Vec<u8>,
    state: Mutex<State>,
    outlet: Outlet,
    workers: Workers,
}

impl Channel {
    /// # Errors
    /// The name is empty or too long, or the host has no thread for it.
    pub fn new(name: &str, sink: Sink) -> std::io::Result<Self> {
        if name.is_empty() || name.len() > NAME_LIMIT {
            let text = format!("a channel's name has {} bytes; it must have 1 to {NAME_LIMIT}", name.len());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let outlet = Outlet::new("virtio-channel-out", sink)?;
        let (state, workers) = (Mutex::default(), Workers::default());
        Ok(Self { name: name.into(), state, outlet, workers })
    }

    /// Sends to the guest's program; gives how many bytes there was room for: none if no program has it open.
    pub fn send(&self, data: &[u8]) -> usize {
        let mut state = lock(&self.state);
        if !state.open {
            return 0;
        }
        let taken = data.len().min(MOST_WAITING - state.waiting.len());
        state.waiting.extend(&data[..taken]);
        state.deliver();
        taken
    }

    /// Whether a program in the guest has it open.
    pub fn is_open(&self) -> bool {
        lock(&self.state).open
    }

    /// Returns when the sink has all there was, or has not taken it in `patience`.
    pub fn close(&self, patience: Duration) {
        self.outlet.close(patience);
    }

    fn let_go(&self) {
        let mut state = lock(&self.state);
        (state.receive, state.control_receive, state.control_transmit, state.device) =
            (None, None, None, None);
        drop(state);
        self.workers.stop();
    }
}

impl Class for Channel {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        MULTIPORT
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 4]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let mut config = [0; 12];
        config[4] = 1; // port
        read_config_bytes(&config, offset, out);
    }

    fn activate(&self, mut driver: Activation) {
        let mut state = lock(&self.state);
        state.device = Some(Arc::clone(&driver.device));
        state.receive = driver.take(RECEIVE.into()).map(Queue::of);
        state.control_receive = driver.take(CONTROL_RECEIVE.into()).map(Queue::of);
        state.control_transmit = driver.take(CONTROL_TRANSMIT.into()).map(Queue::of);
        state.listen(&self.name);
        state.deliver();
        drop(state);
        if let Some(queue) = driver.take(TRANSMIT.into()) {
            let output = Arc::clone(self.outlet.output());
            self.workers.start("virtio-channel", &[TRANSMIT], &driver.device, move |bell| {
                transmit(queue, &output, &bell);
            });
        }
    }

    fn notify(&self, queue: u16) {
        match queue {
            RECEIVE | CONTROL_RECEIVE => lock(&self.state).deliver(),
            CONTROL_TRANSMIT => lock(&self.state).listen(&self.name),
            _ => self.workers.ring(queue),
        }
    }

    fn reset(&self) {
        self.let_go();
        let mut state = lock(&self.state);
        (state.open, state.waiting, state.messages) = Default::default();
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Channel {
    fn pause(&self) {
        self.let_go();
    }

    /// Whether it is open, and what waits for the driver. Whoever talks with the guest's program begins anew.
    fn state(&self) -> Value {
        let state = lock(&self.state);
        let mut bytes = vec![u8::from(state.open)];
        for message in &state.messages {
            bytes.push(message.len() as u8);
            bytes.extend(message);
        }
        Bytes(bytes).save()
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let Bytes(bytes) = Bytes::load(state)?;
        let bad = || BadState::new("a channel's state is cut short or too long");
        let (&open, mut rest) = bytes.split_first().ok_or_else(bad)?;
        let mut messages = VecDeque::new();
        while let Some((&length, more)) = rest.split_first() {
            let (message, after) = more.split_at_checked(length.into()).ok_or_else(bad)?;
            messages.push_back(message.to_vec());
            rest = after;
        }
        if messages.len() > MOST_MESSAGES || open > 1 {
            return Err(bad());
        }
        let mut state = lock(&self.state);
        (state.open, state.messages) = (open == 1, messages);
        state.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::testing::{BUFFERS, Driver, readable, writable};

    const AGENT: &str = "org.qemu.guest_agent.0";

    fn channel() -> (Arc<Channel>, Arc<Mutex<Vec<u8>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let channel =
            Channel::new(AGENT, Box::new(move |bytes| lock(&heard).extend_from_slice(bytes))).unwrap();
        (Arc::new(channel), said)
    }

    fn tell(driver: &mut Driver, event: u16, value: u16) {
        driver.write(BUFFERS, &message(event, value));
        assert_eq!(driver.request(3, &[readable(BUFFERS, MESSAGE as u32)]), Some(0));
    }

    fn hear(driver: &mut Driver) -> Vec<u8> {
        let length = driver.request(2, &[writable(BUFFERS + 64, 64)]).unwrap();
        driver.bytes(BUFFERS + 64, length as usize)
    }

    fn opened() -> (Arc<Channel>, Arc<Mutex<Vec<u8>>>, Driver) {
        let (channel, said) = channel();
        let mut driver = Driver::ready(channel.clone(), MULTIPORT);
        assert_eq!(driver.modern.read(0x2004, 4), 1);
        assert_eq!(channel.send(b"nobody hears it"), 0);
        tell(&mut driver, DEVICE_READY, 1);
        assert_eq!(hear(&mut driver), message(PORT_ADD, 1));
        tell(&mut driver, PORT_READY, 1);
        assert_eq!(hear(&mut driver), [&message(PORT_NAME, 1), AGENT.as_bytes()].concat());
        assert_eq!(hear(&mut driver), message(PORT_OPEN, 1));
        tell(&mut driver, PORT_OPEN, 1);
        assert!(channel.is_open());
        (channel, said, driver)
    }

    #[test]
    fn a_program_opens_it_by_its_name_and_bytes_go_both_ways() {
        let (channel, said, mut driver) = opened();
        assert_eq!(channel.send(b"asked"), 5);
        assert_eq!(driver.request(0, &[writable(BUFFERS, 3)]), Some(3));
        assert_eq!(driver.request(0, &[writable(BUFFERS + 3, 9)]), Some(2));
        assert_eq!(driver.bytes(BUFFERS, 5), b"asked");
        driver.write(BUFFERS, b"answered");
        assert_eq!(driver.request(1, &[readable(BUFFERS, 8)]), Some(0));
        tell(&mut driver, PORT_OPEN, 0);
        assert_eq!(channel.send(b"again"), 0);
        channel.close(Duration::from_secs(20));
        assert_eq!(*lock(&said), b"answered");
    }

    #[test]
    fn a_driver_that_asks_without_end_and_takes_nothing_costs_little() {
        let (channel, ..) = channel();
        let mut driver = Driver::ready(channel.clone(), MULTIPORT);
        for _ in 0..3 * MOST_MESSAGES {
            tell(&mut driver, PORT_READY, 1);
        }
        assert_eq!(lock(&channel.state).messages.len(), MOST_MESSAGES);
        driver.reset();
        assert!(lock(&channel.state).messages.is_empty());
    }

    #[test]
    fn it_is_saved_open_and_with_what_waits_for_its_driver() {
        let (channel, _, mut driver) = opened();
        tell(&mut driver, PORT_READY, 1);
        let state = Saving::state(&*channel);
        let (again, _) = self::channel();
        again.restore(&state).unwrap();
        assert!(again.is_open());
        assert_eq!(lock(&again.state).messages.len(), 2);
        for bad in [&[][..], &[2], &[1, 9, 0]] {
            assert!(again.restore(&Bytes(bad.to_vec()).save()).is_err());
        }
    }

    #[test]
    fn drivers_that_mean_harm_end_the_channel_and_nothing_else() {
        (0..200).for_each(|seed| crate::virtio::hostile::run(channel().0, seed));
    }
}

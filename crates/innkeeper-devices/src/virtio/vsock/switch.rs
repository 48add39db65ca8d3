//! Connects the guest's sockets with the host's: what each packet does, and each thing that happens on the host.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use innkeeper_bus::state::BadState;

use super::Host;
use super::connection::{Connection, ROOM, Took, later};
use super::packet::{HEADER_BYTES, HOST, Header, Ports, STREAM, op};
use super::sys::{self, interest};
use crate::virtio::class::VirtQueue;
use crate::virtio::queue::Chain;

const CONNECTIONS_LIMIT: usize = 256;
/// Connections of the host that have not said yet where they go.
const STRANGERS_LIMIT: usize = 32;
const LINE_LIMIT: usize = 32;
/// Packets without data that wait for the guest to have room: beyond them, nothing is taken from it.
const PENDING_LIMIT: usize = 1024;
/// Packets that one connection sends before others have their turn.
const TURN: usize = 16;
const FIRST_HOST_PORT: u32 = 1 << 30;
const TRANSPORT_RESET: [u8; 4] = [0; 4];

struct Stranger {
    stream: UnixStream,
    line: Vec<u8>,
}

/// The queues of a driver, and a chain to be used again and again.
pub struct Queues {
    pub receive: VirtQueue,
    pub transmit: VirtQueue,
    pub event: Option<VirtQueue>,
    pub chain: Chain,
}

/// What is under way, which outlives a pause.
pub struct Traffic {
    connections: HashMap<Ports, Connection>,
    strangers: Vec<Stranger>,
    pending: VecDeque<Header>,
    next_port: u32,
    /// The guest is to hear that all its connections are gone.
    lost: bool,
}

impl Traffic {
    /// Nothing. `lost` is whether the guest may have had connections.
    pub fn none(lost: bool) -> Self {
        let (connections, strangers, pending) = (HashMap::new(), Vec::new(), VecDeque::new());
        Self { connections, strangers, pending, next_port: FIRST_HOST_PORT, lost }
    }

    pub fn next_port(&self) -> u32 {
        self.next_port
    }

    /// What is left of it in another process, which has none of the sockets.
    ///
    /// # Errors
    /// [`BadState`] for a port that the host's connections never come from.
    pub fn elsewhere(next_port: u32) -> Result<Self, BadState> {
        if next_port < FIRST_HOST_PORT {
            return Err(BadState::new(format!("next_port is {next_port}; the first is {FIRST_HOST_PORT}")));
        }
        Ok(Self { next_port, ..Self::none(true) })
    }
}

pub struct Switch {
    host: Arc<Host>,
    queues: Queues,
    traffic: Traffic,
    /// The guest may have buffers for us.
    has_buffers: bool,
}

impl Switch {
    pub fn new(host: Arc<Host>, queues: Queues, traffic: Traffic) -> Self {
        Self { host, queues, traffic, has_buffers: true }
    }

    /// Serves until the end; gives what is under way then.
    pub fn run(mut self) -> Traffic {
        self.serve();
        self.traffic
    }

    fn serve(&mut self) {
        let host = Arc::clone(&self.host);
        while !host.wake.ended() {
            self.serve_guest();
            let full = self.traffic.strangers.len() >= STRANGERS_LIMIT;
            let mut interests = vec![
                interest(host.wake.descriptor(), libc::POLLIN),
                interest(host.listener.as_raw_fd(), if full { 0 } else { libc::POLLIN }),
            ];
            interests.extend(
                self.traffic.strangers.iter().map(|it| interest(it.stream.as_raw_fd(), libc::POLLIN)),
            );
            let ports: Vec<Ports> = self.traffic.connections.keys().copied().collect();
            interests.extend(ports.iter().map(|ports| self.interest_of(*ports)));
            sys::poll(&mut interests);
            let ready: Vec<bool> = interests.iter().map(|it| it.revents != 0).collect();
            let (strangers, connections) = ready[2..].split_at(self.traffic.strangers.len());
            if ready[0] && host.wake.take() {
                self.has_buffers = true;
            }
            self.hear_strangers(strangers);
            if ready[1] {
                self.accept();
            }
            for (ports, _) in ports.iter().zip(connections).filter(|(_, ready)| **ready) {
                self.serve_host(*ports);
            }
        }
    }

    fn interest_of(&self, ports: Ports) -> libc::pollfd {
        let connection = &self.traffic.connections[&ports];
        let receives = self.has_buffers && self.traffic.pending.is_empty() && connection.wants_to_send();
        let mut events = if receives { libc::POLLIN } else { 0 };
        if connection.has_waiting() {
            events |= libc::POLLOUT;
        }
        interest(connection.descriptor(), events)
    }

    // ---- the guest ------------------------------------------------------------------------------

    /// Takes what the guest sends and gives it what waits, until neither can go on.
    fn serve_guest(&mut self) {
        loop {
            self.tell_of_loss();
            let stopped = self.take_packets();
            self.send_pending();
            if !stopped || !self.traffic.pending.is_empty() {
                return;
            }
        }
    }

    /// True if it stopped because too much waits for the guest.
    fn take_packets(&mut self) -> bool {
        loop {
            self.queues.transmit.ignore();
            while self.traffic.pending.len() < PENDING_LIMIT {
                let Queues { transmit, chain, .. } = &mut self.queues;
                if !transmit.pop(chain) {
                    break;
                }
                self.take_packet();
                let Queues { transmit, chain, .. } = &mut self.queues;
                transmit.push(chain.head(), 0);
            }
            self.queues.transmit.interrupt();
            if self.traffic.pending.len() >= PENDING_LIMIT {
                return true;
            }
            if !self.queues.transmit.listen() {
                return false;
            }
        }
    }

    fn take_packet(&mut self) {
        let mut bytes = [0; HEADER_BYTES];
        if self.queues.chain.read(0, &mut bytes) < HEADER_BYTES {
            return; // nobody to answer
        }
        let header = Header::parse(&bytes);
        if header.from != self.host.cid
            || header.to != HOST
            || header.op == op::RESET && header.kind != STREAM
        {
            return;
        }
        let ports = Ports { guest: header.from_port, host: header.to_port };
        if header.kind != STREAM || !self.obey(ports, &header) {
            self.reset(ports);
        }
    }

    /// Does what a packet says; false if the connection cannot go on.
    fn obey(&mut self, ports: Ports, header: &Header) -> bool {
        let here = self.traffic.connections.get_mut(&ports);
        if header.op == op::RESET {
            self.traffic.connections.remove(&ports);
            return true;
        }
        let Some(connection) = here else { return header.op == op::REQUEST && self.open(ports, header) };
        connection.heed(header);
        let fine = match header.op {
            op::RESPONSE if !connection.established => {
                connection.established = true;
                connection.greet(ports.host)
            }
            op::SHUTDOWN => {
                connection.guest_shuts(header.flags);
                connection.flush() && !connection.is_over()
            }
            op::DATA if connection.established && header.length <= ROOM => {
                let mut data = vec![0; header.length as usize];
                let length = self.queues.chain.read(HEADER_BYTES as u64, &mut data);
                length == data.len() && connection.take(&data) && connection.flush()
            }
            op::CREDIT_REQUEST => {
                self.traffic.pending.push_back(Header::to_guest(self.host.cid, ports, op::CREDIT_UPDATE));
                true
            }
            op::CREDIT_UPDATE => true,
            _ => false,
        };
        if fine {
            self.tell_room(ports);
        }
        fine
    }

    /// The guest connects to a port of the host's.
    fn open(&mut self, ports: Ports, header: &Header) -> bool {
        if self.traffic.connections.len() >= CONNECTIONS_LIMIT {
            return false;
        }
        let Ok(stream) = sys::connect(&sys::path_of_port(&self.host.path, ports.host)) else { return false };
        let mut connection = Connection::new(stream, true);
        connection.heed(header);
        self.traffic.connections.insert(ports, connection);
        self.traffic.pending.push_back(Header::to_guest(self.host.cid, ports, op::RESPONSE));
        true
    }

    fn reset(&mut self, ports: Ports) {
        self.traffic.connections.remove(&ports);
        self.traffic.pending.push_back(Header::to_guest(self.host.cid, ports, op::RESET));
    }

    fn tell_room(&mut self, ports: Ports) {
        if let Some(connection) = self.traffic.connections.get_mut(&ports)
            && connection.has_news()
        {
            let mut header = Header::to_guest(self.host.cid, ports, op::CREDIT_UPDATE);
            connection.stamp(&mut header);
            self.traffic.pending.push_back(header);
        }
    }

    /// Takes the next buffer of the guest's for a packet; false if there is none.
    fn next_buffer(&mut self) -> bool {
        let Queues { receive, chain, .. } = &mut self.queues;
        while self.has_buffers {
            if receive.pop(chain) {
                if chain.writable() > HEADER_BYTES as u64 {
                    return true;
                }
                receive.fail(crate::virtio::queue::Fault::Request);
            }
            self.has_buffers = receive.listen();
        }
        false
    }

    fn send(&mut self, header: Header) {
        let Queues { receive, chain, .. } = &mut self.queues;
        chain.write(0, &header.to_bytes());
        receive.push(chain.head(), HEADER_BYTES as u32 + header.length);
    }

    fn send_pending(&mut self) {
        while !self.traffic.pending.is_empty() && self.next_buffer() {
            let Some(mut header) = self.traffic.pending.pop_front() else { break };
            let ports = Ports { guest: header.to_port, host: header.from_port };
            if let Some(connection) = self.traffic.connections.get_mut(&ports) {
                connection.stamp(&mut header);
            }
            self.send(header);
        }
        self.queues.receive.interrupt();
    }

    fn tell_of_loss(&mut self) {
        let Queues { event: Some(event), chain, .. } = &mut self.queues else { return };
        while self.traffic.lost {
            if event.pop(chain) {
                let written = chain.write(0, &TRANSPORT_RESET);
                event.push(chain.head(), written as u32);
                event.interrupt();
                self.traffic.lost = false;
            } else if !event.listen() {
                return;
            }
        }
    }

    // ---- the host -------------------------------------------------------------------------------

    fn serve_host(&mut self, ports: Ports) {
        let Some(connection) = self.traffic.connections.get_mut(&ports) else { return };
        if !connection.flush() || connection.is_over() {
            return self.reset(ports);
        }
        self.tell_room(ports);
        for _ in 0..TURN {
            let wants = self.traffic.connections.get(&ports).is_some_and(Connection::wants_to_send);
            if !wants || !self.traffic.pending.is_empty() || !self.next_buffer() {
                break;
            }
            if !self.forward(ports) {
                break;
            }
        }
        self.queues.receive.interrupt();
        if self.traffic.connections.get_mut(&ports).is_some_and(Connection::asks) {
            self.traffic.pending.push_back(Header::to_guest(self.host.cid, ports, op::CREDIT_REQUEST));
        }
    }

    /// Sends the guest a packet of what the host's program says; the buffer for it is there. False if it says no more.
    fn forward(&mut self, ports: Ports) -> bool {
        let mut header = Header::to_guest(self.host.cid, ports, op::DATA);
        let Some(connection) = self.traffic.connections.get_mut(&ports) else { return false };
        match connection.read_into(&self.queues.chain, HEADER_BYTES as u64) {
            Took::Bytes(length) => {
                header.length = length;
                connection.stamp(&mut header);
                self.send(header);
                return true;
            }
            Took::Nothing => self.queues.receive.undo_pop(),
            Took::End => {
                header = connection.farewell(header);
                self.send(header);
            }
            Took::Failed => {
                self.queues.receive.undo_pop();
                self.reset(ports);
            }
        }
        false
    }

    fn accept(&mut self) {
        match self.host.listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                self.traffic.strangers.push(Stranger { stream, line: Vec::new() });
            }
            Err(failed) if !later(&failed) => sys::pause(), // no descriptor for it: it waits in line
            _ => {}
        }
    }

    fn hear_strangers(&mut self, ready: &[bool]) {
        let mut stay = Vec::new();
        for (at, mut stranger) in std::mem::take(&mut self.traffic.strangers).into_iter().enumerate() {
            match if ready.get(at) == Some(&true) { stranger.hear() } else { Heard::Part } {
                Heard::Part => stay.push(stranger),
                Heard::Port(port) => self.request(port, stranger.stream),
                Heard::Nonsense => {}
            }
        }
        self.traffic.strangers = stay;
    }

    /// The host connects to a port of the guest's.
    fn request(&mut self, guest: u32, stream: UnixStream) {
        if self.traffic.connections.len() >= CONNECTIONS_LIMIT {
            return;
        }
        let mut ports = Ports { guest, host: self.traffic.next_port };
        while self.traffic.connections.contains_key(&ports) {
            ports.host = ports.host.wrapping_add(1).max(FIRST_HOST_PORT);
        }
        self.traffic.next_port = ports.host.wrapping_add(1).max(FIRST_HOST_PORT);
        self.traffic.connections.insert(ports, Connection::new(stream, false));
        self.traffic.pending.push_back(Header::to_guest(self.host.cid, ports, op::REQUEST));
    }
}

enum Heard {
    Part,
    Port(u32),
    Nonsense,
}

impl Stranger {
    /// Reads `CONNECT PORT`, and nothing beyond the end of that line.
    fn hear(&mut self) -> Heard {
        let mut byte = [0];
        while self.line.len() < LINE_LIMIT {
            match self.stream.read(&mut byte) {
                Ok(1) if byte[0] == b'\n' => {
                    let line = String::from_utf8_lossy(&self.line);
                    let port = line
                        .trim_end_matches('\r')
                        .strip_prefix("CONNECT ")
                        .and_then(|port| port.parse().ok());
                    return port.map_or(Heard::Nonsense, Heard::Port);
                }
                Ok(1) => self.line.push(byte[0]),
                Err(failed) if later(&failed) => return Heard::Part,
                _ => return Heard::Nonsense,
            }
        }
        Heard::Nonsense
    }
}

//! Datagrams between the guest and the world, and echo requests, each conversation through a connected socket of its own: what
//! comes back is from the one that was asked, and from nobody else.
//!
//! Spec: RFC 768, RFC 4787 (a conversation ends two minutes after its last datagram), RFC 792, RFC 4443. Echo requests
//! need the host's leave (`net.ipv4.ping_group_range`).

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Outside;
use super::out::Unreachable;
use super::payload::Payload;
use super::tcp::Progress;
use crate::wire::{ICMP, ICMPV6, Ip, UDP, UDP_BYTES};

const IDLE: Duration = Duration::from_secs(120);
/// One question, one answer.
const IDLE_DNS: Duration = Duration::from_secs(20);
const DNS_PORT: u16 = 53;
/// Datagrams that one conversation brings before others have their turn.
const BURST: usize = 16;
pub const ECHO_BYTES: usize = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// How it leaves the host.
pub enum Way {
    /// A socket that is connected to whom the guest means.
    Own(Socket),
    /// A socket for echo requests.
    Echo(Socket),
    /// The socket that listens at a port of the host's, and who asked there.
    Forward { listener: usize, peer: SocketAddr },
}

pub struct Udp {
    guest: SocketAddr,
    remote: SocketAddr,
    way: Way,
    readable: bool,
    deadline: Instant,
    /// The last question's number, to notice that it is asked again.
    question: Option<[u8; 2]>,
    attempts: usize,
}

impl Udp {
    pub fn new((guest, remote): (SocketAddr, SocketAddr), way: Way, now: Instant) -> Self {
        Self { guest, remote, way, readable: false, deadline: now + IDLE, question: None, attempts: 0 }
    }

    /// A socket that speaks with `to` alone.
    ///
    /// # Errors
    /// The host's.
    pub fn socket(to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.connect(&SockAddr::from(to))?;
        Ok(socket)
    }

    /// A socket for echo requests to `to`.
    ///
    /// # Errors
    /// The host's: most likely it lets nobody but root.
    pub fn echo_socket(to: IpAddr) -> io::Result<Socket> {
        let protocol = if to.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let to = SocketAddr::new(to, 0);
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(protocol))?;
        socket.connect(&SockAddr::from(to))?;
        Ok(socket)
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn way(&self) -> &Way {
        &self.way
    }

    pub fn readable(&mut self) {
        self.readable = true;
    }

    /// Sends what the guest says. `listeners` are the sockets that forward to it.
    pub fn send(
        &mut self,
        payload: Payload<'_>,
        outside: &mut Outside,
        listeners: &[super::forward::Listener],
    ) {
        let dns = self.remote.port() == DNS_PORT;
        self.deadline = outside.now + if dns { IDLE_DNS } else { IDLE };
        if dns {
            self.ask_another(payload, outside);
        }
        let (vectors, count) = payload.vectors();
        let sent = match &self.way {
            Way::Own(socket) | Way::Echo(socket) => socket.send_vectored(&vectors[..count]),
            Way::Forward { listener, peer } => match listeners.get(*listener) {
                Some(listener) => listener.socket.send_to_vectored(&vectors[..count], &SockAddr::from(*peer)),
                None => Ok(0),
            },
        };
        if let Err(error) = sent {
            self.failed(&error, outside);
        }
    }

    /// A question that is asked again goes to the next name server.
    fn ask_another(&mut self, payload: Payload<'_>, outside: &Outside) {
        let mut number = [0; 2];
        payload.copy_to(&mut number);
        if self.question.replace(number) != Some(number) {
            return;
        }
        self.attempts += 1;
        if let (Way::Own(socket), super::layout::Target::Host(server)) =
            (&self.way, outside.reach.target(self.remote, self.attempts))
        {
            // Where it cannot be reached, sending says so.
            drop(socket.connect(&SockAddr::from(server)));
        }
    }

    /// Brings the guest what has come.
    pub fn pump(&mut self, outside: &mut Outside) -> Progress {
        let mut scratch = std::mem::take(&mut outside.scratch);
        let mut progress = Progress::Idle;
        for turn in 0.. {
            let (Way::Own(socket) | Way::Echo(socket)) = &self.way else { break };
            if !self.readable {
                break;
            }
            if outside.out.blocked || turn == BURST {
                progress = Progress::More;
                break;
            }
            match { socket }.read(&mut scratch) {
                Ok(count) => self.answer(&mut scratch[..count], outside),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failed(&error, outside),
            }
        }
        outside.scratch = scratch;
        progress
    }

    /// Gives the guest a datagram. One without room is lost.
    pub fn answer(&mut self, datagram: &mut [u8], outside: &mut Outside) {
        if matches!(self.way, Way::Echo(_)) {
            self.echo(datagram, outside);
            return;
        }
        self.deadline = outside.now + if self.remote.port() == DNS_PORT { IDLE_DNS } else { IDLE };
        outside.out.udp(self.remote, self.guest, datagram);
    }

    /// An echo reply, with the identifier that the guest chose instead of the host's.
    fn echo(&mut self, message: &mut [u8], outside: &mut Outside) {
        let reply = if self.guest.is_ipv4() { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 };
        if message.len() < ECHO_BYTES || message[0] != reply {
            return;
        }
        message[2..4].fill(0);
        message[4..6].copy_from_slice(&self.guest.port().to_be_bytes());
        outside.out.icmp(Ip::new(self.remote.ip(), self.guest.ip(), 0), message);
    }

    /// Tells the guest that nobody is there, if that is what the host says.
    fn failed(&self, error: &io::Error, outside: &mut Outside) {
        let why = match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Unreachable::Port,
            Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN) => Unreachable::Host,
            Some(libc::EACCES | libc::EPERM) => Unreachable::Prohibited,
            _ => return, // no room: it is lost, as datagrams are
        };
        unreachable(outside, (self.guest, self.remote), matches!(self.way, Way::Echo(_)), why);
    }
}

/// Tells the guest that its datagram or echo request got nowhere.
pub fn unreachable(
    outside: &mut Outside,
    (guest, remote): (SocketAddr, SocketAddr),
    echo: bool,
    why: Unreachable,
) {
    let mut start = [0; UDP_BYTES];
    let protocol = match (echo, guest.is_ipv4()) {
        (false, _) => UDP,
        (true, true) => ICMP,
        (true, false) => ICMPV6,
    };
    if echo {
        start[0] = if guest.is_ipv4() { 8 } else { 128 };
        start[4..6].copy_from_slice(&guest.port().to_be_bytes());
    } else {
        start[..2].copy_from_slice(&guest.port().to_be_bytes());
        start[2..4].copy_from_slice(&remote.port().to_be_bytes());
        start[4..6].copy_from_slice(&(UDP_BYTES as u16).to_be_bytes());
    }
    let lost = Ip { payload: UDP_BYTES, ..Ip::new(guest.ip(), remote.ip(), protocol) };
    outside.out.unreachable(lost, &start, why);
}

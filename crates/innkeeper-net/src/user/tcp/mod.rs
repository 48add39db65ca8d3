//! TCP between the guest and a socket of the host: each side has its own connection, ended here.
//!
//! Spec: RFC 9293; window scale of RFC 7323; challenge ACKs of RFC 5961. The way to the guest is memory: it loses nothing
//! of itself (a card without room is waited for), so there is no congestion control and no selective acknowledgement;
//! what a guest drops all the same is sent again from the last acknowledged byte on. Left out: urgent data (it comes
//! in line), timestamps, fast open.

mod from_guest;
mod to_guest;

pub use to_guest::Progress;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Outside;
use super::out::{MTU, Unreachable};
use super::ring::{RING_BYTES, Ring};
use crate::wire::{ACK, Ip, RST, SYN, TCP, TCP_BYTES, Tcp as Segment};

/// The first wait for an acknowledgement (RFC 6298, 2); doubled each time, up to the limit.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_LIMIT: Duration = Duration::from_secs(60);
/// How often something is sent again before the guest is given up.
const TRIES: u32 = 15;
const SYN_TRIES: u32 = 6;
/// How long an ended connection is remembered, so that a last acknowledgement that got lost can be repeated.
const TIME_WAIT: Duration = Duration::from_secs(5);
/// Our window's scale: enough for a ring.
const SCALE: u8 = 3;
const WINDOW: u32 = RING_BYTES as u32;

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Keep,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The guest asked, the host's connection is under way.
    Connecting,
    /// The host has answered; the guest was told.
    SynReceived,
    /// The host asked, and the guest was told.
    SynSent,
    Open,
    TimeWait,
}

/// One connection.
pub struct Tcp {
    guest: SocketAddr,
    /// The other end as the guest knows it.
    remote: SocketAddr,
    socket: Option<Socket>,
    phase: Phase,
    readable: bool,
    writable: bool,
    deadline: Option<Instant>,
    tries: u32,

    // To the guest: `una` ≤ `next`; what is in between was sent and not acknowledged. `sent` is the furthest that
    // was ever sent: `next` goes back when something is sent again.
    una: u32,
    next: u32,
    sent: u32,
    window: u32,
    /// The window when it was told last, with the numbers that tell which telling was last (RFC 9293, SND.WL1 and WL2).
    window_at: (u32, u32),
    scale: u8,
    mss: usize,
    /// The bytes from `una` on.
    outgoing: Ring,
    host_done: bool,
    fin_sent: bool,
    fin_acked: bool,
    duplicates: u8,

    // From the guest: what comes next, and where the window that was told ends.
    expected: u32,
    edge: u32,
    our_scale: u8,
    /// What the host's socket had no room for.
    held: Ring,
    guest_done: bool,
    shut: bool,
    ack_due: bool,
}

/// Whether `a` comes before `b`, in numbers that wrap.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn mss_limit(v4: bool) -> usize {
    MTU - TCP_BYTES - if v4 { 20 } else { 40 }
}

impl Tcp {
    fn new(
        guest: SocketAddr,
        remote: SocketAddr,
        socket: Socket,
        phase: Phase,
        outside: &mut Outside,
    ) -> Self {
        let first = outside.random() as u32;
        Self {
            guest,
            remote,
            socket: Some(socket),
            phase,
            readable: false,
            writable: false,
            deadline: None,
            tries: 0,
            una: first,
            next: first,
            sent: first,
            window: 0,
            window_at: (0, 0),
            scale: 0,
            mss: mss_limit(guest.is_ipv4()),
            outgoing: Ring::default(),
            host_done: false,
            fin_sent: false,
            fin_acked: false,
            duplicates: 0,
            expected: 0,
            edge: 0,
            our_scale: SCALE,
            held: Ring::default(),
            guest_done: false,
            shut: false,
            ack_due: false,
        }
    }

    /// The guest wants to connect; `to` is where that is. `watch` has the socket watched.
    ///
    /// # Errors
    /// The host's: it cannot.
    pub fn from_guest(
        (guest, remote): (SocketAddr, SocketAddr),
        syn: &Segment,
        to: SocketAddr,
        outside: &mut Outside,
        watch: impl FnOnce(&Outside, &Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => watch(outside, &socket)?,
        }
        let mut flow = Self::new(guest, remote, socket, Phase::Connecting, outside);
        flow.learn(syn);
        Ok(flow)
    }

    /// Someone connected to a port of the host that leads to the guest.
    ///
    /// # Errors
    /// The host's.
    pub fn from_host(
        (guest, remote): (SocketAddr, SocketAddr),
        socket: Socket,
        outside: &mut Outside,
        watch: impl FnOnce(&Outside, &Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        watch(outside, &socket)?;
        let mut flow = Self::new(guest, remote, socket, Phase::SynSent, outside);
        flow.send_syn(outside);
        Ok(flow)
    }

    /// Takes in what the guest's SYN says.
    fn learn(&mut self, syn: &Segment) {
        self.expected = syn.sequence.wrapping_add(1);
        self.edge = self.expected;
        let limit = mss_limit(self.guest.is_ipv4());
        self.mss = syn.mss.map_or(536, usize::from).clamp(64, limit);
        (self.scale, self.our_scale) = syn.scale.map_or((0, 0), |scale| (scale, SCALE));
        (self.window, self.window_at) = (syn.window.into(), (syn.sequence, self.una));
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether it is over, and only remembered.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::TimeWait
    }

    /// The host's socket can be read or written, as epoll says.
    pub fn event(&mut self, readable: bool, writable: bool, outside: &mut Outside) -> Fate {
        self.readable |= readable;
        self.writable |= writable;
        if self.phase == Phase::Connecting && self.writable {
            return self.connected(outside);
        }
        Fate::Keep
    }

    fn connected(&mut self, outside: &mut Outside) -> Fate {
        let socket = self.socket.as_ref().expect("a connection under way has a socket");
        match socket.take_error() {
            Ok(None) if socket.peer_addr().is_ok() => {
                self.phase = Phase::SynReceived;
                self.send_syn(outside);
                Fate::Keep
            }
            Ok(None) => Fate::Keep, // an edge of before
            Ok(Some(error)) | Err(error) => {
                self.refuse(outside, &error);
                Fate::Remove
            }
        }
    }

    /// Tells the guest why there is no connection.
    fn refuse(&mut self, outside: &mut Outside, error: &io::Error) {
        let (guest, remote, sequence) = (self.guest, self.remote, self.expected.wrapping_sub(1));
        refuse(outside, (guest, remote), sequence, error);
    }

    /// Sends RST to the guest, and has the host's socket do the same.
    fn abort(&mut self, outside: &mut Outside) -> Fate {
        let flags = if self.phase == Phase::SynSent { RST } else { RST | ACK };
        self.send(outside, flags, self.next, 0, 0);
        self.reset_host();
        Fate::Remove
    }

    /// What closes the host's socket from now on is a reset: the guest did not end the connection in order.
    pub fn reset_host(&mut self) {
        if let Some(socket) = self.socket.take() {
            // It fails only for what is no socket; then closing is all that can be done.
            drop(socket.set_linger(Some(Duration::ZERO)));
        }
    }

    /// Gives back what it holds.
    pub fn close(&mut self, outside: &mut Outside) {
        self.outgoing.clear(&mut outside.pool);
        self.held.clear(&mut outside.pool);
        self.socket = None;
    }

    /// Waits a moment before the end is forgotten.
    fn rest(&mut self, outside: &mut Outside) {
        self.close(outside);
        self.phase = Phase::TimeWait;
        self.deadline = Some(outside.now + TIME_WAIT);
    }

    /// A deadline has passed.
    pub fn timeout(&mut self, outside: &mut Outside) -> Fate {
        if self.deadline.is_none_or(|deadline| deadline > outside.now) {
            return Fate::Keep;
        }
        let limit = if self.phase == Phase::Open { TRIES } else { SYN_TRIES };
        if self.phase == Phase::TimeWait {
            return Fate::Remove;
        }
        // A card without room is a guest that stands still, maybe for hours; it is not given up for that.
        if !outside.out.blocked {
            self.tries += 1;
            if self.tries > limit {
                return self.abort(outside);
            }
        }
        self.arm(outside);
        match self.phase {
            Phase::SynReceived | Phase::SynSent => self.send_syn(outside),
            Phase::Open => {
                self.next = self.una;
                self.send_again(outside);
            }
            Phase::Connecting | Phase::TimeWait => {}
        }
        Fate::Keep
    }

    fn arm(&mut self, outside: &Outside) {
        let wait = RETRY.saturating_mul(1 << self.tries.min(6)).min(RETRY_LIMIT);
        self.deadline = Some(outside.now + wait);
    }
}

/// Tells the guest why its SYN led nowhere: refused, or not to be reached.
pub fn refuse(
    outside: &mut Outside,
    (guest, remote): (SocketAddr, SocketAddr),
    sequence: u32,
    error: &io::Error,
) {
    let why = match error.raw_os_error() {
        Some(
            libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT | libc::ENETDOWN | libc::EADDRNOTAVAIL,
        ) => Some(Unreachable::Host),
        Some(libc::EACCES | libc::EPERM) => Some(Unreachable::Prohibited),
        _ => None,
    };
    let mut segment = Segment {
        source: remote.port(),
        destination: guest.port(),
        acknowledgement: sequence.wrapping_add(1),
        flags: RST | ACK,
        ..Segment::default()
    };
    let Some(why) = why else {
        outside.out.tcp(remote.ip(), guest.ip(), &segment, [io::IoSlice::new(&[]); 2], MTU);
        return;
    };
    (segment.source, segment.destination) = (guest.port(), remote.port());
    (segment.sequence, segment.flags) = (sequence, SYN);
    let mut start = crate::wire::Head::default();
    segment.write(&mut start, 0);
    let lost = Ip { payload: TCP_BYTES, ..Ip::new(guest.ip(), remote.ip(), TCP) };
    outside.out.unreachable(lost, start.as_slice(), why);
}

//! Ports of the host that lead to the guest.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What a user asked for: whoever comes to `host` is led to the guest's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub udp: bool,
    pub host: SocketAddr,
    pub guest_port: u16,
}

pub struct Listener {
    pub udp: bool,
    pub socket: Socket,
    pub guest_port: u16,
}

impl Listener {
    /// # Errors
    /// The host's: the port is taken, or not for us.
    pub fn open(forward: &Forward) -> io::Result<Self> {
        let (kind, protocol) =
            if forward.udp { (Type::DGRAM, Protocol::UDP) } else { (Type::STREAM, Protocol::TCP) };
        let socket = Socket::new(Domain::for_address(forward.host), kind.nonblocking(), Some(protocol))?;
        if forward.host.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if !forward.udp {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&SockAddr::from(forward.host))?;
        if !forward.udp {
            socket.listen(BACKLOG)?;
        }
        Ok(Self { udp: forward.udp, socket, guest_port: forward.guest_port })
    }

    /// Where it listens: the host chose the port if it was asked for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

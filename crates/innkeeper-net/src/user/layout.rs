//! The addresses of the built-in network, and where on the host each address of the guest's leads.
//!
//! The layout is the classic one: 10.0.2.0/24 with the gateway at .2, the name server at .3, the guest at .15. What a
//! guest must not reach is refused here, in one place: the host's loopback (unless it was asked for), addresses that
//! mean the host to the host's kernel, link-local ones (where clouds keep their machines' credentials), and multicast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::wire::Mac;

pub const GATEWAY_MAC: Mac = [0x52, 0x55, 10, 0, 2, 2];
pub const NETWORK_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 0);
pub const NETMASK_V4: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
pub const BROADCAST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 255);
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const DNS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// A unique local prefix (RFC 4193), of 64 bits.
pub const PREFIX_V6: Ipv6Addr = Ipv6Addr::new(0xfd69, 0x6e6e, 0, 0, 0, 0, 0, 0);
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd69, 0x6e6e, 0, 0, 0, 0, 0, 2);
pub const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd69, 0x6e6e, 0, 0, 0, 0, 0, 3);
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

const DNS_PORT: u16 = 53;

/// Where a guest's packet to some address goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Host(SocketAddr),
    /// There is something, but not for this guest or not at this port.
    Refused,
    /// There is nobody.
    Nobody,
}

/// What a user chose of it.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The host's loopback is what the guest finds at the gateway's address.
    pub loopback: bool,
    /// Name servers to ask instead of the host's own.
    pub name_servers: Vec<SocketAddr>,
    /// The file that says which these are.
    pub resolver_file: PathBuf,
}

impl Default for Reach {
    fn default() -> Self {
        Self { loopback: false, name_servers: Vec::new(), resolver_file: "/etc/resolv.conf".into() }
    }
}

/// Whether the gateway answers for `address`.
pub fn is_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => [GATEWAY_V4, DNS_V4].contains(&address),
        IpAddr::V6(address) => [GATEWAY_V6, DNS_V6, ROUTER_V6].contains(&address),
    }
}

/// Whether `address` is of the network between guest and gateway.
pub fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == NETWORK_V4.octets()[..3],
        IpAddr::V6(address) => {
            address.octets()[..8] == PREFIX_V6.octets()[..8] || address.is_unicast_link_local()
        }
    }
}

/// Whether a guest may be at `address`.
pub fn may_be_guest(address: IpAddr) -> bool {
    let reserved = [NETWORK_V4.into(), BROADCAST_V4.into(), PREFIX_V6.into()];
    is_local(address) && !is_ours(address) && !reserved.contains(&address)
}

fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.octets()[0] == 0
                || address.is_link_local()
                || address.is_multicast()
                || address.octets()[0] >= 240
        }
        IpAddr::V6(address) => {
            // Compatible, mapped and translated addresses are IPv4's by the back door.
            let by_the_back_door = address.segments()[..5] == [0; 5]
                || address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0]
                    && is_off_limits(Ipv4Addr::from(low_half(address)).into());
            by_the_back_door || address.is_unicast_link_local() || address.is_multicast()
        }
    }
}

fn low_half(address: Ipv6Addr) -> [u8; 4] {
    let octets = address.octets();
    [octets[12], octets[13], octets[14], octets[15]]
}

impl Reach {
    /// Where a guest's words for `remote` go. `attempt` counts how often the same question was asked before.
    pub fn target(&self, remote: SocketAddr, attempt: usize) -> Target {
        let (address, port) = (remote.ip(), remote.port());
        if [IpAddr::from(DNS_V4), DNS_V6.into()].contains(&address) {
            return if port == DNS_PORT { self.name_server(attempt) } else { Target::Refused };
        }
        if is_ours(address) {
            let host = match address {
                IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            return if self.loopback { Target::Host((host, port).into()) } else { Target::Refused };
        }
        if is_local(address) {
            return Target::Nobody;
        }
        if is_off_limits(address) || port == 0 { Target::Refused } else { Target::Host(remote) }
    }

    /// Whether an echo request to `address` may leave the host.
    pub fn may_ping(&self, address: IpAddr) -> bool {
        !is_local(address) && !is_off_limits(address)
    }

    /// The file is read for each conversation: a host changes networks, and its file changes with them.
    fn name_server(&self, attempt: usize) -> Target {
        let found;
        let servers = if self.name_servers.is_empty() {
            found = name_servers(&self.resolver_file);
            &found
        } else {
            &self.name_servers
        };
        servers.get(attempt % servers.len().max(1)).map_or(Target::Refused, |&server| Target::Host(server))
    }
}

/// The name servers of a `resolv.conf`. Where it names none, one is at the host itself (man 5 resolv.conf).
fn name_servers(file: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let named = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.split_whitespace().next());
    // A scope (fe80::1%eth0) names an interface; such a server is passed over.
    let servers: Vec<SocketAddr> =
        named.filter_map(|name| Some((name.parse::<IpAddr>().ok()?, DNS_PORT).into())).collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(reach: &Reach, remote: &str) -> Target {
        reach.target(remote.parse().unwrap(), 0)
    }

    #[test]
    fn the_world_is_where_it_is() {
        for remote in ["192.0.2.7:80", "[2001:db8::7]:80", "10.0.3.2:80", "192.168.1.1:22"] {
            assert_eq!(target(&Reach::default(), remote), Target::Host(remote.parse().unwrap()));
        }
    }

    #[test]
    fn the_hosts_own_addresses_are_off_limits() {
        let refused = [
            "127.0.0.1:80",
            "127.8.8.8:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "169.254.169.254:80",
            "224.0.0.1:80",
            "255.255.255.255:67",
            "[::]:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:192.0.2.1]:80",
            "[::127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[ff02::1]:80",
            "192.0.2.7:0",
        ];
        for remote in refused {
            let reach = Reach { loopback: true, ..Reach::default() };
            assert_eq!(target(&reach, remote), Target::Refused, "{remote}");
        }
        assert_eq!(target(&Reach::default(), "[fe80::77]:80"), Target::Nobody);
    }

    #[test]
    fn the_gateway_is_the_hosts_loopback_only_if_asked() {
        let asked = Reach { loopback: true, ..Reach::default() };
        for (remote, host) in [("10.0.2.2:8080", "127.0.0.1:8080"), ("[fd69:6e6e::2]:80", "[::1]:80")] {
            assert_eq!(target(&Reach::default(), remote), Target::Refused);
            assert_eq!(target(&asked, remote), Target::Host(host.parse().unwrap()));
        }
        assert_eq!(target(&asked, "10.0.2.77:80"), Target::Nobody);
    }

    #[test]
    fn questions_go_to_the_hosts_name_servers_in_turn() {
        let file = std::env::temp_dir().join(format!("innkeeper-resolv-{}", std::process::id()));
        std::fs::write(
            &file,
            "# x\nsearch a\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n",
        )
        .unwrap();
        let reach = Reach { resolver_file: file.clone(), ..Reach::default() };
        let dns = "10.0.2.3:53".parse().unwrap();
        assert_eq!(reach.target(dns, 0), Target::Host("192.0.2.1:53".parse().unwrap()));
        assert_eq!(reach.target(dns, 1), Target::Host("[2001:db8::1]:53".parse().unwrap()));
        assert_eq!(reach.target(dns, 2), Target::Host("192.0.2.1:53".parse().unwrap()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(reach.target(dns, 0), Target::Host("127.0.0.1:53".parse().unwrap()));
        assert_eq!(target(&reach, "10.0.2.3:80"), Target::Refused);
    }
}

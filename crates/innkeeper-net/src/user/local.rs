//! What the gateway itself says: ARP, echo replies, and IPv6's neighbour discovery with router advertisements.
//!
//! Spec: RFC 826, RFC 792, RFC 4861, RFC 4443, RFC 8106 (name servers).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layout::{DNS_V6, GATEWAY_MAC, PREFIX_V6, ROUTER_V6, is_ours};
use super::out::{MTU, Out};
use crate::wire::{ARP, ETHERNET_BYTES, Ip, Mac, Packet, array, word};

const ARP_BYTES: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

const ECHO_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const FROM_A_ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is for those on the link: nobody forwarded it.
const ON_LINK: u8 = 255;
const LIFETIME_S: u16 = 1800;
const PREFIX_LIFETIME_S: u32 = 86_400;

/// Answers an ARP request for an address of ours. Gives the guest's hardware address, if it tells one.
pub fn arp(frame: &[u8], out: &mut Out) -> Option<Mac> {
    let request: [u8; ARP_BYTES] = array(frame, ETHERNET_BYTES)?;
    let sender: Mac = array(&request, 8)?;
    let asked = Ipv4Addr::from(array::<4>(&request, 24)?);
    if request[..6] != ETHERNET_AND_IPV4 || word(&request, 6)? != ARP_REQUEST || sender[0] & 1 != 0 {
        return None;
    }
    if is_ours(asked.into()) {
        let mut reply = request;
        reply[6..8].copy_from_slice(&ARP_REPLY.to_be_bytes());
        reply[8..14].copy_from_slice(&GATEWAY_MAC);
        reply[14..18].copy_from_slice(&asked.octets());
        reply[18..28].copy_from_slice(&request[8..18]);
        out.plain(sender, ARP, &reply);
    }
    Some(sender)
}

/// What an ICMP message to the gateway, or to everyone, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Echo,
    Router,
    Neighbour(Ipv6Addr),
    Nothing,
}

/// `message` are the first bytes of an ICMP message, or all of it.
pub fn asked(packet: &Packet, message: &[u8]) -> Asked {
    let to_us = is_ours(packet.destination);
    match (packet.source, message) {
        (IpAddr::V4(_), [ECHO_V4, 0, ..]) | (IpAddr::V6(_), [ECHO_V6, 0, ..]) if to_us => Asked::Echo,
        (IpAddr::V6(_), [ROUTER_SOLICITATION, 0, ..]) if packet.hops == ON_LINK => Asked::Router,
        (IpAddr::V6(_), [NEIGHBOUR_SOLICITATION, 0, ..]) if packet.hops == ON_LINK => {
            array(message, 8).map_or(Asked::Nothing, |target: [u8; 16]| Asked::Neighbour(target.into()))
        }
        _ => Asked::Nothing,
    }
}

/// Whether it is an echo request to someone else.
pub fn is_echo(v4: bool, message: &[u8]) -> bool {
    message.len() >= 8 && message[1] == 0 && message[0] == if v4 { ECHO_V4 } else { ECHO_V6 }
}

/// Answers an echo request.
pub fn echo(packet: &Packet, message: &mut [u8], out: &mut Out) {
    message[0] = if packet.source.is_ipv4() { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 };
    message[2..4].fill(0);
    out.icmp(Ip::new(packet.destination, packet.source, 0), message);
}

/// Tells the guest its prefix, its router and its name server.
pub fn advertise_router(out: &mut Out) {
    let mut message = Vec::with_capacity(88);
    message.extend([ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0]);
    message.extend(LIFETIME_S.to_be_bytes());
    message.extend([0; 8]); // reachable and retransmission time: yours to choose
    message.extend([1, 1]); // our hardware address
    message.extend(GATEWAY_MAC);
    message.extend([5, 1, 0, 0]);
    message.extend((MTU as u32).to_be_bytes());
    message.extend([3, 4, 64, 0xC0]); // a prefix of 64 bits: on this link, and to make addresses of
    message.extend(PREFIX_LIFETIME_S.to_be_bytes());
    message.extend((PREFIX_LIFETIME_S / 2).to_be_bytes());
    message.extend([0; 4]);
    message.extend(PREFIX_V6.octets());
    message.extend([25, 3, 0, 0]); // a name server
    message.extend(u32::from(LIFETIME_S).to_be_bytes());
    message.extend(DNS_V6.octets());
    let ip = Ip { hops: ON_LINK, ..Ip::new(ROUTER_V6.into(), ALL_NODES.into(), 0) };
    out.icmp(ip, &mut message);
}

/// Tells the guest where an address of ours is.
pub fn advertise_neighbour(asker: IpAddr, target: Ipv6Addr, out: &mut Out) {
    let IpAddr::V6(asker) = asker else { return };
    if !is_ours(target.into()) {
        return;
    }
    // Who has no address yet asks whether one is taken: that is told to all.
    let (to, solicited) = if asker.is_unspecified() { (ALL_NODES, 0) } else { (asker, SOLICITED) };
    let mut message = Vec::with_capacity(32);
    message.extend([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, FROM_A_ROUTER | solicited | OVERRIDE, 0, 0, 0]);
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(GATEWAY_MAC);
    out.icmp(Ip { hops: ON_LINK, ..Ip::new(target.into(), to.into(), 0) }, &mut message);
}

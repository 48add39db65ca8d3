//! The DHCP server: one guest, one address, always the same.
//!
//! Spec: RFC 2131, RFC 2132; RFC 4578 (what a client that boots from the network is). Left out: leases that end (ours is as good as forever, and asked for again every half day),
//! relays, and options that nobody asked us to give.

use std::net::Ipv4Addr;

use super::layout::{BROADCAST_V4, DNS_V4, GATEWAY_V4, GUEST_V4, NETMASK_V4};
use crate::wire::{Mac, array};

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;

const HEADER: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOT_FILE_AT: usize = 108;
/// The field has 128 bytes, of which a NUL ends it.
pub const BOOT_FILE_BYTES: usize = 127;
/// Small enough for every client (RFC 2131, 2).
const MESSAGE_BYTES: usize = 548;
const LEASE_S: u32 = 86_400;
/// RFC 1035, 2.3.4, as it is written.
const HOST_NAME_BYTES: usize = 253;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;

const PAD: u8 = 0;
const NETMASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVER: u8 = 6;
const HOST_NAME: u8 = 12;
const MTU: u8 = 26;
const BROADCAST: u8 = 28;
const REQUESTED: u8 = 50;
const LEASE: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const TFTP_SERVER: u8 = 66;
const BOOT_FILE: u8 = 67;
const ARCHITECTURE: u8 = 93;
const END: u8 = 255;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// What is told beside the addresses.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    pub host_name: Option<String>,
    pub mtu: u16,
}

/// The value of an option; the first of that kind.
fn option(message: &[u8], kind: u8) -> Option<&[u8]> {
    let mut options = message.get(HEADER + COOKIE.len()..)?;
    loop {
        match options {
            [] | [END, ..] => return None,
            [PAD, rest @ ..] => options = rest,
            [found, length, rest @ ..] => {
                let (value, after) = rest.split_at_checked(usize::from(*length))?;
                if *found == kind {
                    return Some(value);
                }
                options = after;
            }
            _ => return None,
        }
    }
}

/// What the client can start, if it boots from the network: numbers of RFC 4578, 2.1, what it likes best first.
pub fn architectures(message: &[u8]) -> impl Iterator<Item = u16> {
    let pairs = option(message, ARCHITECTURE).unwrap_or_default().chunks_exact(2);
    pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// An answer, and where it goes.
pub struct Answer {
    pub message: Vec<u8>,
    pub to: Ipv4Addr,
    /// Whose the guest's address is from now on.
    pub leased: Option<Leased>,
}

/// Who has the guest's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    pub mac: Mac,
    /// What it says that it is called, if that can be a host's name.
    pub host_name: Option<String>,
}

/// Answers a message to the server's port; None if it deserves none. `boot_file` is what a guest that boots from the network
/// fetches from the gateway.
pub fn answer(message: &[u8], lease: &Lease, boot_file: Option<&str>) -> Option<Answer> {
    if *message.first()? != BOOT_REQUEST || array(message, HEADER)? != COOKIE {
        return None;
    }
    let kind = *option(message, KIND)?.first()?;
    let address = |kind| option(message, kind).and_then(|value| array::<4>(value, 0)).map(Ipv4Addr::from);
    let current = Ipv4Addr::from(array::<4>(message, 12)?);
    if address(SERVER).is_some_and(|server| server != GATEWAY_V4) {
        return None; // it has chosen another server
    }
    let wanted = address(REQUESTED).unwrap_or(current);
    let reply = match kind {
        DISCOVER => OFFER,
        REQUEST if wanted == GUEST_V4 => ACK,
        REQUEST => NAK,
        INFORM => ACK,
        _ => return None, // DECLINE and RELEASE: the address is kept for it all the same
    };
    let to = if reply == NAK || current.is_unspecified() { Ipv4Addr::BROADCAST } else { current };
    let leased = if kind == REQUEST && reply == ACK {
        array(message, 28).map(|mac| Leased { mac, host_name: host_name(message) })
    } else {
        None
    };
    Some(Answer { message: write(message, (kind, reply), lease, boot_file), to, leased })
}

fn host_name(message: &[u8]) -> Option<String> {
    let name = option(message, HOST_NAME)?;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    let fits = (1..=HOST_NAME_BYTES).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    fits.then(|| String::from_utf8_lossy(name).into_owned())
}

fn write(request: &[u8], (kind, reply): (u8, u8), lease: &Lease, boot_file: Option<&str>) -> Vec<u8> {
    let mut out = request[..HEADER].to_vec();
    out[0] = BOOT_REPLY;
    out[3] = 0; // hops
    out[8..10].fill(0); // seconds
    if reply == NAK {
        out[12..16].fill(0);
    } else if kind != INFORM {
        out[16..20].copy_from_slice(&GUEST_V4.octets());
    }
    out[20..24].copy_from_slice(&GATEWAY_V4.octets());
    out[44..HEADER].fill(0); // server's name and boot file
    let boot_file = boot_file.filter(|_| reply != NAK).unwrap_or_default().as_bytes();
    let boot_file = &boot_file[..boot_file.len().min(BOOT_FILE_BYTES)];
    out[BOOT_FILE_AT..BOOT_FILE_AT + boot_file.len()].copy_from_slice(boot_file);
    out.extend(COOKIE);
    let mut put = |kind: u8, value: &[u8]| {
        out.extend([kind, value.len() as u8]);
        out.extend(value);
    };
    put(KIND, &[reply]);
    put(SERVER, &GATEWAY_V4.octets());
    if reply != NAK {
        if kind != INFORM {
            put(LEASE, &LEASE_S.to_be_bytes());
            put(RENEW, &(LEASE_S / 2).to_be_bytes());
            put(REBIND, &(LEASE_S / 8 * 7).to_be_bytes());
        }
        put(NETMASK, &NETMASK_V4.octets());
        put(BROADCAST, &BROADCAST_V4.octets());
        put(ROUTER, &GATEWAY_V4.octets());
        put(NAME_SERVER, &DNS_V4.octets());
        put(MTU, &lease.mtu.to_be_bytes());
        if let Some(name) = &lease.host_name {
            put(HOST_NAME, &name.as_bytes()[..name.len().min(63)]);
        }
        if !boot_file.is_empty() {
            put(TFTP_SERVER, GATEWAY_V4.to_string().as_bytes());
            put(BOOT_FILE, boot_file);
        }
    }
    out.push(END);
    out.resize(out.len().max(MESSAGE_BYTES), PAD);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        (message[0], message[1], message[2]) = (BOOT_REQUEST, 1, 6);
        message[4..8].copy_from_slice(&[1, 2, 3, 4]);
        message.extend(COOKIE);
        message.extend([KIND, 1, kind]);
        message.extend(options);
        message.push(END);
        message
    }

    fn lease() -> Lease {
        Lease { host_name: Some("guest".into()), mtu: 1500 }
    }

    fn kind_of(message: &[u8]) -> u8 {
        option(message, KIND).unwrap()[0]
    }

    #[test]
    fn a_guest_is_offered_its_address_and_gets_it() {
        let offer = answer(&request(DISCOVER, &[]), &lease(), None).unwrap();
        assert_eq!((kind_of(&offer.message), offer.to), (OFFER, Ipv4Addr::BROADCAST));
        assert_eq!((&offer.message[4..8], &offer.message[16..20]), (&[1, 2, 3, 4][..], &[10, 0, 2, 15][..]));
        let taken =
            answer(&request(REQUEST, &[REQUESTED, 4, 10, 0, 2, 15, SERVER, 4, 10, 0, 2, 2]), &lease(), None)
                .unwrap();
        let leased = Leased { mac: [0; 6], host_name: None };
        assert_eq!((kind_of(&taken.message), offer.leased, taken.leased), (ACK, None, Some(leased)));
        for (kind, value) in [
            (ROUTER, &[10, 0, 2, 2][..]),
            (NAME_SERVER, &[10, 0, 2, 3]),
            (HOST_NAME, b"guest"),
            (MTU, &[5, 0xDC]),
        ] {
            assert_eq!(option(&taken.message, kind), Some(value));
        }
    }

    #[test]
    fn a_guest_that_boots_is_told_what_and_from_where() {
        for name in ["pxelinux.0".to_owned(), "x".repeat(300)] {
            let offer = answer(&request(DISCOVER, &[]), &lease(), Some(&name)).unwrap().message;
            let told = &name.as_bytes()[..name.len().min(BOOT_FILE_BYTES)];
            assert_eq!(option(&offer, BOOT_FILE), Some(told));
            assert_eq!(option(&offer, TFTP_SERVER), Some(&b"10.0.2.2"[..]));
            assert_eq!(&offer[20..24], &[10, 0, 2, 2]);
            assert_eq!((&offer[108..108 + told.len()], offer[108 + told.len()]), (told, 0));
            let elsewhere = request(REQUEST, &[REQUESTED, 4, 192, 168, 0, 5]);
            let refused = answer(&elsewhere, &lease(), Some(&name)).unwrap().message;
            assert_eq!((option(&refused, BOOT_FILE), refused[108]), (None, 0));
        }
        assert_eq!(
            option(&answer(&request(DISCOVER, &[]), &lease(), None).unwrap().message, BOOT_FILE),
            None
        );
    }

    #[test]
    fn a_client_says_what_it_can_start() {
        for (options, found) in [
            (&[ARCHITECTURE, 2, 0, 7][..], &[7][..]),
            (&[ARCHITECTURE, 4, 0, 9, 0, 7], &[9, 7]),
            (&[ARCHITECTURE, 3, 0, 9, 0], &[9]),
            (&[ARCHITECTURE, 1, 9], &[]),
            (&[ARCHITECTURE, 0], &[]),
            (&[], &[]),
        ] {
            assert_eq!(architectures(&request(DISCOVER, options)).collect::<Vec<_>>(), found);
        }
        assert_eq!(architectures(&[]).count(), 0);
    }

    #[test]
    fn a_guest_says_what_it_is_called() {
        for (said, name) in [
            (&b"web-1.example"[..], Some("web-1.example")),
            (b"web\0", Some("web")),
            (b"", None),
            (b"\0", None),
            (b"a b", None),
            (b"a\x1b[2J", None),
            (&[0xFF, 0x61], None),
            (&[b'a'; 254], None),
        ] {
            let mut options = vec![REQUESTED, 4, 10, 0, 2, 15, HOST_NAME, said.len() as u8];
            options.extend(said);
            let leased = answer(&request(REQUEST, &options), &lease(), None).unwrap().leased.unwrap();
            assert_eq!(leased.host_name.as_deref(), name);
        }
    }

    #[test]
    fn an_address_of_elsewhere_is_refused() {
        let refused = answer(&request(REQUEST, &[REQUESTED, 4, 192, 168, 0, 5]), &lease(), None).unwrap();
        assert_eq!((kind_of(&refused.message), refused.to), (NAK, Ipv4Addr::BROADCAST));
        assert_eq!(option(&refused.message, ROUTER), None);
    }

    #[test]
    fn whoever_chose_another_server_is_left_alone() {
        assert!(answer(&request(REQUEST, &[SERVER, 4, 10, 0, 2, 9]), &lease(), None).is_none());
    }

    #[test]
    fn a_broken_message_gets_no_answer() {
        let whole = request(DISCOVER, &[REQUESTED, 4, 1, 2, 3, 4]);
        for length in 0..HEADER + 6 {
            assert!(answer(&whole[..length], &lease(), None).is_none(), "{length} bytes");
        }
        for length in HEADER + 6..whole.len() {
            drop(answer(&whole[..length], &lease(), None));
        }
    }
}

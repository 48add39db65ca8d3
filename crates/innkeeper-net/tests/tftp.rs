//! Files by TFTP from the built-in network: whole ones of all sizes, by what names, and nothing else of the host's.

mod guest;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use guest::{ALL, GATEWAY, Guest, Random};
use innkeeper_net::user::{Boot, Settings};
use innkeeper_net::wire::{Head, Ip, UDP, word};

const PORT: u16 = 2000;

/// A folder of files, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("innkeeper-tftp-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("root/deep")).unwrap();
        fs::write(path.join("secret"), b"of the host").unwrap();
        Self(path)
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.0.join("root").join(name), content).unwrap();
    }

    fn guest(&self) -> Guest {
        let boot = Boot { folder: Some(self.0.join("root")), file: Some("start".into()), ..Boot::default() };
        Guest::new(Settings { boot, ..Settings::default() }, ALL)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn server() -> SocketAddr {
    (GATEWAY, 69).into()
}

fn request(guest: &Guest, words: &[&[u8]]) {
    guest.send_udp(PORT, server(), &[&[0, 1], words.join(&0).as_slice(), &[0]].concat());
}

fn acknowledge(guest: &Guest, number: u16) {
    guest.send_udp(PORT, server(), &[&[0, 4], number.to_be_bytes().as_slice()].concat());
}

/// What came, by its kind and number.
fn answer(guest: &Guest) -> (u16, u16, Vec<u8>) {
    let (from, to, data) = guest.udp();
    assert_eq!((from, to), (server(), PORT));
    (word(&data, 0).unwrap(), word(&data, 2).unwrap(), data[4..].to_vec())
}

/// A whole file, in blocks of `bytes` from number 1 on.
fn rest(guest: &Guest, bytes: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    for number in 1u16.. {
        let (kind, found, block) = answer(guest);
        assert_eq!((kind, found), (3, number));
        acknowledge(guest, number);
        whole.extend(&block);
        if block.len() < bytes {
            return whole;
        }
    }
    unreachable!()
}

/// What a guest that asks for an address is told to start, which must be the same in both places of the answer. `says` are
/// options: of what kind it is.
fn told(guest: &Guest, says: &[u8]) -> Option<String> {
    let mut message = [&[1, 1, 6][..], &[0; 233], &[99, 130, 83, 99, 53, 1, 1], says, &[255]].concat();
    message.resize(message.len().max(300), 0);
    let mut head = Head::default();
    head.udp(68, 67, message.len(), 0);
    let broadcast = Ip::new(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into(), UDP);
    guest.send_packet(broadcast, &[head.as_slice(), &message].concat());
    let (from, to, answer) = guest.udp();
    assert_eq!((from, to), ((GATEWAY, 67).into(), 68));
    let field = answer[108..236].split(|&byte| byte == 0).next().unwrap();
    let mut options = &answer[240..];
    let mut option = None;
    while let [kind @ 1..=254, length, rest @ ..] = options {
        let (value, after) = rest.split_at(usize::from(*length));
        option = option.or((*kind == 67).then_some(value));
        options = after;
    }
    assert_eq!(option.unwrap_or_default(), field);
    option.map(|name| String::from_utf8(name.to_vec()).unwrap())
}

#[test]
fn a_guest_starts_what_its_kind_of_firmware_can() {
    let folder = Folder::new("kinds");
    let known = [(0, "bios"), (0, "other"), (7, "deep/uefi"), (7, "late"), (9, "late")];
    let boot = |file| Boot {
        folder: Some(folder.0.join("root")),
        file,
        known: known.map(|(kind, name)| (kind, name.to_owned())).to_vec(),
    };
    let guest = Guest::new(Settings { boot: boot(None), ..Settings::default() }, ALL);
    let (bios, uefi, others) = (&[93, 2, 0, 0][..], &[93, 2, 0, 7][..], &[93, 6, 0, 6, 0, 9, 0, 7][..]);
    assert_eq!(told(&guest, bios), None, "nothing is there");
    folder.put("other", b"");
    folder.put("late", b"");
    fs::create_dir(folder.0.join("root/bios")).unwrap();
    assert_eq!(told(&guest, bios).as_deref(), Some("other"), "a folder is nothing to start");
    assert_eq!(told(&guest, uefi).as_deref(), Some("late"));
    folder.put("deep/uefi", b"");
    assert_eq!(told(&guest, uefi).as_deref(), Some("deep/uefi"));
    assert_eq!(told(&guest, others).as_deref(), Some("late"), "what it likes better comes first");
    assert_eq!(told(&guest, &[93, 2, 0, 6]), None);
    assert_eq!(told(&guest, &[]), None, "it does not boot from the network");
    let guest = Guest::new(Settings { boot: boot(Some("chosen".into())), ..Settings::default() }, ALL);
    for says in [bios, uefi, &[]] {
        assert_eq!(told(&guest, says).as_deref(), Some("chosen"));
    }
}

#[test]
fn files_of_all_sizes_come_whole() {
    let folder = Folder::new("sizes");
    let guest = folder.guest();
    for length in [0, 1, 511, 512, 513, 1024, 30_000] {
        let data = Random(length as u64 + 1).bytes(length);
        folder.put("deep/file", &data);
        request(&guest, &[b"deep/file", b"octet"]);
        assert!(rest(&guest, 512) == data, "{length} bytes");
        guest.quiet();
    }
}

#[test]
fn a_file_of_more_blocks_than_their_number_can_say_comes_whole() {
    let folder = Folder::new("many");
    let guest = folder.guest();
    let data = Random(3).bytes(70_000 * 8 + 3);
    folder.put("file", &data);
    request(&guest, &[b"file", b"octet", b"blksize", b"8"]);
    assert_eq!(answer(&guest).0, 6);
    acknowledge(&guest, 0);
    let mut whole = Vec::new();
    for number in 1..=70_001u32 {
        let (kind, found, block) = answer(&guest);
        assert_eq!((kind, found), (3, number as u16));
        whole.extend(block);
        acknowledge(&guest, number as u16);
    }
    assert!(whole == data);
}

#[test]
fn options_are_agreed_on() {
    let folder = Folder::new("options");
    let guest = folder.guest();
    let data = Random(5).bytes(5000);
    folder.put("file", &data);
    let wanted: [&[u8]; 8] = [b"file", b"OCTET", b"blksize", b"65464", b"TSize", b"0", b"windowsize", b"4"];
    request(&guest, &wanted);
    let (from, _, agreed) = guest.udp();
    assert_eq!((from, &agreed[..]), (server(), &b"\x00\x06blksize\x001468\x00TSize\x005000\x00"[..]));
    acknowledge(&guest, 0);
    assert!(rest(&guest, 1468) == data);
}

#[test]
fn names_lead_nowhere_else() {
    let folder = Folder::new("names");
    folder.put("deep/file", b"here");
    let root = folder.0.join("root");
    symlink("deep/file", root.join("inside")).unwrap();
    symlink("../secret", root.join("outside")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    let guest = folder.guest();
    for name in ["deep/file", "/deep/file", "//deep//file", "\\deep\\file", "inside", "deep/../inside"] {
        request(&guest, &[name.as_bytes(), b"octet"]);
        assert_eq!(rest(&guest, 512), b"here", "{name}");
    }
    let long = "x".repeat(300);
    for name in [
        "",
        "/",
        "deep",
        "none",
        "../secret",
        "/../secret",
        "deep/../../secret",
        "outside",
        "absolute",
        &long,
    ] {
        request(&guest, &[name.as_bytes(), b"octet"]);
        let (kind, number, words) = answer(&guest);
        assert_eq!((kind, number, &words[..]), (5, 1, &b"file not found\0"[..]), "{name}");
    }
}

#[test]
fn what_is_lost_is_sent_again_and_what_is_said_twice_is_not() {
    let folder = Folder::new("lost");
    folder.put("file", &[7; 600]);
    let guest = folder.guest();
    request(&guest, &[b"file", b"octet"]);
    assert_eq!(answer(&guest).1, 1);
    assert_eq!(answer(&guest).1, 1, "it was not acknowledged");
    acknowledge(&guest, 1);
    assert_eq!(answer(&guest).1, 2);
    acknowledge(&guest, 1);
    guest.quiet();
    acknowledge(&guest, 2);
    assert!(guest.frame_within(Duration::from_millis(1200)).is_none(), "nothing is left to be sent");
}

#[test]
fn whatever_else_a_guest_says_is_refused_or_passed_over() {
    let folder = Folder::new("else");
    folder.put("file", b"here");
    let guest = folder.guest();
    guest.send_udp(PORT, server(), b"\x00\x02file\x00octet\x00");
    assert_eq!(answer(&guest).1, 2);
    assert_eq!(fs::read(folder.0.join("root/file")).unwrap(), b"here");
    for words in [&b"\x00\x01file\x00netascii\x00"[..], b"\x00\x01file", b"\x00\x01", b"\x00\x09x"] {
        guest.send_udp(PORT, server(), words);
        assert_eq!(answer(&guest).1, 4, "{words:?}");
    }
    for words in
        [&b""[..], b"\x00", b"\x00\x04", b"\x00\x04\x00\x01", b"\x00\x03\x00\x01x", b"\x00\x05\x00\x00\x00"]
    {
        guest.send_udp(PORT, server(), words);
    }
    guest.quiet();
    for length in 2..40 {
        guest.send_udp(
            PORT,
            server(),
            &b"\x00\x01file\x00octet\x00blksize\x00\x00tsize\x00-1\x00timeout\x000\x00"[..length],
        );
    }
    guest.send_udp(PORT, server(), b"\x00\x05\x00\x00\x00");
}

#[test]
fn a_host_without_a_folder_serves_nothing() {
    let guest = Guest::new(Settings::default(), ALL);
    request(&guest, &[b"file", b"octet"]);
    let (packet, _) = guest.packet(1); // unreachable
    assert_ne!(packet.protocol, UDP);
    let boot = Boot { folder: Some("/nonexistent".into()), ..Boot::default() };
    assert!(innkeeper_net::user::UserNet::new(Settings { boot, ..Settings::default() }).is_err());
}

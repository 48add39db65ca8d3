//! The commands in packets.

use super::super::Locked;
use super::super::cdrom::iso::{self, Disc};
use super::super::taskfile::status;
use super::*;

/// Key, code and qualifier, if the command failed.
type Failure = Option<(u8, u8, u8)>;

fn packet(bytes: &[u8]) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[..bytes.len()].copy_from_slice(bytes);
    packet
}

/// Sends a packet by PIO or DMA; gives the data, and the sense as REQUEST SENSE then tells it.
fn send(drive: &mut Drive, bytes: &[u8], dma: bool) -> (Vec<u8>, Failure) {
    let mut bench = Bench { packet: packet(bytes), ..Bench::default() };
    let registers = Taskfile { command: 0xA0, features: dma.into(), lba: 0x0800 << 8, ..Taskfile::default() };
    let end = perform(drive, &mut bench, registers);
    assert_eq!(end.count & 3, 3, "the interrupt reason of a command's end");
    if end.status & status::ERR == 0 {
        return (bench.sent, None);
    }
    let mut asked = Bench { packet: packet(&[3, 0, 0, 0, 18]), ..Bench::default() };
    perform(drive, &mut asked, registers);
    assert_eq!(end.error >> 4, asked.sent[2]);
    (bench.sent, Some((asked.sent[2], asked.sent[12], asked.sent[13])))
}

fn ask(drive: &mut Drive, bytes: &[u8]) -> Vec<u8> {
    let (data, failure) = send(drive, bytes, false);
    assert_eq!(failure, None, "{bytes:x?}");
    data
}

fn refused(drive: &mut Drive, bytes: &[u8]) -> (u8, u8, u8) {
    send(drive, bytes, false).1.expect("a refusal")
}

/// A drive that has told that it was reset and that its disc is new.
fn ready(blocks: u64) -> (Drive, Arc<Tray>, Arc<MemoryDisk>) {
    let (mut drive, tray, disc) = cdrom(blocks);
    assert_eq!(refused(&mut drive, &[0]), (6, 0x29, 0));
    assert_eq!(refused(&mut drive, &[0]), (6, 0x28, 0));
    ask(&mut drive, &[0]);
    (drive, tray, disc)
}

#[test]
fn attention_waits_while_a_guest_asks_who_is_there() {
    let (mut drive, _, _) = cdrom(4);
    let inquiry = ask(&mut drive, &[0x12, 0, 0, 0, 36]);
    assert_eq!((inquiry[0], inquiry[1], &inquiry[16..23]), (5, 0x80, &b"A DRIVE"[..]));
    assert_eq!(refused(&mut drive, &[0]), (6, 0x29, 0));
}

#[test]
fn blocks_are_read_by_pio_and_dma() {
    let (mut drive, _, disc) = ready(100);
    let expected = disc.bytes.lock().unwrap()[50 * 2048..].to_vec();
    let read_10 = [0x28, 0, 0, 0, 0, 50, 0, 0, 50];
    let read_12 = [0xA8, 0, 0, 0, 0, 50, 0, 0, 0, 50];
    let read_cd = [0xBE, 0, 0, 0, 0, 50, 0, 0, 50, 0x10];
    // 00:02:50 to 00:03:25, that is blocks 50 to 100.
    let read_cd_msf = [0xB9, 0, 0, 0, 2, 50, 0, 3, 25, 0x10];
    for bytes in [&read_10[..], &read_12, &read_cd, &read_cd_msf] {
        for dma in [false, true] {
            let (data, failure) = send(&mut drive, bytes, dma);
            assert!(failure.is_none() && data == expected, "{bytes:x?}");
        }
    }
}

#[test]
fn the_disc_has_an_end() {
    let (mut drive, _, _) = ready(100);
    assert_eq!(ask(&mut drive, &[0x25]), [0, 0, 0, 99, 0, 0, 8, 0]);
    assert_eq!(refused(&mut drive, &[0x28, 0, 0, 0, 0, 99, 0, 0, 2]), (5, 0x21, 0));
    assert_eq!(refused(&mut drive, &[0xA8, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), (5, 0x21, 0));
    assert_eq!(refused(&mut drive, &[0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0xF8]), (5, 0x24, 0));
    assert_eq!(refused(&mut drive, &[0xBE, 4, 0, 0, 0, 0, 0, 0, 1, 0x10]), (5, 0x64, 0));
    assert!(ask(&mut drive, &[0x28, 0, 0, 0, 0, 100, 0, 0, 0]).is_empty());
}

#[test]
fn what_the_host_cannot_read_is_a_medium_error() {
    let (mut drive, _, disc) = ready(100);
    disc.broken.store(true, Ordering::SeqCst);
    assert_eq!(refused(&mut drive, &[0x28, 0, 0, 0, 0, 1, 0, 0, 1]), (3, 0x11, 0));
    assert_eq!(refused(&mut drive, &[0x2F, 0, 0, 0, 0, 1, 0, 0, 1]), (3, 0x11, 0));
}

#[test]
fn the_table_of_contents_has_one_data_track() {
    let (mut drive, _, _) = ready(200);
    let toc = ask(&mut drive, &[0x43, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 0, 200]);
    let toc = ask(&mut drive, &[0x43, 2, 0, 0, 0, 0, 0xAA, 1, 0]);
    assert_eq!(toc, [0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 4, 50]); // 350 frames
    assert_eq!(ask(&mut drive, &[0x43, 0, 1, 0, 0, 0, 0, 1, 0]).len(), 12);
    assert_eq!(ask(&mut drive, &[0x43, 2, 2, 0, 0, 0, 0, 1, 0]).len(), 4 + 4 * 11);
    assert_eq!(refused(&mut drive, &[0x43, 0, 0, 0, 0, 0, 2, 1, 0]), (5, 0x24, 0));
    assert_eq!(ask(&mut drive, &[0x43, 0, 0, 0, 0, 0, 0, 0, 4]).len(), 4);
}

#[test]
fn the_drive_describes_itself_and_its_disc() {
    let (mut drive, tray, _) = ready(200);
    let pages = ask(&mut drive, &[0x5A, 0, 0x3F, 0, 0, 0, 0, 1, 0]);
    assert_eq!(usize::from(pages[1]) + 2, pages.len());
    assert_eq!((pages[8], pages[16]), (0x01, 0x2A));
    assert_eq!(ask(&mut drive, &[0x1A, 0, 0x2A, 0, 255]).len(), 4 + 22);
    assert_eq!(refused(&mut drive, &[0x5A, 0, 0xEA, 0, 0, 0, 0, 1, 0]), (5, 0x39, 0));
    assert_eq!(refused(&mut drive, &[0x5A, 0, 0x05, 0, 0, 0, 0, 1, 0]), (5, 0x24, 0));
    let profile = |drive: &mut Drive| ask(drive, &[0x46, 0, 0, 0, 0, 0, 0, 1, 0])[6..8].to_vec();
    assert_eq!(profile(&mut drive), [0, 8]);
    tray.change(None, false).unwrap();
    assert_eq!(profile(&mut drive), [0, 0]);
    assert_eq!(refused(&mut drive, &[0x51, 0, 0, 0, 0, 0, 0, 1, 0]), (2, 0x3A, 1));
}

#[test]
fn track_and_disc_information_have_their_lengths() {
    let (mut drive, _, _) = ready(200);
    let track = ask(&mut drive, &[0x52, 1, 0, 0, 0, 1, 0, 1, 0]);
    assert_eq!((track.len(), track[1], track[27]), (36, 34, 200));
    assert_eq!(refused(&mut drive, &[0x52, 1, 0, 0, 0, 2, 0, 1, 0]), (5, 0x24, 0));
    let disc = ask(&mut drive, &[0x51, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!((disc.len(), disc[1], disc[2]), (34, 32, 0x0E));
}

#[test]
fn a_new_disc_is_announced() {
    let (mut drive, tray, _) = ready(100);
    let events = [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8];
    ask(&mut drive, &events);
    assert_eq!(ask(&mut drive, &events)[4..6], [0, 2]);
    tray.change(Some(MemoryDisk::new(40)), false).unwrap();
    assert_eq!(ask(&mut drive, &events)[4..6], [2, 2]);
    assert_eq!(refused(&mut drive, &[0x25]), (6, 0x28, 0));
    assert_eq!(ask(&mut drive, &[0x25])[3], 9);
    tray.change(None, false).unwrap();
    assert_eq!(ask(&mut drive, &events)[4..6], [3, 0]);
    assert_eq!(refused(&mut drive, &[0]), (2, 0x3A, 1));
}

#[test]
fn a_locked_tray_stays_shut_and_the_guest_hears_of_the_wish() {
    let (mut drive, tray, _) = ready(100);
    ask(&mut drive, &[0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]);
    ask(&mut drive, &[0x1E, 0, 0, 0, 1]);
    assert_eq!(refused(&mut drive, &[0x1B, 0, 0, 0, 2]), (5, 0x53, 2));
    assert_eq!(tray.change(None, false), Err(Locked));
    assert_eq!(ask(&mut drive, &[0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8])[4], 1);
    ask(&mut drive, &[0x1E, 0, 0, 0, 0]);
    ask(&mut drive, &[0x1B, 0, 0, 0, 2]);
    assert!(tray.look().open);
    assert_eq!(ask(&mut drive, &[0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8])[1] & 0x10, 0x10);
    assert_eq!(refused(&mut drive, &[0]), (2, 0x3A, 2));
    ask(&mut drive, &[0x1B, 0, 0, 0, 3]);
    assert_eq!(refused(&mut drive, &[0]), (6, 0x28, 0));
    ask(&mut drive, &[0]);
    ask(&mut drive, &[0x1E, 0, 0, 0, 1]);
    tray.change(None, true).unwrap();
    assert!(!tray.look().present && !tray.look().locked);
}

#[test]
fn unknown_packets_are_refused() {
    let (mut drive, _, _) = ready(100);
    for code in [0x2A, 0x55, 0x5C, 0xA4, 0xAA, 0xFF] {
        assert_eq!(refused(&mut drive, &[code]), (5, 0x20, 0), "{code:x}");
    }
}

#[test]
fn a_block_of_data_fits_the_guests_limit() {
    let (mut drive, _, _) = ready(100);
    for (limit, block) in [(0x0800, 0x800), (0, 0xFFFE), (0xFFFF, 0xFFFE), (0x0801, 0x800), (1, 2)] {
        let mut bench = Bench { packet: packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 40]), ..Bench::default() };
        let registers = Taskfile { command: 0xA0, lba: limit << 8, ..Taskfile::default() };
        perform(&mut drive, &mut bench, registers);
        assert_eq!((bench.blocks[0], bench.sent.len()), (block, 40 * 2048), "{limit:x}");
    }
}

#[test]
fn a_disc_shows_what_it_is() {
    let disc = MemoryDisk::new(400);
    assert_eq!(iso::probe(&*disc).unwrap(), Disc::Unknown);
    let mut bytes = disc.bytes.lock().unwrap();
    bytes[32768..32774].copy_from_slice(b"\x01CD001");
    bytes[32808..32840].copy_from_slice(b"A LABEL\xFF                        ");
    drop(bytes);
    assert_eq!(iso::probe(&*disc).unwrap(), Disc::Iso9660 { label: "A LABEL?".into() });
    for (at, id) in [(16, b"BEA01"), (17, b"NSR03"), (18, b"TEA01")] {
        disc.bytes.lock().unwrap()[at * 2048 + 1..at * 2048 + 6].copy_from_slice(id);
    }
    assert_eq!(iso::probe(&*disc).unwrap(), Disc::Udf);
    assert_eq!(iso::probe(&*MemoryDisk::new(1)).unwrap(), Disc::Unknown);
}

//! The commands of disks.

use super::super::taskfile::{error, status};
use super::*;

const LBA: u8 = 0x40;

fn taskfile(command: u8, lba: u64, count: u16) -> Taskfile {
    Taskfile { command, lba, count, device: LBA, ..Taskfile::default() }
}

fn run(disk: &Arc<MemoryDisk>, bench: &mut Bench, taskfile: Taskfile) -> Taskfile {
    perform(&mut ata_disk(disk, true), bench, taskfile)
}

fn word(data: &[u8], index: usize) -> u16 {
    u16::from_le_bytes(data[2 * index..2 * index + 2].try_into().unwrap())
}

#[test]
fn identify_tells_size_features_and_a_sum_of_zero() {
    let (disk, mut bench) = (MemoryDisk::new(4096), Bench::default());
    let end = run(&disk, &mut bench, taskfile(0xEC, 0, 0));
    assert_eq!((end.status, bench.sent.len()), (status::READY, 512));
    assert_eq!(bench.sent.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
    assert_eq!((word(&bench.sent, 60), word(&bench.sent, 100)), (4096, 4096));
    assert_eq!(&bench.sent[20..24], b"1S  ");
    assert_eq!((word(&bench.sent, 75), word(&bench.sent, 76) & 0x100), (31, 0x100));
    assert_eq!((word(&bench.sent, 169), word(&bench.sent, 69)), (1, 0x4020));
}

#[test]
fn every_way_of_reading_gives_the_same_bytes() {
    let disk = MemoryDisk::new(4096);
    for command in [0x20, 0x21, 0x24, 0x25, 0x29, 0xC4, 0xC8, 0xC9, 0x60] {
        let mut bench = Bench::default();
        let mut registers = taskfile(command, 1000, 3);
        if command == 0x60 {
            (registers.features, registers.count) = (3, 5 << 3);
        }
        let end = run(&disk, &mut bench, registers);
        assert_eq!((end.status, bench.sent.len()), (status::READY, 3 * 512), "{command:x}");
        assert!(
            bench.sent == [disk.sector(1000), disk.sector(1001), disk.sector(1002)].concat(),
            "{command:x}"
        );
    }
}

#[test]
fn every_way_of_writing_writes_and_fua_flushes() {
    for (command, flushes) in
        [(0x30, 0), (0x34, 0), (0x35, 0), (0x39, 0), (0xC5, 0), (0xCA, 0), (0xCE, 1), (0x3D, 1), (0x61, 0)]
    {
        let (disk, given) = (MemoryDisk::new(64), vec![0xAB; 1024]);
        let mut bench = Bench { given, ..Bench::default() };
        let mut registers = taskfile(command, 7, 2);
        if command == 0x61 {
            (registers.features, registers.count) = (2, 0);
        }
        let end = run(&disk, &mut bench, registers);
        assert_eq!(end.status, status::READY, "{command:x}");
        assert!(disk.sector(7) == [0xAB; 512] && disk.sector(8) == [0xAB; 512], "{command:x}");
        assert!(disk.sector(6)[0] == 6 && disk.sector(9)[0] == 9, "{command:x}");
        assert_eq!(disk.flushes.load(Ordering::SeqCst), flushes, "{command:x}");
    }
}

#[test]
fn a_count_of_zero_is_256_or_65536_sectors() {
    let (disk, mut bench) = (MemoryDisk::new(70000), Bench::default());
    run(&disk, &mut bench, taskfile(0xC8, 0, 0));
    assert_eq!(bench.sent.len(), 256 * 512);
    let mut bench = Bench::default();
    run(&disk, &mut bench, taskfile(0x25, 0, 0));
    assert_eq!(bench.sent.len(), 65536 * 512);
}

#[test]
fn addresses_beyond_the_end_are_not_found_and_touch_nothing() {
    let disk = MemoryDisk::new(64);
    for (command, lba, count) in
        [(0x20, 64, 1), (0xC8, 63, 2), (0x25, u64::MAX >> 16, 1), (0x30, 64, 1), (0x61, 60, 0), (0x42, 1, 0)]
    {
        let mut bench = Bench { given: vec![1; 1 << 20], ..Bench::default() };
        let end = run(&disk, &mut bench, taskfile(command, lba, count));
        assert_eq!((end.status, end.error), (status::READY | status::ERR, error::IDNF), "{command:x}");
        assert!(bench.sent.is_empty() && bench.blocks.is_empty(), "{command:x}");
    }
}

#[test]
fn cylinder_head_and_sector_are_an_address() {
    let (disk, mut bench) = (MemoryDisk::new(4096), Bench::default());
    // Cylinder 2, head 3, sector 5 of 16 heads and 63 sectors a track.
    let place = Taskfile { command: 0x20, lba: 2 << 8 | 5, count: 1, device: 3, ..Taskfile::default() };
    run(&disk, &mut bench, place);
    assert!(bench.sent == disk.sector((2 * 16 + 3) * 63 + 4));
    let end = run(&disk, &mut bench, Taskfile { lba: 2 << 8, ..place });
    assert_eq!(end.error, error::IDNF);
}

#[test]
fn what_the_host_cannot_read_or_write_is_an_error_with_its_address() {
    let disk = MemoryDisk::new(4096);
    disk.broken.store(true, Ordering::SeqCst);
    let end = run(&disk, &mut Bench::default(), taskfile(0x25, 70, 8));
    assert_eq!((end.status, end.error, end.lba), (status::READY | status::ERR, error::UNC, 70));
    let mut bench = Bench { given: vec![0; 512], ..Bench::default() };
    let end = run(&disk, &mut bench, taskfile(0x35, 71, 1));
    assert_eq!((end.status & status::DF, end.error, end.lba), (status::DF, error::ABRT, 71));
    let end = run(&disk, &mut Bench::default(), taskfile(0xEA, 0, 0));
    assert_eq!(end.error, error::ABRT);
}

#[test]
fn a_failed_queue_is_explained_once_by_its_log() {
    let disk = MemoryDisk::new(64);
    let mut drive = ata_disk(&disk, true);
    let mut registers = taskfile(0x60, 100, 9 << 3);
    registers.features = 1;
    assert_eq!(perform(&mut drive, &mut Bench::default(), registers).error, error::IDNF);
    let mut bench = Bench::default();
    perform(&mut drive, &mut bench, taskfile(0x2F, 0x10, 1));
    assert_eq!((bench.sent[0], bench.sent[3], bench.sent[4]), (9, error::IDNF, 100));
    assert_eq!(bench.sent.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
    let mut bench = Bench::default();
    perform(&mut drive, &mut bench, taskfile(0x47, 0x10, 1));
    assert_eq!(bench.sent[0], 0x80);
}

#[test]
fn trim_zeroes_its_ranges_and_refuses_what_lies_beyond() {
    let disk = MemoryDisk::new(64);
    let mut given = vec![0; 512];
    given[..8].copy_from_slice(&(3u64 << 48 | 10).to_le_bytes());
    given[8..16].copy_from_slice(&(1u64 << 48 | 20).to_le_bytes());
    let mut registers = taskfile(0x06, 0, 1);
    registers.features = 1;
    let mut bench = Bench { given: given.clone(), ..Bench::default() };
    assert_eq!(run(&disk, &mut bench, registers).status, status::READY);
    for sector in [10, 11, 12, 20] {
        assert!(disk.sector(sector) == [0; 512], "{sector}");
    }
    assert!(disk.sector(13)[0] == 13 && disk.sector(9)[0] == 9);
    given[..8].copy_from_slice(&(u64::MAX).to_le_bytes());
    let mut bench = Bench { given, ..Bench::default() };
    assert_eq!(run(&disk, &mut bench, registers).error, error::IDNF);
}

#[test]
fn without_a_write_cache_every_write_is_kept() {
    let disk = MemoryDisk::new(64);
    let mut drive = ata_disk(&disk, false);
    let off = Taskfile { command: 0xEF, features: 0x82, ..Taskfile::default() };
    perform(&mut drive, &mut Bench::default(), off);
    let before = disk.flushes.load(Ordering::SeqCst);
    let mut bench = Bench { given: vec![0; 512], ..Bench::default() };
    perform(&mut drive, &mut bench, taskfile(0xCA, 0, 1));
    assert_eq!(disk.flushes.load(Ordering::SeqCst), before + 1);
}

#[test]
fn descriptors_that_are_too_short_abort_the_command() {
    let disk = MemoryDisk::new(64);
    let mut bench = Bench { room: Some(512), ..Bench::default() };
    let end = run(&disk, &mut bench, taskfile(0xC8, 0, 2));
    assert_eq!((end.status & status::ERR, end.error), (status::ERR, error::ICRC | error::ABRT));
}

#[test]
fn smart_answers_with_its_key_alone() {
    let disk = MemoryDisk::new(64);
    let key = 0xC2_4F00;
    let smart = |features, lba| Taskfile { command: 0xB0, features, lba, ..Taskfile::default() };
    let mut bench = Bench::default();
    assert_eq!(run(&disk, &mut bench, smart(0xD0, key)).status, status::READY);
    assert_eq!(bench.sent.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
    let end = run(&disk, &mut bench, smart(0xDA, key));
    assert_eq!((end.status, end.lba), (status::READY, key));
    assert_eq!(run(&disk, &mut bench, smart(0xDA, 0)).error, error::ABRT);
    assert_eq!(run(&disk, &mut bench, smart(0xD4, key)).error, error::ABRT);
}

#[test]
fn power_modes_are_told_and_reading_wakes() {
    let disk = MemoryDisk::new(64);
    let mut drive = ata_disk(&disk, false);
    let mode = |drive: &mut Drive| perform(drive, &mut Bench::default(), taskfile(0xE5, 0, 0)).count;
    assert_eq!(mode(&mut drive), 0xFF);
    perform(&mut drive, &mut Bench::default(), taskfile(0xE0, 0, 0));
    assert_eq!(mode(&mut drive), 0);
    perform(&mut drive, &mut Bench::default(), taskfile(0xC8, 0, 1));
    assert_eq!(mode(&mut drive), 0xFF);
}

#[test]
fn unknown_commands_abort() {
    let disk = MemoryDisk::new(64);
    for command in [0x00, 0x08, 0xA0, 0xA1, 0xB1, 0xF1, 0xFF] {
        let end = run(&disk, &mut Bench::default(), taskfile(command, 0, 0));
        assert_eq!((end.status, end.error), (status::READY | status::ERR, error::ABRT), "{command:x}");
    }
}

use std::sync::Arc;

use super::header::{COMPRESSION_TYPE, Compression, Header};
use super::{Qcow2, Use};
use crate::medium::{Medium, Memory};
use crate::raw::Raw;
use crate::testing::{self, Event, Recorder, Rng, check, read, write};
use crate::{Disk, Result};

mod chaos;
mod power;

fn open(medium: &Arc<impl Medium + 'static>, backing: Option<Arc<dyn Disk>>) -> Result<Qcow2> {
    Qcow2::open(Arc::clone(medium) as _, backing, Use { read_only: false, unmap: true })
}

/// A raw disk of text that is different everywhere.
fn base(size: u64) -> (Vec<u8>, Arc<dyn Disk>) {
    let bytes: Vec<u8> = (0..size).map(|at| (at / 512 * 31 + at) as u8 | 1).collect();
    let disk = Raw::open(Arc::new(Memory::new(&bytes))).unwrap();
    (bytes, Arc::new(disk))
}

#[test]
fn an_empty_image_reads_as_zeroes_and_keeps_what_is_written() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 10 << 20));
    let disk = open(&memory, None).unwrap();
    assert_eq!(disk.size(), 10 << 20);
    assert_eq!(read(&disk, 12345, 1000).unwrap(), vec![0; 1000]);
    write(&disk, 70_000, &[7; 100_000]).unwrap();
    drop(disk);
    let disk = open(&memory, None).unwrap();
    assert_eq!(read(&disk, 69_999, 100_002).unwrap(), [vec![0], vec![7; 100_000], vec![0]].concat());
    let found = check(&*memory);
    assert!(found.wrong.is_empty() && found.leaks == 0, "{found:?}");
}

#[test]
fn what_lies_below_shows_until_it_is_written_over() {
    let (bytes, backing) = base(100_000 / 512 * 512);
    let memory = testing::memory(&testing::blank(3, 12, 4, 1 << 20));
    let disk = open(&memory, Some(backing)).unwrap();
    assert_eq!(read(&disk, 0, 99_000).unwrap(), bytes[..99_000]);
    assert_eq!(read(&disk, 99_000, 2000).unwrap()[840..], [0; 1160]);
    write(&disk, 5000, &[1; 10]).unwrap();
    assert_eq!(read(&disk, 4990, 30).unwrap(), [&bytes[4990..5000], &[1; 10], &bytes[5010..5020]].concat());
    disk.write_zeroes(8192, 4096, true).unwrap();
    assert_eq!(
        read(&disk, 8191, 4098).unwrap(),
        [&bytes[8191..8192], &[0; 4096], &bytes[12288..12289]].concat()
    );
    let extent = disk.extent(0, 1 << 20).unwrap();
    assert_eq!((extent.length, extent.here, extent.zero), (4096, false, false));
    let extent = disk.extent(8192, 1 << 18).unwrap();
    assert_eq!((extent.length, extent.here, extent.zero), (4096, true, true));
}

#[test]
fn compressed_clusters_share_their_place_and_come_back() {
    for (kind, order) in [(Compression::Zlib, 4), (Compression::Zstd, 4), (Compression::Zlib, 0)] {
        let incompatible = if kind == Compression::Zstd { COMPRESSION_TYPE } else { 0 };
        let header = Header { compression: kind, incompatible, ..testing::blank(3, 16, order, 1 << 20) };
        let memory = testing::memory(&header);
        let disk = open(&memory, None).unwrap();
        let cluster = |n: u64| (0..65536).map(|at| (at / 64 * (n + 1) % 251) as u8).collect::<Vec<u8>>();
        for n in 0..10 {
            disk.write_compressed(n << 16, &cluster(n)).unwrap();
        }
        assert!(disk.write_compressed(100, &cluster(1)).is_err());
        write(&disk, (3 << 16) + 5, b"guest").unwrap();
        disk.flush().unwrap();
        disk.discard(4 << 16, 1 << 16).unwrap();
        drop(disk);
        let disk = open(&memory, None).unwrap();
        for n in (0..10).filter(|n| *n != 4) {
            let mut expected = cluster(n);
            if n == 3 {
                expected[5..10].copy_from_slice(b"guest");
            }
            assert!(read(&disk, n << 16, 1 << 16).unwrap() == expected, "{kind:?} cluster {n}");
        }
        assert_eq!(read(&disk, 4 << 16, 1 << 16).unwrap(), vec![0; 65536]);
        let found = check(&*memory);
        assert!(found.wrong.is_empty() && found.leaks == 0, "{found:?}");
        if order > 0 {
            assert!(memory.size().unwrap() < 11 << 16, "nothing is shared");
        }
    }
}

#[test]
fn a_table_that_a_snapshot_shares_is_copied_before_it_changes() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 1 << 20));
    let disk = open(&memory, None).unwrap();
    write(&disk, 0, &[5; 1 << 18]).unwrap();
    drop(disk);
    let old = share_everything(&memory);
    let disk = open(&memory, None).unwrap();
    write(&disk, 65536 + 10, b"new").unwrap();
    disk.discard(2 << 16, 1 << 16).unwrap();
    drop(disk);
    let mut table = vec![0; 32];
    memory.read_exact(old, &mut table).unwrap();
    for (number, entry) in super::tables::words(&table).enumerate() {
        let mut bytes = vec![0; 65536];
        memory.read_exact(entry & super::tables::OFFSET, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 5), "the snapshot's cluster {number} changed");
    }
    let disk = open(&memory, None).unwrap();
    assert_eq!(read(&disk, 65536 + 9, 5).unwrap(), b"\x05new\x05");
    assert_eq!(read(&disk, 2 << 16, 4).unwrap(), [0; 4]);
    assert!(check(&*memory).wrong.is_empty());
}

/// As a snapshot would: counts all clusters twice and clears COPIED. Gives the first L2 table's offset.
fn share_everything(memory: &Arc<Memory>) -> u64 {
    use super::tables::{OFFSET, bytes, words};
    let header = super::read_header(&**memory).unwrap();
    let mut refcounts = super::Refcounts::load(Arc::clone(memory) as _, &header).unwrap();
    let mut word = vec![0; 8];
    memory.read_exact(header.l1_offset, &mut word).unwrap();
    let table = words(&word).next().unwrap() & OFFSET;
    memory.write_all(header.l1_offset, &table.to_be_bytes()).unwrap();
    let mut entries = vec![0; 65536];
    memory.read_exact(table, &mut entries).unwrap();
    let entries: Vec<u64> = words(&entries).map(|entry| entry & !super::tables::COPIED).collect();
    memory.write_all(table, &bytes(&entries)).unwrap();
    refcounts.change(table >> 16, true).unwrap();
    for entry in entries.iter().filter(|entry| **entry != 0) {
        refcounts.change((entry & OFFSET) >> 16, true).unwrap();
    }
    refcounts.write_back().unwrap();
    table
}

#[test]
fn an_entry_that_leads_to_a_table_is_never_written_through() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 1 << 20));
    write(&open(&memory, None).unwrap(), 0, &[5; 512]).unwrap();
    let mut word = vec![0; 8];
    memory.read_exact(3 << 16, &mut word).unwrap();
    let table = super::tables::words(&word).next().unwrap() & super::tables::OFFSET;
    for target in [0, 1 << 16, 2 << 16, 3 << 16, table] {
        let evil = Arc::new(Memory::new(&memory.bytes()));
        evil.write_all(table, &(target | super::tables::COPIED).to_be_bytes()).unwrap();
        let disk = open(&evil, None).unwrap();
        if target == 0 {
            write(&disk, 0, &[6; 512]).unwrap(); // offset 0 means none
            continue;
        }
        let text = write(&disk, 0, &[6; 512]).unwrap_err().to_string();
        assert!(text.contains("which is a table of the image"), "{text}");
        assert!(write(&disk, 65536, &[6; 512]).unwrap_err().to_string().contains("no longer written"));
        drop(disk);
        assert!(open(&evil, None).err().unwrap().to_string().contains("marked as corrupt"));
    }
}

#[test]
fn an_image_that_is_cut_short_says_so() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 1 << 20));
    write(&open(&memory, None).unwrap(), 0, &[5; 1 << 18]).unwrap();
    let size = memory.size().unwrap();
    memory.set_size(size - (2 << 16)).unwrap();
    let disk = Qcow2::open(Arc::clone(&memory) as _, None, Use { read_only: true, unmap: false }).unwrap();
    assert_eq!(read(&disk, 0, 512).unwrap(), [5; 512]);
    let text = read(&disk, (1 << 18) - 512, 512).unwrap_err().to_string();
    assert!(text.contains("memory: ") && text.contains("cut short"), "{text}");
    memory.set_size(4 << 16).unwrap();
    assert!(open(&memory, None).err().unwrap().to_string().contains("cut short"));
}

/// Found by the fuzzer: a cluster of no bytes passed for one.
#[test]
fn a_disk_of_no_bytes_takes_no_clusters() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 0));
    let disk = open(&memory, None).unwrap();
    assert!(disk.write_compressed(0, &[]).unwrap_err().to_string().contains("no cluster of the image"));
    write(&disk, 0, &[]).unwrap();
    disk.write_zeroes(0, 0, true).unwrap();
    disk.discard(0, 0).unwrap();
    assert!(write(&disk, 0, &[1]).is_err());
}

#[test]
fn an_image_in_use_grows_and_stays_sound() {
    let memory = testing::memory(&testing::blank(3, 9, 4, 100 * 512));
    let disk = open(&memory, None).unwrap();
    write(&disk, 99 * 512, &[7; 512]).unwrap();
    assert!(disk.grow(512).is_err() && disk.grow(100 * 512 + 1).is_err());
    assert!(disk.grow(1 << 30).unwrap_err().to_string().contains("more clusters"));
    disk.grow(1 << 20).unwrap();
    assert_eq!(read(&disk, 99 * 512, 1 << 16).unwrap(), [vec![7; 512], vec![0; (1 << 16) - 512]].concat());
    write(&disk, (1 << 20) - 1000, &[9; 1000]).unwrap();
    drop(disk);
    let disk = open(&memory, None).unwrap();
    assert_eq!((disk.size(), read(&disk, (1 << 20) - 1000, 1000).unwrap()), (1 << 20, vec![9; 1000]));
    let found = check(&*memory);
    assert!(found.wrong.is_empty() && found.leaks == 0, "{found:?}");
}

#[test]
fn what_lay_beyond_the_end_does_not_show_when_an_image_grows() {
    let memory = testing::memory(&testing::blank(3, 12, 4, 64 << 10));
    let disk = open(&memory, None).unwrap();
    write(&disk, 0, &[7; 64 << 10]).unwrap();
    drop(disk);
    memory.write_all(super::header::SIZE_FIELD, &(10_240u64).to_be_bytes()).unwrap();
    let disk = open(&memory, None).unwrap();
    disk.grow(64 << 10).unwrap();
    assert_eq!(read(&disk, 0, 64 << 10).unwrap(), [vec![7; 10_240], vec![0; (64 << 10) - 10_240]].concat());
    drop(disk);
    let disk = open(&memory, None).unwrap();
    assert_eq!(read(&disk, 10_240, 10_240).unwrap(), vec![0; 10_240]);
}

#[test]
fn a_disk_that_has_settled_writes_nothing_when_it_is_closed() {
    let memory = testing::memory(&testing::blank(3, 16, 4, 16 << 20));
    let disk = open(&memory, None).unwrap();
    write(&disk, 0, &vec![7; 1 << 20]).unwrap();
    disk.discard(0, 1 << 19).unwrap();
    disk.flush().unwrap();
    let flushed = memory.bytes();
    disk.settle().unwrap();
    let settled = memory.bytes();
    assert!(settled.len() < flushed.len(), "it had grown by more than it needed");
    drop(disk);
    assert!(memory.bytes() == settled);
    let disk = open(&memory, None).unwrap();
    disk.settle().unwrap();
    write(&disk, 8 << 20, &vec![9; 1 << 20]).unwrap(); // it grows again all the same
    assert_eq!(read(&disk, 8 << 20, 1 << 20).unwrap(), vec![9; 1 << 20]);
}

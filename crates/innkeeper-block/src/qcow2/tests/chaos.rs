//! Random requests against a disk that is only bytes.

use std::io::{IoSlice, IoSliceMut};

use super::*;
use crate::qcow2::header::EXTENDED_L2;

/// One random request to both; `model` is what the disk must hold.
fn request(disk: &Qcow2, model: &mut [u8], rng: &mut Rng) {
    let size = model.len() as u64;
    let offset = rng.below(size / 512) * 512;
    let longest = if rng.one_in(4) { size } else { 8192 };
    let length = ((1 + rng.below(longest / 512)) * 512).min(size - offset);
    let range = offset as usize..(offset + length) as usize;
    match rng.below(8) {
        0..=2 => {
            let value = rng.next() as u8;
            let bytes: Vec<u8> = (0..length).map(|at| value ^ (at / 512) as u8).collect();
            let (one, two) = bytes.split_at((rng.below(length / 512 + 1) * 512) as usize);
            disk.write(offset, &[IoSlice::new(one), IoSlice::new(two)]).unwrap();
            model[range].copy_from_slice(&bytes);
        }
        3 => {
            disk.write_zeroes(offset, length, rng.one_in(2)).unwrap();
            model[range].fill(0);
        }
        4 => {
            disk.discard(offset, length).unwrap();
            // A hint: what it did is as good as anything that was there or zeroes, cluster by cluster.
            let bytes = read(disk, offset, length).unwrap();
            for (now, before) in bytes.chunks(512).zip(model[range.clone()].chunks(512)) {
                assert!(now == before || now.iter().all(|byte| *byte == 0));
            }
            model[range].copy_from_slice(&bytes);
        }
        5 => {
            let cluster = 1u64 << disk.header().cluster_bits;
            let start = offset / cluster * cluster;
            let end = (start + cluster).min(size);
            let bytes = vec![rng.next() as u8; (end - start) as usize];
            disk.write_compressed(start, &bytes).unwrap();
            model[start as usize..end as usize].copy_from_slice(&bytes);
        }
        6 => disk.flush().unwrap(),
        _ => {
            let mut bytes = vec![0; length as usize];
            let (one, two) = bytes.split_at_mut(rng.below(length + 1) as usize);
            disk.read(offset, &mut [IoSliceMut::new(one), IoSliceMut::new(two)]).unwrap();
            assert!(bytes == model[range], "{length} bytes at {offset}");
            let extent = disk.extent(offset, length).unwrap();
            assert!(extent.length > 0 && extent.length <= length);
            let there = &model[offset as usize..][..extent.length as usize];
            assert!(!extent.zero || there.iter().all(|byte| *byte == 0));
        }
    }
}

fn header(rng: &mut Rng) -> Header {
    let version = 2 + u32::from(!rng.one_in(4));
    let order = if version == 2 { 4 } else { rng.below(7) as u32 };
    let zstd = version == 3 && rng.one_in(2);
    let extended = version == 3 && rng.one_in(3);
    let cluster_bits = if extended { 14 } else { 9 + rng.below(5) as u32 };
    let header = testing::blank(version, cluster_bits, order, (1 + rng.below(600)) * 512);
    Header {
        compression: if zstd { Compression::Zstd } else { Compression::Zlib },
        incompatible: (u64::from(zstd) * COMPRESSION_TYPE) | (u64::from(extended) * EXTENDED_L2),

        ..header
    }
}

#[test]
fn a_qcow2_disk_is_its_bytes_whatever_happens_to_it() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let header = header(&mut rng);
        let memory = testing::memory(&header);
        let below = rng.one_in(2).then(|| base((1 + rng.below(600)) * 512));
        let mut model = vec![0; header.size as usize];
        if let Some((bytes, _)) = &below {
            let shared = bytes.len().min(model.len());
            model[..shared].copy_from_slice(&bytes[..shared]);
        }
        for _ in 0..4 {
            let disk = open(&memory, below.as_ref().map(|(_, disk)| Arc::clone(disk))).unwrap();
            (0..60).for_each(|_| request(&disk, &mut model, &mut rng));
            assert!(read(&disk, 0, header.size).unwrap() == model, "seed {seed}");
            drop(disk);
            let found = check(&*memory);
            assert!(found.wrong.is_empty() && found.leaks == 0, "seed {seed}: {found:?}");
        }
    }
}

#[test]
fn several_threads_do_not_lose_each_others_writes() {
    let (bytes, backing) = base(1 << 20);
    let memory = testing::memory(&testing::blank(3, 14, 4, 1 << 20));
    let disk = open(&memory, Some(backing)).unwrap();
    // Sector n of each cluster belongs to thread n % 4, so that they meet in every cluster.
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (disk, bytes) = (&disk, &bytes);
            scope.spawn(move || {
                let mut rng = Rng(thread);
                let mut mine = std::collections::HashMap::new();
                for _ in 0..4000 {
                    let sector = rng.below(2048 / 4) * 4 + thread;
                    let value = rng.next() as u8;
                    match rng.below(20) {
                        0 => disk.flush().unwrap(),
                        1..=8 => {
                            write(disk, sector * 512, &[value; 512]).unwrap();
                            mine.insert(sector, value);
                        }
                        _ => {
                            let now = read(disk, sector * 512, 512).unwrap();
                            match mine.get(&sector) {
                                Some(value) => assert_eq!(now, [*value; 512]),
                                None => assert_eq!(now, bytes[sector as usize * 512..][..512]),
                            }
                        }
                    }
                }
            });
        }
    });
    drop(disk);
    let found = check(&*memory);
    assert!(found.wrong.is_empty() && found.leaks == 0, "{found:?}");
}

//! The power fails at any point; what was flushed is there, and the image is sound.

use std::collections::HashSet;

use super::*;
use crate::qcow2::header::EXTENDED_L2;
use crate::tools::Progress;
use crate::tools::check::{Repair, check_medium};

/// What each sector may hold after the power failed: what it held at the last flush, or anything since.
struct Model {
    sectors: Vec<HashSet<[u8; 512]>>,
}

impl Model {
    fn of(bytes: &[u8]) -> Self {
        Self {
            sectors: bytes.chunks(512).map(|sector| HashSet::from([sector.try_into().unwrap()])).collect(),
        }
    }

    fn differs(&self, bytes: &[u8]) -> Option<usize> {
        bytes
            .chunks(512)
            .zip(&self.sectors)
            .position(|(sector, allowed)| !allowed.contains(&<[u8; 512]>::try_from(sector).unwrap()))
    }
}

/// Requests with a mark after each flush; what may be on the disk from each mark to the next.
fn run(
    recorder: &Arc<Recorder>,
    backing: Option<Arc<dyn Disk>>,
    content: &mut [u8],
    rng: &mut Rng,
) -> Vec<Model> {
    let disk = open(recorder, backing).unwrap();
    let mut models = vec![Model::of(content)];
    for _ in 0..30 {
        if rng.one_in(5) {
            disk.flush().unwrap();
            recorder.note(Event::Mark(models.len()));
            models.push(Model::of(content));
            continue;
        }
        let sectors = content.len() as u64 / 512;
        let first = rng.below(sectors);
        let longest = if rng.one_in(3) { 40 } else { 4 };
        let count = (1 + rng.below(longest)).min(sectors - first);
        let range = first as usize * 512..(first + count) as usize * 512;
        match rng.below(6) {
            0 => {
                disk.write_zeroes(first * 512, count * 512, rng.one_in(2)).unwrap();
                content[range.clone()].fill(0);
            }
            1 => {
                disk.discard(first * 512, count * 512).unwrap();
                content[range.clone()].copy_from_slice(&read(&disk, first * 512, count * 512).unwrap());
            }
            2 => {
                let cluster = 1usize << disk.header().cluster_bits;
                let start = range.start / cluster * cluster;
                let end = (start + cluster).min(content.len());
                content[start..end].fill(rng.next() as u8);
                disk.write_compressed(start as u64, &content[start..end]).unwrap();
                allow(&mut models, content, start..end);
            }
            _ => {
                content[range.clone()].fill(rng.next() as u8);
                write(&disk, first * 512, &content[range.clone()]).unwrap();
            }
        }
        allow(&mut models, content, range);
    }
    models
}

fn allow(models: &mut [Model], content: &[u8], range: std::ops::Range<usize>) {
    let model = models.last_mut().unwrap();
    for sector in range.start / 512..range.end / 512 {
        model.sectors[sector].insert(content[sector * 512..][..512].try_into().unwrap());
    }
}

fn scenario(seed: u64) {
    let mut rng = Rng(seed);
    let below = rng.one_in(2).then(|| base((1 + rng.below(300)) * 512));
    let order = rng.below(7) as u32;
    let extended = rng.one_in(4);
    let cluster_bits = if extended { 14 } else { 9 + rng.below(4) as u32 };
    let header = testing::blank(3, cluster_bits, order, (1 + rng.below(300)) * 512);
    let header = Header { incompatible: u64::from(extended) * EXTENDED_L2, ..header };
    let mut content = vec![0; header.size as usize];
    if let Some((bytes, _)) = &below {
        let shared = bytes.len().min(content.len());
        content[..shared].copy_from_slice(&bytes[..shared]);
    }
    let backing = || below.as_ref().map(|(_, disk)| Arc::clone(disk));
    let mut start = testing::memory(&header).bytes();
    for _ in 0..3 {
        let recorder = Recorder::new(start);
        let models = run(&recorder, backing(), &mut content, &mut rng);
        for _ in 0..60 {
            let upto = rng.below(recorder.events() as u64 + 1) as usize;
            let (cut, promised) = recorder.cut(upto, &mut rng);
            let found = check(&cut);
            assert!(found.wrong.is_empty(), "seed {seed}, cut after {upto} events: {found:?}");
            let cut = Arc::new(cut);
            let found = check_medium(Arc::clone(&cut) as _, None, &Progress::default()).unwrap();
            assert_eq!(found.corruptions, 0, "seed {seed}, cut after {upto} events: {found:?}");
            let disk = open(&cut, backing()).unwrap();
            let bytes = read(&disk, 0, header.size).unwrap();
            // The mark comes after the flush has returned; up to there the next model's contents may be there.
            let number = promised.unwrap_or(0);
            let sector = models[number].differs(&bytes);
            assert_eq!(sector, None, "seed {seed}, cut after {upto} events, model {number}");
            write(&disk, 0, &[9; 512]).unwrap(); // and it goes on
            drop(disk);
            assert!(check(&*cut).wrong.is_empty(), "seed {seed}, after going on");
            check_medium(Arc::clone(&cut) as _, Some(Repair::Leaks), &Progress::default()).unwrap();
            let found = check(&*cut);
            assert!(found.wrong.is_empty() && found.leaks == 0, "seed {seed}, repaired: {found:?}");
        }
        start = recorder.bytes();
    }
}

#[test]
fn what_was_flushed_survives_and_the_image_stays_sound() {
    (0..150).for_each(scenario);
}

use std::path::Path;
use std::sync::Arc;

use super::build::{Builder, Layout};
use super::check::{Findings, Repair, check_medium};
use super::layer::{Format, Layer};
use super::resize::{Resize, resize_qcow2};
use super::snapshot::{Action, act_on};
use super::{Preallocation, Progress, ToolError};
use crate::medium::{Medium, Memory};
use crate::testing::{Recorder, Rng};

const SIZE: u64 = 300 << 10;

/// An image with some clusters, each full of its own number.
fn image(rng: &mut Rng, version: u32, cluster_bits: u32) -> Vec<u8> {
    let memory: Arc<dyn Medium> = Arc::new(Memory::default());
    let layout = Layout { version, cluster_bits, ..Layout::default() };
    let mut builder = Builder::new(Arc::clone(&memory), &layout, SIZE).unwrap();
    let cluster = 1u64 << cluster_bits;
    for guest in (0..SIZE).step_by(cluster as usize) {
        match rng.below(4) {
            0 if version > 2 => builder.map_zero(guest),
            0 | 1 => {}
            _ => {
                let host = builder.take(1);
                memory.write_all(host, &vec![rng.next() as u8 | 1; cluster as usize]).unwrap();
                builder.map(guest, host);
            }
        }
    }
    builder.finish().unwrap();
    bytes(&*memory)
}

fn bytes(medium: &dyn Medium) -> Vec<u8> {
    let mut bytes = vec![0; medium.size().unwrap() as usize];
    medium.read_exact(0, &mut bytes).unwrap();
    bytes
}

/// The disk, or as a snapshot kept it.
fn contents(medium: Arc<dyn Medium>, snapshot: Option<&str>) -> Result<Vec<u8>, ToolError> {
    let mut layer = Layer::on(Path::new("memory"), medium, Some(Format::Qcow2))?;
    if let Some(name) = snapshot {
        layer.show_snapshot(name)?;
    }
    let mut disk = vec![0; layer.size as usize];
    let mut at = 0;
    while at < layer.size {
        let status = layer.status(at, layer.size - at)?;
        layer.read(at, status.place, &mut disk[at as usize..(at + status.length) as usize])?;
        at += status.length;
    }
    Ok(disk)
}

fn checked(medium: Arc<dyn Medium>) -> Findings {
    check_medium(medium, None, &Progress::default()).unwrap()
}

fn assert_clean(medium: Arc<dyn Medium>, what: &str) {
    let found = checked(medium);
    assert_eq!((found.corruptions, found.leaks), (0, 0), "{what}: {:?}", found.sentences);
}

/// Something that changes an image; the names of its snapshots are `a` and `b`.
fn change(medium: &Arc<dyn Medium>, rng: &mut Rng) {
    let progress = Progress::default();
    let name = if rng.one_in(2) { "a" } else { "b" };
    let result = match rng.below(5) {
        0 => act_on(Arc::clone(medium), Action::Apply, name, &progress),
        1 => act_on(Arc::clone(medium), Action::Delete, name, &progress),
        2 => {
            let preallocation = if rng.one_in(2) { Preallocation::Off } else { Preallocation::Metadata };
            let size = SIZE / 2 + 512 * rng.below(SIZE / 512);
            let wanted = Resize { size, shrink: true, preallocation };
            resize_qcow2(Path::new("memory"), Arc::clone(medium), wanted, &progress)
        }
        _ => act_on(Arc::clone(medium), Action::Create, name, &progress),
    };
    // Names that are there already or not yet, and what does not shrink with space, are refused; nothing else is.
    if let Err(error) = result {
        let text = error.to_string();
        let expected = ["already", "no snapshot", "leave --preallocation out", "version 2"];
        assert!(expected.iter().any(|part| text.contains(part)), "{text}");
    }
}

type Disks = Vec<Option<Vec<u8>>>;

fn disks(medium: &Arc<dyn Medium>) -> Disks {
    [None, Some("a"), Some("b")].into_iter().map(|name| contents(Arc::clone(medium), name).ok()).collect()
}

#[test]
fn changes_leave_a_clean_image() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let (version, bits) = (2 + (seed % 2) as u32, [9, 12, 16][(seed % 3) as usize]);
        let medium: Arc<dyn Medium> = Arc::new(Memory::new(&image(&mut rng, version, bits)));
        assert_clean(Arc::clone(&medium), "new");
        for step in 0..12 {
            change(&medium, &mut rng);
            assert_clean(Arc::clone(&medium), &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn whatever_is_cut_leaves_the_image_before_or_after() {
    for seed in 0..200 {
        let mut rng = Rng(1000 + seed);
        let bits = [9, 10, 12][(seed % 3) as usize];
        let mut start = image(&mut rng, 3, bits);
        for _ in 0..rng.below(4) {
            let medium: Arc<dyn Medium> = Arc::new(Memory::new(&start));
            change(&medium, &mut rng);
            start = bytes(&*medium);
        }
        let recorder = Recorder::new(start.clone());
        let medium: Arc<dyn Medium> = Arc::clone(&recorder) as _;
        let before = disks(&medium);
        change(&medium, &mut rng);
        let after = disks(&medium);
        for _ in 0..20 {
            let upto = rng.below(recorder.events() as u64 + 1) as usize;
            let (cut, _) = recorder.cut(upto, &mut rng);
            let cut: Arc<dyn Medium> = Arc::new(cut);
            let found = disks(&cut);
            assert!(found == before || found == after, "seed {seed}, cut at {upto}");
            assert_clean(cut, &format!("seed {seed}, cut at {upto} of {}", recorder.events()));
        }
    }
}

#[test]
fn a_repair_of_anything_ends_in_a_clean_image_or_a_refusal() {
    let (mut mended, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng(7000 + seed);
        let bits = [9, 12][(seed % 2) as usize];
        let medium: Arc<dyn Medium> = Arc::new(Memory::new(&image(&mut rng, 3, bits)));
        for _ in 0..rng.below(3) {
            change(&medium, &mut rng);
        }
        let size = medium.size().unwrap();
        for _ in 0..=rng.below(6) {
            // Not the header's fixed fields: those are the parser's.
            let at = 112 + rng.below(size - 120);
            let mut word = [0; 8];
            medium.read_exact(at, &mut word).unwrap();
            let wrong = match rng.below(3) {
                0 => rng.next().to_be_bytes(),
                1 => (rng.below(size) & !511).to_be_bytes(),
                _ => (u64::from_be_bytes(word) ^ 1 << rng.below(64)).to_be_bytes(),
            };
            medium.write_all(at, &wrong).unwrap();
        }
        match check_medium(Arc::clone(&medium), Some(Repair::All), &Progress::default()) {
            Ok(_) => {
                mended += 1;
                assert_clean(Arc::clone(&medium), &format!("seed {seed}"));
                contents(medium, None).unwrap();
            }
            Err(_) => refused += 1,
        }
    }
    assert!(mended > 200, "{mended} mended, {refused} refused");
}

#[test]
fn a_repair_that_is_cut_can_be_done_again() {
    for seed in 0..100 {
        let mut rng = Rng(9000 + seed);
        let medium = Memory::new(&image(&mut rng, 3, 9));
        let size = medium.size().unwrap();
        for _ in 0..5 {
            medium
                .write_all(512 + (rng.below(size - 520) & !7), &(rng.below(size) & !511).to_be_bytes())
                .unwrap();
        }
        let recorder = Recorder::new(bytes(&medium));
        let shared: Arc<dyn Medium> = Arc::clone(&recorder) as _;
        if check_medium(Arc::clone(&shared), Some(Repair::All), &Progress::default()).is_err() {
            continue;
        }
        let after = contents(shared, None).unwrap();
        for _ in 0..10 {
            let upto = rng.below(recorder.events() as u64 + 1) as usize;
            let cut: Arc<dyn Medium> = Arc::new(recorder.cut(upto, &mut rng).0);
            check_medium(Arc::clone(&cut), Some(Repair::All), &Progress::default()).unwrap();
            assert_clean(Arc::clone(&cut), &format!("seed {seed}"));
            assert!(contents(cut, None).unwrap() == after, "seed {seed}, cut at {upto}");
        }
    }
}

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::filter::Rules;
use crate::testing::{Rng, read, write};
use crate::tools::build::Layout;
use crate::tools::create::{NewImage, create};
use crate::tools::{Preallocation, Progress};
use crate::{Format, Options, Switch, open, reopen};

const SIZE: u64 = 1 << 20;

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("innkeeper-jobs-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Images `0` to `depth - 1`, each over the one before, with something of their own; and what the last shows.
    fn chain(&self, depth: usize) -> (Vec<PathBuf>, Vec<u8>) {
        let (mut paths, mut shown, mut rng) = (Vec::new(), vec![0; SIZE as usize], Rng(7));
        for number in 0..depth {
            let path = self.0.join(number.to_string());
            make(&path, paths.last().map(PathBuf::as_path));
            let disk = open(&path, &Options::default()).unwrap();
            for _ in 0..6 {
                let (at, length) = (rng.below(SIZE / 512 - 100) * 512, (1 + rng.below(100)) * 512);
                let bytes = vec![rng.below(3) as u8 * (number as u8 + 1); length as usize];
                write(&*disk, at, &bytes).unwrap();
                shown[at as usize..(at + length) as usize].copy_from_slice(&bytes);
            }
            disk.write_zeroes(rng.below(8) << 16, 1 << 16, true).unwrap();
            let now = read(&*disk, 0, SIZE).unwrap();
            shown.copy_from_slice(&now);
            disk.flush().unwrap();
            paths.push(path);
        }
        (paths, shown)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn make(path: &Path, below: Option<&Path>) {
    let layout = Layout {
        backing_file: below.map(|path| path.display().to_string()),
        backing_format: below.map(|_| "qcow2".into()),
        ..Layout::default()
    };
    let new = NewImage {
        format: Format::Qcow2,
        size: Some(SIZE),
        layout,
        preallocation: Preallocation::Off,
        open_backing: true,
    };
    create(path, &new, &Progress::default()).unwrap();
}

fn shows(path: &Path) -> Vec<u8> {
    read(&*open(path, &Options::default()).unwrap(), 0, SIZE).unwrap()
}

fn quiet(_: u64, _: u64) -> io::Result<()> {
    Ok(())
}

fn opened(paths: &[PathBuf]) -> (Switch, Vec<Arc<dyn Disk>>) {
    let disk = open(paths.last().unwrap(), &Options::default()).unwrap();
    let layers = layers(&disk);
    assert_eq!(layers.len(), paths.len());
    (Switch::new(disk), layers)
}

#[test]
fn a_pull_makes_an_image_stand_alone_or_on_a_lower_one() {
    for base in [None, Some(0), Some(1)] {
        let folder = Folder::new();
        let (paths, shown) = folder.chain(4);
        let (switch, layers) = opened(&paths);
        let depth = base.map_or(layers.len(), |base| 3 - base);
        let job = Job {
            layers: layers[1..depth].to_vec(),
            disk: Arc::clone(&layers[0]),
            work: Work::Pull { hides: base.is_some() },
        };
        drop(layers);
        let mut told = Vec::new();
        job.run(|at, size| -> io::Result<()> {
            told.push((at, size));
            Ok(())
        })
        .unwrap();
        assert_eq!((told[0], told[told.len() - 1]), ((0, SIZE), (SIZE, SIZE)));
        drop(job);
        let name = base.map(|base| paths[base].display().to_string());
        switch.quietly(|now| {
            let image = now.as_qcow2().unwrap();
            image.record_backing(name.as_deref().map(|name| (name, Format::Qcow2))).unwrap();
            let below = super::layers(now).get(depth).cloned();
            image.set_backing(below);
        });
        assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
        drop(switch);
        for gone in &paths[base.map_or(0, |base| base + 1)..3] {
            std::fs::remove_file(gone).unwrap();
        }
        assert_eq!(shows(&paths[3]), shown);
    }
}

#[test]
fn a_commit_from_the_middle_leaves_what_is_shown() {
    let folder = Folder::new();
    let (paths, shown) = folder.chain(4);
    let (switch, layers) = opened(&paths);
    let overlay = Arc::clone(&layers[0]);
    let top = Arc::clone(&layers[1]);
    drop(layers);
    let base = switch.quietly(|_| {
        let middle = reopen::for_writing(overlay.as_qcow2().unwrap(), &paths[2], Rules::default());
        assert!(matches!(middle, Err(crate::Error::Busy(_))), "somebody has it");
        let parent = Arc::clone(&super::layers(&top)[1]);
        reopen::for_writing(parent.as_qcow2().unwrap(), &paths[0], Rules::default()).unwrap()
    });
    let parts = super::layers(&top)[..2].to_vec();
    Job {
        layers: parts,
        disk: Arc::clone(&top),
        work: Work::Commit { target: Arc::clone(&base), mirror: None },
    }
    .run(quiet)
    .unwrap();
    assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
    let name = paths[0].display().to_string();
    switch.quietly(|now| {
        let image = now.as_qcow2().unwrap();
        image.record_backing(Some((&name, Format::Qcow2))).unwrap();
        image.set_backing(Some(base));
    });
    assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
    drop((switch, overlay, top));
    std::fs::remove_file(&paths[1]).unwrap();
    std::fs::remove_file(&paths[2]).unwrap();
    assert_eq!(shows(&paths[3]), shown);
}

/// Writes, zeroes and discards all over a disk until told to stop; what it has written is what it reads.
fn guest(disk: &Switch, shown: &mut [u8], stop: &AtomicBool) {
    let mut rng = Rng(99);
    while !stop.load(Ordering::Relaxed) {
        let (at, length) = (rng.below(SIZE / 512 - 200) * 512, (1 + rng.below(200)) * 512);
        let place = at as usize..(at + length) as usize;
        match rng.below(5) {
            0 => {
                disk.write_zeroes(at, length, rng.one_in(2)).unwrap();
                shown[place].fill(0);
            }
            1 => {
                disk.discard(at, length).unwrap();
                shown[place].copy_from_slice(&read(disk, at, length).unwrap());
            }
            _ => {
                let bytes = vec![rng.next() as u8; length as usize];
                write(disk, at, &bytes).unwrap();
                shown[place].copy_from_slice(&bytes);
            }
        }
    }
}

/// Runs a job on a disk whose guest goes on writing; what that has written in the end.
fn beside_a_guest(switch: &Switch, shown: &mut [u8], job: &Job) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| guest(switch, shown, &stop));
        job.run(|_, _| -> io::Result<()> {
            std::thread::sleep(std::time::Duration::from_millis(5));
            Ok(())
        })
        .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

#[test]
fn an_image_is_pulled_while_its_guest_writes() {
    let folder = Folder::new();
    let (paths, mut shown) = folder.chain(3);
    let (switch, layers) = opened(&paths);
    let job =
        Job { layers: layers[1..].to_vec(), disk: Arc::clone(&layers[0]), work: Work::Pull { hides: false } };
    drop(layers);
    beside_a_guest(&switch, &mut shown, &job);
    drop(job);
    switch.quietly(|now| {
        now.as_qcow2().unwrap().record_backing(None).unwrap();
        now.as_qcow2().unwrap().set_backing(None);
    });
    assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
    drop(switch);
    std::fs::remove_file(&paths[0]).unwrap();
    assert_eq!(shows(&paths[2]), shown);
}

#[test]
fn the_image_in_use_is_committed_and_the_disk_moves_below_it() {
    for (base, pivot) in [(1, true), (0, true), (0, false)] {
        let folder = Folder::new();
        let (paths, mut shown) = folder.chain(3);
        let (switch, layers) = opened(&paths);
        let above = Arc::clone(&layers[1 - base]);
        drop(layers);
        let target = switch.quietly(|_| {
            reopen::for_writing(above.as_qcow2().unwrap(), &paths[base], Rules::default()).unwrap()
        });
        drop(above);
        let parts = super::layers(&switch.current())[..2 - base].to_vec();
        let disk = switch.current();
        let mirror = switch.mirror(Arc::clone(&target));
        let work = Work::Commit { target, mirror: Some(Arc::clone(&mirror)) };
        let job = Job { layers: parts, disk, work };
        beside_a_guest(&switch, &mut shown, &job);
        switch.be_strict(&mirror, true).unwrap();
        switch.leave(&mirror, pivot).unwrap();
        assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
        write(&switch, 512, &[0xAB; 512]).unwrap();
        shown[512..1024].fill(0xAB);
        drop((job, mirror, switch));
        assert_eq!(shows(&paths[if pivot { base } else { 2 }]), shown);
        if !pivot {
            shown[512..1024].copy_from_slice(&shows(&paths[base])[512..1024]);
            assert_eq!(shows(&paths[base]), shown, "it is what it was when the disk left it");
        }
    }
}

#[test]
fn a_disk_is_copied_whole_or_without_what_lies_below_while_its_guest_writes() {
    for shallow in [false, true] {
        let folder = Folder::new();
        let (paths, mut shown) = folder.chain(3);
        let (switch, layers) = opened(&paths);
        let place = folder.0.join("copy");
        make(&place, shallow.then_some(&paths[1]));
        let target = open(&place, &Options { without_backing: true, ..Options::default() }).unwrap();
        if shallow {
            target.as_qcow2().unwrap().set_backing(Some(Arc::clone(&layers[1])));
        }
        let parts = if shallow { layers[..1].to_vec() } else { vec![] };
        let disk = switch.current();
        let mirror = switch.mirror(target);
        let job =
            Job { layers: parts, disk, work: Work::Copy { mirror: Arc::clone(&mirror), blank: !shallow } };
        beside_a_guest(&switch, &mut shown, &job);
        switch.leave(&mirror, true).unwrap();
        assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
        drop((job, mirror, switch, layers));
        assert_eq!(shows(&place), shown);
    }
}

/// A disk that refuses to be written.
struct Refusing(Arc<dyn Disk>);

impl Disk for Refusing {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.0.read(offset, buffers)
    }
    fn write(&self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
        Err(io::Error::other("no space left"))
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::Error::other("no space left"))
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.0.extent(offset, length)
    }
}

#[test]
fn a_guest_does_not_suffer_from_a_target_that_fails_and_never_moves_there() {
    let folder = Folder::new();
    let (paths, _) = folder.chain(1);
    let (switch, _) = opened(&paths);
    let mirror = switch.mirror(Arc::new(Refusing(switch.current())));
    write(&switch, 0, &[1; 512]).unwrap();
    assert_eq!(mirror.failure().unwrap(), "no space left");
    assert!(switch.be_strict(&mirror, true).is_err());
    assert!(switch.leave(&mirror, true).is_err());
    write(&switch, 512, &[2; 512]).unwrap();
    switch.leave(&mirror, false).unwrap();
    switch.leave(&mirror, true).unwrap();
    assert_eq!(read(&switch, 0, 1024).unwrap(), [[1; 512], [2; 512]].concat());
    let strictly = switch.mirror(Arc::new(Refusing(switch.current())));
    switch.be_strict(&strictly, true).unwrap();
    assert!(write(&switch, 0, &[3; 512]).is_err(), "whoever moves there would miss it");
}

#[test]
fn a_job_that_is_ended_leaves_the_disk_as_it_was() {
    let folder = Folder::new();
    let (paths, shown) = folder.chain(3);
    let (switch, layers) = opened(&paths);
    let job =
        Job { layers: layers[1..].to_vec(), disk: Arc::clone(&layers[0]), work: Work::Pull { hides: false } };
    let ended = job.run(|at, _| if at > 0 { Err(io::Error::other("enough")) } else { Ok(()) });
    assert_eq!(ended.unwrap_err().to_string(), "enough");
    assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
}

#[test]
fn another_file_under_the_name_of_the_one_in_use_is_not_written() {
    let folder = Folder::new();
    let (paths, shown) = folder.chain(2);
    let (switch, layers) = opened(&paths);
    let overlay = Arc::clone(&layers[0]);
    drop(layers);
    std::fs::rename(&paths[0], folder.0.join("moved")).unwrap();
    make(&paths[0], None);
    let refused =
        switch.quietly(|_| reopen::for_writing(overlay.as_qcow2().unwrap(), &paths[0], Rules::default()));
    assert!(refused.err().unwrap().to_string().contains("is another file than the one in use"));
    assert_eq!(read(&switch, 0, SIZE).unwrap(), shown);
}

#[test]
fn what_cannot_be_opened_again_is_not_read_as_zeroes() {
    let folder = Folder::new();
    let (paths, shown) = folder.chain(2);
    let (switch, layers) = opened(&paths);
    let overlay = Arc::clone(&layers[0]);
    drop(layers);
    std::fs::write(&paths[0], b"no image").unwrap();
    let refused =
        switch.quietly(|_| reopen::for_writing(overlay.as_qcow2().unwrap(), &paths[0], Rules::default()));
    assert!(refused.is_err());
    let failed = (0..SIZE).step_by(1 << 16).filter(|&at| read(&switch, at, 1 << 16).is_err()).count();
    assert!(failed > 0);
    for at in (0..SIZE).step_by(1 << 16) {
        if let Ok(found) = read(&switch, at, 1 << 16) {
            assert_eq!(found, shown[at as usize..][..1 << 16]);
        }
    }
}

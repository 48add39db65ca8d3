//! Snapshots within the images of disks in use.
//!
//! Nobody else can change an image that is in use, and who uses it knows its tables by heart. So it is handed over for
//! the change ([`crate::Qcow2::hand_over`]), which is the tools' own and leaves the image before or the image after whatever
//! is cut off, and is opened anew: requests that come meanwhile wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, PoisonError};

use super::{MOVING, Switch};
use crate::error::{Error, Result};
use crate::filter::{Filter, Rules};
use crate::medium::Medium;
use crate::tools::layer::{read_header, read_snapshots};
use crate::tools::snapshot::{Action, act_on};
use crate::tools::{Progress, ToolError};
use crate::{Disk, Extent};

/// Makes or forgets a snapshot in all of these disks' images, each with what it was opened with, at one moment. Forgetting one that is not there is done
/// already.
///
/// # Errors
/// One sentence. What was made is unmade then; of what was to be forgotten some may be.
pub fn snapshot_all(disks: &[(&Switch, Rules)], action: Action, name: &str) -> Result<()> {
    if action == Action::Apply {
        return Err(Error::Refused("a disk in use cannot go back to a snapshot".into()));
    }
    let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    for (index, (disk, _)) in disks.iter().enumerate() {
        if disks[..index].iter().any(|(other, _)| std::ptr::eq(*other, *disk)) {
            return Err(Error::Refused("a disk is named twice".into()));
        }
    }
    let mut held: Vec<_> =
        disks.iter().map(|(disk, _)| disk.now.write().unwrap_or_else(PoisonError::into_inner)).collect();
    if held.iter().any(|now| now.as_qcow2().is_none() || now.is_read_only()) {
        return Err(Error::Refused("only qcow2 images that can be written to hold snapshots".into()));
    }
    for index in 0..held.len() {
        if let Err(error) = change(&mut held[index], disks[index].1, action, name) {
            if action == Action::Create {
                for (now, (_, rules)) in held[..index].iter_mut().zip(disks) {
                    // The first error matters more; whoever asked finds what is left by its name.
                    let _ = change(now, *rules, Action::Delete, name);
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

/// One image, of which nothing is under way.
fn change(now: &mut Arc<dyn Disk>, rules: Rules, action: Action, name: &str) -> Result<()> {
    let before = Arc::clone(now);
    let Some(qcow2) = before.as_qcow2() else { return Ok(()) };
    let medium = qcow2.hand_over().map_err(Error::host("write a disk before its snapshot"))?;
    let done = act(&medium, action, name);
    match qcow2.taken_back() {
        Ok(fresh) => *now = Filter::around(Arc::new(fresh), Rules { guessed_raw: false, ..rules }),
        Err(error) => {
            // Its image is sound, and can be opened again when the machine is shut off.
            *now = Arc::new(Lost::new(qcow2.name().to_owned(), qcow2.size()));
            return Err(error);
        }
    }
    done
}

fn act(medium: &Arc<dyn Medium>, action: Action, name: &str) -> Result<()> {
    let mut wanted = name.to_owned();
    if action == Action::Delete {
        let found = read_header(&**medium).and_then(|header| read_snapshots(&**medium, &header));
        let found = found.map_err(plain)?.into_iter().find(|snapshot| snapshot.name == name);
        let Some(found) = found else { return Ok(()) };
        wanted = found.id; // a name that is another one's number would be taken for that
    }
    act_on(Arc::clone(medium), action, &wanted, &Progress::default()).map_err(plain)
}

fn plain(error: ToolError) -> Error {
    match error {
        ToolError::Image(error) => error,
        ToolError::Cancelled => Error::Refused("the change was cancelled".into()),
    }
}

/// A disk whose image could not be opened again.
pub(crate) struct Lost {
    name: String,
    size: u64,
}

impl Lost {
    pub fn new(name: String, size: u64) -> Self {
        Self { name, size }
    }

    fn gone(&self) -> io::Error {
        io::Error::other(format!("{} could not be opened again; shut the machine off", self.name))
    }
}

impl Disk for Lost {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, _offset: u64, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        Err(self.gone())
    }

    fn write(&self, _offset: u64, _buffers: &[IoSlice<'_>]) -> io::Result<()> {
        Err(self.gone())
    }

    fn flush(&self) -> io::Result<()> {
        Err(self.gone())
    }

    fn write_zeroes(&self, _offset: u64, _length: u64, _unmap: bool) -> io::Result<()> {
        Err(self.gone())
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(self.gone())
    }

    fn extent(&self, _offset: u64, _length: u64) -> io::Result<Extent> {
        Err(self.gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Qcow2;
    use crate::medium::Memory;
    use crate::qcow2::Use;
    use crate::testing::{blank, create, read, write};
    use crate::tools::check::check_medium;

    const SIZE: u64 = 4 << 20;
    const PART: usize = 100_000;

    fn disk() -> (Arc<dyn Medium>, Switch) {
        let medium: Arc<dyn Medium> = Arc::new(Memory::default());
        create(&*medium, &blank(3, 16, 4, SIZE));
        let qcow2 = Arc::new(Qcow2::open(Arc::clone(&medium), None, Use::default()).unwrap());
        (medium, Switch::new(qcow2))
    }

    fn of(disk: &Switch) -> (&Switch, Rules) {
        (disk, Rules::default())
    }

    fn names(medium: &Arc<dyn Medium>) -> Vec<String> {
        let header = read_header(&**medium).unwrap();
        read_snapshots(&**medium, &header).unwrap().into_iter().map(|found| found.name).collect()
    }

    fn sound(medium: &Arc<dyn Medium>) {
        let found = check_medium(Arc::clone(medium), None, &Progress::default()).unwrap();
        assert_eq!((found.corruptions, found.leaks), (0, 0), "{:?}", found.sentences);
    }

    #[test]
    fn disks_in_use_have_snapshots_and_are_used_on() {
        let pairs = [disk(), disk()];
        let both: Vec<_> = pairs.iter().map(|(_, switch)| (switch, Rules::default())).collect();
        both.iter().for_each(|(disk, _)| write(*disk, 0, &[1; PART]).unwrap());
        snapshot_all(&both, Action::Create, "one").unwrap();
        both.iter().for_each(|(disk, _)| write(*disk, 0, &[2; PART]).unwrap());
        snapshot_all(&both, Action::Create, "1").unwrap(); // what the other one's number is
        both.iter().for_each(|(disk, _)| write(*disk, 5, &[3; 10]).unwrap());
        for (medium, disk) in &pairs {
            let seen = read(disk, 0, PART as u64).unwrap();
            assert_eq!((seen[4], seen[5], seen[PART - 1]), (2, 3, 2));
            disk.flush().unwrap();
            disk.flush().unwrap();
            assert_eq!(names(medium), ["one", "1"]);
            sound(medium);
        }
        snapshot_all(&both, Action::Delete, "1").unwrap();
        snapshot_all(&both, Action::Delete, "1").unwrap();
        for (medium, disk) in &pairs {
            assert_eq!(names(medium), ["one"]);
            assert_eq!(read(disk, 0, 1).unwrap(), [2]);
        }
        let mediums: Vec<_> = pairs.iter().map(|(medium, _)| Arc::clone(medium)).collect();
        drop(pairs);
        for medium in &mediums {
            sound(medium);
            act_on(Arc::clone(medium), Action::Apply, "one", &Progress::default()).unwrap();
            let again = Qcow2::open(Arc::clone(medium), None, Use::default()).unwrap();
            assert_eq!(read(&again, 0, PART as u64).unwrap(), [1; PART]);
        }
    }

    #[test]
    fn all_have_it_or_none() {
        let (one, other) = (disk(), disk());
        snapshot_all(&[of(&other.1)], Action::Create, "x").unwrap();
        let error = snapshot_all(&[of(&one.1), of(&other.1)], Action::Create, "x").unwrap_err();
        assert!(error.to_string().contains("it has a snapshot \"x\" already"), "{error}");
        assert_eq!((names(&one.0), names(&other.0)), (vec![], vec!["x".to_owned()]));
        assert!(snapshot_all(&[of(&one.1), of(&one.1)], Action::Create, "y").is_err());
        assert!(snapshot_all(&[of(&one.1)], Action::Apply, "x").is_err());
        write(&one.1, 0, &[1; 10]).unwrap();
        drop(one.1);
        sound(&one.0);
    }
}

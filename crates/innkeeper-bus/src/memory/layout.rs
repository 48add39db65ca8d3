//! Where memory lies in the guest-physical address space: slots that never move, found without a lock,
//! and slots that chipsets and base address registers move while vCPUs run.
//!
//! An engine watches the moves: a software TLB or the host's KVM must learn of each.

use std::io;
use std::sync::{Mutex, RwLock};

use super::MemoryError;
use super::guest::PAGE_SIZE;

/// A run of memory: `size` bytes at guest-physical `gpa`, backed from `offset` in the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub gpa: u64,
    pub size: u64,
    pub offset: u64,
    /// Guest writes go to the MMIO bus: nobody hears them there (ROM), or a device does (flash).
    pub read_only: bool,
}

/// What happened to the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Added(Slot),
    Removed(Slot),
}

/// Told of each move, in order, after it is in force; from any thread, which may be a vCPU's inside an access.
pub type Watcher = dyn FnMut(Move) -> io::Result<()> + Send;

/// All slots of a memory.
pub(super) struct Layout {
    fixed: Vec<Slot>,
    /// Ascending.
    moving: RwLock<Vec<Slot>>,
    /// Held over each move, so that the watcher hears them in order.
    watcher: Mutex<Option<Box<Watcher>>>,
}

impl Slot {
    fn holds(&self, gpa: u64) -> bool {
        gpa.wrapping_sub(self.gpa) < self.size
    }

    fn meets(&self, gpa: u64, end: u64) -> bool {
        self.gpa < end && gpa < self.gpa + self.size
    }
}

impl Layout {
    /// `moving` are the slots that are in place at first, but may be moved.
    pub fn new(fixed: Vec<Slot>, moving: Vec<Slot>) -> Self {
        Self { fixed, moving: RwLock::new(moving), watcher: Mutex::new(None) }
    }

    /// The slot that holds `gpa`.
    #[inline]
    pub fn slot(&self, gpa: u64) -> Option<Slot> {
        match self.fixed.iter().find(|slot| slot.holds(gpa)) {
            Some(slot) => Some(*slot),
            None => self.moving_slot(gpa),
        }
    }

    fn moving_slot(&self, gpa: u64) -> Option<Slot> {
        let moving = self.moving.read().expect("layout lock");
        let at = moving.partition_point(|slot| slot.gpa <= gpa).checked_sub(1)?;
        Some(moving[at]).filter(|slot| slot.holds(gpa))
    }

    /// The slot in which the mapping's byte `offset` is seen; the first, if there are several.
    pub fn slot_of_offset(&self, offset: u64) -> Option<Slot> {
        let holds = |slot: &&Slot| offset.wrapping_sub(slot.offset) < slot.size;
        let moving = self.moving.read().expect("layout lock");
        self.fixed.iter().find(holds).or_else(|| moving.iter().find(holds)).copied()
    }

    /// Every slot, ascending.
    pub fn slots(&self) -> Vec<Slot> {
        let mut all = self.fixed.clone();
        all.extend(self.moving.read().expect("layout lock").iter());
        all.sort_unstable_by_key(|slot| slot.gpa);
        all
    }

    /// Sets who is told of moves from now on; `first` is given every slot that is there already.
    pub fn watch(
        &self,
        mut watcher: Box<Watcher>,
        first: impl FnOnce(&[Slot], &mut Watcher) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut current = self.watcher.lock().expect("layout watcher lock");
        *current = None; // frees what the one before held, even if this one is refused
        first(&self.slots(), &mut *watcher)?;
        *current = Some(watcher);
        Ok(())
    }

    /// Puts a slot in place.
    pub fn add(&self, slot: Slot) -> Result<(), MemoryError> {
        let Slot { gpa, size, .. } = slot;
        let bad = MemoryError::BadSlot { gpa, size };
        let Some(end) = gpa.checked_add(size) else { return Err(bad) };
        if size == 0 || !(gpa | size | slot.offset).is_multiple_of(PAGE_SIZE) {
            return Err(bad);
        }
        let mut watcher = self.watcher.lock().expect("layout watcher lock");
        {
            let mut moving = self.moving.write().expect("layout lock");
            if self.fixed.iter().chain(&*moving).any(|other| other.meets(gpa, end)) {
                return Err(bad);
            }
            let at = moving.partition_point(|other| other.gpa < gpa);
            moving.insert(at, slot);
        }
        let told = watcher.as_mut().map_or(Ok(()), |watcher| watcher(Move::Added(slot)));
        told.map_err(|source| {
            self.moving.write().expect("layout lock").retain(|other| other.gpa != gpa);
            MemoryError::Place { gpa, size, source }
        })
    }

    /// Takes away the moving slot that starts at `gpa`.
    pub fn remove(&self, gpa: u64) -> Result<(), MemoryError> {
        let mut watcher = self.watcher.lock().expect("layout watcher lock");
        let slot = {
            let mut moving = self.moving.write().expect("layout lock");
            let at = moving.iter().position(|slot| slot.gpa == gpa);
            moving.remove(at.ok_or(MemoryError::BadSlot { gpa, size: 0 })?)
        };
        let told = watcher.as_mut().map_or(Ok(()), |watcher| watcher(Move::Removed(slot)));
        told.map_err(|source| MemoryError::Place { gpa, size: slot.size, source })
    }

    /// Takes away every moving slot that is backed by `[offset, offset + size)` of the mapping.
    pub fn remove_backed_by(&self, offset: u64, size: u64) -> Result<(), MemoryError> {
        let moving = self.moving.read().expect("layout lock").clone();
        let backed = moving.iter().filter(|slot| slot.offset.wrapping_sub(offset) < size);
        backed.map(|slot| self.remove(slot.gpa)).fold(Ok(()), Result::and)
    }
}

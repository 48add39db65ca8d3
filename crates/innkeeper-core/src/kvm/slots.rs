//! Guest memory as KVM is told of it: a slot each, also while vCPUs run. Where there is none, or only a readable
//! one, KVM makes an access an exit.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;

use crate::engine::EngineError;
use crate::memory::{GuestMemory, Move, Slot};

/// The numbers that KVM knows slots by.
struct Numbers {
    fd: Weak<VmFd>,
    base: u64,
    of_gpa: BTreeMap<u64, u32>,
    free: Vec<u32>,
}

/// Gives KVM all of `memory`, and has it follow every move from then on, for as long as the VM lives.
///
/// # Errors
/// What KVM refuses.
pub fn follow(fd: &Arc<VmFd>, memory: &GuestMemory) -> Result<(), EngineError> {
    memory.set_engine(None); // KVM's vCPUs write without telling, and cannot be kept from it page by page
    let base = memory.host_base() as u64;
    let mut numbers = Numbers { fd: Arc::downgrade(fd), base, of_gpa: BTreeMap::new(), free: Vec::new() };
    let watcher = move |moved: Move| numbers.follow(moved);
    let followed = memory.watch_layout(Box::new(watcher), |slots, watcher| {
        slots.iter().try_for_each(|slot| {
            watcher(Move::Added(*slot)).map_err(|error| {
                let what = format!("{:#x} bytes of memory at {:#x}: {error}", slot.size, slot.gpa);
                io::Error::new(error.kind(), what)
            })
        })
    });
    followed.map_err(|source| EngineError::Host { action: "give KVM its memory".into(), source })
}

impl Numbers {
    fn follow(&mut self, moved: Move) -> io::Result<()> {
        let Some(fd) = self.fd.upgrade() else { return Ok(()) };
        match moved {
            Move::Added(slot) => {
                let next = self.of_gpa.len() as u32;
                let number = self.free.pop().unwrap_or(next);
                if let Err(error) = self.set(&fd, number, slot, slot.size) {
                    self.free.push(number);
                    return Err(error);
                }
                self.of_gpa.insert(slot.gpa, number);
                Ok(())
            }
            Move::Removed(slot) => {
                let Some(number) = self.of_gpa.remove(&slot.gpa) else { return Ok(()) };
                self.free.push(number);
                self.set(&fd, number, slot, 0)
            }
        }
    }

    fn set(&self, fd: &VmFd, number: u32, slot: Slot, size: u64) -> io::Result<()> {
        let region = kvm_userspace_memory_region {
            slot: number,
            flags: if slot.read_only { KVM_MEM_READONLY } else { 0 },
            guest_phys_addr: slot.gpa,
            memory_size: size,
            userspace_addr: self.base + slot.offset,
        };
        // SAFETY: the slot lies within the memory's mapping, which every vCPU keeps alive; guest RAM is never
        // touched through Rust references.
        unsafe { fd.set_user_memory_region(region) }.map_err(Into::into)
    }
}

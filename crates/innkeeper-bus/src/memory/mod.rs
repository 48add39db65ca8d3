//! Guest-physical memory: RAM slots over one host mapping, and the ledger of pages that hold
//! decoded code. Everything that reaches guest RAM goes through here and is bounds-checked.

mod guest;
mod writes;

pub use guest::{GuestMemory, MemoryError, PAGE_SIZE, Slot, writer};
pub use writes::{CodeWrite, CodeWrites};

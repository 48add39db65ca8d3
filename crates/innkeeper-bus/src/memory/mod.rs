//! Guest-physical memory: slots over one host mapping, some of which move, and the ledger of pages that hold
//! decoded code or are watched. Everything that reaches guest RAM goes through here and is bounds-checked.

mod guest;
mod image;
mod layout;
mod ram;
mod shared;
mod writers;
mod writes;

pub use guest::{GuestMemory, MemoryError, PAGE_SIZE};
pub use image::{Image, Watch};
pub use layout::{Move, Slot, Watcher};
pub use ram::Ram;
pub use shared::{Buffer, copy_in, copy_out, load_u16, store_u16};
pub use writers::{Engine, Told, WriteWatch, writer};
pub use writes::{CodeWrite, CodeWrites};

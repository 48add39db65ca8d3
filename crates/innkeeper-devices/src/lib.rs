//! Device models whose data paths are too hot for Python. Rooms, lowest first: `pci`, `e1000`, `ata`, `vga`, `virtio`.

pub mod ata;
pub mod e1000;
pub mod pci;
pub mod vga;
pub mod virtio;

//! Device models whose data paths are too hot for Python. Rooms, lowest first: `pci`, `virtio`.

pub mod pci;
pub mod virtio;

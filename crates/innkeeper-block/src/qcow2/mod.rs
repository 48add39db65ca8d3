//! QEMU's copy-on-write format, versions 2 and 3.
//!
//! After QEMU's `docs/interop/qcow2.rst`. [`header`] and [`tables`] are the format alone: bytes in, values out,
//! everything checked that can be checked without looking elsewhere; the tools stand on them as well.

pub mod codec;
mod compressed;
mod disk;
mod flush;
mod grow;
pub mod header;
mod map;
mod populate;
pub mod refcounts;
pub mod snapshot;
mod subclusters;
pub mod tables;
pub(crate) mod traffic;
mod write;
mod zero;

pub use disk::{Qcow2, Use, read_header};
pub use header::{Compression, Extension, Header};
pub use refcounts::{Allocation, Refcounts};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;

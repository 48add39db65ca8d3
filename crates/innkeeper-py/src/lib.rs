//! `innkeeper._core`: the thin Python face of the crates beside it. Its contract is `_core.pyi`.
//!
//! Whatever waits or runs a guest is called detached from the interpreter; Python's devices are
//! called attached, one access at a time.

mod ata;
mod block_job;
mod device;
mod disk;
mod display;
mod errors;
mod host;
mod image;
mod image_change;
mod memory;
mod memory_image;
mod native;
mod net;
mod state;
mod trace;
mod value;
mod vcpu;
mod vga;
mod virtio;
mod vm;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::ata::{AhciController, AtaDrive, CdTray, IdeController, probe_iso};
    #[pymodule_export]
    use super::block_job::BlockJob;
    #[pymodule_export]
    use super::disk::{Disk, lay_overlays, snapshot_disks};
    #[pymodule_export]
    use super::display::{MemoryScreen, Viewer, Watch};
    #[pymodule_export]
    use super::host::{bt_unavailable, host_features, host_tsc_khz, kvm_probe};
    #[pymodule_export]
    use super::image::{
        image_chain, image_compare, image_convert, image_create, image_info, image_map, image_probe,
    };
    #[pymodule_export]
    use super::image_change::{
        image_check, image_commit, image_rebase, image_resize, image_snapshot, image_snapshots,
    };
    #[pymodule_export]
    use super::memory::{Memory, Ram};
    #[pymodule_export]
    use super::native::{Fabric, Frame, Intx, Line, Region, Screen};
    #[pymodule_export]
    use super::net::{E1000, NetCard, NetLink};
    #[pymodule_export]
    use super::trace::disassemble;
    #[pymodule_export]
    use super::vcpu::Vcpu;
    #[pymodule_export]
    use super::vga::Vga;
    #[pymodule_export]
    use super::virtio::{
        VirtioBalloon, VirtioChannel, VirtioConsole, VirtioDevice, VirtioGpu, VirtioInput, VirtioPci,
    };
    #[pymodule_export]
    use super::vm::Vm;

    #[pymodule_init]
    fn init(_module: &super::Bound<'_, super::PyModule>) -> super::PyResult<()> {
        innkeeper_core::clock::begin_measuring();
        Ok(())
    }
}

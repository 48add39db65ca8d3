//! What this host offers to the engines.

use std::collections::BTreeMap;

use innkeeper_core::clock;
use innkeeper_core::kvm;
use innkeeper_core::soft;
use innkeeper_core::x86::cpuid::{CpuidTable, Flags};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The extensions that the software engines present only where the host has them, by their flag.
const FEATURES: [(&str, Flags, u32); 21] = [
    ("adx", Flags::Leaf7Ebx, 19),
    ("aes", Flags::Leaf1Ecx, 25),
    ("avx", Flags::Leaf1Ecx, 28),
    ("avx2", Flags::Leaf7Ebx, 5),
    ("bmi1", Flags::Leaf7Ebx, 3),
    ("bmi2", Flags::Leaf7Ebx, 8),
    ("cmpxchg16b", Flags::Leaf1Ecx, 13),
    ("f16c", Flags::Leaf1Ecx, 29),
    ("fma", Flags::Leaf1Ecx, 12),
    ("lzcnt", Flags::Extended1Ecx, 5),
    ("movbe", Flags::Leaf1Ecx, 22),
    ("pclmulqdq", Flags::Leaf1Ecx, 1),
    ("popcnt", Flags::Leaf1Ecx, 23),
    ("rdrand", Flags::Leaf1Ecx, 30),
    ("rdseed", Flags::Leaf7Ebx, 18),
    ("sha", Flags::Leaf7Ebx, 29),
    ("sse3", Flags::Leaf1Ecx, 0),
    ("sse4.1", Flags::Leaf1Ecx, 19),
    ("sse4.2", Flags::Leaf1Ecx, 20),
    ("ssse3", Flags::Leaf1Ecx, 9),
    ("xsave", Flags::Leaf1Ecx, 26),
];

#[pyfunction]
pub fn bt_unavailable() -> Option<String> {
    soft::bt_unavailable()
}

#[pyfunction]
pub fn host_tsc_khz(py: Python<'_>) -> u64 {
    py.detach(clock::host_khz)
}

#[pyfunction]
pub fn host_features() -> BTreeMap<&'static str, bool> {
    // The flags do not depend on the VM's size or clock.
    let table = CpuidTable::new(1, 0);
    FEATURES.into_iter().map(|(name, register, bit)| (name, table.has(register, bit))).collect()
}

#[pyfunction]
pub fn kvm_probe(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let probe = py.detach(kvm::probe);
    let answers = PyDict::new(py);
    answers.set_item("usable", probe.usable)?;
    answers.set_item("why", probe.why)?;
    answers.set_item("backend", probe.backend)?;
    answers.set_item("api_version", probe.api_version)?;
    answers.set_item("ring0_native", probe.ring0_native)?;
    answers.set_item("ring0_mips", probe.ring0_mips)?;
    answers.set_item("syscall", probe.syscall)?;
    answers.set_item("paging_32bit", probe.paging_32bit)?;
    answers.set_item("int3", probe.int3)?;
    answers.set_item("cpuid_masking", probe.cpuid_masking)?;
    answers.set_item("tsc_offset", probe.tsc_offset)?;
    answers.set_item("seconds", probe.seconds)?;
    Ok(answers)
}

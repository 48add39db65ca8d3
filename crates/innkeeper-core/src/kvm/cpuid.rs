//! What CPUID shows under KVM: everything that KVM supports on this host, with the topology of one
//! package of single-threaded cores and each vCPU's own APIC ID put in.
//!
//! Intel SDM vol. 2, CPUID; AMD64 APM vol. 3, appendix E. KVM's own leaves are kept.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, Kvm};

use super::vm::host;
use crate::engine::EngineError;

const TOPOLOGY: u32 = 0xB;
const TOPOLOGY_V2: u32 = 0x1F;
const LEVEL_SMT: u32 = 1;
const LEVEL_CORE: u32 = 2;

const HTT: u32 = 1 << 28;
const TSC_DEADLINE: u32 = 1 << 24;
const X2APIC: u32 = 1 << 21;
const CMP_LEGACY: u32 = 1 << 1;

/// The leaves that this host's KVM supports.
pub fn supported(kvm: &Kvm) -> Result<Vec<kvm_cpuid_entry2>, EngineError> {
    let table = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let mut leaves = table.map_err(host("ask KVM for its CPUID leaves"))?.as_slice().to_vec();
    // KVM does the APIC's TSC-deadline mode but before Linux 6.15 does not list it.
    if kvm.check_extension(Cap::TscDeadlineTimer) {
        for leaf in leaves.iter_mut().filter(|leaf| leaf.function == 1) {
            leaf.ecx |= TSC_DEADLINE | X2APIC;
        }
    }
    Ok(leaves)
}

/// The leaves of vCPU `index` out of `vcpus`.
pub fn for_vcpu(supported: &[kvm_cpuid_entry2], index: u32, vcpus: u32) -> Result<CpuId, EngineError> {
    let mut leaves: Vec<_> = supported.iter().copied().filter(|leaf| !is_topology(leaf)).collect();
    for leaf in &mut leaves {
        place(leaf, index, vcpus);
    }
    leaves.extend((0..=2).map(|level| topology(level, index, vcpus)));
    CpuId::from_entries(&leaves).map_err(|_| EngineError::Refused("KVM lists too many CPUID leaves".into()))
}

fn is_topology(leaf: &kvm_cpuid_entry2) -> bool {
    leaf.function == TOPOLOGY || leaf.function == TOPOLOGY_V2
}

/// Bits of the APIC ID that number the cores.
fn core_bits(vcpus: u32) -> u32 {
    vcpus.next_power_of_two().trailing_zeros()
}

fn place(leaf: &mut kvm_cpuid_entry2, index: u32, vcpus: u32) {
    match leaf.function {
        0 => leaf.eax = leaf.eax.max(TOPOLOGY),
        1 => {
            leaf.ebx = leaf.ebx & 0xFFFF | vcpus.min(255) << 16 | index << 24;
            leaf.edx = if vcpus > 1 { leaf.edx | HTT } else { leaf.edx & !HTT };
        }
        // Cache type 0 ends the list. L1 and L2 belong to one core, what is above them to all.
        4 | 0x8000_001D if leaf.eax & 0x1F != 0 => {
            let shared = if leaf.eax >> 5 & 7 > 2 { vcpus.min(4096) - 1 } else { 0 };
            leaf.eax = leaf.eax & 0x3FFF | shared << 14;
            if leaf.function == 4 {
                leaf.eax |= (vcpus.min(64) - 1) << 26;
            }
        }
        0x8000_0001 => {
            leaf.ecx = if vcpus > 1 { leaf.ecx | CMP_LEGACY } else { leaf.ecx & !CMP_LEGACY };
        }
        0x8000_0008 => leaf.ecx = leaf.ecx & !0xF0FF | core_bits(vcpus) << 12 | (vcpus.min(256) - 1),
        0x8000_001E => (leaf.eax, leaf.ebx, leaf.ecx) = (index, index & 0xFF, 0),
        _ => {}
    }
}

/// One level of the extended topology: threads in a core, cores in the package, the end.
fn topology(level: u32, index: u32, vcpus: u32) -> kvm_cpuid_entry2 {
    let (shift, count, kind) = match level {
        0 => (0, 1, LEVEL_SMT),
        1 => (core_bits(vcpus), vcpus, LEVEL_CORE),
        _ => (0, 0, 0),
    };
    kvm_cpuid_entry2 {
        function: TOPOLOGY,
        index: level,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: kind << 8 | level,
        edx: index,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, eax: 7, ..Default::default() }
    }

    #[test]
    fn each_vcpu_gets_its_apic_id_and_the_topology() {
        let table = for_vcpu(&[leaf(0), leaf(1), leaf(TOPOLOGY)], 2, 3).unwrap();
        let find = |function, index| {
            *table.as_slice().iter().find(|leaf| (leaf.function, leaf.index) == (function, index)).unwrap()
        };
        assert_eq!(find(0, 0).eax, TOPOLOGY);
        assert_eq!((find(1, 0).ebx, find(1, 0).edx & HTT), (2 << 24 | 3 << 16, HTT));
        assert_eq!((find(TOPOLOGY, 0).eax, find(TOPOLOGY, 0).ebx, find(TOPOLOGY, 0).edx), (0, 1, 2));
        assert_eq!((find(TOPOLOGY, 1).eax, find(TOPOLOGY, 1).ebx, find(TOPOLOGY, 1).edx), (2, 3, 2));
        assert_eq!(find(TOPOLOGY, 2).ecx >> 8, 0);
    }

    #[test]
    fn a_lone_vcpu_is_not_multithreaded() {
        let table = for_vcpu(&[kvm_cpuid_entry2 { edx: HTT, ..leaf(1) }], 0, 1).unwrap();
        assert_eq!(table.as_slice()[0].edx, 0);
        assert_eq!(table.as_slice()[2].eax, 0);
    }
}

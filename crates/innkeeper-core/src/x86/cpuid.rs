//! What CPUID presents: the identity, features and topology of the virtual processor, and which
//! encodings are therefore legal.
//!
//! The processor says that it is an AMD family 19h one: stock kernels then need neither page-table
//! isolation nor retpolines. Sources: AMD APM vol. 3, appendix E; Intel SDM vol. 2, CPUID; the KVM
//! leaves of Linux's `Documentation/virt/kvm/x86/cpuid.rst`. Left out, and therefore #UD: AVX-512,
//! AMX, PKU, CET, MPX, TSX, SVM and VMX, MONITOR, performance counters, machine checks, SMAP, VME.

use iced_x86::{Code, CpuidFeature as Iced};

use super::cpu::cr;
use super::paging::PHYSICAL_BITS;

/// A register of a leaf that holds feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    Leaf1Ecx,
    Leaf1Edx,
    Leaf6Eax,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    LeafD1Eax,
    Extended1Ecx,
    Extended1Edx,
    Extended7Edx,
    Extended8Ebx,
    Extended21Eax,
    Extended21Ecx,
    Kvm1Eax,
}

/// Registers that hold flags: the number of variants of [`Flags`].
const FLAG_REGISTERS: usize = Flags::Kvm1Eax as usize + 1;

/// One presented feature: its flag, what the host must have for it, and the encodings it makes legal.
struct Feature(Flags, u32, fn() -> bool, &'static [Iced]);

macro_rules! host {
    ($name:tt) => {
        || is_x86_feature_detected!($name)
    };
}

fn always() -> bool {
    true
}

/// XSAVE, AVX and what builds on them, all of which the interpreter runs on the host's own units.
fn host_avx() -> bool {
    is_x86_feature_detected!("xsave") && is_x86_feature_detected!("avx")
}

#[rustfmt::skip]
const FEATURES: &[Feature] = {
    use Flags::*;
    &[
        Feature(Leaf1Ecx, 0, host!("sse3"), &[Iced::SSE3]),
        Feature(Leaf1Ecx, 1, host!("pclmulqdq"), &[Iced::PCLMULQDQ]),
        Feature(Leaf1Ecx, 9, host!("ssse3"), &[Iced::SSSE3]),
        Feature(Leaf1Ecx, 12, || host_avx() && is_x86_feature_detected!("fma"), &[Iced::FMA]),
        Feature(Leaf1Ecx, 13, host!("cmpxchg16b"), &[Iced::CMPXCHG16B]),
        Feature(Leaf1Ecx, 17, always, &[]), // PCID
        Feature(Leaf1Ecx, 19, host!("sse4.1"), &[Iced::SSE4_1]),
        Feature(Leaf1Ecx, 20, host!("sse4.2"), &[Iced::SSE4_2]),
        Feature(Leaf1Ecx, 21, always, &[]), // x2APIC
        Feature(Leaf1Ecx, 22, host!("movbe"), &[Iced::MOVBE]),
        Feature(Leaf1Ecx, 23, host!("popcnt"), &[Iced::POPCNT]),
        Feature(Leaf1Ecx, 24, always, &[]), // TSC deadline
        Feature(Leaf1Ecx, 25, host!("aes"), &[Iced::AES]),
        Feature(Leaf1Ecx, 26, host_avx, &[Iced::XSAVE]),
        Feature(Leaf1Ecx, 28, host_avx, &[Iced::AVX]),
        Feature(Leaf1Ecx, 29, || host_avx() && is_x86_feature_detected!("f16c"), &[Iced::F16C]),
        Feature(Leaf1Ecx, 30, host!("rdrand"), &[Iced::RDRAND]),
        Feature(Leaf1Ecx, 31, always, &[]), // a hypervisor is present

        Feature(Leaf1Edx, 0, always, &[Iced::FPU, Iced::FPU287, Iced::FPU387]),
        Feature(Leaf1Edx, 2, always, &[]), // DE
        Feature(Leaf1Edx, 3, always, &[]), // PSE
        Feature(Leaf1Edx, 4, always, &[Iced::TSC]),
        Feature(Leaf1Edx, 5, always, &[Iced::MSR]),
        Feature(Leaf1Edx, 6, always, &[]), // PAE
        Feature(Leaf1Edx, 8, always, &[Iced::CX8]),
        Feature(Leaf1Edx, 9, always, &[]), // APIC
        Feature(Leaf1Edx, 11, always, &[Iced::SEP]),
        Feature(Leaf1Edx, 12, always, &[]), // MTRR
        Feature(Leaf1Edx, 13, always, &[]), // PGE
        Feature(Leaf1Edx, 15, always, &[Iced::CMOV]),
        Feature(Leaf1Edx, 16, always, &[]), // PAT
        Feature(Leaf1Edx, 17, always, &[]), // PSE-36
        Feature(Leaf1Edx, 19, always, &[Iced::CLFSH]),
        Feature(Leaf1Edx, 23, always, &[Iced::MMX]),
        Feature(Leaf1Edx, 24, always, &[Iced::FXSR]),
        Feature(Leaf1Edx, 25, always, &[Iced::SSE]),
        Feature(Leaf1Edx, 26, always, &[Iced::SSE2, Iced::PAUSE]),

        Feature(Leaf6Eax, 2, always, &[]), // ARAT: the APIC timer never stops

        Feature(Leaf7Ebx, 0, always, &[Iced::FSGSBASE]),
        Feature(Leaf7Ebx, 1, always, &[]), // TSC_ADJUST
        Feature(Leaf7Ebx, 3, host!("bmi1"), &[Iced::BMI1]),
        Feature(Leaf7Ebx, 5, || host_avx() && is_x86_feature_detected!("avx2"), &[Iced::AVX2]),
        Feature(Leaf7Ebx, 6, always, &[]), // the x87 data pointer is for exceptions only
        Feature(Leaf7Ebx, 7, always, &[]), // SMEP
        Feature(Leaf7Ebx, 20, always, &[Iced::SMAP]),
        Feature(Leaf7Ebx, 8, host!("bmi2"), &[Iced::BMI2]),
        Feature(Leaf7Ebx, 9, always, &[]), // ERMS
        Feature(Leaf7Ebx, 10, always, &[Iced::INVPCID]),
        Feature(Leaf7Ebx, 13, always, &[]), // the x87 segment selectors read as zero
        Feature(Leaf7Ebx, 18, host!("rdseed"), &[Iced::RDSEED]),
        Feature(Leaf7Ebx, 19, host!("adx"), &[Iced::ADX]),
        Feature(Leaf7Ebx, 23, always, &[Iced::CLFLUSHOPT]),
        Feature(Leaf7Ebx, 24, always, &[Iced::CLWB]),
        Feature(Leaf7Ebx, 29, host!("sha"), &[Iced::SHA]),
        Feature(Leaf7Ecx, 2, always, &[]), // UMIP
        Feature(Leaf7Ecx, 22, always, &[Iced::RDPID]),
        Feature(Leaf7Edx, 4, always, &[]), // FSRM

        Feature(LeafD1Eax, 0, host_avx, &[Iced::XSAVEOPT]),
        Feature(LeafD1Eax, 1, host_avx, &[Iced::XSAVEC]),
        Feature(LeafD1Eax, 2, host_avx, &[]), // XGETBV with ECX = 1

        Feature(Extended1Ecx, 0, always, &[]), // LAHF in 64-bit mode
        Feature(Extended1Ecx, 1, always, &[]), // CmpLegacy: HTT means cores, not threads
        Feature(Extended1Ecx, 5, host!("lzcnt"), &[Iced::LZCNT]),
        Feature(Extended1Ecx, 8, always, &[Iced::PREFETCHW]),
        Feature(Extended1Ecx, 22, always, &[]), // TOPOEXT
        Feature(Extended1Edx, 11, always, &[Iced::SYSCALL]),
        Feature(Extended1Edx, 20, always, &[]), // NX
        Feature(Extended1Edx, 22, always, &[]), // MMX extensions, which are part of SSE
        Feature(Extended1Edx, 26, always, &[]), // 1 GiB pages
        Feature(Extended1Edx, 27, always, &[Iced::RDTSCP]),
        Feature(Extended1Edx, 29, always, &[Iced::X64]),
        Feature(Extended7Edx, 8, always, &[]), // invariant TSC
        // Nothing speculates here, so the immunities that exist as flags are all true.
        Feature(Extended8Ebx, 2, always, &[]), // x87 error pointers are always saved and restored
        Feature(Extended8Ebx, 26, always, &[]), // SSB_NO
        Feature(Extended8Ebx, 29, always, &[]), // BTC_NO
        Feature(Extended21Eax, 2, always, &[]), // LFENCE serializes
        Feature(Extended21Eax, 6, always, &[]), // a null selector clears the base
        Feature(Extended21Eax, 8, always, &[]), // automatic IBRS
        Feature(Extended21Eax, 29, always, &[]), // SRSO_NO
        Feature(Extended21Ecx, 1, always, &[]), // TSA_SQ_NO
        Feature(Extended21Ecx, 2, always, &[]), // TSA_L1_NO

        Feature(Kvm1Eax, 0, always, &[]), // kvmclock
        Feature(Kvm1Eax, 1, always, &[]), // port accesses need no delay
        Feature(Kvm1Eax, 3, always, &[]), // kvmclock at 4b564d00h
        Feature(Kvm1Eax, 24, always, &[]), // kvmclock is stable across vCPUs
    ]
};

/// What every processor of this kind has without a flag.
const BASELINE: &[Iced] = &[
    Iced::INTEL8086,
    Iced::INTEL186,
    Iced::INTEL286,
    Iced::INTEL386,
    Iced::INTEL486,
    Iced::CPUID,
    Iced::MULTIBYTENOP,
    Iced::RDPMC,
    Iced::WBNOINVD, // WBINVD on processors that do not know it
];

const VENDOR: &[u8; 12] = b"AuthenticAMD";
const BRAND: &[u8; 48] = b"Innkeeper Virtual Processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Family 19h, model 1, stepping 1.
const SIGNATURE: u32 = 0x00A0_0F11;
const LAST_BASIC: u32 = 0xD;
const LAST_EXTENDED: u32 = 0x8000_0021;
const KVM_BASE: u32 = 0x4000_0000;
const LAST_KVM: u32 = 0x4000_0010;
/// What the APIC timer counts, before its divider.
const APIC_KHZ: u32 = 1_000_000;

/// The vCPU state that some leaves reflect.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    pub apic_id: u32,
    /// APIC_BASE.EN.
    pub apic: bool,
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    pub xcr0: u64,
}

/// The CPUID leaves of one VM and the instruction sets they advertise.
pub struct CpuidTable {
    vcpus: u32,
    tsc_khz: u32,
    flags: [u32; FLAG_REGISTERS],
    /// By `Code`.
    legal: Box<[bool]>,
}

impl CpuidTable {
    pub fn new(vcpus: u32, tsc_khz: u64) -> Self {
        let mut flags = [0; FLAG_REGISTERS];
        let mut sets = BASELINE.to_vec();
        for Feature(register, bit, host, encodings) in FEATURES {
            if host() {
                flags[*register as usize] |= 1 << bit;
                sets.extend_from_slice(encodings);
            }
        }
        if vcpus > 1 {
            flags[Flags::Leaf1Edx as usize] |= 1 << 28; // HTT: EBX counts logical processors
        }
        // AMD mirrors these flags of leaf 1.
        let mirrored = flags[Flags::Leaf1Edx as usize] & 0x0183_F3FF;
        flags[Flags::Extended1Edx as usize] |= mirrored;
        let legal = Code::values().map(|code| legal(code, &sets)).collect();
        let tsc_khz = u32::try_from(tsc_khz).unwrap_or(u32::MAX);
        Self { vcpus: vcpus.max(1), tsc_khz, flags, legal }
    }

    /// Whether the encoding's feature is presented; if not, it is #UD.
    #[inline]
    pub fn allows(&self, code: Code) -> bool {
        self.legal[code as usize]
    }

    /// Whether a feature flag is presented.
    pub fn has(&self, register: Flags, bit: u32) -> bool {
        self.flags(register) >> bit & 1 != 0
    }

    fn flags(&self, register: Flags) -> u32 {
        self.flags[register as usize]
    }

    /// The bits of CR4 that may be set.
    pub fn cr4_mask(&self) -> u64 {
        // EDK2 sets MCE without asking whether machine checks exist; none ever comes.
        let always =
            cr::CR4_TSD | cr::CR4_DE | cr::CR4_PSE | cr::CR4_PAE | cr::CR4_MCE | cr::CR4_PGE | cr::CR4_PCE;
        let sse = cr::CR4_OSFXSR | cr::CR4_OSXMMEXCPT;
        let optional = [
            (Flags::Leaf1Edx, 1, cr::CR4_VME | cr::CR4_PVI),
            (Flags::Leaf7Ecx, 2, cr::CR4_UMIP),
            (Flags::Leaf7Ebx, 0, cr::CR4_FSGSBASE),
            (Flags::Leaf1Ecx, 17, cr::CR4_PCIDE),
            (Flags::Leaf1Ecx, 26, cr::CR4_OSXSAVE),
            (Flags::Leaf7Ebx, 7, cr::CR4_SMEP),
            (Flags::Leaf7Ebx, 20, cr::CR4_SMAP),
        ];
        let shown = optional.iter().filter(|(register, bit, _)| self.has(*register, *bit));
        shown.fold(always | sse, |mask, (_, _, bits)| mask | bits)
    }

    /// The bits of XCR0 that may be set: x87, SSE and AVX state.
    pub fn xcr0_mask(&self) -> u64 {
        if self.has(Flags::Leaf1Ecx, 28) { 7 } else { 3 }
    }

    /// EAX, EBX, ECX and EDX of a leaf. Leaves beyond the last are zero, as on AMD processors.
    pub fn query(&self, leaf: u32, subleaf: u32, view: &View) -> [u32; 4] {
        match leaf {
            0..=LAST_BASIC => self.basic(leaf, subleaf, view),
            KVM_BASE..=LAST_KVM => self.kvm(leaf),
            0x8000_0000..=LAST_EXTENDED => self.extended(leaf, subleaf, view),
            _ => [0; 4],
        }
    }

    fn basic(&self, leaf: u32, subleaf: u32, view: &View) -> [u32; 4] {
        match leaf {
            0 => identity(LAST_BASIC),
            1 => self.features(view),
            6 => [self.flags(Flags::Leaf6Eax), 0, 0, 0],
            7 if subleaf == 0 => {
                [0, self.flags(Flags::Leaf7Ebx), self.flags(Flags::Leaf7Ecx), self.flags(Flags::Leaf7Edx)]
            }
            0xB => self.topology(subleaf, view.apic_id),
            0xD if self.has(Flags::Leaf1Ecx, 26) => self.extended_state(subleaf, view.xcr0),
            _ => [0; 4],
        }
    }

    fn features(&self, view: &View) -> [u32; 4] {
        let osxsave = u32::from(view.osxsave) << 27;
        let no_apic = u32::from(!view.apic) << 9;
        let ebx = view.apic_id << 24 | self.vcpus.min(255) << 16 | 8 << 8; // CLFLUSH: 8 quadwords
        [SIGNATURE, ebx, self.flags(Flags::Leaf1Ecx) | osxsave, self.flags(Flags::Leaf1Edx) & !no_apic]
    }

    /// Bits of an APIC ID that number the cores of the package.
    fn core_bits(&self) -> u32 {
        self.vcpus.next_power_of_two().trailing_zeros()
    }

    /// Leaf 0BH: one thread per core, one package.
    fn topology(&self, subleaf: u32, apic_id: u32) -> [u32; 4] {
        match subleaf {
            0 => [0, 1, 1 << 8, apic_id],
            1 => [self.core_bits(), self.vcpus, 2 << 8 | 1, apic_id],
            _ => [0, 0, subleaf & 0xFF, apic_id],
        }
    }

    fn extended_state(&self, subleaf: u32, xcr0: u64) -> [u32; 4] {
        let size = |components: u64| if components & 4 != 0 { 832 } else { 576 };
        match subleaf {
            0 => [self.xcr0_mask() as u32, size(xcr0), size(self.xcr0_mask()), 0],
            1 => [self.flags(Flags::LeafD1Eax), size(xcr0), 0, 0],
            2 => [256, 576, 0, 0],
            _ => [0; 4],
        }
    }

    fn kvm(&self, leaf: u32) -> [u32; 4] {
        match leaf {
            KVM_BASE => [LAST_KVM, word(b"KVMK"), word(b"VMKV"), word(b"M\0\0\0")],
            0x4000_0001 => [self.flags(Flags::Kvm1Eax), 0, 0, 0],
            LAST_KVM => [self.tsc_khz, APIC_KHZ, 0, 0],
            _ => [0; 4],
        }
    }

    fn extended(&self, leaf: u32, subleaf: u32, view: &View) -> [u32; 4] {
        match leaf {
            0x8000_0000 => identity(LAST_EXTENDED),
            0x8000_0001 => {
                let no_apic = u32::from(!view.apic) << 9;
                let edx = self.flags(Flags::Extended1Edx) & !no_apic;
                [SIGNATURE, 0, self.flags(Flags::Extended1Ecx), edx]
            }
            0x8000_0002..=0x8000_0004 => {
                let part = &BRAND[(leaf - 0x8000_0002) as usize * 16..][..16];
                [0, 4, 8, 12].map(|at| word(&part[at..]))
            }
            // L1: 64-entry TLBs, 32 KiB 8-way caches of 64-byte lines. L2: 512 KiB. L3: 16 MiB.
            0x8000_0005 => [0xFF40_FF40, 0xFF40_FF40, 0x2008_0140, 0x2008_0140],
            0x8000_0006 => [0, 0, 0x0200_6140, 32 << 18 | 0x8140],
            0x8000_0007 => [0, 0, 0, self.flags(Flags::Extended7Edx)],
            0x8000_0008 => {
                let cores = self.core_bits() << 12 | (self.vcpus - 1).min(255);
                [PHYSICAL_BITS | 48 << 8, self.flags(Flags::Extended8Ebx), cores, 0]
            }
            0x8000_001D => self.cache(subleaf),
            0x8000_001E => [view.apic_id, view.apic_id & 0xFF, 0, 0],
            0x8000_0021 => [self.flags(Flags::Extended21Eax), 0, self.flags(Flags::Extended21Ecx), 0],
            _ => [0; 4],
        }
    }

    /// Leaf 8000_001DH: the caches of leaves 8000_0005H and 6H, the last shared by all vCPUs.
    fn cache(&self, subleaf: u32) -> [u32; 4] {
        let (kind, level, ways, sets, sharers) = match subleaf {
            0 => (1, 1, 8, 64, 1),
            1 => (2, 1, 8, 64, 1),
            2 => (3, 2, 8, 1024, 1),
            3 => (3, 3, 16, 16384, self.vcpus),
            _ => return [0; 4],
        };
        let eax = kind | level << 5 | 1 << 8 | (sharers - 1) << 14;
        [eax, 63 | (ways - 1) << 22, sets - 1, 0]
    }
}

fn identity(last: u32) -> [u32; 4] {
    [last, word(&VENDOR[..4]), word(&VENDOR[8..]), word(&VENDOR[4..8])]
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn legal(code: Code, sets: &[Iced]) -> bool {
    match code {
        Code::INVALID => false,
        // Hypercalls work without the virtualization that their encodings belong to.
        Code::Vmcall | Code::Vmmcall => true,
        // No-operations on processors without CET, PREFETCHI or CLDEMOTE.
        Code::Endbr32 | Code::Endbr64 | Code::Rdsspd_r32 | Code::Rdsspq_r64 => true,
        Code::Prefetchit0_m8 | Code::Prefetchit1_m8 | Code::Cldemote_m8 => true,
        // 0F 0D: PREFETCHW's flag covers the whole group.
        Code::Prefetch_m8 | Code::Prefetchwt1_m8 | Code::Prefetchreserved3_m8 => true,
        Code::Prefetchreserved4_m8 | Code::Prefetchreserved5_m8 => true,
        Code::Prefetchreserved6_m8 | Code::Prefetchreserved7_m8 => true,
        _ => code.cpuid_features().iter().all(|feature| sets.contains(feature)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View { apic_id: 1, apic: true, osxsave: true, xcr0: 7 };

    #[test]
    fn the_vendor_reads_in_ebx_edx_ecx() {
        let [last, ebx, ecx, edx] = CpuidTable::new(1, 2_000_000).query(0, 0, &VIEW);
        let text = [ebx, edx, ecx].map(u32::to_le_bytes).concat();
        assert_eq!((last, text.as_slice()), (LAST_BASIC, VENDOR.as_slice()));
    }

    #[test]
    fn the_kvm_leaf_carries_its_signature() {
        let [_, ebx, ecx, edx] = CpuidTable::new(1, 2_000_000).query(KVM_BASE, 0, &VIEW);
        assert_eq!([ebx, ecx, edx].map(u32::to_le_bytes).concat(), b"KVMKVMKVM\0\0\0");
    }

    #[test]
    fn state_shows_through() {
        let table = CpuidTable::new(2, 2_000_000);
        assert_eq!(table.query(1, 0, &VIEW)[1] >> 24, 1);
        assert_ne!(table.query(1, 0, &VIEW)[2] & 1 << 27, 0);
        assert_eq!(table.query(1, 0, &View { osxsave: false, ..VIEW })[2] & 1 << 27, 0);
        assert_eq!(table.query(1, 0, &View { apic: false, ..VIEW })[3] & 1 << 9, 0);
        assert_eq!(table.query(0xB, 1, &VIEW), [1, 2, 0x201, 1]);
    }

    #[test]
    fn what_is_hidden_is_illegal() {
        let table = CpuidTable::new(1, 2_000_000);
        for code in [Code::Add_rm32_r32, Code::Syscall, Code::Cpuid, Code::Vmcall, Code::Endbr64] {
            assert!(table.allows(code), "{code:?}");
        }
        for code in [Code::Monitord, Code::Vmxon_m64, Code::Rdpkru, Code::Xsaves_mem] {
            assert!(!table.allows(code), "{code:?}");
        }
        assert!(!table.allows(Code::EVEX_Vmovups_zmm_k1z_zmmm512));
    }

    #[test]
    fn leaves_beyond_the_last_are_zero() {
        let table = CpuidTable::new(1, 2_000_000);
        for leaf in [LAST_BASIC + 1, LAST_KVM + 1, LAST_EXTENDED + 1, u32::MAX] {
            assert_eq!(table.query(leaf, 0, &VIEW), [0; 4]);
        }
    }
}

//! The ledger of one vCPU: what it executed and every time the VMM had to step in.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer (the vCPU's thread) and any number of readers: costs a plain add.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters by name; `snapshot` copies them all.
        #[derive(Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
            /// By vector, as delivered.
            pub exceptions: [Counter; 32],
            /// Port accesses by (port, is a write).
            pub ports: Mutex<BTreeMap<(u16, bool), u64>>,
        }

        impl Stats {
            /// Every plain counter with its name.
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

stats! {
    /// Instructions retired.
    instructions,
    /// Blocks executed.
    blocks,
    /// Blocks decoded.
    blocks_decoded,
    /// Instructions decoded.
    instructions_decoded,
    /// Blocks found stale because their bytes had been written.
    code_invalidations,
    /// Data and code TLB fills, each one page walk.
    tlb_fills,
    /// Address-space changes that kept, or flushed, their translations.
    tlb_switches,
    tlb_flushes,
    tlb_page_flushes,
    page_faults,
    /// Blocks translated, the nanoseconds that took, and their bytes before and after.
    blocks_translated,
    translation_ns,
    guest_code_bytes,
    host_code_bytes,
    /// Times that the next block was looked up, and jumps between blocks made direct.
    block_lookups,
    chain_links,
    /// Times that all translations were dropped.
    code_cache_flushes,
    /// Blocks, and single instructions of translated blocks, that were interpreted.
    interpreted_blocks,
    emulated_instructions,
    /// Memory accesses that translated code could not do by itself.
    slow_accesses,
    /// Writes to translated code.
    code_writes,
    port_reads,
    port_writes,
    mmio_reads,
    mmio_writes,
    apic_accesses,
    interrupts,
    nmis,
    software_interrupts,
    halts,
    cpuids,
    msr_reads,
    msr_writes,
    control_register_writes,
    debug_register_accesses,
    interrupt_flag_changes,
    hypercalls,
    kicks,
    /// Times that the host's KVM was entered, and times that a signal ended that.
    host_entries,
    host_interruptions,
}

/// A ledger as it stood at one moment. An engine lists only the counters that it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub counters: Vec<(&'static str, u64)>,
    /// (vector, times delivered), without the zeroes.
    pub exceptions: Vec<(u8, u64)>,
    /// ((port, is a write), accesses).
    pub ports: Vec<((u16, bool), u64)>,
}

impl Stats {
    /// A copy of the whole ledger.
    pub fn snapshot(&self) -> Snapshot {
        let exceptions = (0..).zip(self.exceptions.iter().map(Counter::get));
        let ports = self.ports.lock().expect("stats lock");
        Snapshot {
            counters: self.counters(),
            exceptions: exceptions.filter(|&(_, count)| count != 0).collect(),
            ports: ports.iter().map(|(&key, &count)| (key, count)).collect(),
        }
    }

    pub fn count_port(&self, port: u16, write: bool, accesses: u64) {
        if write { &self.port_writes } else { &self.port_reads }.add(accesses);
        *self.ports.lock().expect("stats lock").entry((port, write)).or_default() += accesses;
    }
}

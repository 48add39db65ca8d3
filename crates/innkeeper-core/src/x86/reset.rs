//! Reset, INIT and SIPI. Source: Intel SDM vol. 3, 10.1 and table 10-1; 9.4.3 (SIPI).

use std::sync::Arc;

use super::attention::{Attention, LOCAL};
use super::block::BlockCache;
use super::bt::context::Context;
use super::cpu::{Cpu, Msrs, Platform, RDX, RIP, Shadow, X87, Ymm, cr, flag};
use super::fault::Fault;
use super::mmu::Tlb;
use super::op::seg;
use super::paging::PHYSICAL_BITS;
use super::segment as attr;
use crate::irq::kvmclock::Kvmclock;
use crate::irq::{Lapic, Model};
use crate::state::{Activity, SegmentState, TableState};
use crate::stats::Stats;

/// PAT after reset: WB, WT, UC-, UC, twice.
const PAT: u64 = 0x0007_0406_0007_0406;
/// MISC_ENABLE after reset: fast strings.
const MISC_ENABLE: u64 = 1;
pub const DR6: u64 = 0xFFFF_0FF0;
pub const DR7: u64 = 0x400;

impl Cpu {
    /// A vCPU after power-up. The bootstrap processor runs from the reset vector; the others wait
    /// for their SIPI.
    pub fn new(
        index: u32,
        platform: Arc<Platform>,
        lapic: Arc<Lapic>,
        attention: Arc<Attention>,
    ) -> Box<Self> {
        let mut cpu = Box::new(Self {
            regs: [0; 32],
            rflags: flag::FIXED,
            bases: [0; 8],
            long: false,
            protected: false,
            cpl: 0,
            stack_mask: 0xFFFF,
            bitness: 16,
            leave: false,
            shadow: Shadow::None,
            fault: Fault::default(),
            exit: None,
            activity: Activity::Runnable,
            tlb: Tlb::new(),
            segments: [SegmentState::default(); 6],
            ldtr: SegmentState::default(),
            tr: SegmentState::default(),
            gdtr: TableState::default(),
            idtr: TableState::default(),
            cr0: cr::CR0_CD | cr::CR0_NW,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            xcr0: 1,
            pdptes: [0; 4],
            dr: [0; 8],
            debug_hits: 0,
            debugger: None,
            ymm: [Ymm::default(); 16],
            mxcsr: 0x1F80,
            // FNINIT's control word, not the 0040H of power-up: no firmware runs before a direct boot.
            x87: X87 { control: 0x37F, ..X87::default() },
            msrs: Msrs { pat: PAT, misc_enable: MISC_ENABLE, ..Msrs::default() },
            kvmclock: Kvmclock::default(),
            pauses: 0,
            nmi_blocked: false,
            delivering: None,
            index,
            platform,
            lapic,
            attention,
            stats: Arc::new(Stats::default()),
            blocks: BlockCache::default(),
            translator: None,
            context: Context::default(),
        });
        cpu.lapic.set_model(Model { physical_bits: PHYSICAL_BITS, x2apic: true });
        cpu.init();
        cpu
    }

    /// INIT: the state of Intel SDM vol. 3, table 10-1, which leaves the vector registers, most MSRs
    /// and CR0's cache bits alone. Application processors then wait for a SIPI.
    pub fn init(&mut self) {
        self.regs = [0; 32];
        self.regs[RIP] = 0xFFF0;
        let signature = self.platform.cpuid.query(1, 0, &super::cpuid::View::default())[0];
        self.regs[RDX] = u64::from(signature);
        self.rflags = flag::FIXED;
        self.cr0 = self.cr0 & (cr::CR0_CD | cr::CR0_NW) | cr::CR0_ET;
        (self.cr2, self.cr3, self.cr4, self.efer) = (0, 0, 0, 0);
        self.pdptes = [0; 4];
        self.segments = [SegmentState::real(0, 0); 6];
        let code = attr::PRESENT | attr::NOT_SYSTEM | attr::CODE | attr::WRITABLE | attr::ACCESSED;
        self.segments[seg::CS as usize] =
            SegmentState { selector: 0xF000, attributes: code, limit: 0xFFFF, base: 0xFFFF_0000 };
        self.ldtr = system_segment(2);
        self.tr = system_segment(11);
        let table = TableState { base: 0, limit: 0xFFFF };
        (self.gdtr, self.idtr) = (table, table);
        self.dr = [0, 0, 0, 0, 0, 0, DR6, DR7];
        (self.debug_hits, self.delivering, self.nmi_blocked) = (0, None, false);
        (self.shadow, self.fault, self.exit) = (Shadow::None, Fault::default(), None);
        self.lapic.init();
        self.kvmclock.init();
        self.activity = if self.index == 0 { Activity::Runnable } else { Activity::WaitForSipi };
        self.flush_tlb();
        self.refresh_mode();
        self.attention.raise(LOCAL);
    }

    /// SIPI: real mode at `page << 12`.
    pub fn start_up(&mut self, page: u8) {
        let code = &mut self.segments[seg::CS as usize];
        code.selector = u16::from(page) << 8;
        code.base = u64::from(page) << 12;
        self.regs[RIP] = 0;
        self.activity = Activity::Runnable;
        self.refresh_mode();
    }
}

/// LDTR and TR after reset: present, 64 KiB at 0.
fn system_segment(kind: u32) -> SegmentState {
    SegmentState { selector: 0, attributes: attr::PRESENT | kind, limit: 0xFFFF, base: 0 }
}

//! The architectural state of one vCPU: one plain, versioned structure for every engine.
//! Fields and encodings follow the Intel SDM; segment attributes are packed as in VMX
//! (vol. 3, 25.4.1): type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.

/// A segment register with its hidden part. `limit` is in bytes, already scaled by G.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentState {
    pub selector: u16,
    pub attributes: u32,
    pub limit: u32,
    pub base: u64,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    pub base: u64,
    pub limit: u16,
}

/// Whether a vCPU runs, waits, or has not been started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    #[default]
    Runnable,
    Halted,
    /// An application processor before its INIT-SIPI-SIPI.
    WaitForSipi,
}

/// Version 1 of the vCPU state. Order of `gpr`: rax rcx rdx rbx rsp rbp rsi rdi r8..r15;
/// of `segments`: es cs ss ds fs gs. `xsave` is the standard (non-compacted) XSAVE image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuStateV1 {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub segments: [SegmentState; 6],
    pub ldtr: SegmentState,
    pub tr: SegmentState,
    pub gdtr: TableState,
    pub idtr: TableState,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub xcr0: u64,
    pub efer: u64,
    pub dr: [u64; 8],
    /// MSRs by index, other than those named above.
    pub msrs: Vec<(u32, u64)>,
    pub xsave: Vec<u8>,
    pub activity: Activity,
}

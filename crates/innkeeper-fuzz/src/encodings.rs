//! Which encodings take part.

use iced_x86::{Code, FlowControl, Mnemonic, OpCodeOperandKind as Kind};
use innkeeper_core::x86::cpuid::CpuidTable;
use innkeeper_core::x86::exec;

/// Not reproducible by one instruction in one process: they read clocks, identity or the kernel's
/// tables, change segment registers, are emulated by the kernel (UMIP), or make a system call.
const EXCLUDED: &[Mnemonic] = &[
    Mnemonic::Cpuid,
    Mnemonic::Rdtsc,
    Mnemonic::Rdtscp,
    Mnemonic::Rdpid,
    Mnemonic::Rdpmc,
    Mnemonic::Rdrand,
    Mnemonic::Rdseed,
    Mnemonic::Xgetbv,
    Mnemonic::Sgdt,
    Mnemonic::Sidt,
    Mnemonic::Sldt,
    Mnemonic::Str,
    Mnemonic::Smsw,
    Mnemonic::Lar,
    Mnemonic::Lsl,
    Mnemonic::Verr,
    Mnemonic::Verw,
    Mnemonic::Rdfsbase,
    Mnemonic::Rdgsbase,
    Mnemonic::Wrfsbase,
    Mnemonic::Wrgsbase,
    Mnemonic::Lds,
    Mnemonic::Les,
    Mnemonic::Lfs,
    Mnemonic::Lgs,
    Mnemonic::Lss,
    Mnemonic::Vmcall,
    Mnemonic::Vmmcall,
    Mnemonic::Monitor,
    Mnemonic::Mwait,
    Mnemonic::Int1,
];

/// The encodings to fuzz in a mode: those that the interpreter has, presents, and can be asked about.
pub struct Encodings {
    taking_part: Vec<bool>,
}

impl Encodings {
    pub fn new(bitness: u32) -> Self {
        let presented = CpuidTable::new(1, 1_000_000);
        let takes_part = |code| presented.allows(code) && eligible(code, bitness);
        Self { taking_part: Code::values().map(takes_part).collect() }
    }

    pub fn contains(&self, code: Code) -> bool {
        self.taking_part[code as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = Code> + '_ {
        Code::values().filter(|&code| self.contains(code))
    }
}

fn eligible(code: Code, bitness: u32) -> bool {
    let info = code.op_code();
    let in_mode = if bitness == 64 { info.mode64() } else { info.mode32() };
    let implemented = exec::handler(code, false).is_some() || exec::handler(code, true).is_some();
    in_mode
        && info.is_instruction()
        && implemented
        && stays_near(code)
        && !loads_segment(code)
        && !waiting_form(code)
        && !EXCLUDED.contains(&code.mnemonic())
}

fn stays_near(code: Code) -> bool {
    let info = code.op_code();
    let kinds = || (0..info.op_count()).map(|i| info.op_kind(i));
    match code.flow_control() {
        FlowControl::Next | FlowControl::ConditionalBranch => true,
        FlowControl::Return => code.mnemonic() == Mnemonic::Ret,
        FlowControl::UnconditionalBranch | FlowControl::Call => kinds().any(|kind| {
            matches!(
                kind,
                Kind::br16_1 | Kind::br16_2 | Kind::br32_1 | Kind::br32_4 | Kind::br64_1 | Kind::br64_4
            )
        }),
        FlowControl::IndirectBranch | FlowControl::IndirectCall => {
            kinds().any(|kind| matches!(kind, Kind::r16_or_mem | Kind::r32_or_mem | Kind::r64_or_mem))
        }
        _ => false,
    }
}

/// MOV to, and POP of, a segment register; what they may load is the kernel's affair.
fn loads_segment(code: Code) -> bool {
    use Kind as K;
    let segment =
        matches!(code.op_code().op_kind(0), K::seg_reg | K::es | K::cs | K::ss | K::ds | K::fs | K::gs);
    segment && code.mnemonic() != Mnemonic::Push
}

/// FSTENV and its kin stand for WAIT and then FNSTENV: two instructions for a processor and a decoder.
fn waiting_form(code: Code) -> bool {
    use Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Fstenv
            | M::Fstcw
            | M::Fsave
            | M::Fstsw
            | M::Finit
            | M::Fclex
            | M::Feni
            | M::Fdisi
            | M::Fsetpm
            | M::Fstdw
            | M::Fstsg
    )
}

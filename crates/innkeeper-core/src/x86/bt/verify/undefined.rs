//! What instructions do to the status flags, by encoding.

use std::sync::OnceLock;

use iced_x86::{Code, Instruction, Mnemonic, RflagsBits};

use crate::x86::cpu::flag;

#[derive(Clone, Copy)]
struct Effect {
    may_change: u64,
    changes: u64,
    reads: u64,
    by_host: u64,
}

/// Status flags that an instruction may change.
pub fn may_change(code: Code) -> u64 {
    effect_of(code).may_change
}

/// Status flags that it surely replaces.
pub fn changes(code: Code) -> u64 {
    effect_of(code).changes
}

/// Status flags that it reads.
pub fn reads(code: Code) -> u64 {
    effect_of(code).reads
}

/// Status flags that it leaves undefined, and that hosts leave otherwise than the interpreter; or that
/// translated code takes for lost, though the interpreter keeps them.
pub fn by_host(code: Code) -> u64 {
    effect_of(code).by_host
}

fn effect_of(code: Code) -> Effect {
    static TABLE: OnceLock<Vec<Effect>> = OnceLock::new();
    TABLE.get_or_init(|| Code::values().map(effect).collect())[code as usize]
}

fn effect(code: Code) -> Effect {
    use Mnemonic as M;
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let changes = status(instruction.rflags_modified());
    let reads = status(instruction.rflags_read());
    match code.mnemonic() {
        // By zero they leave the flags alone.
        M::Shl | M::Sal | M::Shr | M::Sar | M::Shld | M::Shrd | M::Rol | M::Ror => {
            Effect { may_change: flag::STATUS, changes: 0, reads: 0, by_host: 0 }
        }
        // They save them all, but nobody asks for those that died.
        M::Pushf | M::Pushfd | M::Pushfq => Effect { may_change: 0, changes: 0, reads: 0, by_host: 0 },
        M::Syscall | M::Sysenter | M::Int | M::Int1 | M::Int3 => {
            Effect { may_change: flag::STATUS, changes: 0, reads: 0, by_host: 0 }
        }
        // To another task: its own come from its TSS.
        M::Jmp | M::Call if is_far(code) => {
            Effect { may_change: flag::STATUS, changes: 0, reads: 0, by_host: 0 }
        }
        M::Rcl | M::Rcr => Effect { may_change: flag::STATUS, changes: 0, reads: 0, by_host: flag::OF },
        mnemonic => {
            let by_host = if differs(mnemonic) { status(instruction.rflags_undefined()) } else { 0 };
            Effect { may_change: changes, changes, reads, by_host }
        }
    }
}

fn is_far(code: Code) -> bool {
    code.is_jmp_far() || code.is_jmp_far_indirect() || code.is_call_far() || code.is_call_far_indirect()
}

fn differs(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Bt
            | M::Btc
            | M::Btr
            | M::Bts
            | M::Div
            | M::Idiv
            | M::Bsf
            | M::Bsr
            | M::Mul
            | M::Imul
            | M::Lzcnt
            | M::Tzcnt
            | M::Andn
            | M::Bextr
            | M::Blsi
            | M::Blsmsk
            | M::Blsr
            | M::Bzhi
    )
}

fn status(bits: u32) -> u64 {
    let pairs = [
        (RflagsBits::CF, flag::CF),
        (RflagsBits::PF, flag::PF),
        (RflagsBits::AF, flag::AF),
        (RflagsBits::ZF, flag::ZF),
        (RflagsBits::SF, flag::SF),
        (RflagsBits::OF, flag::OF),
    ];
    pairs.iter().filter(|(bit, _)| bits & bit != 0).fold(0, |all, (_, flag)| all | flag)
}

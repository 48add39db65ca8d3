//! What translation does with each instruction: a table over iced-x86's `Code`, made once.

use std::sync::OnceLock;

use iced_x86::{Code, EncodingKind, FlowControl, Instruction, Mnemonic, OpCodeTableKind, RflagsBits};

use crate::x86::exec;

/// How an instruction is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Executed by the host as it is, its registers renamed and its memory operand checked.
    Native,
    /// Handed to the interpreter's handler.
    Emulate,
    /// Nothing to be done: hints.
    Nothing,
    Jump,
    JumpIf,
    Call,
    Return,
    JumpIndirect,
    CallIndirect,
    Push,
    Pop,
    Leave,
    Divide,
    Cli,
    Sti,
    Cld,
    Std,
    Rdtsc,
    Pushf,
    Popf,
    SmapAccess,
    SwapGs,
    /// RDFSBASE and RDGSBASE, WRFSBASE and WRGSBASE.
    ReadBase,
    WriteBase,
    /// MOV from a segment register.
    ReadSelector,
    /// BT, BTS, BTR, BTC of a register's bit number.
    BitString,
    Cpuid,
    StringMove,
}

#[derive(Clone, Copy)]
pub struct Class {
    pub kind: Kind,
    /// It touches XMM or YMM registers, or MXCSR.
    pub vector: bool,
    /// It touches x87 or MMX registers.
    pub x87: bool,
    /// Nothing comes back to what lies behind it.
    pub ends: bool,
}

pub fn class(code: Code) -> Class {
    static TABLE: OnceLock<Vec<Class>> = OnceLock::new();
    TABLE.get_or_init(|| Code::values().map(classify).collect())[code as usize]
}

/// The six status flags, as iced numbers them.
pub const STATUS: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

fn classify(code: Code) -> Class {
    let (vector, x87) = (is_vector(code), is_x87(code));
    let kind = kind(code);
    let comes_back = matches!(kind, Kind::JumpIf | Kind::Call | Kind::CallIndirect);
    let ends = code.flow_control() != FlowControl::Next && !comes_back;
    Class { kind, vector, x87, ends }
}

fn kind(code: Code) -> Kind {
    use Mnemonic as M;
    match code {
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 | Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => return Kind::Jump,
        Code::Call_rel32_64 | Code::Call_rel32_32 => return Kind::Call,
        Code::Retnq | Code::Retnq_imm16 | Code::Retnd | Code::Retnd_imm16 => return Kind::Return,
        Code::Jmp_rm64 | Code::Jmp_rm32 => return Kind::JumpIndirect,
        Code::Call_rm64 | Code::Call_rm32 => return Kind::CallIndirect,
        Code::Push_r64 | Code::Push_rm64 | Code::Pushq_imm8 | Code::Pushq_imm32 => return Kind::Push,
        Code::Push_r32 | Code::Push_rm32 | Code::Pushd_imm8 | Code::Pushd_imm32 => return Kind::Push,
        Code::Pop_r64 | Code::Pop_r32 => return Kind::Pop,
        Code::Leaveq | Code::Leaved => return Kind::Leave,
        Code::Div_rm32 | Code::Div_rm64 | Code::Idiv_rm32 | Code::Idiv_rm64 => return Kind::Divide,
        Code::Pushfq => return Kind::Pushf,
        Code::Popfq => return Kind::Popf,
        Code::Swapgs => return Kind::SwapGs,
        Code::Rdfsbase_r64 | Code::Rdgsbase_r64 => return Kind::ReadBase,
        Code::Wrfsbase_r64 | Code::Wrgsbase_r64 => return Kind::WriteBase,
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg => return Kind::ReadSelector,
        Code::Cpuid => return Kind::Cpuid,
        Code::Rdtscp => return Kind::Rdtsc,
        Code::Bt_rm32_r32 | Code::Bts_rm32_r32 | Code::Btr_rm32_r32 | Code::Btc_rm32_r32 => {
            return Kind::BitString;
        }
        Code::Bt_rm64_r64 | Code::Bts_rm64_r64 | Code::Btr_rm64_r64 | Code::Btc_rm64_r64 => {
            return Kind::BitString;
        }
        Code::Movsb_m8_m8 | Code::Movsd_m32_m32 | Code::Movsq_m64_m64 => return Kind::StringMove,
        Code::Stosb_m8_AL | Code::Stosd_m32_EAX | Code::Stosq_m64_RAX => return Kind::StringMove,
        _ => {}
    }
    if code.is_jcc_short_or_near() {
        let wide = !matches!(
            code.op_code().op0_kind(),
            iced_x86::OpCodeOperandKind::br16_1 | iced_x86::OpCodeOperandKind::br16_2
        );
        return if wide { Kind::JumpIf } else { Kind::Emulate };
    }
    match code.mnemonic() {
        M::Cli => return Kind::Cli,
        M::Sti => return Kind::Sti,
        M::Cld => return Kind::Cld,
        M::Std => return Kind::Std,
        M::Stac | M::Clac => return Kind::SmapAccess,
        M::Rdtsc => return Kind::Rdtsc,
        M::Nop | M::Reservednop | M::Endbr64 | M::Endbr32 => return Kind::Nothing,
        M::Prefetch | M::Prefetchw | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta => {
            return Kind::Nothing;
        }
        mnemonic if must_be_emulated(mnemonic) => return Kind::Emulate,
        _ => {}
    }
    let encoding = code.op_code().encoding();
    let plain = matches!(encoding, EncodingKind::Legacy | EncodingKind::VEX)
        && code.flow_control() == FlowControl::Next
        && !code.is_privileged()
        && !code.is_stack_instruction()
        && !code.is_save_restore_instruction()
        && !code.is_string_instruction()
        && !code.op_code().is_input_output()
        && !names_system_register(code)
        && (exec::handler(code, true).is_some() || exec::handler(code, false).is_some());
    if plain { Kind::Native } else { Kind::Emulate }
}

/// Instructions that a program may execute but whose effect is the guest's, not the host's; that may
/// trap on the host; or whose memory operand is not what the encoding says.
fn must_be_emulated(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Cpuid | M::Rdtscp | M::Rdpmc | M::Rdpid | M::Xgetbv | M::Xsetbv | M::Pause | M::Hlt | M::Lar
            | M::Lsl | M::Verr | M::Verw | M::Arpl | M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw
            | M::Lgdt | M::Lidt | M::Lldt | M::Ltr | M::Lmsw | M::Clts | M::Rdfsbase | M::Rdgsbase
            | M::Wrfsbase | M::Wrgsbase | M::Swapgs | M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss
            | M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu | M::Vmaskmovps | M::Vmaskmovpd
            | M::Vpmaskmovd | M::Vpmaskmovq | M::Xlatb | M::Bound | M::Into | M::Clflush | M::Clflushopt
            | M::Clwb | M::Clzero | M::Cldemote | M::Ldmxcsr | M::Vldmxcsr | M::Fldcw | M::Fldenv
            | M::Fnstenv | M::Fnsave | M::Frstor | M::Fninit | M::Wait | M::Ud0 | M::Ud1 | M::Ud2
            | M::Salc | M::Enter | M::Pusha | M::Popa | M::Div | M::Idiv | M::Aam | M::Aad | M::Movdir64b
            | M::Serialize | M::Monitor | M::Mwait | M::Monitorx | M::Mwaitx | M::Umonitor | M::Umwait
            | M::Tpause | M::Xbegin | M::Xend | M::Xabort | M::Xtest | M::Rsm | M::Int | M::Int1 | M::Int3
            | M::Syscall | M::Sysret | M::Sysenter | M::Sysexit | M::Loop | M::Loope | M::Loopne
            | M::Jcxz | M::Jecxz | M::Jrcxz | M::INVALID
            // On memory they reach beyond their operand; gathers have many.
            | M::Vgatherdps | M::Vgatherdpd | M::Vgatherqps | M::Vgatherqpd | M::Vpgatherdd
            | M::Vpgatherdq | M::Vpgatherqd | M::Vpgatherqq
    )
}

/// Segment, control, debug and test registers among the operands.
fn names_system_register(code: Code) -> bool {
    use iced_x86::OpCodeOperandKind as K;
    let info = code.op_code();
    (0..info.op_count()).any(|i| {
        matches!(
            info.op_kind(i),
            K::seg_reg
                | K::es
                | K::cs
                | K::ss
                | K::ds
                | K::fs
                | K::gs
                | K::cr_reg
                | K::dr_reg
                | K::tr_reg
                | K::mem_vsib32x
                | K::mem_vsib64x
                | K::mem_vsib32y
                | K::mem_vsib64y
        )
    })
}

fn is_x87(code: Code) -> bool {
    let info = code.op_code();
    let opcode = info.op_code();
    let first = if opcode > 0xFF { opcode >> 8 } else { opcode };
    let floating = info.table() == OpCodeTableKind::Normal && (0xD8..=0xDF).contains(&first);
    floating || code.mnemonic() == Mnemonic::Emms || names(code, |name| name.starts_with("mm"))
}

fn is_vector(code: Code) -> bool {
    matches!(
        code.mnemonic(),
        Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr | Mnemonic::Vzeroupper | Mnemonic::Vzeroall
    ) || names(code, |name| name.starts_with("xmm") || name.starts_with("ymm"))
}

fn names(code: Code, wanted: impl Fn(&str) -> bool) -> bool {
    let info = code.op_code();
    (0..info.op_count()).any(|i| wanted(&format!("{:?}", info.op_kind(i))))
}

/// The alignment that the host would check of a memory operand of `size` bytes: a mask.
pub fn alignment(instruction: &Instruction, size: usize) -> u8 {
    use Mnemonic as M;
    let explicit = matches!(
        instruction.mnemonic(),
        M::Vmovaps
            | M::Vmovapd
            | M::Vmovdqa
            | M::Vmovntps
            | M::Vmovntpd
            | M::Vmovntdq
            | M::Vmovntdqa
            | M::Cmpxchg16b
    );
    let exempt = matches!(
        instruction.mnemonic(),
        M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            | M::Pcmpestri
            | M::Pcmpestrm
            | M::Pcmpistri
            | M::Pcmpistrm
    );
    let legacy = size == 16 && instruction.encoding() == EncodingKind::Legacy && is_sse(instruction);
    if explicit || (legacy && !exempt) { size as u8 - 1 } else { 0 }
}

fn is_sse(instruction: &Instruction) -> bool {
    class(instruction.code()).vector
}

/// Which status flags an instruction reads, and which it surely replaces.
pub fn flag_effect(instruction: &Instruction) -> (u32, u32) {
    let (read, modified) = (instruction.rflags_read() & STATUS, instruction.rflags_modified() & STATUS);
    // A shift or rotation by zero leaves the flags alone.
    let counted = matches!(
        instruction.mnemonic(),
        Mnemonic::Shl
            | Mnemonic::Sal
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Rol
            | Mnemonic::Ror
            | Mnemonic::Rcl
            | Mnemonic::Rcr
            | Mnemonic::Shld
            | Mnemonic::Shrd
    );
    if counted {
        let last = instruction.op_count() - 1;
        let certain =
            instruction.op_kind(last) == iced_x86::OpKind::Immediate8 && instruction.immediate8() & 0x1F != 0;
        if !certain {
            return (read, 0);
        }
    }
    (read, modified)
}

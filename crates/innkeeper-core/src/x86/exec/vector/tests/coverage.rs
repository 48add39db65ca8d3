//! What holds for all encodings: there is a handler, it asks whether it may run, it accesses as much
//! memory as it should, aligned if it must be, and it keeps or clears the upper half.

use iced_x86::{Code, Mnemonic as M, OpCodeOperandKind as Kind};

use super::{codes, execute, instruction, operand_kinds, runnable, vex};
use crate::x86::cpu::{Cpu, RDI, RSI, Ymm, cr};
use crate::x86::exec;
use crate::x86::fault::vector::{GP, NM, PF, UD};
use crate::x86::testing::{ABSENT, DATA, machine, poke};

#[test]
fn every_encoding_has_a_handler() {
    let forms = codes().flat_map(|code| operand_kinds(code).into_iter().map(move |memory| (code, memory)));
    let missing: Vec<_> = forms.filter(|&(code, memory)| exec::handler(code, memory).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A machine whose vector registers hold nothing that makes an address or an exception.
fn quiet() -> Box<Cpu> {
    let mut cpu = machine(&[]);
    (cpu.regs[RSI], cpu.regs[RDI]) = (DATA, DATA);
    cpu
}

#[test]
fn nothing_runs_while_the_system_forbids_it() {
    let mut cpu = quiet();
    let all = runnable(&cpu);
    assert!(all.len() > 600);
    for (code, memory) in all {
        let mut try_with = |change: &dyn Fn(&mut Cpu)| {
            let before = (cpu.cr0, cpu.cr4, cpu.xcr0, cpu.protected);
            poke(&cpu, DATA, &[0; 32]);
            change(&mut cpu);
            let result = execute(&mut cpu, &instruction(code, memory));
            (cpu.cr0, cpu.cr4, cpu.xcr0, cpu.protected) = before;
            result
        };
        assert_eq!(try_with(&|_| {}), Ok(()), "{code:?}");
        assert_eq!(try_with(&|cpu| cpu.cr0 |= cr::CR0_TS), Err(NM), "{code:?} with CR0.TS");
        if vex(code) {
            assert_eq!(try_with(&|cpu| cpu.cr0 |= cr::CR0_EM), Ok(()), "{code:?} with CR0.EM");
            assert_eq!(try_with(&|cpu| cpu.cr4 &= !cr::CR4_OSXSAVE), Err(UD), "{code:?} without OSXSAVE");
            assert_eq!(try_with(&|cpu| cpu.xcr0 = 3), Err(UD), "{code:?} without XCR0.YMM");
            assert_eq!(try_with(&|cpu| cpu.protected = false), Err(UD), "{code:?} in real mode");
        } else {
            let both = cr::CR0_EM | cr::CR0_TS;
            assert_eq!(try_with(&|cpu| cpu.cr0 |= both), Err(UD), "{code:?} with CR0.EM");
            assert_eq!(try_with(&|cpu| cpu.cr4 &= !cr::CR4_OSFXSR), Err(UD), "{code:?} without OSFXSR");
        }
    }
}

/// Whether a misaligned memory operand of 16 bytes or more is #GP.
fn must_align(code: Code, size: u64) -> bool {
    let always = [M::Vmovaps, M::Vmovapd, M::Vmovdqa, M::Vmovntps, M::Vmovntpd, M::Vmovntdq, M::Vmovntdqa];
    let never = [
        M::Movups,
        M::Movupd,
        M::Movdqu,
        M::Lddqu,
        M::Pcmpestri,
        M::Pcmpestri64,
        M::Pcmpestrm,
        M::Pcmpestrm64,
        M::Pcmpistri,
        M::Pcmpistrm,
    ];
    let mnemonic = code.mnemonic();
    size >= 16 && if vex(code) { always.contains(&mnemonic) } else { !never.contains(&mnemonic) }
}

#[test]
fn memory_operands_have_their_size_and_alignment() {
    let mut cpu = quiet();
    for (code, _) in runnable(&cpu).into_iter().filter(|&(_, memory)| memory) {
        let info = code.op_code();
        let size = info.memory_size().size() as u64;
        let masked = format!("{:?}", code.mnemonic()).contains("mask") || has_vsib(code);
        if masked {
            continue; // accesses what its mask says
        }
        let mut at = |address| {
            cpu.regs[RSI] = address;
            execute(&mut cpu, &instruction(code, true))
        };
        assert_eq!(at(ABSENT - size), Ok(()), "{code:?}: more than {size} bytes");
        assert_eq!(at(ABSENT), Err(PF), "{code:?}");
        if size > 1 {
            let expected = if must_align(code, size) { GP } else { PF };
            assert_eq!(
                at(ABSENT - size / 2),
                Err(expected),
                "{code:?}: fewer than {size} bytes, or alignment"
            );
        }
    }
}

fn has_vsib(code: Code) -> bool {
    code.op_code().op_kinds().iter().any(|kind| format!("{kind:?}").contains("vsib"))
}

#[test]
fn legacy_encodings_keep_the_upper_half_and_vex_clears_it() {
    const FILL: Ymm = Ymm([0x3FF0_0000_3F80_0000; 4]);
    let mut cpu = quiet();
    let mut seen = 0;
    for (code, memory) in runnable(&cpu) {
        let name = format!("{:?}", code.mnemonic()).to_lowercase();
        if ["comis", "test", "pcmpestr", "pcmpistr"].iter().any(|part| name.contains(part)) {
            continue; // their first operand is a source
        }
        let destination = match code.op_code().op_kind(0) {
            Kind::xmm_reg => 1,
            Kind::xmm_rm => 2,
            Kind::xmm_or_mem if !memory => 2,
            Kind::xmm_vvvv => 3,
            _ => continue,
        };
        cpu.ymm = [FILL; 16];
        cpu.ymm[4] = Ymm::default(); // VSIB indices
        let before = cpu.ymm;
        assert_eq!(execute(&mut cpu, &instruction(code, memory)), Ok(()), "{code:?}");
        let expected = if vex(code) { [0; 2] } else { [FILL.0[2]; 2] };
        assert_eq!(cpu.ymm[destination].0[2..], expected, "{code:?}");
        for other in (0..16).filter(|&other| other != destination) {
            let gather_mask = has_vsib(code) && other == 3;
            let unchanged = cpu.ymm[other] == before[other];
            assert!(unchanged != gather_mask, "{code:?} and register {other}");
        }
        seen += 1;
    }
    assert!(seen > 400);
}

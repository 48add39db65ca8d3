use super::Verify;
use crate::exit::Exit;
use crate::x86::bt::Settings;
use crate::x86::cpu::{Cpu, RIP};
use crate::x86::testing::{self, CODE, DATA, translating};

fn checked(code: &[u8], chained: bool) -> Option<Box<Cpu>> {
    let verify = Some(Verify { first: 1000, every: 0, chained });
    translating(
        code,
        Settings { code_cache_bytes: 1 << 20, exact_flags: true, verify, ..Settings::default() },
    )
}

/// Runs once more, with `from` replaced by `to` in the translation.
fn sabotaged(cpu: &mut Cpu, from: &[u8], to: &[u8]) -> Exit {
    let cache = &mut cpu.translator.as_mut().unwrap().cache;
    let (start, end) = (cache.thunks.end, cache.hot);
    let at = cache.buffer.read(start, end - start).windows(from.len()).position(|bytes| bytes == from);
    cache.buffer.write(start + at.expect("the bytes are in the translation"), to);
    (cpu.regs[RIP], cpu.activity) = (CODE, crate::state::Activity::Runnable);
    cpu.run()
}

const CONSTANT: [u8; 4] = [0x78, 0x56, 0x34, 0x12];
const ANOTHER: [u8; 4] = [0x78, 0x56, 0x35, 0x12];

#[test]
fn a_wrong_register_is_noticed() {
    for chained in [false, true] {
        let Some(mut cpu) = checked(&[0xB8, 0x78, 0x56, 0x34, 0x12, 0x90], chained) else { return };
        assert_eq!(cpu.run(), Exit::Halt);
        let Exit::InternalError(what) = sabotaged(&mut cpu, &CONSTANT, &ANOTHER) else {
            panic!("not noticed")
        };
        assert!(what.contains("rax is 12355678, not 12345678"), "{what}");
        assert!(what.contains("b878563412"), "{what}");
    }
}

#[test]
fn a_wrong_byte_in_memory_is_noticed() {
    // mov dword [rip + DATA], 12345678h
    let distance = ((DATA - CODE - 10) as u32).to_le_bytes();
    let code = [&[0xC7, 0x05][..], &distance, &CONSTANT].concat();
    let Some(mut cpu) = checked(&code, false) else { return };
    assert_eq!(cpu.run(), Exit::Halt);
    assert_eq!(testing::peek(&cpu, DATA), CONSTANT);
    let Exit::InternalError(what) = sabotaged(&mut cpu, &CONSTANT, &ANOTHER) else { panic!("not noticed") };
    assert!(what.contains("byte 20002 is 35, not 34"), "{what}");
}

#[test]
fn loops_calls_and_faults_come_out_the_same() {
    // mov ecx, 9; again: push rcx; call f; pop rcx; loop again; hlt; f: inc dword [rip + DATA]; ret
    let distance = ((DATA - CODE - 22) as u32).to_le_bytes();
    let code = [
        &[0xB9, 9, 0, 0, 0, 0x51, 0xE8, 5, 0, 0, 0, 0x59, 0xE2, 0xF7, 0xF4, 0x90, 0xFF, 0x05][..],
        &distance,
        &[0xC3],
    ]
    .concat();
    for chained in [false, true] {
        let Some(mut cpu) = checked(&code, chained) else { return };
        assert_eq!(cpu.run(), Exit::Halt);
        assert_eq!(testing::peek(&cpu, DATA), [9, 0, 0, 0]);
        assert!(cpu.translator.as_ref().unwrap().verifier.as_ref().unwrap().stretches > 5);
    }
}

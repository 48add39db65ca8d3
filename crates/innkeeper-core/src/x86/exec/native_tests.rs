//! The general-purpose families against the host's processor: random encodings, random operands.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use crate::x86::cpu::{Cpu, RSI, RSP, flag};
use crate::x86::testing::native::{Native, Random};
use crate::x86::testing::{DATA, load, machine, peek, poke, run};

/// One-byte opcodes, by the families they belong to.
const ONE_BYTE: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x10, 0x11, 0x12, 0x13, 0x14,
    0x15, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28, 0x29, 0x2A, 0x2B,
    0x2C, 0x2D, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x63, 0x69, 0x6B,
    0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8D, 0x90, 0x91, 0x93, 0x95, 0x98,
    0x99, 0x9E, 0x9F, 0xA8, 0xA9, 0xB0, 0xB4, 0xB8, 0xBF, 0xC0, 0xC1, 0xC6, 0xC7, 0xD0, 0xD1, 0xD2, 0xD3,
    0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFC, 0xFD, 0xFE, 0xFF,
];
/// The second byte behind 0F.
const TWO_BYTE: &[u8] = &[
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F, 0x90,
    0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA3, 0xA4,
    0xA5, 0xAB, 0xAC, 0xAD, 0xAF, 0xB0, 0xB1, 0xB3, 0xB6, 0xB7, 0xB8, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xBF,
    0xC0, 0xC1, 0xC3, 0xC7, 0xC8, 0xCB, 0xCF,
];
/// The third byte behind 0F 38, with and without F2, F3 and 66.
const THREE_BYTE: &[u8] = &[0xF0, 0xF1, 0xF6];
/// The opcode of map 2 and map 3 under VEX.
const VEX_38: &[u8] = &[0xF2, 0xF3, 0xF5, 0xF6, 0xF7];

/// Random bytes that may well be an instruction of these families.
fn candidate(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pick = |random: &mut Random, from: &[u8]| from[random.below(from.len())];
    // Register operands, or [rsi]; a base of RSI needs REX.B clear.
    let memory = random.below(3) == 0;
    let rex = 0x40 | random.below(16) as u8 & if memory { 0xC } else { 0xF };
    let modrm = if memory { random.next() as u8 & 0x38 | 6 } else { random.next() as u8 | 0xC0 };
    match random.below(10) {
        0..5 => {
            bytes.extend([0x66].iter().take(random.below(2)));
            bytes.extend([rex].iter().take(random.below(2)));
            bytes.push(pick(random, ONE_BYTE));
        }
        5..8 => {
            let prefix: &[u8] = [&[], &[0x66][..], &[0xF3]][random.below(3)];
            bytes.extend_from_slice(prefix);
            bytes.extend([rex].iter().take(random.below(2)));
            bytes.extend_from_slice(&[0x0F, pick(random, TWO_BYTE)]);
        }
        8 => {
            let prefix: &[u8] = [&[], &[0x66][..], &[0xF3], &[0xF2], &[0x66, 0xF2]][random.below(5)];
            bytes.extend_from_slice(prefix);
            bytes.extend([rex].iter().take(random.below(2)));
            bytes.extend_from_slice(&[0x0F, 0x38, pick(random, THREE_BYTE)]);
        }
        _ => {
            // R and B of VEX are inverted; X is kept at 1.
            let (r, b) = (random.next() as u8 & 0x80, if memory { 0x20 } else { random.next() as u8 & 0x20 });
            let map = if random.below(5) == 0 { 3 } else { 2 };
            bytes.extend_from_slice(&[0xC4, r | 0x40 | b | map, random.next() as u8 & 0xFB]);
            bytes.push(if map == 3 { 0xF0 } else { pick(random, VEX_38) });
        }
    }
    bytes.push(modrm);
    bytes.extend_from_slice(&random.next().to_le_bytes());
    bytes
}

/// The decoded candidate, cut to its length, if it can run here.
fn usable(cpu: &Cpu, mut bytes: Vec<u8>) -> Option<(Vec<u8>, Instruction)> {
    let instruction = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
    let code = instruction.code();
    let memory = (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    if instruction.is_invalid() || !cpu.platform.cpuid.allows(code) {
        return None;
    }
    // Not single-instruction work, or not comparable.
    let excluded = [M::Call, M::Jmp, M::Push, M::Pop, M::Rdrand, M::Rdseed, M::Lea, M::Cmpxchg16b, M::Rdpid];
    if excluded.contains(&instruction.mnemonic()) || super::handler(code, memory).is_none() {
        return None;
    }
    let stack =
        (0..instruction.op_count()).any(|i| instruction.op_register(i).full_register() == Register::RSP);
    let pointer = |i| {
        instruction.op_kind(i) == OpKind::Register
            && instruction.op_register(i).full_register() == Register::RSI
    };
    let bit_string = matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc);
    let unfit =
        (0..instruction.op_count()).any(pointer) || instruction.memory_base() != Register::RSI || bit_string;
    if stack || (memory && unfit) {
        return None;
    }
    bytes.truncate(instruction.len());
    Some((bytes, instruction))
}

#[test]
fn the_host_agrees() {
    let (mut random, mut native, mut cpu) = (Random(0x1234_5678_9ABC_DEF1), Native::new(), machine(&[]));
    let mut seen = std::collections::BTreeSet::new();
    let mut compared = 0;
    while compared < 60_000 {
        let Some((bytes, instruction)) = usable(&cpu, candidate(&mut random)) else { continue };
        let mut regs: [u64; 16] = std::array::from_fn(|_| random.operand());
        let memory: [u8; 16] = std::array::from_fn(|i| random.operand().to_le_bytes()[i & 7]);
        let flags = random.next() & (flag::STATUS | flag::DF) | flag::FIXED;
        let touches = instruction.memory_base() == Register::RSI;
        regs[RSP] = cpu.regs[RSP];
        cpu.regs[..16].copy_from_slice(&regs);
        if touches {
            cpu.regs[RSI] = DATA;
            regs[RSI] = native.scratch();
        }
        cpu.rflags = flags;
        poke(&cpu, DATA, &memory);
        native.set_scratch(&memory);
        load(&mut cpu, &bytes);
        if run(&mut cpu).is_err() {
            continue; // division
        }
        let before = regs;
        let mut host_flags = flags;
        native.run(&bytes, &mut regs, &mut host_flags);
        if touches {
            cpu.regs[RSI] = regs[RSI];
        }
        let undefined = u64::from(undefined_flags(&instruction));
        let guest = (&cpu.regs[..16], cpu.rflags & !undefined, peek::<16>(&cpu, DATA));
        let host = (&regs[..], host_flags & !undefined, native.scratch_bytes::<16>());
        assert_eq!(guest, host, "{bytes:02X?} {:?} {before:X?} {flags:X} {memory:X?}", instruction.code());
        seen.insert(instruction.code() as usize);
        compared += 1;
    }
    assert!(seen.len() > 300, "{} encodings", seen.len());
}

/// As RFLAGS bits.
fn undefined_flags(instruction: &Instruction) -> u32 {
    use iced_x86::RflagsBits as Bits;
    let mut undefined = instruction.rflags_undefined();
    // By a multiple of the width, where the flags stay on some processors and not on others.
    if matches!(instruction.mnemonic(), M::Rcl | M::Rcr) {
        undefined |= Bits::OF;
    }
    let bit = |iced: u32, ours: u64| if undefined & iced != 0 { ours as u32 } else { 0 };
    bit(Bits::OF, flag::OF)
        | bit(Bits::SF, flag::SF)
        | bit(Bits::ZF, flag::ZF)
        | bit(Bits::AF, flag::AF)
        | bit(Bits::CF, flag::CF)
        | bit(Bits::PF, flag::PF)
}

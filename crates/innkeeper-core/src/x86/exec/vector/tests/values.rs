//! Results against plain Rust: a sample of every kind of instruction, and the rules of masked access.

use iced_x86::Code;

use super::{execute, instruction};
use crate::x86::cpu::{Cpu, RAX, RCX, RDI, RDX, RSI, Ymm, flag};
use crate::x86::fault::vector::{PF, UD};
use crate::x86::testing::native::Random;
use crate::x86::testing::{ABSENT, DATA, machine, machine_32, peek, poke};

type Bytes = [u8; 32];

fn bytes(ymm: Ymm) -> Bytes {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(ymm.0.map(u64::to_le_bytes).as_flattened());
    bytes
}

fn ymm(bytes: Bytes) -> Ymm {
    Ymm(std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|j| bytes[8 * i + j]))))
}

fn random_ymm(random: &mut Random) -> Ymm {
    Ymm(std::array::from_fn(|_| random.operand()))
}

/// Applies `f` to words of `N` bytes.
fn by_words<const N: usize>(a: Bytes, b: Bytes, f: impl Fn([u8; N], [u8; N]) -> [u8; N]) -> Bytes {
    let mut result = [0; 32];
    for at in (0..32).step_by(N) {
        let word = |from: &Bytes| std::array::from_fn(|i| from[at + i]);
        result[at..at + N].copy_from_slice(&f(word(&a), word(&b)));
    }
    result
}

/// Applies `f` to halves of 16 bytes.
fn by_halves(a: Bytes, b: Bytes, f: impl Fn([u8; 16], [u8; 16]) -> [u8; 16]) -> Bytes {
    by_words::<16>(a, b, f)
}

/// Compares a legacy, a VEX.128 and a VEX.256 encoding with a model of the 256-bit form.
fn agree(codes: [Code; 3], imm: u8, model: impl Fn(Bytes, Bytes) -> Bytes) {
    let (mut cpu, mut random) = (machine(&[]), Random(0x5EED_0001));
    for code in codes {
        if !cpu.platform.cpuid.allows(code) {
            continue;
        }
        let (legacy, wide) = (!super::vex(code), code == codes[2]);
        for _ in 0..50 {
            let (a, b) = (random_ymm(&mut random), random_ymm(&mut random));
            cpu.ymm[if legacy { 1 } else { 3 }] = a;
            cpu.ymm[2] = b;
            let mut op = instruction(code, false);
            op.imm = imm.into();
            execute(&mut cpu, &op).expect("no exception");
            let mut expected = ymm(model(bytes(a), bytes(b)));
            if !wide {
                expected.0[2..].copy_from_slice(if legacy { &a.0[2..] } else { &[0; 2] });
            }
            assert_eq!(cpu.ymm[1], expected, "{code:?} {imm:#x} of {a:x?} and {b:x?}");
        }
    }
}

macro_rules! three {
    ($legacy:ident, $vex:ident, $wide:ident) => {
        [Code::$legacy, Code::$vex, Code::$wide]
    };
}

#[test]
fn packed_integers() {
    let paddb = three!(Paddb_xmm_xmmm128, VEX_Vpaddb_xmm_xmm_xmmm128, VEX_Vpaddb_ymm_ymm_ymmm256);
    agree(paddb, 0, |a, b| std::array::from_fn(|i| a[i].wrapping_add(b[i])));
    let pandn = three!(Pandn_xmm_xmmm128, VEX_Vpandn_xmm_xmm_xmmm128, VEX_Vpandn_ymm_ymm_ymmm256);
    agree(pandn, 0, |a, b| std::array::from_fn(|i| !a[i] & b[i]));
    let pcmpgtw = three!(Pcmpgtw_xmm_xmmm128, VEX_Vpcmpgtw_xmm_xmm_xmmm128, VEX_Vpcmpgtw_ymm_ymm_ymmm256);
    agree(pcmpgtw, 0, |a, b| {
        by_words::<2>(
            a,
            b,
            |a, b| if i16::from_le_bytes(a) > i16::from_le_bytes(b) { [0xFF; 2] } else { [0; 2] },
        )
    });
    let psubusb = three!(Psubusb_xmm_xmmm128, VEX_Vpsubusb_xmm_xmm_xmmm128, VEX_Vpsubusb_ymm_ymm_ymmm256);
    agree(psubusb, 0, |a, b| std::array::from_fn(|i| a[i].saturating_sub(b[i])));
    let pmuludq = three!(Pmuludq_xmm_xmmm128, VEX_Vpmuludq_xmm_xmm_xmmm128, VEX_Vpmuludq_ymm_ymm_ymmm256);
    agree(pmuludq, 0, |a, b| {
        let low = |word: [u8; 8]| u64::from_le_bytes(word) & 0xFFFF_FFFF;
        by_words::<8>(a, b, |a, b| (low(a) * low(b)).to_le_bytes())
    });
}

#[test]
fn shuffles_work_within_halves() {
    let pshufb = three!(Pshufb_xmm_xmmm128, VEX_Vpshufb_xmm_xmm_xmmm128, VEX_Vpshufb_ymm_ymm_ymmm256);
    agree(pshufb, 0, |a, b| {
        by_halves(a, b, |a, b| b.map(|index| if index & 0x80 != 0 { 0 } else { a[index as usize & 15] }))
    });
    let punpckhbw =
        three!(Punpckhbw_xmm_xmmm128, VEX_Vpunpckhbw_xmm_xmm_xmmm128, VEX_Vpunpckhbw_ymm_ymm_ymmm256);
    agree(punpckhbw, 0, |a, b| {
        by_halves(a, b, |a, b| std::array::from_fn(|i| if i & 1 == 0 { a[8 + i / 2] } else { b[8 + i / 2] }))
    });
    for imm in [0, 1, 7, 15, 16, 20, 31, 32, 255] {
        let palignr = three!(
            Palignr_xmm_xmmm128_imm8,
            VEX_Vpalignr_xmm_xmm_xmmm128_imm8,
            VEX_Vpalignr_ymm_ymm_ymmm256_imm8
        );
        agree(palignr, imm, |a, b| {
            by_halves(a, b, |a, b| {
                let joined = [b, a].concat();
                std::array::from_fn(|i| joined.get(i + usize::from(imm)).copied().unwrap_or(0))
            })
        });
        let pshufd =
            three!(Pshufd_xmm_xmmm128_imm8, VEX_Vpshufd_xmm_xmmm128_imm8, VEX_Vpshufd_ymm_ymmm256_imm8);
        agree(pshufd, imm, |_, b| {
            by_halves(b, b, |b, _| {
                std::array::from_fn(|i| b[4 * (imm as usize >> (2 * (i / 4)) & 3) + i % 4])
            })
        });
    }
}

#[test]
fn shifts_by_immediates_go_to_the_right_register() {
    let mut cpu = machine(&[]);
    let source = Ymm([0x8000_0000_0000_0001, 0x0123_4567_89AB_CDEF, 2, 3]);
    cpu.ymm[2] = source;
    let mut op = instruction(Code::Psrlq_xmm_imm8, false);
    op.imm = 4;
    execute(&mut cpu, &op).expect("SSE2");
    assert_eq!(cpu.ymm[2], Ymm([0x0800_0000_0000_0000, 0x0012_3456_789A_BCDE, 2, 3]));
    let mut op = instruction(Code::Pslldq_xmm_imm8, false);
    op.imm = 8;
    execute(&mut cpu, &op).expect("SSE2");
    assert_eq!(cpu.ymm[2], Ymm([0, 0x0800_0000_0000_0000, 2, 3]));
    if cpu.platform.cpuid.allows(Code::VEX_Vpsrldq_ymm_ymm_imm8) {
        cpu.ymm[2] = source;
        let mut op = instruction(Code::VEX_Vpsrldq_ymm_ymm_imm8, false);
        op.imm = 15;
        execute(&mut cpu, &op).expect("AVX2");
        assert_eq!((cpu.ymm[2], cpu.ymm[3]), (source, Ymm([1, 0, 0, 0])));
    }
}

#[test]
fn all_predicates_of_vcmpsd() {
    // What each predicate answers for less, equal, greater and unordered (Intel SDM vol. 2, table 3-1).
    const TRUTH: [u8; 16] = [
        0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, 0b1010, 0b1001, 0b1011, 0b0000,
        0b0101, 0b0110, 0b0100, 0b1111,
    ];
    let code = Code::VEX_Vcmpsd_xmm_xmm_xmmm64_imm8;
    let mut cpu = machine(&[]);
    if !cpu.platform.cpuid.allows(code) {
        return;
    }
    let pairs = [(1.0, 2.0f64), (2.0, 2.0), (3.0, 2.0), (f64::NAN, 2.0)];
    for predicate in 0..32u8 {
        for (relation, (a, b)) in pairs.into_iter().enumerate() {
            (cpu.ymm[3].0[0], cpu.ymm[2].0[0]) = (a.to_bits(), b.to_bits());
            cpu.mxcsr = 0x1F80;
            let mut op = instruction(code, false);
            op.imm = predicate.into();
            execute(&mut cpu, &op).expect("all is masked");
            let holds = TRUTH[predicate as usize & 15] >> relation & 1 != 0;
            assert_eq!(cpu.ymm[1].0[0], if holds { u64::MAX } else { 0 }, "{predicate} of {a} and {b}");
            // 0, 3, 4, 7 are quiet, and so are 9 to 10 and so on: the upper sixteen are the other way round.
            let signaling = matches!(predicate & 3, 1 | 2) != (predicate & 16 != 0);
            assert_eq!(cpu.mxcsr & 1 != 0, signaling && relation == 3, "{predicate} of {a} and {b}");
        }
    }
}

#[test]
fn known_answers_of_aes_sha_and_carry_less_products() {
    let mut cpu = machine(&[]);
    let words = |high: u64, low: u64| Ymm([low, high, 0, 0]);
    let mut run = |code, imm, a, b| {
        if !cpu.platform.cpuid.allows(code) {
            return None;
        }
        (cpu.ymm[1], cpu.ymm[2]) = (a, b);
        let mut op = instruction(code, false);
        op.imm = imm;
        execute(&mut cpu, &op).expect("no exception");
        Some(cpu.ymm[1])
    };
    // One round of the example in Intel's AES-NI white paper.
    let (state, key) = (
        words(0x7B5B_5465_7374_5665, 0x6374_6F72_5D53_475D),
        words(0x4869_2853_6861_7929, 0x5B47_7565_726F_6E5D),
    );
    let expected = words(0xA831_1C2F_9FDB_A3C5, 0x8B10_4B58_DED7_E595);
    assert!(run(Code::Aesenc_xmm_xmmm128, 0, state, key).is_none_or(|found| found == expected));
    // (x + 1)(x² + 1) = x³ + x² + x + 1; the immediate chooses quadwords.
    let (a, b) = (words(3, 0), words(0, 5));
    assert!(run(Code::Pclmulqdq_xmm_xmmm128_imm8, 1, a, b).is_none_or(|found| found == words(0, 15)));
    assert!(run(Code::Pclmulqdq_xmm_xmmm128_imm8, 0x10, a, b).is_none_or(|found| found == words(0, 0)));
    // SHA1MSG1: each word xored with the one two before it.
    let (a, b) = (words(0x0000_0001_0000_0002, 0x0000_0004_0000_0008), words(0x0000_0010_0000_0020, 0));
    let expected = words(0x0000_0005_0000_000A, 0x0000_0014_0000_0028);
    assert!(run(Code::Sha1msg1_xmm_xmmm128, 0, a, b).is_none_or(|found| found == expected));
}

#[test]
fn string_comparison_finds_the_end_and_the_first_match() {
    let mut cpu = machine(&[]);
    let code = Code::Pcmpistri_xmm_xmmm128_imm8;
    if !cpu.platform.cpuid.allows(code) {
        return;
    }
    let text = |text: &[u8]| {
        let mut padded = [0; 32];
        padded[..text.len()].copy_from_slice(text);
        ymm(padded)
    };
    (cpu.ymm[1], cpu.ymm[2]) = (text(b"aeiou"), text(b"rhythm and"));
    cpu.regs[RCX] = u64::MAX;
    execute(&mut cpu, &instruction(code, false)).expect("SSE4.2");
    assert_eq!(cpu.regs[RCX], 7);
    assert_eq!(cpu.rflags & flag::STATUS, flag::CF | flag::ZF | flag::SF);
    // Explicit lengths: two bytes of the second operand, so nothing is found.
    (cpu.regs[RAX], cpu.regs[RDX]) = (5, (-2i64) as u64);
    execute(&mut cpu, &instruction(Code::Pcmpestri_xmm_xmmm128_imm8, false)).expect("SSE4.2");
    assert_eq!((cpu.regs[RCX], cpu.rflags & flag::CF), (16, 0));
    // With REX.W the lengths are 64 bits wide.
    (cpu.regs[RAX], cpu.regs[RDX]) = (1 << 40, 1 << 40);
    execute(&mut cpu, &instruction(Code::Pcmpestri64_xmm_xmmm128_imm8, false)).expect("SSE4.2");
    assert_eq!(cpu.regs[RCX], 7);
}

/// A machine with eight dwords at DATA and AVX2, if the host has it.
fn avx2() -> Option<Box<Cpu>> {
    let mut cpu = machine(&[]);
    cpu.regs[RSI] = DATA;
    for i in 0..8u32 {
        poke(&cpu, DATA + 4 * u64::from(i), &(0x100 + i).to_le_bytes());
    }
    cpu.platform.cpuid.allows(Code::VEX_Vpgatherdd_ymm_vm32y_ymm).then_some(cpu)
}

fn dwords(values: [u32; 8]) -> Ymm {
    let mut all = [0; 32];
    all.copy_from_slice(values.map(u32::to_le_bytes).as_flattened());
    ymm(all)
}

const ON: u32 = 0x8000_0000;

#[test]
fn a_gather_takes_what_its_mask_says_and_clears_the_mask() {
    let Some(mut cpu) = avx2() else { return };
    let mut op = instruction(Code::VEX_Vpgatherdd_ymm_vm32y_ymm, true);
    op.scale = 2;
    cpu.ymm[1] = dwords([9; 8]);
    cpu.ymm[3] = dwords([ON, 0, ON, 0, ON, 0, ON, 0x7FFF_FFFF]);
    cpu.ymm[4] = dwords([7, 6, 5, 4, 3, 2, u32::MAX, 0]);
    cpu.regs[RSI] = DATA + 4;
    op.disp = 4u64.wrapping_neg();
    assert_eq!(execute(&mut cpu, &op), Ok(()));
    assert_eq!(cpu.ymm[1], dwords([0x107, 9, 0x105, 9, 0x103, 9, 0, 9]));
    assert_eq!(cpu.ymm[3], Ymm::default());
}

#[test]
fn a_gather_that_faults_can_go_on() {
    let Some(mut cpu) = avx2() else { return };
    let mut op = instruction(Code::VEX_Vpgatherdd_xmm_vm32x_xmm, true);
    let far = (ABSENT - DATA) as u32;
    cpu.ymm[1] = dwords([9; 8]);
    cpu.ymm[3] = dwords([ON; 8]);
    cpu.ymm[4] = dwords([0, 4, far, 8, 0, 0, 0, 0]);
    assert_eq!(execute(&mut cpu, &op), Err(PF));
    assert_eq!(cpu.fault.address, ABSENT);
    assert_eq!(cpu.ymm[1].0[..2], dwords([0x100, 0x101, 9, 9, 0, 0, 0, 0]).0[..2]);
    assert_eq!(cpu.ymm[3], dwords([0, 0, u32::MAX, u32::MAX, 0, 0, 0, 0]));
    cpu.ymm[4] = dwords([far, far, 12, 8, 0, 0, 0, 0]);
    assert_eq!(execute(&mut cpu, &op), Ok(()));
    assert_eq!(cpu.ymm[1], dwords([0x100, 0x101, 0x103, 0x102, 0, 0, 0, 0]));
    op.is4 = op.vvvv;
    assert_eq!(execute(&mut cpu, &op), Err(UD));
}

#[test]
fn masked_moves_touch_only_chosen_elements() {
    let Some(mut cpu) = avx2() else { return };
    cpu.ymm[3] = dwords([ON, ON, 0, 0, 0, 0, 0, 0]);
    cpu.ymm[1] = dwords([1, 2, 3, 4, 5, 6, 7, 8]);
    cpu.regs[RSI] = ABSENT - 8;
    assert_eq!(execute(&mut cpu, &instruction(Code::VEX_Vpmaskmovd_m256_ymm_ymm, true)), Ok(()));
    assert_eq!(peek::<8>(&cpu, ABSENT - 8), [1, 0, 0, 0, 2, 0, 0, 0]);
    cpu.ymm[1] = dwords([9; 8]);
    assert_eq!(execute(&mut cpu, &instruction(Code::VEX_Vmaskmovps_ymm_ymm_m256, true)), Ok(()));
    assert_eq!(cpu.ymm[1], dwords([1, 2, 0, 0, 0, 0, 0, 0]));
    // A store that cannot be done whole is not done at all.
    cpu.ymm[3] = dwords([ON, ON, ON, 0, 0, 0, 0, 0]);
    assert_eq!(execute(&mut cpu, &instruction(Code::VEX_Vpmaskmovd_m256_ymm_ymm, true)), Err(PF));
    assert_eq!(peek::<8>(&cpu, ABSENT - 8), [1, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn maskmovdqu_writes_chosen_bytes_at_rdi() {
    let mut cpu = machine(&[]);
    cpu.regs[RDI] = DATA;
    cpu.ymm[1] = ymm(std::array::from_fn(|i| i as u8 + 1));
    cpu.ymm[2] = ymm(std::array::from_fn(|i| if i % 3 == 0 { 0x80 } else { 0x7F }));
    assert_eq!(execute(&mut cpu, &instruction(Code::Maskmovdqu_rDI_xmm_xmm, false)), Ok(()));
    assert_eq!(peek::<16>(&cpu, DATA), [1, 0, 0, 4, 0, 0, 7, 0, 0, 10, 0, 0, 13, 0, 0, 16]);
}

#[test]
fn outside_64_bit_mode_vzeroall_clears_eight_registers() {
    for (mut cpu, cleared) in [(machine(&[]), 16), (machine_32(&[]), 8)] {
        if !cpu.platform.cpuid.allows(Code::VEX_Vzeroall) {
            return;
        }
        (cpu.cr4, cpu.xcr0) = (machine(&[]).cr4, 7);
        cpu.ymm = [Ymm([1; 4]); 16];
        assert_eq!(execute(&mut cpu, &instruction(Code::VEX_Vzeroall, false)), Ok(()));
        assert_eq!(cpu.ymm.iter().filter(|register| **register == Ymm::default()).count(), cleared);
    }
}

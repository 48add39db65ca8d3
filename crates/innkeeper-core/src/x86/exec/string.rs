//! String instructions: MOVS CMPS STOS LODS SCAS, with REP, REPE and REPNE. Source: Intel SDM vol. 1,
//! 7.3.9; vol. 2, REP. INS and OUTS are system instructions.
//!
//! A repeated instruction works in runs that stay within a page of each operand, on host memory
//! where that is plain RAM, else element by element. It can be interrupted between runs, with the
//! registers as far advanced as the work is.

use iced_x86::Code;

use super::flags::Alu;
use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, RAX, RCX, RDI, RSI, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, REP, REPNE, seg};
use crate::x86::paging::Access;
use crate::x86::word::Int;

// ---- registers at the instruction's address size ------------------------------------------------

#[inline(always)]
fn get(cpu: &Cpu, op: &Op, register: usize) -> u64 {
    cpu.regs[register] & op.address_mask
}

/// Writing 32 bits clears the upper half, writing 16 does not touch the rest.
#[inline(always)]
fn put(cpu: &mut Cpu, op: &Op, register: usize, value: u64) {
    let kept = if op.address_mask == 0xFFFF { !0xFFFF } else { 0 };
    cpu.regs[register] = cpu.regs[register] & kept | value & op.address_mask;
}

/// Moves rSI or rDI past `elements` elements, in the direction that DF says.
#[inline(always)]
fn advance<T: Int>(cpu: &mut Cpu, op: &Op, register: usize, elements: u64) {
    let bytes = elements * T::BYTES;
    let from = cpu.regs[register];
    let to = if cpu.has_flag(flag::DF) { from.wrapping_sub(bytes) } else { from.wrapping_add(bytes) };
    put(cpu, op, register, to);
}

// ---- repetition ---------------------------------------------------------------------------------

/// What one run did: how many elements, and whether a comparison ended the repetition.
struct Done {
    elements: u64,
    finished: bool,
}

/// Runs `run`, which does from one up to the given number of elements and moves rSI and rDI, or
/// faults having done nothing.
#[inline(always)]
fn repeat(
    cpu: &mut Cpu,
    op: &Op,
    run: impl Fn(&mut Cpu, &Op, u64) -> Result<Done, Stop>,
) -> Result<(), Stop> {
    let flags = cpu.rflags;
    loop {
        let left = get(cpu, op, RCX);
        if left == 0 {
            return Ok(());
        }
        // A single step is one element (SDM vol. 3, 17.3.1.4).
        let wanted = if cpu.has_flag(flag::TF) { 1 } else { left };
        let done = match run(cpu, op, wanted) {
            Ok(done) => done,
            Err(stop) => {
                // A fault restores the flags that comparisons have set (SDM vol. 2, REP).
                cpu.rflags = flags;
                return Err(stop);
            }
        };
        let left = left.wrapping_sub(done.elements);
        put(cpu, op, RCX, left);
        if done.finished || left == 0 {
            return Ok(());
        }
        if cpu.leave || cpu.attention.bits() != 0 || cpu.has_flag(flag::TF) {
            return Err(cpu.repeat_later(op));
        }
    }
}

/// A run of elements in one page of plain RAM: the first one's host address, the others above or
/// below it as DF says. `None` if not even one is.
fn run_of<T: Int>(
    cpu: &mut Cpu,
    op: &Op,
    operand: (u8, usize),
    wanted: u64,
    access: Access,
) -> Result<Option<(*mut T, u64)>, Stop> {
    let (segment, register) = operand;
    let offset = get(cpu, op, register);
    if cpu.has_flag(flag::DF) {
        return run_below::<T>(cpu, segment, offset, wanted, access);
    }
    // The offset must not wrap within the run.
    let room = (op.address_mask - offset).saturating_add(1) / T::BYTES;
    let bytes = wanted.min(room).min(PAGE_SIZE) * T::BYTES;
    let found = cpu.run_of_bytes(segment, offset, bytes, access)?;
    let whole = found.map(|(pointer, bytes)| (pointer.cast::<T>(), bytes / T::BYTES));
    Ok(whole.filter(|&(_, elements)| elements > 0))
}

/// A descending run, that begins at `offset`.
fn run_below<T: Int>(
    cpu: &mut Cpu,
    segment: u8,
    offset: u64,
    wanted: u64,
    access: Access,
) -> Result<Option<(*mut T, u64)>, Stop> {
    let Some((first, bytes)) = cpu.run_of_bytes(segment, offset, T::BYTES, access)? else { return Ok(None) };
    if bytes < T::BYTES {
        return Ok(None);
    }
    // Host pages are aligned as guest pages are.
    let below = (first as u64 % PAGE_SIZE).min(offset) / T::BYTES;
    let elements = wanted.min(below + 1);
    let length = elements * T::BYTES;
    let lowest = offset - (length - T::BYTES);
    let all = cpu.run_of_bytes(segment, lowest, length, access)?;
    Ok(all.filter(|&(_, bytes)| bytes == length).map(|_| (first.cast(), elements)))
}

/// The address of element `index` of a run.
#[inline(always)]
fn element<T>(first: *mut T, index: u64, down: bool) -> *mut T {
    let index = index as isize;
    first.wrapping_offset(if down { -index } else { index })
}

// ---- MOVS ---------------------------------------------------------------------------------------

fn movs<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.prefixes & (REP | REPNE) == 0 { movs_one::<T>(cpu, op) } else { repeat(cpu, op, movs_run::<T>) }
}

#[inline(always)]
fn movs_one<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.load::<T>(op.segment, get(cpu, op, RSI))?;
    cpu.store(seg::ES, get(cpu, op, RDI), value)?;
    advance::<T>(cpu, op, RSI, 1);
    advance::<T>(cpu, op, RDI, 1);
    Ok(())
}

fn movs_run<T: Int>(cpu: &mut Cpu, op: &Op, wanted: u64) -> Result<Done, Stop> {
    let from = run_of::<T>(cpu, op, (op.segment, RSI), wanted, Access::Read)?;
    let to = run_of::<T>(cpu, op, (seg::ES, RDI), wanted, Access::Write)?;
    let (Some((from, readable)), Some((to, writable))) = (from, to) else {
        movs_one::<T>(cpu, op)?;
        return Ok(Done { elements: 1, finished: false });
    };
    let elements = readable.min(writable);
    // SAFETY: both runs are that many elements of guest RAM, from `run_of`.
    unsafe { copy_elements(from, to, elements, cpu.has_flag(flag::DF)) };
    advance::<T>(cpu, op, RSI, elements);
    advance::<T>(cpu, op, RDI, elements);
    Ok(Done { elements, finished: false })
}

/// Copies element by element in the given direction, or as if: where the destination runs into
/// source not yet read, what was written is read again.
///
/// # Safety
/// `elements` elements from `from` and `to` on, in that direction, must be readable and writable.
unsafe fn copy_elements<T: Int>(from: *mut T, to: *mut T, elements: u64, down: bool) {
    let last = elements - 1;
    let (low_from, low_to) =
        if down { (element(from, last, true), element(to, last, true)) } else { (from, to) };
    // How far the destination lies ahead of the source, in the direction of travel.
    let (ahead, of) = if down { (from, to) } else { (to, from) };
    let ahead = (ahead as u64).wrapping_sub(of as u64);
    let smears = ahead != 0 && ahead < elements * T::BYTES;
    // SAFETY: the caller vouches for both runs.
    unsafe {
        if !smears {
            return std::ptr::copy(low_from.cast::<u8>(), low_to.cast(), (elements * T::BYTES) as usize);
        }
        for index in 0..elements {
            let value = element(from, index, down).read_unaligned();
            element(to, index, down).write_unaligned(value);
        }
    }
}

// ---- STOS and LODS ------------------------------------------------------------------------------

fn stos<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.prefixes & (REP | REPNE) == 0 { stos_one::<T>(cpu, op) } else { repeat(cpu, op, stos_run::<T>) }
}

#[inline(always)]
fn stos_one<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.reg::<T>(RAX as u8);
    cpu.store(seg::ES, get(cpu, op, RDI), value)?;
    advance::<T>(cpu, op, RDI, 1);
    Ok(())
}

fn stos_run<T: Int>(cpu: &mut Cpu, op: &Op, wanted: u64) -> Result<Done, Stop> {
    let Some((to, elements)) = run_of::<T>(cpu, op, (seg::ES, RDI), wanted, Access::Write)? else {
        stos_one::<T>(cpu, op)?;
        return Ok(Done { elements: 1, finished: false });
    };
    let down = cpu.has_flag(flag::DF);
    let lowest = if down { element(to, elements - 1, true) } else { to };
    let value = cpu.reg::<T>(RAX as u8);
    // SAFETY: the run is that many elements of writable guest RAM, from `run_of`.
    unsafe { fill(lowest, value, elements) };
    advance::<T>(cpu, op, RDI, elements);
    Ok(Done { elements, finished: false })
}

/// Fills `elements` elements from `lowest` up.
///
/// # Safety
/// They must be writable.
unsafe fn fill<T: Int>(lowest: *mut T, value: T, elements: u64) {
    let byte = value.as_bytes()[0];
    let uniform = value.as_bytes().iter().all(|&other| other == byte);
    // SAFETY: the caller vouches for the run.
    unsafe {
        if uniform {
            return lowest.cast::<u8>().write_bytes(byte, (elements * T::BYTES) as usize);
        }
        for index in 0..elements {
            element(lowest, index, false).write_unaligned(value);
        }
    }
}

fn lods<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.prefixes & (REP | REPNE) == 0 {
        return lods_one::<T>(cpu, op);
    }
    repeat(cpu, op, |cpu, op, _| {
        lods_one::<T>(cpu, op)?;
        Ok(Done { elements: 1, finished: false })
    })
}

#[inline(always)]
fn lods_one<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.load::<T>(op.segment, get(cpu, op, RSI))?;
    cpu.set_reg(RAX as u8, value);
    advance::<T>(cpu, op, RSI, 1);
    Ok(())
}

// ---- CMPS and SCAS ------------------------------------------------------------------------------

/// The comparison result that goes on: REPE equal, REPNE unequal.
#[inline(always)]
fn goes_on(op: &Op, equal: bool) -> bool {
    equal == (op.prefixes & REPNE == 0)
}

/// Sets the flags of `a - b`. Tells whether they are equal.
#[inline(always)]
fn compare<T: Alu>(cpu: &mut Cpu, a: T, b: T) -> bool {
    let (_, status) = a.sub(b);
    cpu.set_status(status);
    a == b
}

fn cmps<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.prefixes & (REP | REPNE) == 0 {
        return cmps_one::<T>(cpu, op).map(|_| ());
    }
    repeat(cpu, op, cmps_run::<T>)
}

#[inline(always)]
fn cmps_one<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<bool, Stop> {
    let b = cpu.load::<T>(seg::ES, get(cpu, op, RDI))?;
    let a = cpu.load::<T>(op.segment, get(cpu, op, RSI))?;
    advance::<T>(cpu, op, RSI, 1);
    advance::<T>(cpu, op, RDI, 1);
    Ok(compare(cpu, a, b))
}

fn cmps_run<T: Alu>(cpu: &mut Cpu, op: &Op, wanted: u64) -> Result<Done, Stop> {
    // Of two bad operands, processors report ES:RDI.
    let b = run_of::<T>(cpu, op, (seg::ES, RDI), wanted, Access::Read)?;
    let a = run_of::<T>(cpu, op, (op.segment, RSI), wanted, Access::Read)?;
    let (Some((a, a_length)), Some((b, b_length))) = (a, b) else {
        let equal = cmps_one::<T>(cpu, op)?;
        return Ok(Done { elements: 1, finished: !goes_on(op, equal) });
    };
    let down = cpu.has_flag(flag::DF);
    // SAFETY: for indices below both lengths: the runs are guest RAM, from `run_of`.
    let pair = |index| unsafe {
        (element(a, index, down).read_unaligned(), element(b, index, down).read_unaligned())
    };
    let done = scan(op, a_length.min(b_length), pair, cpu);
    advance::<T>(cpu, op, RSI, done.elements);
    advance::<T>(cpu, op, RDI, done.elements);
    Ok(done)
}

fn scas<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if op.prefixes & (REP | REPNE) == 0 {
        return scas_one::<T>(cpu, op).map(|_| ());
    }
    repeat(cpu, op, scas_run::<T>)
}

#[inline(always)]
fn scas_one<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<bool, Stop> {
    let b = cpu.load::<T>(seg::ES, get(cpu, op, RDI))?;
    advance::<T>(cpu, op, RDI, 1);
    let a = cpu.reg::<T>(RAX as u8);
    Ok(compare(cpu, a, b))
}

fn scas_run<T: Alu>(cpu: &mut Cpu, op: &Op, wanted: u64) -> Result<Done, Stop> {
    let Some((b, length)) = run_of::<T>(cpu, op, (seg::ES, RDI), wanted, Access::Read)? else {
        let equal = scas_one::<T>(cpu, op)?;
        return Ok(Done { elements: 1, finished: !goes_on(op, equal) });
    };
    let (a, down) = (cpu.reg::<T>(RAX as u8), cpu.has_flag(flag::DF));
    // SAFETY: for indices below the length: the run is guest RAM, from `run_of`.
    let pair = |index| unsafe { (a, element(b, index, down).read_unaligned()) };
    let done = scan(op, length, pair, cpu);
    advance::<T>(cpu, op, RDI, done.elements);
    Ok(done)
}

/// Compares pairs until one ends the repetition, or all `length` (at least one) are done; sets the
/// flags of the last.
#[inline(always)]
fn scan<T: Alu>(op: &Op, length: u64, pair: impl Fn(u64) -> (T, T), cpu: &mut Cpu) -> Done {
    let mut last = pair(0);
    for index in 0..length {
        last = pair(index);
        if !goes_on(op, last.0 == last.1) {
            compare(cpu, last.0, last.1);
            return Done { elements: index + 1, finished: true };
        }
    }
    compare(cpu, last.0, last.1);
    Done { elements: length, finished: false }
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Movsb_m8_m8 => movs::<u8>,
        Code::Movsw_m16_m16 => movs::<u16>,
        Code::Movsd_m32_m32 => movs::<u32>,
        Code::Movsq_m64_m64 => movs::<u64>,
        Code::Stosb_m8_AL => stos::<u8>,
        Code::Stosw_m16_AX => stos::<u16>,
        Code::Stosd_m32_EAX => stos::<u32>,
        Code::Stosq_m64_RAX => stos::<u64>,
        Code::Lodsb_AL_m8 => lods::<u8>,
        Code::Lodsw_AX_m16 => lods::<u16>,
        Code::Lodsd_EAX_m32 => lods::<u32>,
        Code::Lodsq_RAX_m64 => lods::<u64>,
        Code::Cmpsb_m8_m8 => cmps::<u8>,
        Code::Cmpsw_m16_m16 => cmps::<u16>,
        Code::Cmpsd_m32_m32 => cmps::<u32>,
        Code::Cmpsq_m64_m64 => cmps::<u64>,
        Code::Scasb_AL_m8 => scas::<u8>,
        Code::Scasw_AX_m16 => scas::<u16>,
        Code::Scasd_EAX_m32 => scas::<u32>,
        Code::Scasq_RAX_m64 => scas::<u64>,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{Cpu, RAX, RCX, RDI, RIP, RSI, flag};
    use crate::x86::fault::{Stop, vector};
    use crate::x86::testing::native::Random;
    use crate::x86::testing::{ABSENT, CODE, DATA, READ_ONLY, load, machine, machine_16, peek, poke, run};

    const REP: u8 = 0xF3;
    const REPNE: u8 = 0xF2;

    fn with(code: &[u8], rsi: u64, rdi: u64, rcx: u64) -> Box<Cpu> {
        let mut cpu = machine(code);
        (cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]) = (rsi, rdi, rcx);
        cpu
    }

    #[test]
    fn an_overlapping_copy_repeats_its_pattern() {
        let mut cpu = with(&[REP, 0xA4], DATA, DATA + 3, 9); // rep movsb
        poke(&cpu, DATA, b"abc");
        run(&mut cpu).unwrap();
        assert_eq!(&peek::<12>(&cpu, DATA), b"abcabcabcabc");
        assert_eq!((cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]), (DATA + 9, DATA + 12, 0));
    }

    #[test]
    fn a_fault_leaves_the_registers_at_the_element() {
        let mut cpu = with(&[REP, 0x48, 0xA5], DATA, READ_ONLY - 20, 10); // rep movsq, the third crosses
        poke(&cpu, DATA, &[7; 80]);
        let fault = run(&mut cpu).unwrap_err();
        assert_eq!((fault.vector, fault.address), (vector::PF, READ_ONLY));
        assert_eq!((cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]), (DATA + 16, READ_ONLY - 4, 8));
        assert_eq!(cpu.rip(), CODE);
        assert_eq!(peek(&cpu, READ_ONLY - 20), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn a_faulting_comparison_restores_the_flags() {
        let mut cpu = with(&[REP, 0xA6], DATA, ABSENT - 4, 10); // repe cmpsb
        cpu.rflags = flag::FIXED | flag::CF;
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::PF);
        assert_eq!((cpu.regs[RCX], cpu.rflags), (6, flag::FIXED | flag::CF));
    }

    #[test]
    fn a_count_of_zero_touches_nothing() {
        for code in [&[REP, 0xA4][..], &[REP, 0xAA], &[REPNE, 0xAE], &[REP, 0xA6], &[REP, 0xAC]] {
            let mut cpu = with(code, ABSENT, ABSENT, 0);
            cpu.rflags = flag::FIXED | flag::STATUS;
            run(&mut cpu).unwrap();
            assert_eq!(cpu.rflags, flag::FIXED | flag::STATUS);
        }
    }

    #[test]
    fn address_size_cuts_the_registers() {
        let upper = 0xFFFF_FFFF_0000_0000;
        let mut cpu = with(&[REP, 0x67, 0xAB], 0, upper | DATA, upper | 2); // a32 rep stosd
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RDI], cpu.regs[RCX]), (DATA + 8, 0));
        let mut cpu = machine_16(&[REP, 0xA4]);
        let base = cpu.segments[0].base;
        poke(&cpu, base + 0xFFFE, b"xy");
        poke(&cpu, base + 0x100, b"...");
        (cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]) = (0x1_FFFE, 0x2_0100, 0x3_0003);
        run(&mut cpu).unwrap();
        assert_eq!(&peek::<2>(&cpu, base + 0x100), b"xy");
        assert_eq!(peek::<1>(&cpu, base + 0x102), peek::<1>(&cpu, base)); // SI wrapped
        assert_eq!((cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]), (0x1_0001, 0x2_0103, 0x3_0000));
    }

    #[test]
    fn single_stepping_sees_each_element() {
        let mut cpu = with(&[REP, 0xAA], 0, DATA, 3); // rep stosb
        let (op, _) = cpu.fetch_one(CODE).unwrap();
        cpu.rflags |= flag::TF;
        for (left, result) in [(2, Err(Stop::Leave)), (1, Err(Stop::Leave)), (0, Ok(()))] {
            cpu.regs[RIP] = CODE + 2;
            assert_eq!((op.handler)(&mut cpu, &op), result);
            assert_eq!((cpu.regs[RCX], cpu.rip()), (left, if left > 0 { CODE } else { CODE + 2 }));
        }
    }

    /// Does element by element what `code` says.
    fn model(cpu: &mut Cpu, opcode: u8, width: u64, prefix: Option<u8>) {
        let element = |cpu: &Cpu, address: u64| {
            let bytes: [u8; 8] = peek(cpu, address);
            u64::from_le_bytes(bytes) & (u64::MAX >> (64 - 8 * width))
        };
        let step = if cpu.has_flag(flag::DF) { width.wrapping_neg() } else { width };
        while prefix.is_none() || cpu.regs[RCX] != 0 {
            let mask = u64::MAX >> (64 - 8 * width);
            let (si, di, al) = (cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RAX] & mask);
            let (moves_si, moves_di, pair) = match opcode & 0xFE {
                0xA4 => (true, true, Err(element(cpu, si))),
                0xA6 => (true, true, Ok((element(cpu, si), element(cpu, di)))),
                0xAA => (false, true, Err(al)),
                _ => (false, true, Ok((al, element(cpu, di)))),
            };
            if let Err(value) = pair {
                poke(cpu, di, &value.to_le_bytes()[..width as usize]);
            }
            cpu.regs[RSI] = if moves_si { si.wrapping_add(step) } else { si };
            cpu.regs[RDI] = if moves_di { di.wrapping_add(step) } else { di };
            let Some(prefix) = prefix else { return };
            cpu.regs[RCX] -= 1;
            if let Ok((a, b)) = pair {
                cpu.set_flag(flag::ZF, a == b);
                cpu.set_flag(flag::CF, a < b);
                if (a == b) != (prefix == REP) {
                    return;
                }
            }
        }
    }

    /// Three pages of few different bytes, so that comparisons go on for a while.
    fn fill(cpu: &Cpu, seed: u64) {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..0x3000).map(|_| u8::from(random.below(40) == 0)).collect();
        poke(cpu, DATA, &bytes);
    }

    #[test]
    fn runs_do_what_single_elements_do() {
        let (mut fast, mut slow, mut random) = (machine(&[]), machine(&[]), Random(0xABCD_EF01_2345_6789));
        for round in 0..600 {
            let (opcode, width) = ([0xA4, 0xA6, 0xAA, 0xAE][random.below(4)], [1, 2, 4, 8][random.below(4)]);
            let prefix = [None, Some(REP), Some(REP), Some(REPNE)][random.below(4)];
            let mut code: Vec<u8> = prefix.into_iter().collect();
            code.extend_from_slice(match width {
                2 => &[0x66][..],
                8 => &[0x48],
                _ => &[],
            });
            code.push(opcode | u8::from(width > 1));
            let middle = DATA + 0x1400;
            let near = |random: &mut Random| middle + random.below(0x800) as u64;
            let from = near(&mut random);
            let close = random.below(2) == 0;
            let to = if close { from - 20 + random.below(40) as u64 } else { near(&mut random) };
            let count = random.below(0x1000 / width as usize) as u64;
            let down = random.below(2) as u64 * flag::DF;
            for cpu in [&mut fast, &mut slow] {
                fill(cpu, round + 1);
                load(cpu, &code);
                (cpu.regs[RSI], cpu.regs[RDI], cpu.regs[RCX]) = (from, to, count);
                (cpu.regs[RAX], cpu.rflags) = (round & 1, flag::FIXED | down);
            }
            run(&mut fast).unwrap();
            model(&mut slow, opcode, width, prefix);
            let what = format!("{code:02X?} from {from:x} to {to:x} count {count} {down:x}");
            for register in [RSI, RDI, RCX] {
                assert_eq!(fast.regs[register], slow.regs[register], "{what}");
            }
            if prefix.is_some() {
                let seen = flag::ZF | flag::CF;
                assert_eq!(fast.rflags & seen, slow.rflags & seen, "{what}");
            }
            assert!(peek::<0x3000>(&fast, DATA) == peek::<0x3000>(&slow, DATA), "{what}");
        }
    }
}

//! The stack: PUSH POP PUSHA POPA ENTER LEAVE PUSHF POPF. Source: Intel SDM vol. 2; vol. 1, 6.2 and 6.5.
//! Segment registers are pushed and popped among the system instructions.

use iced_x86::{Code, Mnemonic};

use super::operand::{Operand, by_form, by_width, operands, read};
use crate::x86::attention::LOCAL;
use crate::x86::cpu::{Cpu, RBP, RSP, cr, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::word::Int;

impl Cpu {
    /// `push` in 64-bit mode, where SS has no base and RSP all 64 bits. Tells whether it did.
    #[inline(always)]
    pub(super) fn quick_push<T: Int>(&mut self, value: T) -> bool {
        let sp = self.regs[RSP].wrapping_sub(T::BYTES);
        let done = self.quick_store(sp, value);
        if done {
            self.regs[RSP] = sp;
        }
        done
    }
}

/// Pushes what `value` gives; it must not capture anything.
#[inline(always)]
fn push<T: Int>(cpu: &mut Cpu, op: &Op, value: impl Fn(&Cpu, &Op) -> T) -> Result<(), Stop> {
    let new = value(cpu, op);
    if cpu.quick_push(new) { Ok(()) } else { push_slowly(cpu, op, value) }
}

#[inline(never)]
fn push_slowly<T: Int>(cpu: &mut Cpu, op: &Op, value: impl Fn(&Cpu, &Op) -> T) -> Result<(), Stop> {
    let value = value(cpu, op);
    cpu.push(value)
}

fn push_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    push::<T>(cpu, op, |cpu, op| cpu.reg(op.reg))
}

fn push_imm<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    push::<T>(cpu, op, |_, op| T::truncate(op.imm))
}

fn push_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = read::<T, M>(cpu, op)?;
    cpu.push(value)
}

/// POP rSP leaves the value read, not the increment.
fn pop_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let sp = cpu.regs[RSP];
    match cpu.quick_load::<T>(sp) {
        Some(value) => {
            cpu.regs[RSP] = sp.wrapping_add(T::BYTES);
            cpu.set_reg(op.reg, value);
            Ok(())
        }
        None => pop_slowly::<T>(cpu, op),
    }
}

#[inline(never)]
fn pop_slowly<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.pop::<T>()?;
    cpu.set_reg(op.reg, value);
    Ok(())
}

/// An address based on rSP is computed after the increment.
fn pop_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let before = cpu.regs[RSP];
    let value = cpu.pop::<T>()?;
    if !M {
        cpu.set_reg(op.rm, value);
        return Ok(());
    }
    let written = cpu.store_op(op, value);
    if written.is_err() {
        cpu.regs[RSP] = before;
    }
    written
}

/// PUSHA: the stored rSP is that before the first push.
fn pusha<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let sp = cpu.sp();
    let slot = |number: u64| sp.wrapping_sub((number + 1) * T::BYTES) & cpu.stack_mask;
    let slots: [u64; 8] = std::array::from_fn(|number| slot(number as u64));
    // All or nothing: the stack may wrap, so each slot is looked at by itself.
    for at in slots {
        cpu.probe_write(seg::SS, at, T::BYTES)?;
    }
    for (number, at) in slots.into_iter().enumerate() {
        let value = cpu.reg::<T>(number as u8);
        cpu.store(seg::SS, at, value)?;
    }
    cpu.set_sp(slots[7]);
    Ok(())
}

fn popa<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let sp = cpu.sp();
    let mut values = [T::truncate(0); 8];
    for (number, value) in values.iter_mut().enumerate() {
        let at = sp.wrapping_add((7 - number as u64) * T::BYTES) & cpu.stack_mask;
        *value = cpu.load(seg::SS, at)?;
    }
    for (number, value) in values.into_iter().enumerate().filter(|&(number, _)| number != RSP) {
        cpu.set_reg(number as u8, value);
    }
    cpu.set_sp(sp.wrapping_add(8 * T::BYTES));
    Ok(())
}

/// ENTER: a frame with `imm2 & 31` pointers to enclosing frames and `imm` bytes of room.
fn enter<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (room, level) = (op.imm & 0xFFFF, u64::from(op.imm2) & 31);
    let (mask, before) = (cpu.stack_mask, cpu.regs[RSP]);
    let done = push_frame::<T>(cpu, level);
    let Ok(frame) = done else {
        cpu.regs[RSP] = before;
        return done.map(|_| ());
    };
    let sp = cpu.sp().wrapping_sub(room) & mask;
    // The new top of stack must be writable, though nothing is written there.
    if let Err(stop) = cpu.probe_write(seg::SS, sp, T::BYTES) {
        cpu.regs[RSP] = before;
        return Err(stop);
    }
    cpu.set_reg(RBP as u8, frame);
    cpu.set_sp(sp);
    Ok(())
}

/// Pushes rBP and the enclosing frames' pointers; gives the new frame's.
fn push_frame<T: Int>(cpu: &mut Cpu, level: u64) -> Result<T, Stop> {
    let saved = cpu.reg::<T>(RBP as u8);
    cpu.push(saved)?;
    let frame = T::truncate(cpu.regs[RSP]);
    let mut from = cpu.regs[RBP];
    for _ in 1..level {
        from = from.wrapping_sub(T::BYTES);
        let pointer = cpu.load::<T>(seg::SS, from & cpu.stack_mask)?;
        cpu.push(pointer)?;
    }
    if level > 0 {
        cpu.push(frame)?;
    }
    Ok(frame)
}

fn leave<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let frame = cpu.regs[RBP];
    match cpu.quick_load::<T>(frame) {
        Some(saved) => {
            cpu.regs[RSP] = frame.wrapping_add(T::BYTES);
            cpu.set_reg(RBP as u8, saved);
            Ok(())
        }
        None => leave_slowly::<T>(cpu, op),
    }
}

#[inline(never)]
fn leave_slowly<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let frame = cpu.regs[RBP] & cpu.stack_mask;
    let saved = cpu.load::<T>(seg::SS, frame)?;
    cpu.set_sp(frame.wrapping_add(T::BYTES));
    cpu.set_reg(RBP as u8, saved);
    Ok(())
}

// ---- flags --------------------------------------------------------------------------------------

/// Whether virtual-8086 code may not touch the real IF: IOPL < 3.
fn v86_restricted(cpu: &Cpu) -> bool {
    cpu.v86() && cpu.iopl() < 3
}

/// Restricted virtual-8086 code works on VIF in place of IF, in the 16-bit forms only.
fn vme<T: Int>(cpu: &Cpu) -> bool {
    T::BYTES == 2 && cpu.cr4 & cr::CR4_VME != 0
}

fn pushf<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let mut image = cpu.rflags & !(flag::VM | flag::RF);
    if v86_restricted(cpu) {
        if !vme::<T>(cpu) {
            return Err(cpu.gp(0));
        }
        let virtual_if = if cpu.has_flag(flag::VIF) { flag::IF } else { 0 };
        image = image & !flag::IF | flag::IOPL | virtual_if;
    }
    cpu.push(T::truncate(image))
}

/// All that POPF may ever load.
const POPPED: u64 =
    flag::STATUS | flag::TF | flag::IF | flag::DF | flag::IOPL | flag::NT | flag::AC | flag::ID;

fn popf<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if v86_restricted(cpu) {
        return popf_virtual::<T>(cpu, op);
    }
    let width = if T::BYTES == 2 { 0xFFFF } else { u64::MAX };
    let mut loaded = POPPED & width;
    if cpu.cpl > 0 {
        loaded &= !flag::IOPL;
    }
    if cpu.cpl > cpu.iopl() {
        loaded &= !flag::IF;
    }
    let image = cpu.pop::<T>()?.zero_extend();
    load_flags(cpu, image, loaded);
    if T::BYTES > 2 {
        cpu.rflags &= !flag::RF;
    }
    Ok(())
}

/// POPF with CR4.VME in virtual-8086 mode with IOPL < 3 (Intel SDM vol. 3, 21.3).
fn popf_virtual<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if !vme::<T>(cpu) {
        return Err(cpu.gp(0));
    }
    let before = cpu.regs[RSP];
    let image = cpu.pop::<T>()?.zero_extend();
    let wants_interrupts = image & flag::IF != 0;
    if image & flag::TF != 0 || (wants_interrupts && cpu.has_flag(flag::VIP)) {
        cpu.regs[RSP] = before;
        return Err(cpu.gp(0));
    }
    load_flags(cpu, image, POPPED & 0xFFFF & !(flag::IOPL | flag::IF));
    cpu.set_flag(flag::VIF, wants_interrupts);
    Ok(())
}

/// Loads the flags in `mask` and sees to what hangs on them.
#[inline(always)]
fn load_flags(cpu: &mut Cpu, image: u64, mask: u64) {
    let changed = (cpu.rflags ^ image) & mask;
    cpu.rflags ^= changed;
    if changed & (flag::TF | flag::IF | flag::AC) == 0 {
        return;
    }
    if changed & flag::IF != 0 {
        cpu.stats.interrupt_flag_changes.add(1);
        // One that comes later raises attention itself.
        if cpu.has_flag(flag::IF) && cpu.lapic.has_interrupt() {
            cpu.attention.raise(LOCAL);
            cpu.leave = true;
        }
    }
    if changed & flag::TF != 0 {
        cpu.leave = true; // the run loop steps from here
    }
    if changed & flag::AC != 0 {
        cpu.refresh_tlb_view();
    }
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    Some(match (code.mnemonic(), operands(code)) {
        (Mnemonic::Push, [Operand::Reg(width), ..]) => by_width!(2, width, push_reg),
        (Mnemonic::Push, [Operand::Rm(width), ..]) => by_form!(2, width, memory, push_rm),
        (Mnemonic::Pop, [Operand::Reg(width), ..]) => by_width!(2, width, pop_reg),
        (Mnemonic::Pop, [Operand::Rm(width), ..]) => by_form!(2, width, memory, pop_rm),
        _ => return select_implied(code),
    })
}

fn select_implied(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Push_imm16 | Code::Pushw_imm8 => push_imm::<u16>,
        Code::Pushd_imm32 | Code::Pushd_imm8 => push_imm::<u32>,
        Code::Pushq_imm32 | Code::Pushq_imm8 => push_imm::<u64>,
        Code::Pushaw => pusha::<u16>,
        Code::Pushad => pusha::<u32>,
        Code::Popaw => popa::<u16>,
        Code::Popad => popa::<u32>,
        Code::Enterw_imm16_imm8 => enter::<u16>,
        Code::Enterd_imm16_imm8 => enter::<u32>,
        Code::Enterq_imm16_imm8 => enter::<u64>,
        Code::Leavew => leave::<u16>,
        Code::Leaved => leave::<u32>,
        Code::Leaveq => leave::<u64>,
        Code::Pushfw => pushf::<u16>,
        Code::Pushfd => pushf::<u32>,
        Code::Pushfq => pushf::<u64>,
        Code::Popfw => popf::<u16>,
        Code::Popfd => popf::<u32>,
        Code::Popfq => popf::<u64>,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::attention::LOCAL;
    use crate::x86::cpu::{RAX, RBP, RBX, RSP, cr, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{
        ABSENT, DATA, STACK, enter_user_mode, machine, machine_16, machine_32, peek, poke, run,
    };

    #[test]
    fn pop_to_memory_addresses_behind_the_increment() {
        let mut cpu = machine(&[0x8F, 0x44, 0x24, 0x08]); // pop [rsp + 8]
        cpu.regs[RSP] = STACK - 0x20;
        poke(&cpu, STACK - 0x20, &7u64.to_le_bytes());
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RSP], STACK - 0x18);
        assert_eq!(peek(&cpu, STACK - 0x10), 7u64.to_le_bytes());
    }

    #[test]
    fn a_pop_that_cannot_store_stays() {
        let mut cpu = machine(&[0x8F, 0x03]); // pop [rbx]
        (cpu.regs[RSP], cpu.regs[RBX]) = (STACK - 8, ABSENT);
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::PF);
        assert_eq!(cpu.regs[RSP], STACK - 8);
    }

    #[test]
    fn rsp_is_pushed_as_it_was_and_popped_as_read() {
        let mut cpu = machine(&[0x54, 0x58]); // push rsp; pop rax
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RSP]), (STACK, STACK));
        let mut cpu = machine(&[0x68, 0x44, 0x33, 0x22, 0x81, 0x5C]); // push 81223344h; pop rsp
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RSP], 0xFFFF_FFFF_8122_3344);
    }

    #[test]
    fn pusha_and_popa_mirror_each_other_but_for_rsp() {
        for (mut cpu, width) in [(machine_16(&[0x60]), 2), (machine_32(&[0x60]), 4)] {
            for number in (0..8).filter(|&number| number != RSP) {
                cpu.regs[number] = 0x1111_1111 * (number as u64 + 1);
            }
            let before = cpu.regs;
            run(&mut cpu).unwrap();
            assert_eq!(cpu.regs[RSP], before[RSP] - 8 * width);
            let stack = cpu.segments[2].base + cpu.regs[RSP];
            let stored: [u8; 4] = peek(&cpu, stack + 3 * width);
            let mask = if width == 2 { 0xFFFF } else { 0xFFFF_FFFF };
            assert_eq!(u64::from(u32::from_le_bytes(stored)) & mask, before[RSP] & mask);
            poke(&cpu, stack + 3 * width, &[0; 2]); // POPA ignores it
            crate::x86::testing::load(&mut cpu, &[0x61]);
            for number in (0..8).filter(|&number| number != RSP) {
                cpu.regs[number] = 0;
            }
            run(&mut cpu).unwrap();
            let expected: [u64; 8] = std::array::from_fn(|number| before[number] & mask);
            assert_eq!(cpu.regs[..8], expected);
        }
    }

    #[test]
    fn a_real_mode_stack_wraps() {
        let mut cpu = machine_16(&[0x50]); // push ax
        (cpu.regs[RAX], cpu.regs[RSP]) = (0x1234, 0xABCD_0000);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RSP], 0xABCD_FFFE);
        assert_eq!(peek(&cpu, cpu.segments[2].base + 0xFFFE), [0x34, 0x12]);
    }

    #[test]
    fn enter_copies_the_display() {
        let mut cpu = machine_32(&[0xC8, 0x20, 0x00, 0x03]); // enter 20h, 3
        cpu.regs[RBP] = DATA + 0x100;
        poke(&cpu, DATA + 0xF8, &[2, 0, 0, 0, 1, 0, 0, 0]);
        run(&mut cpu).unwrap();
        let top = STACK as u32;
        let words: [u8; 16] = peek(&cpu, STACK - 16);
        let expected = [top - 4, 2, 1, DATA as u32 + 0x100].map(u32::to_le_bytes).concat();
        assert_eq!(words.as_slice(), expected);
        assert_eq!((cpu.regs[RBP], cpu.regs[RSP]), (STACK - 4, STACK - 16 - 0x20));
    }

    #[test]
    fn leave_undoes_enter() {
        let mut cpu = machine(&[0xC8, 0x10, 0x00, 0x00, 0xC9]); // enter 10h, 0; leave
        cpu.regs[RBP] = 0x1234_5678_9ABC;
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RBP], cpu.regs[RSP]), (0x1234_5678_9ABC, STACK));
    }

    #[test]
    fn enter_without_room_changes_nothing() {
        let mut cpu = machine(&[0xC8, 0x10, 0x00, 0x00]);
        (cpu.regs[RBP], cpu.regs[RSP]) = (5, ABSENT + 0x1008);
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::PF);
        assert_eq!((cpu.regs[RBP], cpu.regs[RSP]), (5, ABSENT + 0x1008));
    }

    #[test]
    fn popf_loads_what_the_privilege_allows() {
        let all = 0x3F_7FD5;
        // (user, IOPL before, IF after, IOPL after)
        for (user, iopl, interrupts, iopl_after) in
            [(false, 0, true, 3), (true, 0, false, 0), (true, 3, true, 3)]
        {
            let mut cpu = machine(&[0x9D]); // popfq
            if user {
                enter_user_mode(&mut cpu);
            }
            cpu.rflags = flag::FIXED | iopl << 12 | flag::RF;
            cpu.regs[RSP] -= 8;
            poke(&cpu, STACK - 8, &u64::to_le_bytes(all));
            run(&mut cpu).unwrap();
            assert_eq!((cpu.has_flag(flag::IF), u64::from(cpu.iopl())), (interrupts, iopl_after));
            assert_eq!(cpu.rflags & (flag::VM | flag::RF | flag::VIF | flag::VIP), 0);
            let free = flag::STATUS | flag::TF | flag::DF | flag::NT | flag::AC | flag::ID;
            assert_eq!(cpu.rflags & free, free);
        }
    }

    #[test]
    fn popf_lets_a_waiting_interrupt_in() {
        for waiting in [false, true] {
            let mut cpu = machine(&[0x9D]); // popfq
            cpu.lapic.mmio_write(0xF0, 0x1FF); // enabled
            if waiting {
                cpu.platform.fabric.signal_msi(0xFEE0_0000, 0x41);
            }
            cpu.attention.take(u32::MAX); // a run loop with IF clear has taken it
            cpu.regs[RSP] -= 8;
            poke(&cpu, STACK - 8, &flag::IF.to_le_bytes());
            run(&mut cpu).unwrap();
            assert_eq!((cpu.attention.bits() & LOCAL != 0, cpu.leave), (waiting, waiting));
        }
    }

    #[test]
    fn pushf_hides_rf() {
        let mut cpu = machine(&[0x9C, 0x58]); // pushfq; pop rax
        cpu.rflags = flag::FIXED | flag::RF | flag::CF | flag::IF;
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], flag::FIXED | flag::CF | flag::IF);
    }

    #[test]
    fn virtual_8086_flags_need_iopl_3_or_vme() {
        let machine = |iopl: u64, vme: bool, code: &[u8]| {
            let mut cpu = machine_16(code);
            cpu.cr0 |= cr::CR0_PE;
            cpu.cr4 |= if vme { cr::CR4_VME } else { 0 };
            cpu.rflags = flag::FIXED | flag::VM | iopl << 12 | flag::VIF;
            cpu.refresh_mode();
            cpu
        };
        let mut cpu = machine(0, false, &[0x9C, 0x58]); // pushf; pop ax
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
        let mut cpu = machine(3, false, &[0x9C, 0x58]);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX] & 0xFFFF, flag::FIXED | flag::IOPL);
        let mut cpu = machine(0, true, &[0x9C, 0x58]);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX] & 0xFFFF, flag::FIXED | flag::IOPL | flag::IF);
        let mut cpu = machine(0, true, &[0x50, 0x9D]); // push ax; popf
        cpu.regs[RAX] = flag::CF;
        run(&mut cpu).unwrap();
        assert_eq!(cpu.rflags & (flag::CF | flag::VIF | flag::IOPL), flag::CF);
        let mut cpu = machine(0, true, &[0x50, 0x9D]);
        cpu.rflags |= flag::VIP;
        cpu.regs[RAX] = flag::IF;
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
    }
}

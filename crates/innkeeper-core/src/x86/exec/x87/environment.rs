//! FSTENV, FLDENV, FSAVE, FRSTOR in their four layouts.
//! Source: Intel SDM vol. 1, 8.1.10, figures 8-9 to 8-12.

use iced_x86::Code;

use super::{EXCEPTIONS, available, enter};
use crate::x86::cpu::{Cpu, X87};
use crate::x86::exec::xsave::{load_bytes, store_bytes};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fnstenv_m14byte => fnstenv::<14>,
        Code::Fnstenv_m28byte => fnstenv::<28>,
        Code::Fldenv_m14byte => fldenv::<14>,
        Code::Fldenv_m28byte => fldenv::<28>,
        Code::Fnsave_m94byte => fnsave::<14, 94>,
        Code::Fnsave_m108byte => fnsave::<28, 108>,
        Code::Frstor_m94byte => frstor::<14, 94>,
        Code::Frstor_m108byte => frstor::<28, 108>,
        _ => return None,
    })
}

fn fnstenv<const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    let image = environment::<N>(&cpu.x87, cpu.protected);
    store_bytes(cpu, op, &image)?;
    cpu.x87.control |= EXCEPTIONS;
    Ok(())
}

fn fldenv<const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let image = load_bytes::<N>(cpu, op)?;
    let protected = cpu.protected;
    set_environment(&mut cpu.x87, &image, protected);
    Ok(())
}

fn fnsave<const E: usize, const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    let mut image = [0; N];
    image[..E].copy_from_slice(&environment::<E>(&cpu.x87, cpu.protected));
    for (i, slot) in image[E..].chunks_exact_mut(10).enumerate() {
        slot.copy_from_slice(&cpu.x87.st(i as u8).to_le_bytes()[..10]);
    }
    store_bytes(cpu, op, &image)?;
    cpu.x87.init();
    Ok(())
}

fn frstor<const E: usize, const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let image = load_bytes::<N>(cpu, op)?;
    let protected = cpu.protected;
    let fpu = &mut cpu.x87;
    set_environment(fpu, &image[..E], protected);
    for (i, slot) in image[E..].chunks_exact(10).enumerate() {
        let mut value = [0; 16];
        value[..10].copy_from_slice(slot);
        let at = fpu.physical(i as u8);
        fpu.regs[at] = u128::from_le_bytes(value);
    }
    Ok(())
}

/// The seven fields, as 16-bit or 32-bit slots. Upper halves of 32-bit slots read as ones where the
/// field has only 16 bits.
fn environment<const N: usize>(fpu: &X87, protected: bool) -> [u8; N] {
    let (ip, dp) = (fpu.instruction_pointer as u32, fpu.data_pointer as u32);
    let opcode = u32::from(fpu.opcode & 0x7FF);
    let words = [fpu.control, fpu.status_word(), fpu.tag_word()].map(|word| 0xFFFF_0000 | u32::from(word));
    let pointers = match (N == 28, protected) {
        (true, true) => [ip, opcode << 16, dp, 0xFFFF_0000],
        (true, false) => {
            [0xFFFF_0000 | ip & 0xFFFF, ip >> 16 << 12 | opcode, 0xFFFF_0000 | dp & 0xFFFF, dp >> 16 << 12]
        }
        (false, true) => [ip, 0, dp, 0],
        (false, false) => [ip, (ip >> 16 & 0xF) << 12 | opcode, dp, (dp >> 16 & 0xF) << 12],
    };
    let mut image = [0; N];
    let size = N / 7;
    for (slot, value) in image.chunks_exact_mut(size).zip(words.into_iter().chain(pointers)) {
        slot.copy_from_slice(&value.to_le_bytes()[..size]);
    }
    image
}

fn set_environment(fpu: &mut X87, image: &[u8], protected: bool) {
    let size = image.len() / 7;
    let mut fields = [0u32; 7];
    for (field, slot) in fields.iter_mut().zip(image.chunks_exact(size)) {
        *field = slot.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
    }
    let [control, status, tags, ip, ip_high, dp, dp_high] = fields;
    fpu.set_control(control as u16);
    fpu.set_status_word(status as u16);
    fpu.set_tag_word(tags as u16);
    let (instruction, data, opcode) = match (size == 4, protected) {
        (true, true) => (ip, dp, ip_high >> 16),
        (true, false) => (ip & 0xFFFF | ip_high >> 12 << 16, dp & 0xFFFF | dp_high >> 12 << 16, ip_high),
        (false, true) => (ip, dp, 0),
        (false, false) => (ip | ip_high >> 12 << 16, dp | dp_high >> 12 << 16, ip_high),
    };
    fpu.instruction_pointer = u64::from(instruction);
    fpu.data_pointer = u64::from(data);
    fpu.opcode = (opcode & 0x7FF) as u16;
}

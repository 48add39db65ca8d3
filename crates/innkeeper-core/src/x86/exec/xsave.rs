//! FXSAVE, FXRSTOR and the XSAVE family for the x87, SSE and AVX components.
//!
//! Source: Intel SDM vol. 1, 10.5 (FXSAVE) and chapter 13 (XSAVE); vol. 2. Standard and compacted
//! images share their layout here, because AVX is the only component beyond the legacy region.
//! XSAVEOPT skips components in their initial state, never unmodified ones (it need not). Left out:
//! the supervisor forms XSAVES and XRSTORS.

use iced_x86::Code;

use crate::x86::cpu::{Cpu, RAX, RDX, X87, cr};
use crate::x86::fault::{Stop, vector};
use crate::x86::mmu;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::paging::Access;

// State-component bits (Intel SDM vol. 1, 13.1).
const X87_STATE: u64 = 1 << 0;
const SSE_STATE: u64 = 1 << 1;
const AVX_STATE: u64 = 1 << 2;
/// XCOMP_BV: the image is compacted.
const COMPACTED: u64 = 1 << 63;

// Offsets in the image.
const MXCSR: usize = 24;
const REGISTERS: usize = 32;
const XMM: usize = 160;
const XSTATE_BV: usize = 512;
const XCOMP_BV: usize = 520;
const HEADER_END: usize = 576;
const AVX: usize = 576;
/// Bytes of an image with every component.
pub const IMAGE: usize = 832;

/// MXCSR bits that may be set.
const MXCSR_MASK: u32 = 0xFFFF;
const MXCSR_INITIAL: u32 = 0x1F80;

type Image = [u8; IMAGE];

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Fxsave_m512byte => fxsave::<false>,
        Code::Fxsave64_m512byte => fxsave::<true>,
        Code::Fxrstor_m512byte => fxrstor::<false>,
        Code::Fxrstor64_m512byte => fxrstor::<true>,
        Code::Xsave_mem => xsave::<false, PLAIN>,
        Code::Xsave64_mem => xsave::<true, PLAIN>,
        Code::Xsaveopt_mem => xsave::<false, OPTIMIZED>,
        Code::Xsaveopt64_mem => xsave::<true, OPTIMIZED>,
        Code::Xsavec_mem => xsave::<false, COMPACT>,
        Code::Xsavec64_mem => xsave::<true, COMPACT>,
        Code::Xrstor_mem => xrstor::<false>,
        Code::Xrstor64_mem => xrstor::<true>,
        _ => return None,
    })
}

// ---- the image as CpuStateV1 carries it -------------------------------------------------------------

/// The vCPU's x87, SSE and AVX state as a standard XSAVE image with 64-bit pointers.
pub fn xsave_image(cpu: &Cpu) -> Vec<u8> {
    let mut image = image::<true>(cpu);
    put(&mut image, XSTATE_BV, X87_STATE | SSE_STATE | AVX_STATE);
    image.to_vec()
}

/// Loads what [`xsave_image`] gives, or any standard image. Bytes beyond its end read as zero, so an
/// empty one is the initial state.
pub fn load_xsave_image(cpu: &mut Cpu, bytes: &[u8]) {
    let mut image = [0; IMAGE];
    let length = bytes.len().min(IMAGE);
    image[..length].copy_from_slice(&bytes[..length]);
    let present = word(&image, XSTATE_BV);
    let mxcsr = word(&image, MXCSR) as u32 & MXCSR_MASK;
    restore::<true>(cpu, &image, X87_STATE | SSE_STATE | AVX_STATE, present, 16);
    cpu.mxcsr = if present & (SSE_STATE | AVX_STATE) != 0 { mxcsr } else { MXCSR_INITIAL };
}

/// The FXSAVE image that gives the host's x87 the guest's registers; its vector part is zero.
pub fn fxsave_image(cpu: &Cpu) -> [u8; 512] {
    let mut legacy = [0; 512];
    legacy.copy_from_slice(&image::<true>(cpu)[..512]);
    legacy[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    legacy
}

/// The x87 registers of an FXSAVE image.
pub fn x87_from_image(legacy: &[u8; 512]) -> X87 {
    let mut image = [0; IMAGE];
    image[..512].copy_from_slice(legacy);
    x87_from::<true>(&image)
}

fn word(image: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&image[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn put(image: &mut Image, at: usize, value: u64) {
    image[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Every component, with an empty header. `WIDE`: pointers of 64 bits (REX.W), else 32 bits and a
/// selector that reads as zero.
fn image<const WIDE: bool>(cpu: &Cpu) -> Image {
    let mut image = [0; IMAGE];
    let fpu = &cpu.x87;
    let mask = if WIDE { u64::MAX } else { u64::from(u32::MAX) };
    let control = u64::from(fpu.control) | u64::from(fpu.status_word()) << 16;
    put(&mut image, 0, control | u64::from(fpu.valid) << 32 | u64::from(fpu.opcode & 0x7FF) << 48);
    put(&mut image, 8, fpu.instruction_pointer & mask);
    put(&mut image, 16, fpu.data_pointer & mask);
    put(&mut image, MXCSR, u64::from(cpu.mxcsr) | u64::from(MXCSR_MASK) << 32);
    for i in 0..8 {
        let value = fpu.regs[usize::from(fpu.top.wrapping_add(i) & 7)];
        let at = REGISTERS + 16 * usize::from(i);
        image[at..at + 10].copy_from_slice(&value.to_le_bytes()[..10]);
    }
    for (i, register) in cpu.ymm.iter().enumerate() {
        for (half, at) in [(0, XMM + 16 * i), (2, AVX + 16 * i)] {
            put(&mut image, at, register.0[half]);
            put(&mut image, at + 8, register.0[half + 1]);
        }
    }
    image
}

/// Loads the components in `wanted`: from the image where `present` says so, else their initial
/// state. Only the first `count` vector registers are touched. MXCSR is the caller's.
fn restore<const WIDE: bool>(cpu: &mut Cpu, image: &Image, wanted: u64, present: u64, count: usize) {
    if wanted & X87_STATE != 0 {
        cpu.x87 = if present & X87_STATE != 0 { x87_from::<WIDE>(image) } else { X87::initial() };
    }
    for (component, half, start) in [(SSE_STATE, 0, XMM), (AVX_STATE, 2, AVX)] {
        if wanted & component == 0 {
            continue;
        }
        for (i, register) in cpu.ymm.iter_mut().enumerate().take(count) {
            let at = start + 16 * i;
            let value = match present & component != 0 {
                true => [word(image, at), word(image, at + 8)],
                false => [0; 2],
            };
            register.0[half..half + 2].copy_from_slice(&value);
        }
    }
}

/// Pointers have as many bits as linear addresses, whatever an image holds.
fn canonical(pointer: u64) -> u64 {
    ((pointer as i64) << 16 >> 16) as u64
}

fn x87_from<const WIDE: bool>(image: &Image) -> X87 {
    let head = word(image, 0);
    let mask = if WIDE { u64::MAX } else { u64::from(u32::MAX) };
    let mut fpu = X87 {
        valid: (head >> 32) as u8,
        opcode: (head >> 48 & 0x7FF) as u16,
        instruction_pointer: canonical(word(image, 8) & mask),
        data_pointer: canonical(word(image, 16) & mask),
        ..X87::default()
    };
    fpu.set_control(head as u16);
    fpu.set_status_word((head >> 16) as u16);
    for i in 0..8 {
        let at = REGISTERS + 16 * usize::from(i);
        let high = word(image, at + 8) & 0xFFFF;
        let value = u128::from(word(image, at)) | u128::from(high) << 64;
        fpu.regs[usize::from(fpu.top.wrapping_add(i) & 7)] = value;
    }
    fpu
}

// ---- guest memory -----------------------------------------------------------------------------------

/// Reads `N` bytes at the memory operand.
pub fn load_bytes<const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<[u8; N], Stop> {
    let start = cpu.ea(op);
    let mut bytes = [0; N];
    let mut words = bytes.chunks_exact_mut(8);
    let mut at = 0;
    for slot in &mut words {
        slot.copy_from_slice(&cpu.load::<u64>(op.segment, start.wrapping_add(at))?.to_le_bytes());
        at += 8;
    }
    for slot in words.into_remainder() {
        *slot = cpu.load(op.segment, start.wrapping_add(at))?;
        at += 1;
    }
    Ok(bytes)
}

/// Writes bytes at the memory operand: all of them, or none and a fault.
pub fn store_bytes(cpu: &mut Cpu, op: &Op, bytes: &[u8]) -> Result<(), Stop> {
    cpu.probe_write(op.segment, cpu.ea(op), bytes.len() as u64)?;
    store_part(cpu, op, bytes, 0..bytes.len())
}

/// Writes `image[range]` at that offset from the memory operand. The area was probed.
fn store_part(cpu: &mut Cpu, op: &Op, image: &[u8], range: std::ops::Range<usize>) -> Result<(), Stop> {
    let start = cpu.ea(op).wrapping_add(range.start as u64);
    let mut words = image[range].chunks_exact(8);
    let mut at = 0;
    for slot in &mut words {
        cpu.store(op.segment, start.wrapping_add(at), word(slot, 0))?;
        at += 8;
    }
    for &byte in words.remainder() {
        cpu.store(op.segment, start.wrapping_add(at), byte)?;
        at += 1;
    }
    Ok(())
}

/// #GP unless the memory operand's linear address is a multiple of `alignment`.
fn check_aligned(cpu: &mut Cpu, op: &Op, alignment: u64) -> Result<(), Stop> {
    let linear = cpu.linear_checked(op.segment, cpu.ea(op), 1, Access::Read)?;
    if linear & (alignment - 1) == 0 {
        return Ok(());
    }
    // An address that is not even canonical is reported as that.
    let stack = cpu.long && op.segment == seg::SS && !mmu::canonical(linear);
    Err(cpu.raise(if stack { vector::SS } else { vector::GP }, 0))
}

/// Vector registers that instructions of this mode can name.
fn vector_count(cpu: &Cpu) -> usize {
    if cpu.long { 16 } else { 8 }
}

// ---- FXSAVE and FXRSTOR -----------------------------------------------------------------------------

fn fxsave<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    fx_available(cpu, op)?;
    let image = image::<WIDE>(cpu);
    let end = XMM + 16 * vector_count(cpu);
    cpu.probe_write(op.segment, cpu.ea(op), XSTATE_BV as u64)?;
    store_part(cpu, op, &image, 0..end)
}

fn fxrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    fx_available(cpu, op)?;
    let bytes = load_bytes::<XSTATE_BV>(cpu, op)?;
    let mut image = [0; IMAGE];
    image[..XSTATE_BV].copy_from_slice(&bytes);
    let mxcsr = checked_mxcsr(cpu, &image)?;
    restore::<WIDE>(cpu, &image, X87_STATE | SSE_STATE, X87_STATE | SSE_STATE, vector_count(cpu));
    cpu.mxcsr = mxcsr;
    Ok(())
}

fn fx_available(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.cr0 & (cr::CR0_EM | cr::CR0_TS) != 0 {
        return Err(cpu.nm());
    }
    check_aligned(cpu, op, 16)
}

/// The image's MXCSR, or #GP for a reserved bit.
fn checked_mxcsr(cpu: &mut Cpu, image: &Image) -> Result<u32, Stop> {
    let value = word(image, MXCSR) as u32;
    if value & !MXCSR_MASK != 0 { Err(cpu.gp(0)) } else { Ok(value) }
}

// ---- the XSAVE family -------------------------------------------------------------------------------

const PLAIN: u8 = 0;
const OPTIMIZED: u8 = 1;
const COMPACT: u8 = 2;

/// Checks common to the family; gives the requested-feature bitmap.
fn xsave_available(cpu: &mut Cpu, op: &Op) -> Result<u64, Stop> {
    if cpu.cr4 & cr::CR4_OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::CR0_TS != 0 {
        return Err(cpu.nm());
    }
    check_aligned(cpu, op, 64)?;
    let requested = cpu.regs[RDX] << 32 | cpu.regs[RAX] & 0xFFFF_FFFF;
    Ok(requested & cpu.xcr0)
}

/// XINUSE: the components that are not in their initial state.
fn in_use(cpu: &Cpu) -> u64 {
    let fpu = &cpu.x87;
    let clean = fpu.control == 0x37F
        && fpu.status_word() == 0
        && fpu.valid == 0
        && fpu.opcode == 0
        && fpu.instruction_pointer | fpu.data_pointer == 0
        && fpu.regs == [0; 8];
    let half = |low: usize| cpu.ymm.iter().any(|register| register.0[low] | register.0[low + 1] != 0);
    let bit = |on, component| if on { component } else { 0 };
    bit(!clean, X87_STATE) | bit(half(0), SSE_STATE) | bit(half(2), AVX_STATE)
}

fn xsave<const WIDE: bool, const FORM: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let requested = xsave_available(cpu, op)?;
    let mut used = in_use(cpu);
    if FORM == COMPACT && cpu.mxcsr != MXCSR_INITIAL {
        used |= SSE_STATE; // Intel SDM vol. 1, 13.10
    }
    let saved = if FORM == PLAIN { requested } else { requested & used };
    let mut image = image::<WIDE>(cpu);
    let end = if requested & AVX_STATE != 0 { IMAGE } else { HEADER_END };
    cpu.probe_write(op.segment, cpu.ea(op), end as u64)?;

    if saved & X87_STATE != 0 {
        store_part(cpu, op, &image, 0..MXCSR)?;
        store_part(cpu, op, &image, REGISTERS..XMM)?;
    }
    let with_mxcsr = if FORM == COMPACT { saved & SSE_STATE } else { requested & (SSE_STATE | AVX_STATE) };
    if with_mxcsr != 0 {
        store_part(cpu, op, &image, MXCSR..REGISTERS)?;
    }
    let vectors = 16 * vector_count(cpu);
    if saved & SSE_STATE != 0 {
        store_part(cpu, op, &image, XMM..XMM + vectors)?;
    }
    if saved & AVX_STATE != 0 {
        store_part(cpu, op, &image, AVX..AVX + vectors)?;
    }
    let header = cpu.ea(op).wrapping_add(XSTATE_BV as u64);
    if FORM == COMPACT {
        put(&mut image, XSTATE_BV, requested & used);
        put(&mut image, XCOMP_BV, requested | COMPACTED);
        return store_part(cpu, op, &image, XSTATE_BV..XCOMP_BV + 8);
    }
    let before: u64 = cpu.load(op.segment, header)?;
    cpu.store(op.segment, header, before & !requested | requested & used)
}

fn xrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let requested = xsave_available(cpu, op)?;
    let legacy = load_bytes::<HEADER_END>(cpu, op)?;
    let mut image = [0; IMAGE];
    image[..HEADER_END].copy_from_slice(&legacy);
    let (present, format) = (word(&image, XSTATE_BV), word(&image, XCOMP_BV));
    let compacted = format & COMPACTED != 0;
    // The header's last 48 bytes are checked in the compacted form only; the standard form looks at
    // no more than XCOMP_BV and the word behind it (Intel SDM vol. 1, 13.8.1 and 13.8.2).
    let reserved = &image[XCOMP_BV + 8..if compacted { HEADER_END } else { XCOMP_BV + 16 }];
    let allowed = if compacted { format & !COMPACTED } else { cpu.xcr0 };
    let bad_format = if compacted { allowed & !cpu.xcr0 != 0 } else { format != 0 };
    if bad_format || present & !allowed != 0 || reserved.iter().any(|&byte| byte != 0) {
        return Err(cpu.gp(0));
    }
    if requested & present & AVX_STATE != 0 {
        let start = cpu.ea(op).wrapping_add(AVX as u64);
        for at in (0..IMAGE - AVX).step_by(8) {
            let value = cpu.load(op.segment, start.wrapping_add(at as u64))?;
            put(&mut image, AVX + at, value);
        }
    }
    let mxcsr = match compacted {
        false if requested & (SSE_STATE | AVX_STATE) != 0 => checked_mxcsr(cpu, &image)?,
        true if requested & present & SSE_STATE != 0 => checked_mxcsr(cpu, &image)?,
        true if requested & SSE_STATE != 0 => MXCSR_INITIAL,
        _ => cpu.mxcsr,
    };
    restore::<WIDE>(cpu, &image, requested, present, vector_count(cpu));
    cpu.mxcsr = mxcsr;
    Ok(())
}

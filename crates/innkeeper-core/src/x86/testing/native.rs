//! Executes single instructions on the host's own processor, to compare handlers with. Instructions
//! must not fault, branch, or use RSP.

use std::ptr::NonNull;

const PAGE: usize = 4096;
/// In the data page: registers in, RFLAGS in, registers out, RFLAGS out, the host's RSP.
const REGS_IN: usize = 0;
const FLAGS_IN: usize = 128;
const REGS_OUT: usize = 256;
const FLAGS_OUT: usize = 384;
const HOST_RSP: usize = 512;
/// Also in the data page: memory for the instruction to work on.
const SCRATCH: usize = 1024;
const RSP: usize = 4;

/// A page of code and one of data behind it.
pub struct Native {
    base: NonNull<u8>,
}

impl Native {
    pub fn new() -> Self {
        let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let raw = unsafe { libc::mmap(std::ptr::null_mut(), 2 * PAGE, rights, flags, -1, 0) };
        assert_ne!(raw, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self { base: NonNull::new(raw.cast()).expect("mmap never returns null") }
    }

    /// The address of the scratch memory, of 1024 bytes.
    pub fn scratch(&self) -> u64 {
        self.base.as_ptr() as u64 + (PAGE + SCRATCH) as u64
    }

    pub fn set_scratch(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= 1024);
        self.write(PAGE + SCRATCH, bytes);
    }

    pub fn scratch_bytes<const N: usize>(&self) -> [u8; N] {
        assert!(N <= 1024);
        // SAFETY: within the data page.
        unsafe { self.base.as_ptr().add(PAGE + SCRATCH).cast::<[u8; N]>().read() }
    }

    /// Executes `instruction` with these registers (RSP excepted) and the status flags and DF of
    /// `rflags`, which are replaced by those after it.
    pub fn run(&mut self, instruction: &[u8], regs: &mut [u64; 16], rflags: &mut u64) {
        const PASSED: u64 = 0xCD5;
        for (number, value) in regs.iter().enumerate() {
            self.write(PAGE + REGS_IN + 8 * number, &value.to_le_bytes());
        }
        self.write(PAGE + FLAGS_IN, &(*rflags & PASSED | 2).to_le_bytes());
        let code = Self::trampoline(instruction);
        self.write(0, &code);
        // SAFETY: the trampoline saves and restores what the C ABI asks for, DF included.
        unsafe {
            let entry: extern "C" fn() = std::mem::transmute(self.base.as_ptr());
            entry();
        }
        for (number, value) in regs.iter_mut().enumerate().filter(|&(number, _)| number != RSP) {
            *value = self.read(PAGE + REGS_OUT + 8 * number);
        }
        *rflags = *rflags & !PASSED | self.read(PAGE + FLAGS_OUT) & PASSED;
    }

    fn trampoline(instruction: &[u8]) -> Vec<u8> {
        // push rbx, rbp, r12-r15
        let mut code = vec![0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
        rip_relative(&mut code, &[0x48, 0x89], RSP, HOST_RSP); // mov [..], rsp
        rip_relative(&mut code, &[0xFF], 6, FLAGS_IN); // push [..]
        code.push(0x9D); // popfq
        for number in (0..16).filter(|&number| number != RSP) {
            let rex = if number < 8 { 0x48 } else { 0x4C };
            rip_relative(&mut code, &[rex, 0x8B], number & 7, REGS_IN + 8 * number);
        }
        code.extend_from_slice(instruction);
        for number in (0..16).filter(|&number| number != RSP) {
            let rex = if number < 8 { 0x48 } else { 0x4C };
            rip_relative(&mut code, &[rex, 0x89], number & 7, REGS_OUT + 8 * number);
        }
        rip_relative(&mut code, &[0x48, 0x8B], RSP, HOST_RSP); // mov rsp, [..]
        code.push(0x9C); // pushfq
        rip_relative(&mut code, &[0x8F], 0, FLAGS_OUT); // pop [..]
        code.extend_from_slice(&[0xFC, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3]);
        code
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= 2 * PAGE);
        // SAFETY: within the mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(at), bytes.len()) };
    }

    fn read(&self, at: usize) -> u64 {
        assert!(at + 8 <= 2 * PAGE);
        // SAFETY: within the mapping.
        unsafe { self.base.as_ptr().add(at).cast::<u64>().read_unaligned() }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.base.as_ptr().cast(), 2 * PAGE) };
    }
}

/// Appends an instruction whose r/m operand is at `offset` in the data page.
fn rip_relative(code: &mut Vec<u8>, opcode: &[u8], reg: usize, offset: usize) {
    code.extend_from_slice(opcode);
    code.push(5 | (reg as u8) << 3);
    let next = code.len() + 4;
    code.extend_from_slice(&((PAGE + offset - next) as u32).to_le_bytes());
}

/// A small generator of reproducible random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 32) as usize % bound
    }

    /// A number that is often near the edges of some width.
    pub fn operand(&mut self) -> u64 {
        let edge = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];
        match self.below(4) {
            0 => edge[self.below(edge.len())],
            1 => u64::wrapping_neg(edge[self.below(edge.len())]),
            2 => self.next() & 0xFF,
            _ => self.next(),
        }
    }
}

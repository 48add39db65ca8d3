//! A case and what came of it: plain data that parent and child share through a mapping.

use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Where code runs. Everything around the instruction is INT3, so every path ends in a trap.
pub const CODE: u64 = 0x2000_0000;
/// The instruction's offset in the code page.
pub const CODE_AT: u64 = 0x800;
/// Two pages of data; the window straddles their boundary.
pub const DATA: u64 = 0x2100_0000;
pub const DATA_SIZE: u64 = 0x2000;
/// Room for an XSAVE image on either side of the boundary.
pub const WINDOW: usize = 2048;
/// The page boundary within the window.
pub const MIDDLE: u64 = WINDOW as u64 / 2;
pub const WINDOW_AT: u64 = 0x1000 - MIDDLE;
/// Never mapped: touching it is #PF.
pub const UNMAPPED: u64 = 0x2200_0000;

/// The register state of a user-mode program.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct State {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub ymm: [[u64; 4]; 16],
    pub mxcsr: u32,
    pub fcw: u16,
    /// With TOP.
    pub fsw: u16,
    /// Abridged: one bit per physical register, 1 = not empty.
    pub ftw: u16,
    pub fop: u16,
    pub fip: u64,
    pub fdp: u64,
    /// ST(0) to ST(7).
    pub st: [[u8; 10]; 8],
    pub window: [u8; WINDOW],
}

/// A user program's state at its start.
impl Default for State {
    fn default() -> Self {
        let mut gpr = [0; 16];
        gpr[4] = DATA + WINDOW_AT + MIDDLE;
        Self {
            gpr,
            rip: CODE + CODE_AT,
            rflags: 0x202,
            ymm: [[0; 4]; 16],
            mxcsr: 0x1F80,
            fcw: 0x37F,
            fsw: 0,
            ftw: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            st: [[0; 10]; 8],
            window: [0; WINDOW],
        }
    }
}

/// What ended the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Trap {
    pub vector: u8,
    pub error: u32,
    pub address: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Outcome {
    pub state: State,
    pub trap: Trap,
}

#[derive(Clone, Debug)]
pub struct Case {
    /// Reproduces it: encoding and seed.
    pub name: String,
    pub bitness: u32,
    pub bytes: Vec<u8>,
    pub state: State,
}

impl Case {
    pub fn instruction(&self) -> Instruction {
        let at = CODE + CODE_AT;
        Decoder::with_ip(self.bitness, &self.bytes, at, DecoderOptions::NONE).decode()
    }

    pub fn mnemonic(&self) -> String {
        format!("{:?}", self.instruction().mnemonic()).to_lowercase()
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "rip {:x} rflags {:x} mxcsr {:x}", self.rip, self.rflags, self.mxcsr)?;
        writeln!(f, "  gpr {:x?}", self.gpr)?;
        writeln!(f, "  fcw {:x} fsw {:x} ftw {:02x}", self.fcw, self.fsw, self.ftw)?;
        writeln!(f, "  fop {:x} fip {:x} fdp {:x}", self.fop, self.fip, self.fdp)?;
        for (i, st) in self.st.iter().enumerate() {
            let digits: String = st.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            writeln!(f, "  st{i} {digits}")?;
        }
        for (i, ymm) in self.ymm.iter().enumerate() {
            writeln!(f, "  ymm{i} {:016x} {:016x} {:016x} {:016x}", ymm[3], ymm[2], ymm[1], ymm[0])?;
        }
        for (row, bytes) in self.window.chunks(32).enumerate() {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(f, "  {:08x} {digits}", DATA + WINDOW_AT + 32 * row as u64)?;
        }
        Ok(())
    }
}

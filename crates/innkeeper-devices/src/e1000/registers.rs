//! The card's registers: where they are, and what their bits mean.
//!
//! Spec: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), chapter 13.

use innkeeper_bus::state::{BadState, Plain, Value};

pub const CTRL: u64 = 0x0000;
pub const STATUS: u64 = 0x0008;
pub const EECD: u64 = 0x0010;
pub const EERD: u64 = 0x0014;
pub const MDIC: u64 = 0x0020;
pub const ICR: u64 = 0x00C0;
pub const ITR: u64 = 0x00C4;
pub const ICS: u64 = 0x00C8;
pub const IMS: u64 = 0x00D0;
pub const IMC: u64 = 0x00D8;
pub const RCTL: u64 = 0x0100;
pub const TCTL: u64 = 0x0400;
pub const RDBAL: u64 = 0x2800;
pub const RDLEN: u64 = 0x2808;
pub const RDH: u64 = 0x2810;
pub const RDT: u64 = 0x2818;
pub const TDBAL: u64 = 0x3800;
pub const TDLEN: u64 = 0x3808;
pub const TDH: u64 = 0x3810;
pub const TDT: u64 = 0x3818;
pub const STATISTICS: std::ops::Range<u64> = 0x4000..0x4128;
pub const MPC: u64 = 0x4010;
pub const GPRC: u64 = 0x4074;
pub const GPTC: u64 = 0x4080;
pub const MTA: u64 = 0x5200;
pub const RAL: u64 = 0x5400;
pub const RAH: u64 = 0x5404;
/// Registers end here.
pub const END: u64 = 0x6000;

pub const CTRL_SLU: u32 = 1 << 6;
pub const CTRL_RST: u32 = 1 << 26;
pub const CTRL_PHY_RST: u32 = 1 << 31;

/// Full duplex, 1000 Mb/s.
pub const STATUS_FIXED: u32 = 0x8000_0081;
pub const STATUS_LU: u32 = 1 << 1;

pub const EERD_START: u32 = 1;
pub const EERD_DONE: u32 = 1 << 4;

pub const ICR_TXDW: u32 = 1;
pub const ICR_TXQE: u32 = 1 << 1;
pub const ICR_LSC: u32 = 1 << 2;
pub const ICR_RXDMT0: u32 = 1 << 4;
pub const ICR_RXO: u32 = 1 << 6;
pub const ICR_RXT0: u32 = 1 << 7;
pub const ICR_MDAC: u32 = 1 << 9;

pub const RCTL_EN: u32 = 1 << 1;
pub const RCTL_UPE: u32 = 1 << 3;
pub const RCTL_MPE: u32 = 1 << 4;
pub const RCTL_LPE: u32 = 1 << 5;
pub const RCTL_BAM: u32 = 1 << 15;
pub const RCTL_BSEX: u32 = 1 << 25;
pub const RCTL_SECRC: u32 = 1 << 26;

pub const TCTL_EN: u32 = 1 << 1;

pub const RAH_VALID: u32 = 1 << 31;
pub const DESCRIPTOR_BYTES: u64 = 16;
/// A ring's length is a multiple of 128 bytes, and has 20 bits.
pub const RING_BYTES: u32 = 0xF_FF80;

/// The registers, as 32-bit words; only those that are just memory or need it.
pub struct Registers(Box<[u32]>);

/// Those that are not zero, by offset.
impl Plain for Registers {
    fn save(&self) -> Value {
        let set = self.0.iter().zip(0u32..).filter(|&(&value, _)| value != 0);
        set.map(|(&value, at)| (at, value)).collect::<Vec<_>>().save()
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        let mut registers = Self(vec![0; (END / 4) as usize].into());
        for (at, value) in Vec::<(u32, u32)>::load(value)? {
            let register = registers.0.get_mut(at as usize);
            *register.ok_or_else(|| BadState::new(format!("there is no register {at}")))? = value;
        }
        Ok(registers)
    }
}

impl Registers {
    /// As they are after a reset.
    pub fn new() -> Self {
        let mut registers = Self(vec![0; (END / 4) as usize].into());
        registers[CTRL] = 0x0014_0240 & !CTRL_SLU; // full duplex, 1000 Mb/s forced off, ASDE
        registers
    }

    /// A 64-bit address in two registers.
    pub fn address(&self, low: u64) -> u64 {
        u64::from(self[low] & !0xF) | u64::from(self[low + 4]) << 32
    }

    /// Descriptors in the ring whose length is in this register.
    pub fn ring(&self, length: u64) -> u32 {
        (self[length] & RING_BYTES) / DESCRIPTOR_BYTES as u32
    }
}

impl std::ops::Index<u64> for Registers {
    type Output = u32;
    fn index(&self, at: u64) -> &u32 {
        &self.0[(at / 4) as usize]
    }
}

impl std::ops::IndexMut<u64> for Registers {
    fn index_mut(&mut self, at: u64) -> &mut u32 {
        &mut self.0[(at / 4) as usize]
    }
}

//! The two chips behind the card's registers: the EEPROM (a 93C46, over Microwire) and the PHY.
//!
//! Spec: 317453, 5.3 and 13.4.3 (EEPROM), 13.4.14 (MDIC); IEEE 802.3, 22.2.4 (PHY). Writing to the EEPROM is left out.

use innkeeper_bus::state::{BadState, Plain, Value};

pub const WORDS: usize = 64;
const CHECKSUM_WORD: usize = 63;
const CHECKSUM: u16 = 0xBABA;

const SK: u32 = 1;
const CS: u32 = 1 << 1;
const DI: u32 = 1 << 2;
const DO: u32 = 1 << 3;
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;
const PRESENT: u32 = 1 << 8;
const WRITABLE: u32 = SK | CS | DI | REQUEST | 0x30;
/// A start bit, two bits of opcode, six of address.
const COMMAND_BITS: u32 = 9;
const READ: u32 = 0b110;

pub struct Eeprom {
    words: [u16; WORDS],
    control: u32,
    command: u32,
    clocks: u32,
    /// The next bit to come out, counted from the first word's most significant.
    out: Option<u32>,
}

impl Eeprom {
    pub fn new(mac: [u8; 6]) -> Self {
        let mut words = [0; WORDS];
        for (word, pair) in words.iter_mut().zip(mac.as_chunks::<2>().0) {
            *word = u16::from_le_bytes(*pair);
        }
        words[0x08..0x0A].fill(0xFFFF); // no part number
        words[0x0A] = 0x4408;
        words[0x0B..0x0F].copy_from_slice(&[0x001E, 0x8086, 0x100E, 0x8086]);
        words[0x0F] = 0x3040;
        let sum = words.iter().fold(0u16, |sum, &word| sum.wrapping_add(word));
        words[CHECKSUM_WORD] = CHECKSUM.wrapping_sub(sum);
        Self { words, control: 0, command: 0, clocks: 0, out: None }
    }

    /// The pins, and what they have clocked in and out. What the chip holds is the card's.
    pub fn pins(&self) -> Value {
        (self.control, (self.command, (self.clocks, self.out))).save()
    }

    pub fn restore_pins(&mut self, state: &Value) -> Result<(), BadState> {
        let (control, (command, (clocks, out))) = Plain::load(state)?;
        if clocks > COMMAND_BITS || command >> COMMAND_BITS != 0 || control & !WRITABLE != 0 {
            return Err(BadState::new("it is of another chip"));
        }
        (self.control, self.command, self.clocks) = (control, command, clocks);
        self.out = out;
        Ok(())
    }

    pub fn word(&self, at: usize) -> u16 {
        self.words[at % WORDS]
    }

    /// The register by which a driver moves the chip's pins.
    pub fn control(&self) -> u32 {
        let bit = self.out.is_none_or(|out| self.word(out as usize / 16) << (out % 16) & 0x8000 != 0);
        let granted = if self.control & REQUEST == 0 { 0 } else { GRANT };
        self.control | PRESENT | granted | if bit { DO } else { 0 }
    }

    pub fn set_control(&mut self, value: u32) {
        let before = std::mem::replace(&mut self.control, value & WRITABLE);
        if value & CS == 0 || before & CS == 0 {
            (self.command, self.clocks, self.out) = (0, 0, None);
        }
        if value & CS == 0 || (value ^ before) & SK == 0 {
            return;
        }
        if value & SK == 0 {
            // The next bit comes out after the clock has fallen: the first one after the command's last.
            if self.clocks == COMMAND_BITS && self.command >> 6 == READ {
                let total = WORDS as u32 * 16;
                self.out = Some(self.out.map_or((self.command & 0x3F) * 16, |out| (out + 1) % total));
            }
        } else if self.clocks < COMMAND_BITS && (self.command != 0 || value & DI != 0) {
            self.command = self.command << 1 | u32::from(value & DI != 0);
            self.clocks += 1;
        }
    }
}

const PHY_ADDRESS: u32 = 1;
const MDIC_READY: u32 = 1 << 28;
const MDIC_INTERRUPT: u32 = 1 << 29;
const MDIC_ERROR: u32 = 1 << 30;
const MDIC_WRITE: u32 = 1;
const MDIC_READ: u32 = 2;

const CONTROL: usize = 0;
const STATUS: usize = 1;
const PARTNER: usize = 5;
const GIGABIT_STATUS: usize = 10;
const SPECIFIC_STATUS: usize = 17;
const CONTROL_RESET: u16 = 0x8000;
const CONTROL_RESTART: u16 = 0x0200;
const STATUS_LINK: u16 = 0x0004 | 0x0020; // and negotiation is complete

/// A Marvell 88E1011, as the 82540EM has it inside.
pub struct Phy([u16; 32]);

impl Plain for Phy {
    fn save(&self) -> Value {
        self.0.save()
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        Plain::load(value).map(Self)
    }
}

impl Phy {
    pub fn new() -> Self {
        let mut registers = [0; 32];
        registers[CONTROL] = 0x1140;
        registers[STATUS] = 0x7949;
        (registers[2], registers[3]) = (0x0141, 0x0C20);
        registers[4] = 0x0DE1;
        registers[9] = 0x0E00;
        registers[16] = 0x0360;
        registers[20] = 0x0D60;
        Self(registers)
    }

    fn read(&self, register: usize, up: bool) -> u16 {
        match (register, up) {
            (STATUS, true) => self.0[STATUS] | STATUS_LINK,
            (PARTNER, true) => 0x45E1,
            (GIGABIT_STATUS, true) => 0x3C00,
            (SPECIFIC_STATUS, true) => 0xAC08, // 1000 Mb/s, full duplex, resolved, link
            _ => self.0[register],
        }
    }

    fn write(&mut self, register: usize, value: u16) {
        match register {
            CONTROL if value & CONTROL_RESET != 0 => *self = Self::new(),
            CONTROL => self.0[CONTROL] = value & !CONTROL_RESTART,
            STATUS | 2 | 3 | PARTNER | GIGABIT_STATUS | SPECIFIC_STATUS => {}
            _ => self.0[register] = value,
        }
    }

    /// A command in MDIC: what the register reads as then, and whether an interrupt was asked for.
    pub fn command(&mut self, value: u32, up: bool) -> (u32, bool) {
        let (register, phy) = ((value >> 16 & 0x1F) as usize, value >> 21 & 0x1F);
        let mut result = value & !(MDIC_READY | MDIC_ERROR) | MDIC_READY;
        match value >> 26 & 3 {
            _ if phy != PHY_ADDRESS => result |= MDIC_ERROR,
            MDIC_WRITE => self.write(register, value as u16),
            MDIC_READ => result = result & !0xFFFF | u32::from(self.read(register, up)),
            _ => result |= MDIC_ERROR,
        }
        (result, value & MDIC_INTERRUPT != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux's driver does it.
    fn read_bit_by_bit(chip: &mut Eeprom, address: u32) -> u16 {
        chip.set_control(REQUEST);
        assert_ne!(chip.control() & GRANT, 0);
        chip.set_control(REQUEST | CS);
        for bit in (0..9).rev() {
            let data = if (READ << 6 | address) >> bit & 1 != 0 { DI } else { 0 };
            chip.set_control(REQUEST | CS | data);
            chip.set_control(REQUEST | CS | data | SK);
            chip.set_control(REQUEST | CS | data);
        }
        let mut word = 0;
        for _ in 0..16 {
            chip.set_control(REQUEST | CS | SK);
            word = word << 1 | u16::from(chip.control() & DO != 0);
            chip.set_control(REQUEST | CS);
        }
        chip.set_control(REQUEST);
        word
    }

    #[test]
    fn every_word_comes_out_bit_by_bit_and_they_add_up() {
        let mut chip = Eeprom::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let words: Vec<u16> = (0..64).map(|at| read_bit_by_bit(&mut chip, at)).collect();
        assert_eq!(words[..3], [0x5452, 0x1200, 0x5634]);
        assert_eq!(words.iter().fold(0u16, |sum, &word| sum.wrapping_add(word)), CHECKSUM);
        assert!((0..64).all(|at| words[at] == chip.word(at)));
    }

    #[test]
    fn the_phy_is_there_and_says_whether_there_is_a_link() {
        let mut phy = Phy::new();
        let read =
            |phy: &mut Phy, register: u32, up| phy.command(MDIC_READ << 26 | 1 << 21 | register << 16, up).0;
        assert_eq!(read(&mut phy, 2, true), MDIC_READ << 26 | 1 << 21 | 2 << 16 | MDIC_READY | 0x0141);
        assert_ne!(read(&mut phy, 1, true) & 4, 0);
        assert_eq!(read(&mut phy, 1, false) & 4, 0);
        let absent = phy.command(MDIC_READ << 26 | 2 << 21, true).0;
        assert_ne!(absent & MDIC_ERROR, 0);
    }
}

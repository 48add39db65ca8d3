//! The register files of a VGA: sequencer, CRTC, graphics and attribute controllers, DAC, at ports 3B0h-3DFh.
//!
//! Spec: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; the FreeVGA project's pages. Left out:
//! the light pen, the vertical-retrace interrupt, and the feature connector.

use innkeeper_bus::plain_struct;

use super::dispi::Dispi;

/// The first port of the region.
pub const FIRST_PORT: u16 = 0x3B0;
/// Ports in the region.
pub const PORTS: u64 = 0x30;

/// Bits that exist in the sequencer's and the graphics controller's registers.
const SEQUENCER_BITS: [u8; 8] = [0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0, 0, 0];
const GRAPHICS_BITS: [u8; 16] = [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF, 0, 0, 0, 0, 0, 0, 0];
/// The CRTC's number of registers.
const CRTC_REGISTERS: usize = 0x19;
/// Registers 0 to 7 of the CRTC are locked while this is set in register 11h.
const CRTC_PROTECT: u8 = 0x80;
const ATTRIBUTE_REGISTERS: usize = 0x15;
/// In the attribute controller's index: the palette belongs to the display, not to the CPU.
const PALETTE_ON: u8 = 0x20;

/// Input status 1.
const DISPLAY_DISABLED: u8 = 0x01;
const VERTICAL_RETRACE: u8 = 0x08;
/// Input status 0: a monitor answers.
const SWITCH_SENSE: u8 = 0x10;

/// 256 colours of three components, and the state machine of ports 3C6h-3C9h.
#[derive(Clone)]
pub struct Dac {
    /// As written: six bits, or eight where the Bochs extensions say so.
    pub colours: [[u8; 3]; 256],
    pub mask: u8,
    index: u8,
    reading: bool,
    component: usize,
    pending: [u8; 3],
}

plain_struct!(Dac { colours, mask, index, reading, component, pending } if Dac::is_sound);

impl Dac {
    fn is_sound(&self) -> bool {
        self.component < 3
    }

    fn read(&mut self) -> u8 {
        let value = self.colours[usize::from(self.index)][self.component];
        self.advance();
        value
    }

    /// A colour changes when its third component is there.
    fn write(&mut self, value: u8) {
        self.pending[self.component] = value;
        if self.component == 2 {
            self.colours[usize::from(self.index)] = self.pending;
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.component = (self.component + 1) % 3;
        if self.component == 0 {
            self.index = self.index.wrapping_add(1);
        }
    }

    fn select(&mut self, index: u8, reading: bool) {
        (self.index, self.reading, self.component) = (index, reading, 0);
    }
}

/// Everything but video memory.
#[derive(Clone)]
pub struct Registers {
    pub misc: u8,
    pub sequencer: [u8; 8],
    pub crtc: [u8; CRTC_REGISTERS],
    pub graphics: [u8; 16],
    pub attribute: [u8; ATTRIBUTE_REGISTERS],
    pub dac: Dac,
    pub dispi: Dispi,
    /// What the last read of video memory found, a byte for each plane.
    pub latches: [u8; 4],
    feature: u8,
    subsystem: u8,
    sequencer_index: u8,
    crtc_index: u8,
    graphics_index: u8,
    attribute_index: u8,
    attribute_data_next: bool,
}

plain_struct!(Registers {
    misc, sequencer, crtc, graphics, attribute, dac, dispi, latches, feature, subsystem, sequencer_index, crtc_index,
    graphics_index, attribute_index, attribute_data_next,
} if Registers::is_sound);

impl Registers {
    fn is_sound(&self) -> bool {
        let within =
            |values: &[u8], bits: &[u8]| values.iter().zip(bits).all(|(value, bits)| value & !bits == 0);
        within(&self.sequencer, &SEQUENCER_BITS)
            && within(&self.graphics, &GRAPHICS_BITS)
            && self.sequencer_index < 8
            && self.graphics_index < 16
            && self.crtc_index < 64
            && self.attribute_index < 64
    }

    /// After power-on, with so many bytes of video memory.
    pub fn new(memory_bytes: u32) -> Self {
        Self {
            misc: 0,
            sequencer: [0; 8],
            crtc: [0; CRTC_REGISTERS],
            graphics: [0; 16],
            attribute: [0; ATTRIBUTE_REGISTERS],
            dac: Dac {
                colours: [[0; 3]; 256],
                mask: 0xFF,
                index: 0,
                reading: false,
                component: 0,
                pending: [0; 3],
            },
            dispi: Dispi::new(memory_bytes),
            latches: [0; 4],
            feature: 0,
            subsystem: 1,
            sequencer_index: 0,
            crtc_index: 0,
            graphics_index: 0,
            attribute_index: 0,
            attribute_data_next: false,
        }
    }

    /// Whether the attribute controller shows anything but the border.
    pub fn palette_on(&self) -> bool {
        self.attribute_index & PALETTE_ON != 0
    }

    /// The CRTC and input status 1 answer at 3Dxh in colour, at 3Bxh in monochrome; gives port 3D0h's names.
    fn canonical(&self, port: u16) -> Option<u16> {
        let colour = self.misc & 1 != 0;
        match port {
            0x3B0..=0x3BF => (!colour).then_some(port + 0x20),
            0x3D0..=0x3DF => colour.then_some(port),
            _ => Some(port),
        }
    }

    /// Reads one byte; `now` is nanoseconds since anything. `None` where nobody answers.
    pub fn read_port(&mut self, port: u16, now: u64) -> Option<u8> {
        let value = match self.canonical(port)? {
            0x3C0 => self.attribute_index,
            0x3C1 => self.attribute.get(usize::from(self.attribute_index & 0x1F)).copied().unwrap_or(0),
            0x3C2 => SWITCH_SENSE,
            0x3C3 => self.subsystem,
            0x3C4 => self.sequencer_index,
            0x3C5 => self.sequencer[usize::from(self.sequencer_index & 7)],
            0x3C6 => self.dac.mask,
            0x3C7 => {
                if self.dac.reading {
                    3
                } else {
                    0
                }
            }
            0x3C8 => self.dac.index,
            0x3C9 => self.dac.read(),
            0x3CA => self.feature,
            0x3CC => self.misc,
            0x3CE => self.graphics_index,
            0x3CF => self.graphics[usize::from(self.graphics_index & 0xF)],
            0x3D4 => self.crtc_index,
            0x3D5 => self.crtc.get(usize::from(self.crtc_index)).copied().unwrap_or(0),
            0x3DA => {
                self.attribute_data_next = false;
                self.input_status_1(now)
            }
            _ => return None,
        };
        Some(value)
    }

    /// Writes one byte; tells whether the picture may have changed.
    pub fn write_port(&mut self, port: u16, value: u8) -> bool {
        let Some(port) = self.canonical(port) else { return false };
        match port {
            0x3C0 => return self.write_attribute(value),
            0x3C2 => self.misc = value,
            0x3C3 => self.subsystem = value & 1,
            0x3C4 => self.sequencer_index = value & 7,
            0x3C5 => {
                let index = usize::from(self.sequencer_index);
                self.sequencer[index] = value & SEQUENCER_BITS[index];
            }
            0x3C6 => self.dac.mask = value,
            0x3C7 => self.dac.select(value, true),
            0x3C8 => self.dac.select(value, false),
            0x3C9 => {
                let width = if self.dispi.wide_dac() { 0xFF } else { 0x3F };
                self.dac.write(value & width);
            }
            0x3CE => self.graphics_index = value & 0xF,
            0x3CF => {
                let index = usize::from(self.graphics_index);
                self.graphics[index] = value & GRAPHICS_BITS[index];
            }
            0x3D4 => self.crtc_index = value & 0x3F,
            0x3D5 => self.write_crtc(value),
            0x3DA => self.feature = value,
            _ => return false,
        }
        !matches!(port, 0x3C4 | 0x3C7 | 0x3C8 | 0x3CE | 0x3D4)
    }

    fn write_attribute(&mut self, value: u8) -> bool {
        self.attribute_data_next = !self.attribute_data_next;
        if self.attribute_data_next {
            let before = std::mem::replace(&mut self.attribute_index, value & 0x3F);
            return (before ^ value) & PALETTE_ON != 0;
        }
        let index = usize::from(self.attribute_index & 0x1F);
        let bits = match index {
            0..=0xF | 0x12 => 0x3F,
            0x10 => 0xEF,
            0x11 => 0xFF,
            0x13 | 0x14 => 0x0F,
            _ => return false,
        };
        self.attribute[index] = value & bits;
        true
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        let locked = self.crtc[0x11] & CRTC_PROTECT != 0;
        match index {
            7 if locked => self.crtc[7] = self.crtc[7] & !0x10 | value & 0x10, // line compare is never locked
            0..=7 if locked => {}
            0..CRTC_REGISTERS => self.crtc[index] = value,
            _ => {}
        }
    }

    /// Dots of a character's width.
    pub fn dots(&self) -> u32 {
        if self.sequencer[1] & 1 != 0 { 8 } else { 9 }
    }

    /// Whether each dot takes two ticks of the dot clock.
    pub fn half_clock(&self) -> bool {
        self.sequencer[1] & 8 != 0
    }

    /// The lines that are shown, less one.
    pub fn last_line(&self) -> u32 {
        u32::from(self.crtc[0x12]) | u32::from(self.crtc[7] & 0x02) << 7 | u32::from(self.crtc[7] & 0x40) << 3
    }

    /// All lines of a frame, and the nanoseconds of one.
    fn lines_and_line_ns(&self) -> (u64, f64) {
        let overflow = u64::from(self.crtc[7]);
        let lines = (u64::from(self.crtc[6]) | (overflow & 0x01) << 8 | (overflow & 0x20) << 4) + 2;
        let clock_mhz = if self.misc >> 2 & 3 == 1 { 28.322 } else { 25.175 };
        let dots = (f64::from(self.crtc[0]) + 5.0) * f64::from(self.dots());
        let line_ns = dots * if self.half_clock() { 2.0 } else { 1.0 } * 1000.0 / clock_mhz;
        let frame_ns = lines as f64 * line_ns;
        // A monitor follows from 40 to 160 frames a second; whatever else is programmed shows none, at 60.
        if (6.25e6..25e6).contains(&frame_ns) { (lines, line_ns) } else { (525, 31_746.0) }
    }

    /// Nanoseconds from one vertical retrace to the next.
    pub fn frame_ns(&self) -> u64 {
        let (lines, line_ns) = self.lines_and_line_ns();
        (lines as f64 * line_ns) as u64
    }

    /// Where the beam would be now.
    fn input_status_1(&self, now: u64) -> u8 {
        let (lines, line_ns) = self.lines_and_line_ns();
        let position = (now as f64 / line_ns) % lines as f64;
        let (line, along) = (position as u32, position.fract());
        let overflow = u32::from(self.crtc[7]);
        let retrace = u32::from(self.crtc[0x10]) | (overflow & 0x04) << 6 | (overflow & 0x80) << 2;
        let length = (u32::from(self.crtc[0x11]).wrapping_sub(retrace) & 0xF).max(1);
        let shown = (f64::from(self.crtc[1]) + 1.0) / (f64::from(self.crtc[0]) + 5.0);
        let mut status = 0;
        if line > self.last_line() || along >= shown {
            status |= DISPLAY_DISABLED;
        }
        // Timings that were never programmed have no retrace; those who wait for one shall see it all the same.
        let start = if retrace == 0 || u64::from(retrace) >= lines { lines as u32 - 2 } else { retrace };
        if line.wrapping_sub(start) < length {
            status |= VERTICAL_RETRACE | DISPLAY_DISABLED;
        }
        status
    }
}

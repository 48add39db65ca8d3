//! A small seeded generator (SplitMix64), so that a seed names a campaign for ever.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Uniform in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A value that bugs like: edges of every width, small numbers, or anything.
    pub fn interesting(&mut self) -> u64 {
        const EDGES: [u64; 20] = [
            0,
            1,
            2,
            0x7F,
            0x80,
            0xFF,
            0x100,
            0x7FFF,
            0x8000,
            0xFFFF,
            0x7FFF_FFFF,
            0x8000_0000,
            0xFFFF_FFFF,
            0x1_0000_0000,
            0x7FFF_FFFF_FFFF_FFFF,
            0x8000_0000_0000_0000,
            u64::MAX,
            u64::MAX - 1,
            0x5555_5555_5555_5555,
            0x0123_4567_89AB_CDEF,
        ];
        match self.below(4) {
            0 => self.pick(&EDGES),
            1 => self.below(70),
            2 => self.pick(&EDGES) ^ (1 << self.below(64)),
            _ => self.word(),
        }
    }

    /// 64 bits as floating point likes them: one double or two floats, special ones included.
    pub fn floats(&mut self) -> u64 {
        const DOUBLES: [u64; 16] = [
            0,
            1 << 63,
            0x3FF0_0000_0000_0000,
            0xBFF0_0000_0000_0000,
            0x7FF0_0000_0000_0000,
            0xFFF0_0000_0000_0000,
            0x7FF8_0000_0000_0000, // quiet NaN
            0x7FF4_0000_0000_0001, // signalling NaN
            0xFFF8_0000_0000_1234,
            1,                     // denormal
            0x000F_FFFF_FFFF_FFFF, // largest denormal
            0x0010_0000_0000_0000, // smallest normal
            0x7FEF_FFFF_FFFF_FFFF, // largest
            0x41DF_FFFF_FFC0_0000, // 2^31 - 1
            0x43E0_0000_0000_0000, // 2^63
            0x3FE0_0000_0000_0000,
        ];
        const SINGLES: [u32; 14] = [
            0,
            1 << 31,
            0x3F80_0000,
            0x7F80_0000,
            0xFF80_0000,
            0x7FC0_0000,
            0x7FA0_0001,
            1,
            0x007F_FFFF,
            0x0080_0000,
            0x7F7F_FFFF,
            0x4F00_0000,
            0x3F00_0000,
            0xC0A0_0000,
        ];
        match self.below(4) {
            0 => self.pick(&DOUBLES),
            1 => u64::from(self.pick(&SINGLES)) | u64::from(self.pick(&SINGLES)) << 32,
            // A number of ordinary size, with a random fraction.
            2 => self.word() & 0x800F_FFFF_FFFF_FFFF | (0x3C0 + self.below(0x80)) << 52,
            _ => self.interesting(),
        }
    }
}

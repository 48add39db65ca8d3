//! Cases: instructions out of the decoder's tables, in states that bugs like.

use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Encoder, Register};

use crate::encodings::Encodings;
use crate::operands::Draft;
use crate::rng::Rng;
use crate::state::{CODE, CODE_AT, Case, State};

/// Attempts to build one case; some drafts cannot be encoded.
const ATTEMPTS: usize = 16;

pub struct Generator {
    bitness: u32,
    encodings: Encodings,
    /// Those that take turns.
    codes: Vec<Code>,
    next: usize,
    seeds: Rng,
}

impl Generator {
    pub fn new(bitness: u32, seed: u64, wanted: &dyn Fn(&str) -> bool) -> Self {
        let encodings = Encodings::new(bitness);
        let named = |code: &Code| wanted(&format!("{:?}", code.mnemonic()).to_lowercase());
        let codes = encodings.iter().filter(named).collect();
        Self { bitness, encodings, codes, next: 0, seeds: Rng::new(seed) }
    }

    /// The encodings that take part.
    pub fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// The next case; encodings take turns, so that each gets its share.
    pub fn case(&mut self) -> Case {
        loop {
            let code = self.codes[self.next % self.codes.len()];
            self.next += 1;
            let seed = self.seeds.word();
            if let Some(case) = self.reproduce(code, seed) {
                return case;
            }
        }
    }

    /// The encodings that no attempt could build a case of.
    pub fn impossible(&self) -> Vec<Code> {
        let possible = |&code: &Code| (0..64).any(|seed| self.reproduce(code, seed).is_some());
        self.codes.iter().copied().filter(|code| !possible(code)).collect()
    }

    /// The case that an encoding and a case seed name.
    pub fn reproduce(&self, code: Code, seed: u64) -> Option<Case> {
        let mut rng = Rng::new(seed);
        let (bytes, state) = (0..ATTEMPTS).find_map(|_| self.attempt(code, &mut rng))?;
        Some(Case { name: format!("{code:?}:{seed:x}"), bitness: self.bitness, bytes, state })
    }

    fn attempt(&self, code: Code, rng: &mut Rng) -> Option<(Vec<u8>, State)> {
        let mut draft = Draft::new(rng, self.bitness);
        draft.build(code)?;
        let mut encoder = Encoder::new(self.bitness);
        encoder.encode(&draft.instruction, CODE + CODE_AT).ok()?;
        let mut bytes = encoder.take_buffer();
        let state = State { gpr: draft.gpr, ymm: draft.ymm, window: draft.window, ..State::default() };
        if rng.one_in(8)
            && let Some(mutated) = self.mutate(&bytes, rng)
        {
            bytes = mutated;
        }
        Some((bytes, self.randomize(state, rng)))
    }

    /// Adds a prefix, which may change the instruction, be ignored, or be undefined.
    fn mutate(&self, bytes: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
        const PREFIXES: [u8; 9] = [0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26];
        let legacy = |byte: &u8| PREFIXES.contains(byte);
        let rex = self.bitness == 64 && rng.one_in(3);
        let (at, prefix) = match rex {
            true => (bytes.iter().take_while(|byte| legacy(byte)).count(), 0x40 | rng.below(16) as u8),
            false => (0, rng.pick(&PREFIXES)),
        };
        let mut mutated = bytes.to_vec();
        mutated.insert(at, prefix);
        let mut decoder = Decoder::with_ip(self.bitness, &mutated, CODE + CODE_AT, DecoderOptions::NONE);
        let instruction = decoder.decode();
        match decoder.last_error() {
            DecoderError::None => {
                let whole = instruction.len() == mutated.len();
                // FS and GS are the host's own.
                let own = matches!(instruction.memory_segment(), Register::FS | Register::GS);
                (whole && !own && self.encodings.contains(instruction.code())).then_some(mutated)
            }
            DecoderError::InvalidInstruction if mutated.len() <= 15 => Some(mutated),
            _ => None,
        }
    }

    /// Everything that the instruction makes no demands on.
    fn randomize(&self, mut state: State, rng: &mut Rng) -> State {
        if self.bitness == 32 {
            state.gpr.iter_mut().for_each(|register| *register &= 0xFFFF_FFFF);
        }
        state.rip = CODE + CODE_AT;
        state.rflags = 0x202 | rng.word() & 0x8D5 | if rng.one_in(4) { 0x400 } else { 0 };
        state.mxcsr = 0x1F80 | (rng.below(4) as u32) << 13 | rng.below(64) as u32;
        if rng.one_in(4) {
            state.mxcsr |= rng.pick(&[0x8000, 0x0040, 0x8040]);
        }
        if rng.one_in(8) {
            state.mxcsr &= !(1 << (7 + rng.below(6)));
        }
        if rng.one_in(16) {
            state.mxcsr &= !(rng.word() as u32 & 0x1F80);
        }
        x87(&mut state, rng);
        initial(&mut state, rng);
        state
    }
}

/// Now and then a component of the XSAVE state is in its initial state.
fn initial(state: &mut State, rng: &mut Rng) {
    let clear =
        |state: &mut State, half: usize| state.ymm.iter_mut().for_each(|ymm| ymm[half..half + 2].fill(0));
    if rng.one_in(32) {
        let State { fcw, fsw, ftw, fop, fip, fdp, st, .. } = State::default();
        *state = State { fcw, fsw, ftw, fop, fip, fdp, st, ..*state };
    }
    if rng.one_in(32) {
        clear(state, 0);
    }
    if rng.one_in(16) {
        clear(state, 2);
    }
}

fn x87(state: &mut State, rng: &mut Rng) {
    state.fcw = 0x007F | rng.pick(&[0, 2, 3, 3]) << 8 | (rng.below(4) as u16) << 10;
    if rng.one_in(8) {
        state.fcw &= !(1 << rng.below(6));
    }
    if rng.one_in(16) {
        state.fcw &= !(rng.word() as u16 & 0x3F);
    }
    let sticky = match rng.below(16) {
        0 => rng.below(64) as u16, // perhaps one that awaits delivery
        1..8 => rng.below(64) as u16 & state.fcw,
        _ => 0,
    };
    let conditions = rng.word() as u16 & 0x4700;
    state.fsw = sticky | conditions | (rng.below(8) as u16) << 11;
    state.ftw = if rng.one_in(3) { rng.word() as u16 & 0xFF } else { 0xFF };
    state.fop = rng.word() as u16 & 0x7FF;
    state.fip = rng.word() >> 17;
    state.fdp = rng.word() >> 17;
    state.st = std::array::from_fn(|_| extended(rng));
}

/// An 80-bit real: mostly numbers, some specials, some encodings that no longer exist.
fn extended(rng: &mut Rng) -> [u8; 10] {
    let integer_bit = 1 << 63;
    let (exponent, fraction): (u16, u64) = match rng.below(8) {
        0 => rng.pick(&[
            (0, 0),
            (0x8000, 0),
            (0x3FFF, integer_bit),
            (0xBFFF, integer_bit),
            (0x7FFF, integer_bit),
            (0xFFFF, integer_bit),
            (0x7FFF, 0xC000_0000_0000_0000),
            (0xFFFF, 0xC000_0000_0000_0000),
            (0x7FFF, 0xA000_0000_0000_0000),
            (0, 1),
            (0, integer_bit),
            (0x7FFE, u64::MAX),
            (1, integer_bit),
            (0x3FFF, 0),
            (0x7FFF, 0),
        ]),
        1 => (rng.word() as u16, rng.word()),
        2 => (rng.word() as u16, rng.word() | integer_bit),
        _ => ((0x3FFF - 40 + rng.below(80) as u16) | ((rng.below(2) as u16) << 15), rng.word() | integer_bit),
    };
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&fraction.to_le_bytes());
    bytes[8..].copy_from_slice(&exponent.to_le_bytes());
    bytes
}

//! A set of interrupt vectors, as IRR, ISR and TMR are.

use innkeeper_bus::state::{BadState, Plain, Value};

/// 256 bits, vector 0 first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors([u64; 4]);

impl Plain for Vectors {
    fn save(&self) -> Value {
        self.0.save()
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        Plain::load(value).map(Self)
    }
}

impl Vectors {
    pub fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] >> (vector & 63) & 1 != 0
    }

    /// Sets or clears one vector; gives what it was.
    pub fn set(&mut self, vector: u8, on: bool) -> bool {
        let before = self.has(vector);
        let (word, bit) = (&mut self.0[usize::from(vector >> 6)], 1 << (vector & 63));
        *word = if on { *word | bit } else { *word & !bit };
        before
    }

    pub fn highest(&self) -> Option<u8> {
        let word = (0..4).rev().find(|&word| self.0[word] != 0)?;
        Some((64 * word) as u8 + 63 - self.0[word].leading_zeros() as u8)
    }

    /// 32-bit register `number`, 0-7.
    pub fn register(&self, number: usize) -> u32 {
        (self.0[number >> 1 & 3] >> (32 * (number & 1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_found_where_it_was_set() {
        for vector in 0..=255u8 {
            let mut set = Vectors::default();
            assert_eq!(set.highest(), None);
            assert!(!set.set(vector, true) && set.set(vector, true));
            assert_eq!(set.highest(), Some(vector));
            for register in 0..8 {
                let here = usize::from(vector / 32) == register;
                assert_eq!(set.register(register), if here { 1 << (vector % 32) } else { 0 });
            }
            set.set(vector / 2, true);
            assert_eq!(set.highest(), Some(vector));
            assert!(set.set(vector, false) && !set.has(vector));
            assert_eq!(set.highest(), (vector > 0).then_some(vector / 2));
        }
    }
}

//! The widths that memory is accessed in.

/// Plain little-endian data of 1 to 32 bytes that every bit pattern is valid for.
///
/// # Safety
/// Implementors must be `Copy` plain data without padding, valid for every bit pattern.
pub unsafe trait Word: Copy {
    const BYTES: u64 = size_of::<Self>() as u64;

    fn from_bytes(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), size_of::<Self>());
        // SAFETY: the length was checked, and any bit pattern is valid by the trait's contract.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }

    fn as_bytes(&self) -> &[u8] {
        // SAFETY: plain data without padding, by the trait's contract.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

/// An x87 extended real: 80 bits.
pub type Bytes10 = [u8; 10];
/// A YMM register or memory operand.
pub type Bytes32 = [u8; 32];

// SAFETY: integers and byte arrays are plain data, valid for every bit pattern.
unsafe impl Word for u8 {}
// SAFETY: as above.
unsafe impl Word for u16 {}
// SAFETY: as above.
unsafe impl Word for u32 {}
// SAFETY: as above.
unsafe impl Word for u64 {}
// SAFETY: as above.
unsafe impl Word for u128 {}
// SAFETY: as above.
unsafe impl Word for Bytes10 {}
// SAFETY: as above.
unsafe impl Word for Bytes32 {}

/// A general-register operand width: u8, u16, u32 or u64.
pub trait Int: Word + Into<u64> + Eq + 'static {
    const BITS: u32 = Self::BYTES as u32 * 8;
    /// The low bits of `value`.
    fn truncate(value: u64) -> Self;
    /// Sign-extends to 64 bits.
    fn sign_extend(self) -> u64;
    /// The operand as a plain `u64`, zero-extended.
    fn zero_extend(self) -> u64 {
        self.into()
    }
    /// Compare-and-swap on shared memory. Gives the value found.
    ///
    /// # Safety
    /// `pointer` must be valid for reads and writes of `Self`. It may be unaligned (x86 allows it).
    unsafe fn compare_exchange(pointer: *mut Self, expected: Self, new: Self) -> Self;
}

macro_rules! int {
    ($type:ty, $signed:ty, $register:ident, $accumulator:tt) => {
        impl Int for $type {
            fn truncate(value: u64) -> Self {
                value as Self
            }
            fn sign_extend(self) -> u64 {
                self as $signed as i64 as u64
            }
            unsafe fn compare_exchange(pointer: *mut Self, expected: Self, new: Self) -> Self {
                let found;
                // SAFETY: the caller vouches for the pointer. Inline assembly, because Rust's atomics
                // demand the alignment that x86 does not.
                unsafe {
                    core::arch::asm!(
                        concat!("lock cmpxchg [{pointer}], ", int!(@operand $accumulator)),
                        pointer = in(reg) pointer, new = in($register) new,
                        inout($accumulator) expected => found, options(nostack),
                    );
                }
                found
            }
        }
    };
    (@operand "al") => { "{new}" };
    (@operand "ax") => { "{new:x}" };
    (@operand "eax") => { "{new:e}" };
    (@operand "rax") => { "{new:r}" };
}

int!(u8, i8, reg_byte, "al");
int!(u16, i16, reg, "ax");
int!(u32, i32, reg, "eax");
int!(u64, i64, reg, "rax");

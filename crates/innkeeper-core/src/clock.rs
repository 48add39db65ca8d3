//! Time as guests see it: a TSC at the host's rate that starts near zero, and nanoseconds since then.

/// One clock per VM, shared by every vCPU and timer.
pub struct Clock {
    offset: u64,
    khz: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    pub fn new() -> Self {
        todo!("measure or read the host's TSC rate")
    }

    /// The TSC that a guest with TSC_OFFSET 0 reads.
    #[inline]
    pub fn tsc(&self) -> u64 {
        // SAFETY: every x86-64 processor has RDTSC, and user mode may use it.
        unsafe { core::arch::x86_64::_rdtsc() }.wrapping_sub(self.offset)
    }

    /// TSC rate in kHz.
    pub fn khz(&self) -> u64 {
        self.khz
    }

    /// Nanoseconds since the clock was made.
    pub fn nanoseconds(&self) -> u64 {
        (u128::from(self.tsc()) * 1_000_000 / u128::from(self.khz)) as u64
    }
}

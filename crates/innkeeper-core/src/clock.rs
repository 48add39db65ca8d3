//! Time as guests see it: a TSC at the host's rate that starts near zero, and nanoseconds since then.
//!
//! The rate comes from the host kernel or CPUID if they state one that a short measurement confirms
//! (Intel SDM vol. 3, 19.7.3; leaf 0x4000_0010 is VMware's and KVM's convention), else from a
//! longer measurement. Left out: scaling, so a guest cannot move to a host with another TSC rate.

use core::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

/// A stated rate counts if a measurement this long agrees with it ...
const CHECK: Duration = Duration::from_millis(3);
/// ... to one part in this many.
const TOLERANCE: u64 = 1000;
/// How long to measure if nothing trustworthy is stated.
const MEASURE: Duration = Duration::from_millis(20);
/// What [`begin_measuring`] read serves no longer than this: a host that slept meanwhile may have begun to count anew.
const FRESH: Duration = Duration::from_secs(1);

/// A machine counts no more ticks or nanoseconds than this in its life: more than a decade.
pub const LONGEST_LIFE: u64 = 1 << 60;
/// How far the rate of the host that a machine was saved on may be from this one's: what measuring leaves open, and what
/// a guest's own synchronisation makes up for.
const RATE_TOLERANCE: u64 = 2000;

/// One clock per VM, shared by every vCPU and timer.
#[derive(Debug)]
pub struct Clock {
    // They change when a machine is restored, before it runs.
    offset: AtomicU64,
    khz: AtomicU64,
    /// See [`Scale::pack`].
    scale: AtomicU64,
}

/// TSC ticks to nanoseconds as paravirtual clocks do it: shift left by `shift` (right if negative),
/// multiply by `mul`, drop 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub mul: u32,
    pub shift: i8,
}

impl Scale {
    fn pack(self) -> u64 {
        u64::from(self.mul) | u64::from(self.shift as u8) << 32
    }

    fn unpack(packed: u64) -> Self {
        Self { mul: packed as u32, shift: (packed >> 32) as i8 }
    }

    /// The scale for a rate, with `mul` as large as it can be.
    fn new(khz: u64) -> Self {
        let ratio = |shift: i32| (1_000_000u128 << (32 - shift)) / u128::from(khz);
        let mut shift = 0;
        while ratio(shift) > u128::from(u32::MAX) {
            shift += 1;
        }
        while shift > -31 && ratio(shift - 1) <= u128::from(u32::MAX) {
            shift -= 1;
        }
        Self { mul: ratio(shift) as u32, shift: shift as i8 }
    }

    /// Nanoseconds in `ticks`; at most as many as fit.
    #[inline]
    pub fn nanoseconds(self, ticks: u64) -> u64 {
        let shifted =
            if self.shift < 0 { u128::from(ticks >> -self.shift) } else { u128::from(ticks) << self.shift };
        u64::try_from((shifted * u128::from(self.mul)) >> 32).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the counters, so that whoever makes a clock in a moment need not wait for a measurement.
pub fn begin_measuring() {
    BEGUN.get_or_init(paired_reading);
}

static BEGUN: OnceLock<Reading> = OnceLock::new();

/// The host's TSC rate in kHz, found once per process.
pub fn host_khz() -> u64 {
    static KHZ: OnceLock<u64> = OnceLock::new();
    *KHZ.get_or_init(find_khz)
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self::with_khz(host_khz())
    }

    fn with_khz(khz: u64) -> Self {
        Self { offset: rdtsc().into(), khz: khz.into(), scale: Scale::new(khz).pack().into() }
    }

    /// The TSC that a guest with TSC_OFFSET 0 reads.
    #[inline]
    pub fn tsc(&self) -> u64 {
        rdtsc().wrapping_sub(self.offset.load(Ordering::Relaxed))
    }

    /// What to add to the host's counter for the VM's (wrapping).
    pub fn tsc_offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed).wrapping_neg()
    }

    /// TSC rate in kHz.
    pub fn khz(&self) -> u64 {
        self.khz.load(Ordering::Relaxed)
    }

    pub fn scale(&self) -> Scale {
        Scale::unpack(self.scale.load(Ordering::Relaxed))
    }

    /// Nanoseconds since the clock was made.
    pub fn nanoseconds(&self) -> u64 {
        self.scale().nanoseconds(self.tsc())
    }

    /// The first nanosecond at which [`Self::tsc`] is surely `tsc` or more.
    pub fn nanoseconds_at(&self, tsc: u64) -> u64 {
        // A shift to the right loses less than `1 << -shift` ticks, `mul` less than one more nanosecond.
        let lost = 1u64 << (-self.scale().shift).max(0);
        self.scale().nanoseconds(tsc.saturating_add(lost)).saturating_add(1)
    }

    /// Where it is now.
    pub fn state(&self) -> Value {
        map([("tsc", self.tsc().save()), ("khz", self.khz().save())])
    }

    /// Goes on from where another clock was.
    ///
    /// # Errors
    /// [`BadState`] if that one ran at another rate.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let (tsc, khz): (u64, u64) = (fields.take("tsc")?, fields.take("khz")?);
        fields.end()?;
        let host = self.khz();
        if khz.abs_diff(host) > host / RATE_TOLERANCE {
            let rates = format!("the machine's processor counted at {khz} kHz; this host's counts at {host}");
            return Err(BadState::new(rates));
        }
        if tsc >= LONGEST_LIFE {
            return Err(BadState::new(format!("tsc: {tsc} is beyond {LONGEST_LIFE}")));
        }
        self.khz.store(khz, Ordering::Relaxed);
        self.scale.store(Scale::new(khz).pack(), Ordering::Relaxed);
        self.offset.store(rdtsc().wrapping_sub(tsc), Ordering::Relaxed);
        Ok(())
    }

    /// Wall-clock time at which this clock was zero, since the Unix epoch.
    pub fn wall_start(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_nanos(self.nanoseconds()))
    }
}

#[inline]
fn rdtsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and user mode may use it.
    unsafe { _rdtsc() }
}

fn find_khz() -> u64 {
    let fresh = |begun: &&Reading| paired_reading().raw - begun.raw < FRESH.as_nanos() as u64;
    let begun = BEGUN.get().filter(fresh).copied().unwrap_or_else(paired_reading);
    let stated = [stated_by_kernel(), stated_by_hypervisor(), stated_by_processor()];
    let measured = measured_khz(begun, CHECK);
    let agrees = |khz: &u64| khz.abs_diff(measured) <= measured / TOLERANCE;
    stated.into_iter().flatten().find(agrees).unwrap_or_else(|| measured_khz(begun, MEASURE))
}

fn stated_by_kernel() -> Option<u64> {
    std::fs::read_to_string("/sys/devices/system/cpu/cpu0/tsc_freq_khz").ok()?.trim().parse().ok()
}

/// CPUID leaf 0x4000_0010, EAX: TSC kHz.
fn stated_by_hypervisor() -> Option<u64> {
    let hypervisor = __cpuid(1).ecx >> 31 != 0;
    let reaches = hypervisor && (0x4000_0010..0x4001_0000).contains(&__cpuid(0x4000_0000).eax);
    reaches.then(|| u64::from(__cpuid(0x4000_0010).eax)).filter(|&khz| khz != 0)
}

/// CPUID leaf 0x15 (crystal clock times ratio), else 0x16 (base frequency, MHz).
fn stated_by_processor() -> Option<u64> {
    let leaves = __cpuid(0).eax;
    if leaves < 0x15 {
        return None;
    }
    let ratio = __cpuid(0x15);
    if ratio.eax != 0 && ratio.ebx != 0 && ratio.ecx != 0 {
        return Some(u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax) / 1000);
    }
    let base = if leaves >= 0x16 { __cpuid(0x16).eax & 0xFFFF } else { 0 };
    (base != 0).then(|| u64::from(base) * 1000)
}

/// Counts TSC ticks from `begun` until at least `time` of CLOCK_MONOTONIC_RAW has passed.
fn measured_khz(begun: Reading, time: Duration) -> u64 {
    let passed = Duration::from_nanos(paired_reading().raw - begun.raw);
    std::thread::sleep(time.saturating_sub(passed));
    let now = paired_reading();
    let ticks = u128::from(now.tsc.wrapping_sub(begun.tsc));
    let nanoseconds = u128::from((now.raw - begun.raw).max(1));
    ((ticks * 1_000_000 / nanoseconds) as u64).max(1)
}

/// The TSC and the raw clock, in nanoseconds, at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    tsc: u64,
    raw: u64,
}

/// The tightest of several attempts.
fn paired_reading() -> Reading {
    let attempt = || {
        let before = ordered_tsc();
        let raw = monotonic_raw();
        let after = ordered_tsc();
        let apart = after.wrapping_sub(before);
        (apart, Reading { tsc: before.wrapping_add(apart / 2), raw })
    };
    (0..16).map(|_| attempt()).min().expect("sixteen attempts").1
}

fn ordered_tsc() -> u64 {
    // SAFETY: LFENCE is SSE2, which every x86-64 processor has; it keeps RDTSC in its place.
    unsafe {
        _mm_lfence();
        let tsc = _rdtsc();
        _mm_lfence();
        tsc
    }
}

fn monotonic_raw() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and the clock id exists since Linux 2.6.28.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &raw mut time) };
    assert_eq!(rc, 0, "CLOCK_MONOTONIC_RAW");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_exact_to_a_part_in_a_billion() {
        for khz in [1, 999, 1_000_000, 1_193_182, 2_000_000, 2_599_998, 3_700_123, 5_000_000] {
            let scale = Scale::new(khz);
            assert!(scale.mul >= 1 << 31, "{khz} kHz uses all bits of mul");
            let hour = khz * 1000 * 3600;
            let error = scale.nanoseconds(hour).abs_diff(3_600_000_000_000);
            assert!(error <= 3600 * 2, "{khz} kHz is off by {error} ns in an hour");
        }
    }

    #[test]
    fn a_moment_is_never_before_its_tick() {
        for khz in [1_193_182, 2_599_998, 3_700_123] {
            let clock = Clock::with_khz(khz);
            for tick in (0..50).chain([u64::from(u32::MAX), 1 << 50]) {
                let moment = clock.nanoseconds_at(tick);
                assert!(clock.scale().nanoseconds(tick) < moment, "{khz} kHz tick {tick}");
                assert!(moment - clock.scale().nanoseconds(tick) < 10);
            }
            clock.nanoseconds_at(u64::MAX);
        }
        assert_eq!(Clock::with_khz(1000).nanoseconds_at(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_rate_agrees_with_the_host_clock() {
        let clock = Clock::new();
        let measured = measured_khz(paired_reading(), Duration::from_millis(4));
        assert!(clock.khz().abs_diff(measured) < measured / 200, "{} vs {measured} kHz", clock.khz());
    }

    #[test]
    fn a_measurement_may_have_begun_long_ago() {
        let begun = paired_reading();
        std::thread::sleep(Duration::from_millis(25));
        let measured = measured_khz(begun, MEASURE);
        assert!(host_khz().abs_diff(measured) < measured / 200, "{} vs {measured} kHz", host_khz());
    }

    #[test]
    fn a_restored_clock_goes_on_where_the_other_was() {
        let before = Clock::with_khz(2_000_000);
        before.offset.store(rdtsc().wrapping_sub(1 << 50), Ordering::Relaxed);
        let state = before.state();
        let clock = Clock::with_khz(2_000_500);
        clock.restore(&state).expect("almost the same rate");
        assert_eq!((clock.khz(), clock.scale()), (2_000_000, before.scale()));
        assert!((1 << 50..(1 << 50) + (1 << 34)).contains(&clock.tsc()));
        let error = Clock::with_khz(2_100_000).restore(&state).unwrap_err();
        assert!(error.to_string().contains("2100000"), "{error}");
        let hostile = map([("tsc", Value::Int(u64::MAX)), ("khz", Value::Int(2_000_000))]);
        assert!(clock.restore(&hostile).is_err());
    }

    #[test]
    fn it_starts_near_zero_and_only_grows() {
        let clock = Clock::new();
        let first = clock.tsc();
        assert!(first < clock.khz() * 1000 && clock.tsc() >= first);
        assert!(clock.wall_start() > Duration::from_secs(1_600_000_000));
    }
}

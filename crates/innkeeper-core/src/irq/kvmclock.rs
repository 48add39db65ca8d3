//! The paravirtual clock of KVM guests: two structures in guest memory from which the guest computes
//! the time without leaving.
//!
//! Source: Linux, Documentation/virt/kvm/x86/msr.rst. The TSC's rate never changes, so a structure
//! is written when its MSR is, and again when the guest moves its TSC. Left out: the paused flag.

use std::sync::atomic::{Ordering, fence};

use crate::clock::Clock;
use crate::memory::GuestMemory;

const WALL_CLOCK: u32 = 0x4B56_4D00;
const SYSTEM_TIME: u32 = 0x4B56_4D01;
const WALL_CLOCK_OLD: u32 = 0x11;
const SYSTEM_TIME_OLD: u32 = 0x12;

/// System-time MSR bit 0: the structure is to be kept.
const ENABLED: u64 = 1;
/// All vCPUs' clocks agree, so the guest need not guard against going backwards.
const TSC_STABLE: u8 = 1;

/// The clock of one vCPU.
#[derive(Clone, Debug, Default)]
pub struct Kvmclock {
    wall_clock: u64,
    system_time: u64,
    wall_version: u32,
    version: u32,
    tsc_adjust: u64,
}

impl Kvmclock {
    /// The MSR's value; `None` if it is not one of ours.
    pub fn read_msr(&self, msr: u32) -> Option<u64> {
        match msr {
            WALL_CLOCK | WALL_CLOCK_OLD => Some(self.wall_clock),
            SYSTEM_TIME | SYSTEM_TIME_OLD => Some(self.system_time),
            _ => None,
        }
    }

    /// Writes an MSR and the structure that it points at; `false` if it is not one of ours. An
    /// address outside RAM gets nothing, as under KVM.
    pub fn write_msr(&mut self, memory: &GuestMemory, clock: &Clock, msr: u32, value: u64) -> bool {
        match msr {
            WALL_CLOCK | WALL_CLOCK_OLD => {
                self.wall_clock = value;
                // Zero is no address: it is what this MSR holds when nobody has asked for the time.
                if value != 0 {
                    self.write_wall_clock(memory, clock);
                }
            }
            SYSTEM_TIME | SYSTEM_TIME_OLD => {
                self.system_time = value;
                self.write_system_time(memory, clock);
            }
            _ => return false,
        }
        true
    }

    /// INIT: the structures are not kept any more.
    pub fn init(&mut self) {
        (self.wall_clock, self.system_time) = (0, 0);
    }

    /// Tells how far the guest's TSC is ahead of the VM's clock (wrapping).
    pub fn set_tsc_adjust(&mut self, memory: &GuestMemory, clock: &Clock, adjust: u64) {
        self.tsc_adjust = adjust;
        self.write_system_time(memory, clock);
    }

    // version │ seconds │ nanoseconds, 32 bits each: the wall-clock time at system time zero.
    fn write_wall_clock(&mut self, memory: &GuestMemory, clock: &Clock) {
        let start = clock.wall_start();
        let mut body = [0; 8];
        body[..4].copy_from_slice(&(start.as_secs() as u32).to_le_bytes());
        body[4..].copy_from_slice(&start.subsec_nanos().to_le_bytes());
        write_versioned(memory, self.wall_clock, &mut self.wall_version, 4, &body);
    }

    // version, pad (32 bits each) │ TSC │ system time (64) │ mul (32) │ shift, flags (8), pad (16).
    fn write_system_time(&mut self, memory: &GuestMemory, clock: &Clock) {
        if self.system_time & ENABLED == 0 {
            return;
        }
        let scale = clock.scale();
        let mut body = [0; 24];
        // Every vCPU counts from the same moment, the clock's start, so that all agree exactly.
        body[..8].copy_from_slice(&self.tsc_adjust.to_le_bytes());
        body[16..20].copy_from_slice(&scale.mul.to_le_bytes());
        body[20] = scale.shift as u8;
        body[21] = TSC_STABLE;
        write_versioned(memory, self.system_time & !ENABLED, &mut self.version, 8, &body);
    }
}

/// Writes `body` at `gpa + offset` between two steps of the version at `gpa`, which is odd meanwhile.
fn write_versioned(memory: &GuestMemory, gpa: u64, version: &mut u32, offset: u64, body: &[u8]) {
    let length = offset + body.len() as u64;
    if memory.slot(gpa).is_none_or(|slot| length > slot.size - (gpa - slot.gpa)) {
        return;
    }
    let steps: [(u64, &[u8]); 3] = [
        (gpa, &version.wrapping_add(1).to_le_bytes()),
        (gpa + offset, body),
        (gpa, &version.wrapping_add(2).to_le_bytes()),
    ];
    *version = version.wrapping_add(2);
    for (at, bytes) in steps {
        memory.write(at, bytes).expect("the whole structure is in one slot");
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PAGE_SIZE;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn field<const N: usize>(memory: &GuestMemory, gpa: u64) -> [u8; N] {
        let mut bytes = [0; N];
        memory.read(gpa, &mut bytes).unwrap();
        bytes
    }

    /// The time as a guest computes it from the structure at `gpa`, if its TSC reads `tsc`.
    fn guest_time(memory: &GuestMemory, gpa: u64, tsc: u64) -> u64 {
        let delta = tsc.wrapping_sub(u64::from_le_bytes(field(memory, gpa + 8)));
        let shift = i8::from_le_bytes(field(memory, gpa + 28));
        let shifted = if shift < 0 { delta >> -shift } else { delta << shift };
        let mul = u32::from_le_bytes(field(memory, gpa + 24));
        let passed = ((u128::from(shifted) * u128::from(mul)) >> 32) as u64;
        u64::from_le_bytes(field(memory, gpa + 16)) + passed
    }

    #[test]
    fn a_guest_computes_the_clocks_own_time() {
        let (memory, clock) = (GuestMemory::new(&[(0, PAGE_SIZE)]).unwrap(), Clock::new());
        let mut kvmclock = Kvmclock::default();
        for (msr, adjust) in
            [(SYSTEM_TIME, 0), (SYSTEM_TIME_OLD, 1 << 40), (SYSTEM_TIME, 0u64.wrapping_sub(5000))]
        {
            kvmclock.set_tsc_adjust(&memory, &clock, adjust);
            assert!(kvmclock.write_msr(&memory, &clock, msr, 0x101));
            assert_eq!(kvmclock.read_msr(SYSTEM_TIME), Some(0x101));
            for tsc in [10_000, clock.tsc(), 1 << 44] {
                let expected = clock.scale().nanoseconds(tsc);
                assert_eq!(guest_time(&memory, 0x100, tsc.wrapping_add(adjust)), expected);
            }
            assert_eq!(field::<1>(&memory, 0x11D), [TSC_STABLE]);
        }
        let version = u32::from_le_bytes(field(&memory, 0x100));
        assert!(version % 2 == 0 && version >= 6);
    }

    #[test]
    fn wall_clock_plus_system_time_is_now() {
        let (memory, clock) = (GuestMemory::new(&[(0, PAGE_SIZE)]).unwrap(), Clock::new());
        let mut kvmclock = Kvmclock::default();
        assert!(kvmclock.write_msr(&memory, &clock, WALL_CLOCK, 0x20));
        let seconds = u64::from(u32::from_le_bytes(field(&memory, 0x24)));
        let nanoseconds = u64::from(u32::from_le_bytes(field(&memory, 0x28)));
        let now = seconds * 1_000_000_000 + nanoseconds + clock.nanoseconds();
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(now.abs_diff(host) < 1_000_000_000, "{now} vs {host}");
        assert_eq!(field::<4>(&memory, 0x20), 2u32.to_le_bytes());
    }

    #[test]
    fn zero_asks_for_no_wall_clock() {
        let (memory, clock) = (GuestMemory::new(&[(0, PAGE_SIZE)]).unwrap(), Clock::new());
        assert!(Kvmclock::default().write_msr(&memory, &clock, WALL_CLOCK, 0));
        assert_eq!(field::<12>(&memory, 0), [0; 12]);
    }

    #[test]
    fn disabling_stops_the_updates_and_bad_addresses_are_harmless() {
        let (memory, clock) = (GuestMemory::new(&[(0, PAGE_SIZE)]).unwrap(), Clock::new());
        let mut kvmclock = Kvmclock::default();
        assert!(kvmclock.write_msr(&memory, &clock, SYSTEM_TIME, 0x100));
        assert_eq!(field::<32>(&memory, 0x100), [0; 32]);
        for gpa in [PAGE_SIZE - 4, PAGE_SIZE, u64::MAX] {
            assert!(kvmclock.write_msr(&memory, &clock, SYSTEM_TIME, gpa | 1));
            assert!(kvmclock.write_msr(&memory, &clock, WALL_CLOCK, gpa));
        }
        assert_eq!(field::<4>(&memory, PAGE_SIZE - 4), [0; 4]);
        assert!(!kvmclock.write_msr(&memory, &clock, 0x10, 0) && kvmclock.read_msr(0x4B56_4D02).is_none());
    }
}

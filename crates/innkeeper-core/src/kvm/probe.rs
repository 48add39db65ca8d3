//! What this host's KVM can really do, found out by running it.
//!
//! That /dev/kvm opens says little: software back ends emulate ring 0, refuse 32-bit paging, or show
//! the host's own CPUID. Each question is put to a guest of a few bytes, on a watchdog.

use std::time::{Duration, Instant};

use super::microguest::{MicroGuest, Mode};
use super::vm::open;
use crate::engine::EngineError;
use crate::exit::Exit;

/// How long one guest may take. They need about a millisecond.
const LIMIT: Duration = Duration::from_millis(150);
/// Emulators of ring 0 stay below this many million instructions a second, processors far above.
const NATIVE_MIPS: f64 = 30.0;
const MSR_TSC: u32 = 0x10;
/// Some hours of TSC: more than can pass while probing.
const LEAP: u64 = 1 << 44;

/// The answers. Whatever is not as on real hardware has its sentence in `why`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// A 64-bit guest ran.
    pub usable: bool,
    /// Sentences, joined by "; ".
    pub why: String,
    /// The kernel module behind /dev/kvm, as `kvm_intel`.
    pub backend: String,
    pub api_version: i32,
    /// Kernel-mode code runs on the processor rather than in an emulator.
    pub ring0_native: bool,
    /// Millions of ring-0 instructions a second.
    pub ring0_mips: f64,
    /// SYSCALL takes CPL 3 to CPL 0.
    pub syscall: bool,
    pub paging_32bit: bool,
    /// INT3 at CPL 0 reaches the guest's handler.
    pub int3: bool,
    /// A feature taken out of CPUID is not shown.
    pub cpuid_masking: bool,
    /// The guest's TSC starts where it was set.
    pub tsc_offset: bool,
    pub seconds: f64,
}

/// Asks all questions; takes a fraction of a second.
pub fn probe() -> Probe {
    let started = Instant::now();
    let mut probe = Probe { backend: backend(), ..Probe::default() };
    let mut why = Vec::new();
    match ask(&mut probe, &mut why) {
        Ok(()) => probe.usable = true,
        Err(sentence) => why.insert(0, sentence),
    }
    probe.why = why.join("; ");
    probe.seconds = started.elapsed().as_secs_f64();
    probe
}

/// An error makes KVM unusable; lesser failings go to `why`.
fn ask(probe: &mut Probe, why: &mut Vec<String>) -> Result<(), String> {
    probe.api_version = open().map_err(|error| error.to_string())?.get_api_version();
    probe.ring0_mips = ring0_mips()?;
    probe.ring0_native = probe.ring0_mips >= NATIVE_MIPS;
    if !probe.ring0_native {
        why.push(format!("ring 0 is emulated, at {:.1} million instructions a second", probe.ring0_mips));
    }
    let mut note = |question: Result<(), String>| {
        let good = question.is_ok();
        why.extend(question.err());
        good
    };
    probe.syscall = note(syscall());
    probe.paging_32bit = note(paging_32bit());
    probe.int3 = note(int3());
    probe.cpuid_masking = note(cpuid_masking());
    probe.tsc_offset = note(tsc_offset());
    Ok(())
}

/// The module that registered /dev/kvm; built-in ones are listed as well.
fn backend() -> String {
    let Ok(modules) = std::fs::read_dir("/sys/module") else { return String::new() };
    let names = modules.flatten().map(|module| module.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("kvm_")).collect();
    names.sort();
    names.join(" ")
}

/// Runs a guest that should end in HLT; its result, and how long it took.
fn halted(guest: Result<MicroGuest, EngineError>, what: &str) -> Result<(u64, Duration), String> {
    let guest = guest.map_err(|error| format!("{what} cannot be tried: {error}"))?;
    let (exit, took) = guest.run(LIMIT);
    let end = match exit {
        Exit::Halt => {
            let result = guest.result().map_err(|error| format!("{what} cannot be judged: {error}"))?;
            return Ok((result, took));
        }
        Exit::Shutdown => "triple fault".into(),
        Exit::Kicked => format!("no end within {} ms", LIMIT.as_millis()),
        Exit::Debug(_) => "debug exit".into(),
        Exit::InternalError(text) => text,
    };
    Err(format!("{what} does not work: {end}"))
}

fn ring0_mips() -> Result<f64, String> {
    let mut best: f64 = 0.0;
    for rounds in [1000u32, 1_000_000, 1_000_000] {
        // mov ecx,rounds; again: dec ecx; jnz again; hlt
        let mut code = vec![0xB9];
        code.extend(rounds.to_le_bytes());
        code.extend([0xFF, 0xC9, 0x75, 0xFC, 0xF4]);
        let (_, took) = halted(MicroGuest::new(Mode::Long, &code, &[]), "ring 0 in 64-bit mode")?;
        best = best.max(f64::from(2 * rounds) / took.as_secs_f64() / 1e6);
        // An emulator at work: a million rounds would take it seconds.
        if took > Duration::from_micros(500) {
            break;
        }
    }
    Ok(best)
}

fn syscall() -> Result<(), String> {
    // syscall; the handler: mov [0x3000],rcx; hlt, which needs CPL 0
    let handler = [0x48, 0x89, 0x0C, 0x25, 0x00, 0x30, 0x00, 0x00, 0xF4];
    let (result, _) =
        halted(MicroGuest::new(Mode::LongUser, &[0x0F, 0x05], &handler), "SYSCALL into ring 0")?;
    let expected = super::microguest::CODE + 2;
    (result == expected)
        .then_some(())
        .ok_or_else(|| format!("SYSCALL left {result:#x} in RCX, not {expected:#x}"))
}

fn paging_32bit() -> Result<(), String> {
    // mov dword [0x403000],0x600D; hlt
    let code = [0xC7, 0x05, 0x00, 0x30, 0x40, 0x00, 0x0D, 0x60, 0x00, 0x00, 0xF4];
    let (result, _) = halted(MicroGuest::new(Mode::Paged32, &code, &[]), "32-bit paging")?;
    (result == 0x600D).then_some(()).ok_or_else(|| "32-bit paging does not translate".into())
}

fn int3() -> Result<(), String> {
    // int3; ud2; the handler: mov byte [0x3000],1; hlt
    let handler = [0xC6, 0x04, 0x25, 0x00, 0x30, 0x00, 0x00, 0x01, 0xF4];
    let guest = MicroGuest::new(Mode::Long, &[0xCC, 0x0F, 0x0B], &handler);
    let (result, _) = halted(guest, "INT3 in ring 0")?;
    (result == 1).then_some(()).ok_or_else(|| "INT3 in ring 0 does not reach its handler".into())
}

fn cpuid_masking() -> Result<(), String> {
    // mov eax,1; cpuid; mov [0x3000],ecx; hlt
    let code = [0xB8, 0x01, 0, 0, 0, 0x0F, 0xA2, 0x89, 0x0C, 0x25, 0x00, 0x30, 0x00, 0x00, 0xF4];
    const SSE3: u32 = 1;
    let hide = |leaf: &mut kvm_bindings::kvm_cpuid_entry2| {
        if leaf.function == 1 {
            leaf.ecx &= !SSE3;
        }
    };
    let (result, _) = halted(MicroGuest::with_cpuid(Mode::Long, &code, &[], &hide), "CPUID")?;
    let hidden = result as u32 & SSE3 == 0;
    hidden.then_some(()).ok_or_else(|| "CPUID shows the host's features though they were masked".into())
}

fn tsc_offset() -> Result<(), String> {
    // rdtsc; mov [0x3000],eax; mov [0x3004],edx; hlt
    let code = [
        0x0F, 0x31, 0x89, 0x04, 0x25, 0x00, 0x30, 0x00, 0x00, 0x89, 0x14, 0x25, 0x04, 0x30, 0x00, 0x00, 0xF4,
    ];
    // SAFETY: every x86-64 processor has RDTSC, and user mode may use it.
    let goal = unsafe { core::arch::x86_64::_rdtsc() }.wrapping_add(LEAP);
    let guest = MicroGuest::new(Mode::Long, &code, &[]).and_then(|guest| {
        guest.adjust(|state| {
            for (msr, value) in &mut state.msrs {
                if *msr == MSR_TSC {
                    *value = goal;
                }
            }
        })?;
        Ok(guest)
    });
    let (result, _) = halted(guest, "the TSC")?;
    let moved = result.wrapping_sub(goal) < LEAP;
    moved.then_some(()).ok_or_else(|| "the TSC cannot be set: guests read the host's".into())
}

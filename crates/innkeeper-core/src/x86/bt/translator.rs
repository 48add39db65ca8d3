//! One vCPU's translator: its settings, its cache, and what its translations take for granted.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use iced_x86::Encoder;

use super::cache::Cache;
use super::trace::Tracer;
use super::verify::{Verifier, Verify};
use crate::exit::Exit;
use crate::memory::CodeWrites;

/// How an engine translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of code cache, for each vCPU.
    pub code_cache_bytes: usize,
    /// Count executions of blocks.
    pub counting: bool,
    /// Keep status flags exact even where nobody can read them: for comparing with the interpreter.
    pub exact_flags: bool,
    /// Have the interpreter check what translated code does: for tests of a machine with one vCPU.
    pub verify: Option<Verify>,
    pub stress: Stress,
}

/// What makes rare things frequent, for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stress {
    /// The first-level TLB forgets all else with each entry.
    pub one_tlb_entry: bool,
    /// All translations are dropped each time so many blocks were looked up; never if 0.
    pub clear_every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let stress = Stress::default();
        Self { code_cache_bytes: 64 << 20, counting: false, exact_flags: false, verify: None, stress }
    }
}

/// Why this host cannot run translated code, if so.
pub fn unavailable() -> Option<String> {
    const FSGSBASE: u64 = 2;
    // SAFETY: a plain look-up in the process's auxiliary vector.
    let allowed = unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE != 0;
    if !allowed {
        return Some("the host's kernel does not let programs set the GS base (FSGSBASE)".into());
    }
    (!std::arch::is_x86_feature_detected!("avx")).then(|| "the host's processor has no AVX".into())
}

/// One vCPU's translator.
pub struct Translator {
    pub(super) cache: Cache,
    pub(super) encoder: Option<Encoder>,
    /// Memory for the code of the next block.
    pub(super) spare: (Vec<u8>, Vec<u8>),
    pub(super) exact_flags: bool,
    pub(super) flag_returns: FlagReturns,
    pub(super) tracer: Option<Tracer>,
    pub(super) verifier: Option<Box<Verifier>>,
    pub(in crate::x86) stress: Stress,
    /// Look-ups since translations were dropped for no reason.
    look_ups: u32,
    /// Addresses of instructions whose accesses are checked one by one.
    pub(super) apart: HashSet<u64>,
    pub(super) writes: Arc<CodeWrites>,
    /// What the machine is to be told, from within a helper.
    pub(super) leaving: Option<Exit>,
    /// All translations that cross pages are to be looked at again; or those into some pages.
    pub(super) remapped: bool,
    pub(super) remapped_pages: Vec<u64>,
    pub(super) assumed: Assumed,
}

/// What all translations take for granted, because it hardly ever changes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Assumed {
    /// The guest uses SMAP.
    pub smap: bool,
    /// RDTSC is allowed to programs.
    pub tsc_free: bool,
    /// IA32_TSC's distance from the host's counter.
    pub tsc_offset: u64,
    /// Programs may set the bases of FS and GS.
    pub bases: bool,
    pub flag_returns: usize,
}

/// Where functions return something in status flags, against every calling convention: code was seen
/// that calls them and then looks at flags.
#[derive(Default)]
pub(super) struct FlagReturns {
    /// Linear pages that such functions lie in.
    pages: HashSet<u64>,
    /// One was called indirectly: it may be anywhere.
    anywhere: bool,
}

impl FlagReturns {
    pub(super) fn add(&mut self, callee: Option<u64>) {
        match callee {
            Some(rip) => drop(self.pages.insert(rip >> 12)),
            None => self.anywhere = true,
        }
    }

    pub(super) fn covers(&self, rip: u64) -> bool {
        self.anywhere || self.pages.contains(&(rip >> 12))
    }

    /// Grows with what it covers.
    pub(super) fn count(&self) -> usize {
        self.pages.len() + usize::from(self.anywhere)
    }
}

impl Translator {
    /// # Errors
    /// The host refuses memory for code.
    pub fn new(settings: Settings, writes: Arc<CodeWrites>) -> io::Result<Self> {
        Ok(Self {
            cache: Cache::new(settings.code_cache_bytes)?,
            encoder: None,
            spare: Default::default(),
            exact_flags: settings.exact_flags,
            flag_returns: FlagReturns::default(),
            tracer: settings.counting.then(Tracer::default),
            verifier: settings.verify.map(|verify| Box::new(Verifier::new(verify, settings.exact_flags))),
            stress: settings.stress,
            look_ups: 0,
            apart: HashSet::new(),
            writes,
            leaving: None,
            remapped: false,
            remapped_pages: Vec::new(),
            assumed: Assumed::default(),
        })
    }

    /// Whether translations are to be dropped, for the stress of it.
    pub(super) fn is_tired(&mut self) -> bool {
        self.look_ups += 1;
        let tired = self.stress.clear_every != 0 && self.look_ups > self.stress.clear_every;
        if tired || self.stress.clear_every == 0 {
            self.look_ups = 0;
        }
        tired
    }

    pub(super) fn is_apart(&self, rip: u64) -> bool {
        self.apart.contains(&rip)
    }

    /// Every mapping may have changed.
    pub fn note_remapped(&mut self) {
        self.remapped = true;
    }

    /// The mapping of one page may have changed.
    pub fn note_remapped_page(&mut self, linear: u64) {
        if self.cache.is_chained_across(linear >> 12).is_some() {
            self.remapped_pages.push(linear >> 12);
        }
    }
}

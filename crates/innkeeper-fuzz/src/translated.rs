//! The translator's answer: the vCPU's own run loop over translated code.

use iced_x86::FlowControl;
use innkeeper_core::x86::bt::Settings;
use innkeeper_core::x86::cpu::flag::STATUS;
use innkeeper_core::x86::fault::vector;

use crate::guest::{FOR_CASES, Guest};
use crate::interpreted::place;
use crate::state::{Case, Outcome, State, Trap};

pub struct Translated {
    /// With exact flags, and as a machine has it; cases take turns.
    guests: [Guest; 2],
    cases: usize,
    /// Cases whose instruction the host executed, not the interpreter.
    pub native: usize,
}

impl Translated {
    /// # Panics
    /// If the host has no memory for two small guests and their code.
    pub fn new(bitness: u32) -> Self {
        let guest = |exact_flags| {
            let settings = Settings { exact_flags, code_cache_bytes: CODE_CACHE, ..Settings::default() };
            Guest::new(bitness, FOR_CASES, Some(settings))
        };
        Self { guests: [guest(true), guest(false)], cases: 0, native: 0 }
    }

    /// Runs one case to its trap. Flags that a machine's translation need not keep are the host's.
    ///
    /// # Panics
    /// If the guest ends otherwise than in one of its handlers.
    pub fn run(&mut self, case: &Case, native: &Outcome) -> Outcome {
        let guest = &mut self.guests[self.cases % 2];
        self.cases += 1;
        place(guest, case);
        guest.load(&case.state);
        let interpreted = |guest: &Guest| {
            let stats = &guest.cpu.stats;
            stats.emulated_instructions.get() + stats.interpreted_blocks.get()
        };
        let before = interpreted(guest);
        let (trap, mut state) = guest.run().expect("the case ends in a handler");
        // The handler's HLT, and the INT3 that the instruction led to.
        let around = if trap.vector == vector::BP { 2 } else { 1 };
        self.native += usize::from(interpreted(guest) - before <= around);
        if self.cases.is_multiple_of(2) && flags_may_die(case, trap) {
            state.rflags = state.rflags & !STATUS | native.state.rflags & STATUS;
        }
        if goes_nowhere(case, trap, &state) {
            (state.rip, state.gpr[4]) = (native.state.rip, native.state.gpr[4]);
        }
        Outcome { state, trap }
    }
}

/// Whether flags are not kept: over calls and returns, and where an instruction that is about to
/// replace them faults.
fn flags_may_die(case: &Case, trap: Trap) -> bool {
    trap.vector != vector::BP
        || matches!(
            case.instruction().flow_control(),
            FlowControl::Call | FlowControl::IndirectCall | FlowControl::Return | FlowControl::IndirectBranch
        )
}

/// Whether a branch led to an address that is not canonical. Translated code does not say where it came
/// from, so the fault is reported there, behind the branch.
fn goes_nowhere(case: &Case, trap: Trap, state: &State) -> bool {
    let indirect = !matches!(case.instruction().flow_control(), FlowControl::Next | FlowControl::Call);
    indirect && trap.vector == vector::GP && (state.rip as i64) << 16 >> 16 != state.rip as i64
}

/// Enough for many cases; now and then it is full, and starts anew.
const CODE_CACHE: usize = 2 << 20;

//! Differential fuzzing: the host CPU is the oracle. `generate` makes instructions out of the
//! decoder's own tables, `native` runs them on the host in a guarded child, `interpreted` runs them
//! in tier 0 and `translated` in tier 1, and `compare` tells two machine states apart, less what the
//! manuals leave undefined.

mod apart;
pub mod cases;
pub mod compare;
pub mod encodings;
pub mod generate;
pub mod guest;
pub mod interpreted;
pub mod lockstep;
pub mod native;
mod operands;
pub mod programs;
pub mod rng;
pub mod state;
pub mod translated;
mod vendor;

use generate::Generator;
use interpreted::Interpreter;
use state::{Case, Outcome};
use translated::Translated;

/// Which of our processors is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// Tier 0, the interpreter.
    #[default]
    Interp,
    /// Tier 1, the binary translator.
    Bt,
}

/// One of them, ready to answer.
pub enum Ours {
    Interpreted(Interpreter),
    Translated(Translated),
}

impl Ours {
    pub fn new(tier: Tier, bitness: u32) -> Self {
        match tier {
            Tier::Interp => Self::Interpreted(Interpreter::new(bitness)),
            Tier::Bt => Self::Translated(Translated::new(bitness)),
        }
    }

    pub fn run(&mut self, case: &Case, native: &Outcome) -> Outcome {
        match self {
            Self::Interpreted(interpreter) => interpreter.run(case),
            Self::Translated(translated) => translated.run(case, native),
        }
    }

    /// Cases that the host executed for it.
    pub fn native(&self) -> usize {
        match self {
            Self::Interpreted(_) => 0,
            Self::Translated(translated) => translated.native,
        }
    }
}

/// One case that came out differently.
pub struct Mismatch {
    pub case: Case,
    pub text: String,
}

/// What a campaign did.
#[derive(Default)]
pub struct Report {
    pub cases: usize,
    /// Cases by mnemonic.
    pub mnemonics: std::collections::BTreeMap<String, usize>,
    /// Encodings that should take part, but that no case can be built of.
    pub impossible: Vec<iced_x86::Code>,
    pub mismatches: Vec<Mismatch>,
    /// Cases that were executed as translated code, and not handed to the interpreter.
    pub native: usize,
}

/// Cases handed to one child process.
const BATCH: usize = 2048;

/// Runs `cases` cases from `seed` over every encoding whose mnemonic `wanted` accepts.
pub fn campaign(tier: Tier, bitness: u32, cases: usize, seed: u64, wanted: &dyn Fn(&str) -> bool) -> Report {
    let mut generator = Generator::new(bitness, seed, wanted);
    let mut report = Report { impossible: generator.impossible(), ..Report::default() };
    let mut ours = Ours::new(tier, bitness);
    while report.cases < cases && !generator.codes().is_empty() {
        let batch: Vec<Case> = (0..BATCH.min(cases - report.cases)).map(|_| generator.case()).collect();
        let results = native::run(&batch);
        for (case, native) in batch.into_iter().zip(results) {
            report.cases += 1;
            *report.mnemonics.entry(case.mnemonic()).or_default() += 1;
            let answer = ours.run(&case, &native);
            if let Some(text) = confirmed(&case, &native, &answer) {
                report.mismatches.push(Mismatch { case, text });
            }
        }
    }
    report.native = ours.native();
    report
}

/// What differs, also when the host is asked again: an interrupt can make it forget which components
/// of its state are unused, and then XSAVE has another answer.
fn confirmed(case: &Case, native: &Outcome, ours: &Outcome) -> Option<String> {
    let first = compare::difference(case, native, ours)?;
    let again = (0..2).map(|_| native::run(std::slice::from_ref(case)).remove(0));
    let agrees = |native| compare::difference(case, &native, ours).is_none();
    if again.into_iter().any(agrees) { None } else { Some(first) }
}

/// One case again, with everything about it.
pub struct Shown {
    pub states: String,
    pub difference: Option<String>,
}

/// Repeats the case named `ENCODING:SEED`; `None` if that names none.
pub fn reproduce(tier: Tier, bitness: u32, name: &str) -> Option<Shown> {
    let (code, seed) = name.split_once(':')?;
    let seed = u64::from_str_radix(seed, 16).ok()?;
    let code = iced_x86::Code::values().find(|value| format!("{value:?}") == code)?;
    let case = Generator::new(bitness, 0, &|_| true).reproduce(code, seed)?;
    let native = native::run(std::slice::from_ref(&case)).remove(0);
    let ours = Ours::new(tier, bitness).run(&case, &native);
    let states = format!(
        "before {}\nhost {:x?} {}\nours {:x?} {}",
        case.state, native.trap, native.state, ours.trap, ours.state
    );
    Some(Shown { states, difference: compare::difference(&case, &native, &ours) })
}

//! Differential fuzzing: the host CPU is the oracle. `generate` makes instructions out of the
//! decoder's own tables, `native` runs them on the host in a guarded child, `interpreted` runs them
//! in tier 0, and `compare` tells the two machine states apart, less what the manuals leave undefined.

pub mod compare;
pub mod generate;
pub mod interpreted;
pub mod native;
pub mod rng;
pub mod state;

use generate::Generator;
use state::Case;

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
    pub mismatches: Vec<Mismatch>,
}

/// Cases handed to one child process.
const BATCH: usize = 2048;

/// Runs `cases` cases from `seed` over every encoding whose mnemonic `wanted` accepts.
pub fn campaign(bitness: u32, cases: usize, seed: u64, wanted: &dyn Fn(&str) -> bool) -> Report {
    let mut generator = Generator::new(bitness, seed, wanted);
    let mut report = Report::default();
    let mut interpreter = interpreted::Interpreter::new(bitness);
    while report.cases < cases && generator.codes() > 0 {
        let batch: Vec<Case> = (0..BATCH.min(cases - report.cases)).map(|_| generator.case()).collect();
        let results = native::run(&batch);
        for (case, native) in batch.into_iter().zip(results) {
            report.cases += 1;
            *report.mnemonics.entry(case.mnemonic()).or_default() += 1;
            let interpreted = interpreter.run(&case);
            if let Some(text) = compare::difference(&case, &native, &interpreted) {
                report.mismatches.push(Mismatch { case, text });
            }
        }
    }
    report
}

/// One case again, with everything about it.
pub struct Shown {
    pub states: String,
    pub difference: Option<String>,
}

/// Repeats the case named `ENCODING:SEED`; `None` if that names none.
pub fn reproduce(bitness: u32, name: &str) -> Option<Shown> {
    let (code, seed) = name.split_once(':')?;
    let seed = u64::from_str_radix(seed, 16).ok()?;
    let code = iced_x86::Code::values().find(|value| format!("{value:?}") == code)?;
    let case = Generator::new(bitness, 0, &|_| true).reproduce(code, seed)?;
    let native = native::run(std::slice::from_ref(&case)).remove(0);
    let ours = interpreted::Interpreter::new(bitness).run(&case);
    let states = format!(
        "before {}\nhost {:x?} {}\nours {:x?} {}",
        case.state, native.trap, native.state, ours.trap, ours.state
    );
    Some(Shown { states, difference: compare::difference(&case, &native, &ours) })
}

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

//! A seeded sample of the fuzzer's cases, and every bug that it ever found.

use innkeeper_fuzz::cases::REGRESSIONS;
use innkeeper_fuzz::generate::Generator;
use innkeeper_fuzz::{Ours, Report, Tier, campaign, compare, native};

fn sample(tier: Tier, bitness: u32) -> Report {
    let report = campaign(tier, bitness, 20_000, 20_260_701, &|_| true);
    let lines: Vec<&str> = report.mismatches.iter().map(|mismatch| mismatch.text.as_str()).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    report
}

#[test]
fn a_sample_of_64_bit_code_runs_as_on_the_host() {
    sample(Tier::Interp, 64);
}

#[test]
fn a_sample_of_32_bit_code_runs_as_on_the_host() {
    sample(Tier::Interp, 32);
}

#[test]
fn a_sample_of_translated_code_runs_as_on_the_host_and_most_of_it_is_translated() {
    for bitness in [64, 32] {
        let report = sample(Tier::Bt, bitness);
        assert!(report.native > report.cases * 11 / 20, "{} of {}", report.native, report.cases);
    }
}

#[test]
fn a_case_can_be_built_of_every_encoding_that_takes_part() {
    for bitness in [64, 32] {
        let generator = Generator::new(bitness, 0, &|_| true);
        assert!(generator.codes().len() > 1000);
        assert_eq!(generator.impossible(), []);
    }
}

#[test]
fn every_bug_stays_fixed() {
    for regression in REGRESSIONS {
        let case = regression.case();
        let native = native::run(std::slice::from_ref(&case)).remove(0);
        for tier in [Tier::Interp, Tier::Bt] {
            let ours = Ours::new(tier, case.bitness).run(&case, &native);
            let name = regression.name;
            assert_eq!(compare::difference(&case, &native, &ours), None, "{name} ({tier:?})");
        }
    }
}

#[test]
fn a_wrong_answer_is_noticed() {
    let case = REGRESSIONS[0].case();
    let native = native::run(std::slice::from_ref(&case)).remove(0);
    let mut changed = [native; 4];
    changed[0].state.gpr[5] ^= 1;
    changed[1].state.window[9] ^= 1;
    changed[2].state.rflags ^= 1;
    changed[3].trap.vector = 13;
    for wrong in &changed {
        assert!(compare::difference(&case, &native, wrong).is_some());
    }
}

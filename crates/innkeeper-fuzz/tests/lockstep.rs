//! Random programs in both tiers, in each of the ways in which tier 1 can be driven.

use innkeeper_fuzz::lockstep::{Lockstep, drives};

fn sample(bitness: u32, supervisor: bool) {
    for (name, drive) in drives() {
        let report = Lockstep::new(bitness, supervisor, drive).campaign(500, 20_260_702, 1);
        assert!(report.mismatches.is_empty(), "{name}: {}", report.mismatches.join("\n"));
        // Most programs run to their end, and in translated code.
        let tally = report.tally;
        assert!(tally.faults < tally.programs / 4, "{} of {} programs faulted", tally.faults, tally.programs);
        assert!(tally.blocks > 2 * tally.programs as u64, "{} blocks were translated", tally.blocks);
    }
}

#[test]
fn programs_of_64_bit_code_end_in_one_state_in_both_tiers() {
    sample(64, false);
    sample(64, true);
}

#[test]
fn programs_of_32_bit_code_end_in_one_state_in_both_tiers() {
    sample(32, false);
    sample(32, true);
}

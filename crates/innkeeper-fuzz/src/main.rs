//! `innkeeper-fuzz --cases N --seed S [--bits 64|32] [--tier interp|bt] [--mnemonic NAME] [--counts]`: one
//! of our processors against the host's. Prints each mismatch as a line; exit status 1 if there was one. Each line
//! begins with the options that repeat this one case and show its states in full.

use std::process::ExitCode;

use innkeeper_fuzz::Tier;
use innkeeper_fuzz::lockstep::Lockstep;

const USAGE: &str =
    "usage: innkeeper-fuzz [--cases N] [--seed S] [--bits 64|32] [--tier interp|bt] [--mnemonic NAME] [--counts] [--most N]
       innkeeper-fuzz [--bits 64|32] [--tier interp|bt] --repro ENCODING:SEED";

struct Options {
    cases: usize,
    seed: u64,
    bitness: u32,
    tier: Tier,
    mnemonic: Option<String>,
    counts: bool,
    most: usize,
    repro: Option<String>,
    lockstep: bool,
    supervisor: bool,
    stress: bool,
}

fn parse() -> Result<Options, String> {
    let mut options = Options {
        cases: 100_000,
        seed: 1,
        bitness: 64,
        tier: Tier::Interp,
        mnemonic: None,
        counts: false,
        most: 40,
        repro: None,
        lockstep: false,
        supervisor: false,
        stress: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--counts" {
            options.counts = true;
            continue;
        }
        if word == "--lockstep" {
            options.lockstep = true;
            continue;
        }
        if word == "--stress" {
            options.stress = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} takes a number, not {value}"));
        match word.as_str() {
            "--cases" => options.cases = number()? as usize,
            "--seed" => options.seed = number()?,
            "--most" => options.most = number()? as usize,
            "--bits" if value == "64" || value == "32" => options.bitness = number()? as u32,
            "--cpl" if value == "0" || value == "3" => options.supervisor = value == "0",
            "--tier" if value == "interp" => options.tier = Tier::Interp,
            "--tier" if value == "bt" => options.tier = Tier::Bt,
            "--repro" => options.repro = Some(value),
            "--mnemonic" => options.mnemonic = Some(value.to_lowercase()),
            _ => return Err(format!("{word} {value} is not understood")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.lockstep {
        return lockstep(&options);
    }
    if let Some(name) = &options.repro {
        return repeat(options.tier, options.bitness, name);
    }
    let wanted = |name: &str| options.mnemonic.as_ref().is_none_or(|only| only == name);
    let report =
        innkeeper_fuzz::campaign(options.tier, options.bitness, options.cases, options.seed, &wanted);
    if options.counts {
        for (mnemonic, count) in &report.mnemonics {
            println!("{count:8} {mnemonic}");
        }
    }
    for mismatch in report.mismatches.iter().take(options.most) {
        println!("{}", mismatch.text);
    }
    if !report.impossible.is_empty() {
        println!("no case can be built of {:?}", report.impossible);
    }
    let (cases, wrong, kinds) = (report.cases, report.mismatches.len(), report.mnemonics.len());
    println!("{cases} cases over {kinds} mnemonics, seed {}: {wrong} mismatches", options.seed);
    if options.tier == Tier::Bt {
        println!(
            "{} of them were executed as translated code, the others handed to the interpreter",
            report.native
        );
    }
    if wrong == 0 && cases > 0 && report.impossible.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Shows one case in full.
fn repeat(tier: Tier, bitness: u32, name: &str) -> ExitCode {
    let Some(shown) = innkeeper_fuzz::reproduce(tier, bitness, name) else {
        eprintln!("error: {name} names no case; take it from a line that this program printed");
        return ExitCode::from(2);
    };
    println!("{}", shown.states);
    match shown.difference {
        Some(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// Random programs in both tiers.
fn lockstep(options: &Options) -> ExitCode {
    let drives = innkeeper_fuzz::lockstep::drives();
    let mut good = true;
    for (name, drive) in drives.into_iter().take(if options.stress { usize::MAX } else { 2 }) {
        let mut lockstep = Lockstep::new(options.bitness, options.supervisor, drive);
        if let Some(seed) = &options.repro {
            let Ok(seed) = u64::from_str_radix(seed, 16) else { return ExitCode::from(2) };
            let text = lockstep.repeat(seed);
            println!("{name}: {}", text.as_deref().unwrap_or("no difference"));
            good &= text.is_none();
            continue;
        }
        let report = lockstep.campaign(options.cases, options.seed, options.most);
        report.mismatches.iter().for_each(|text| println!("{text}"));
        println!(
            "{} programs, {name}, seed {}: {} mismatches ({} faulted; {} blocks translated, {} instructions emulated)",
            report.tally.programs,
            options.seed,
            report.mismatches.len(),
            report.tally.faults,
            report.tally.blocks,
            report.tally.emulated
        );
        good &= report.mismatches.is_empty();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

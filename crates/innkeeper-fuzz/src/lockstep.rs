//! Tier 0 against tier 1 over random programs: both start in one state and must end in one, in registers,
//! flags, vector and x87 state, memory, and what was delivered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction};
use innkeeper_core::x86::attention::KICK;
use innkeeper_core::x86::bt::{Settings, Stress, Verify};
use innkeeper_core::x86::cpu::flag::STATUS;

use crate::apart::apart;
use crate::guest::{Guest, Pages};
use crate::programs::{Node, PAGES, Program, Programs};
use crate::rng::Rng;
use crate::state::{CODE, State, Trap};

/// All of RFLAGS but RF.
const COMPARED: u64 = 0x3E_7FD5;
const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;
/// The second run goes through what the first translated, the third through what was chained by then.
const RUNS: usize = 3;

/// How tier 1 is driven.
#[derive(Clone, Copy, Debug)]
pub struct Drive {
    pub settings: Settings,
    /// Another thread kicks the vCPU at random.
    pub kicks: bool,
}

/// The ways in which tier 1 is driven, by name: the first two suffice for a short look.
pub fn drives() -> Vec<(&'static str, Drive)> {
    let plain = Settings { code_cache_bytes: 4 << 20, ..Settings::default() };
    let exact = Settings { exact_flags: true, ..plain };
    let small = Settings { code_cache_bytes: SMALL_CACHE, ..plain };
    let with = |settings, one_tlb_entry, clear_every| {
        let stress = Stress { one_tlb_entry, clear_every };
        Drive { settings: Settings { stress, ..settings }, kicks: false }
    };
    let checked = |settings, chained| {
        let verify = Some(Verify { first: 4, every: 8, chained });
        Drive { settings: Settings { verify, ..settings }, kicks: false }
    };
    vec![
        ("exact flags", with(exact, false, 0)),
        ("as a machine has it", with(plain, false, 0)),
        ("one TLB entry", with(plain, true, 0)),
        ("translations dropped all the time", with(plain, false, 3)),
        ("a small code cache", with(small, false, 0)),
        ("kicked", Drive { kicks: true, ..with(plain, false, 0) }),
        ("all of that", Drive { kicks: true, ..with(Settings { exact_flags: true, ..small }, true, 7) }),
        ("check mode, exact flags", checked(exact, false)),
        ("check mode", checked(plain, false)),
        ("check mode, chained", checked(plain, true)),
        ("check mode, chained, kicked", Drive { kicks: true, ..checked(exact, true) }),
    ]
}

/// Little more than what is kept free, so that few blocks fill it.
const SMALL_CACHE: usize = 256 << 10;

struct End {
    trap: Trap,
    state: State,
    data: Vec<u8>,
}

pub struct Lockstep {
    programs: Programs,
    pages: Pages,
    drive: Drive,
    bitness: u32,
}

/// What a campaign did.
#[derive(Default)]
pub struct Report {
    pub tally: Tally,
    pub mismatches: Vec<String>,
}

/// What a child did, in figures.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub programs: usize,
    /// Programs that ended in another way than their last instruction.
    pub faults: usize,
    /// Instructions of programs that tier 1 handed to the interpreter.
    pub emulated: u64,
    pub blocks: u64,
    /// The seed of the program under way, or of the one that went wrong.
    seed: u64,
    wrong: bool,
}

/// Programs that one child runs.
const BATCH: usize = 500;

impl Lockstep {
    /// Programs of `bitness`, for CPL 0 if `supervisor`.
    pub fn new(bitness: u32, supervisor: bool, drive: Drive) -> Self {
        let pages = Pages { supervisor, ..PAGES };
        Self { programs: Programs::new(bitness, supervisor), pages, drive, bitness }
    }

    /// Runs as many programs from `seed` on, and stops at the `most`th mismatch.
    pub fn campaign(&mut self, programs: usize, seed: u64, most: usize) -> Report {
        let mut report = Report::default();
        let mut seeds = Rng::new(seed);
        while report.tally.programs < programs && report.mismatches.len() < most {
            let batch: Vec<u64> =
                (0..BATCH.min(programs - report.tally.programs)).map(|_| seeds.word()).collect();
            let (tally, ended) = apart(Tally::default(), |tally| self.batch(&batch, tally));
            report.tally.programs += batch.len();
            report.tally.faults += tally.faults;
            report.tally.emulated += tally.emulated;
            report.tally.blocks += tally.blocks;
            if tally.wrong || ended.is_some() {
                report.mismatches.push(self.explain(tally.seed));
            }
        }
        report
    }

    /// Runs programs up to the first that goes wrong.
    fn batch(&mut self, seeds: &[u64], tally: &mut Tally) {
        let mut pair = Pair::new(self.bitness, self.pages, self.drive);
        let attention = Arc::clone(&pair.translated.attention);
        if self.drive.kicks {
            let mut rng = Rng::new(seeds[0]);
            std::thread::spawn(move || {
                loop {
                    attention.raise(KICK);
                    std::thread::sleep(Duration::from_micros(rng.below(60)));
                }
            });
        }
        for &seed in seeds {
            tally.seed = seed;
            if let Some(Some(_)) = pair.compare(&self.programs.make(seed), tally) {
                tally.wrong = true;
                break;
            }
        }
        let stats = &pair.translated.cpu.stats;
        tally.emulated = stats.emulated_instructions.get();
        tally.blocks = stats.blocks_translated.get();
    }

    /// Repeats the program that a seed names.
    pub fn repeat(&mut self, seed: u64) -> Option<String> {
        let program = self.programs.make(seed);
        self.difference(&program).map(|_| self.explain(seed))
    }

    /// The difference that a program makes, in a process of its own.
    fn difference(&self, program: &Program) -> Option<String> {
        const ROOM: usize = 4000;
        let ((text, length), ended) = apart(([0_u8; ROOM], 0), |(text, length)| {
            let mut pair = Pair::new(self.bitness, self.pages, self.drive);
            if let Some(Some(difference)) = pair.compare(program, &mut Tally::default()) {
                *length = difference.len().min(ROOM);
                text[..*length].copy_from_slice(&difference.as_bytes()[..*length]);
            }
        });
        ended.or_else(|| (length > 0).then(|| String::from_utf8_lossy(&text[..length]).into_owned()))
    }

    /// A mismatch in its smallest form.
    fn explain(&self, seed: u64) -> String {
        let mut programs = Programs::new(self.bitness, self.pages.supervisor);
        let mut program = programs.make(seed);
        let cpl = if self.pages.supervisor { 0 } else { 3 };
        let mut text = format!("--lockstep --bits {} --cpl {cpl} --repro {seed:x}: ", self.bitness);
        let Some(mut said) = self.difference(&program) else {
            text.push_str("not when run alone\n");
            return text;
        };
        let _ = writeln!(text, "{said}");
        while let Some((smaller, difference)) = self.shrink(&program) {
            (program, said) = (smaller, difference);
        }
        let _ = writeln!(text, "  as far as it can be shortened: {said}");
        for (at, bytes) in program.lay_out(!self.drive.settings.exact_flags).unwrap_or_default() {
            let mut decoder = Decoder::with_ip(self.bitness, &bytes, CODE + at, DecoderOptions::NONE);
            let mut instruction = Instruction::default();
            let (mut formatter, mut line) = (FastFormatter::new(), String::new());
            while decoder.can_decode() {
                let start = decoder.position();
                decoder.decode_out(&mut instruction);
                line.clear();
                formatter.format(&instruction, &mut line);
                let digits: String =
                    bytes[start..decoder.position()].iter().map(|b| format!("{b:02x}")).collect();
                let _ = writeln!(text, "  {:x} {digits:22} {line}", instruction.ip());
            }
        }
        let _ = writeln!(text, "  gpr {:x?} rflags {:x}", program.state.gpr, program.state.rflags);
        text
    }

    /// The program without one of its nodes, if it still goes wrong.
    fn shrink(&self, program: &Program) -> Option<(Program, String)> {
        let count = size(&program.body) + program.functions.iter().map(|body| size(body)).sum::<usize>();
        for at in (0..count).rev() {
            for inner in [false, true] {
                let mut smaller = program.clone();
                let mut left = at;
                let mut taken = take(&mut smaller.body, &mut left, inner);
                for body in &mut smaller.functions {
                    taken = taken || take(body, &mut left, inner);
                }
                if let Some(difference) = taken.then(|| self.difference(&smaller)).flatten() {
                    return Some((smaller, difference));
                }
            }
        }
        None
    }
}

/// One guest for each tier.
struct Pair {
    interpreted: Guest,
    translated: Guest,
    exact: bool,
}

impl Pair {
    fn new(bitness: u32, pages: Pages, drive: Drive) -> Self {
        Self {
            interpreted: Guest::new(bitness, pages, None),
            translated: Guest::new(bitness, pages, Some(drive.settings)),
            exact: drive.settings.exact_flags,
        }
    }

    /// The difference between the tiers, if there is one; `None` if the program cannot be laid out.
    fn compare(&mut self, program: &Program, tally: &mut Tally) -> Option<Option<String>> {
        let parts = program.lay_out(!self.exact)?;
        prepare(&self.interpreted, &parts);
        let mut expected = run(&mut self.interpreted, program).expect("programs end in handlers");
        tally.faults += usize::from(expected.trap.vector != BREAKPOINT);
        prepare(&self.translated, &parts);
        for number in 0..RUNS {
            if number > 0 && program.changes_itself() {
                parts.iter().for_each(|(at, bytes)| self.translated.write_code(*at, bytes));
            }
            let found = match run(&mut self.translated, program) {
                Ok(found) => found,
                Err(what) => return Some(Some(format!("run {number}: {what}"))),
            };
            if !self.exact && expected.trap.vector != BREAKPOINT {
                // An instruction that faulted may have been about to replace them.
                expected.state.rflags = expected.state.rflags & !STATUS | found.state.rflags & STATUS;
            }
            if let Some(text) = difference(&expected, &found) {
                return Some(Some(format!("run {number}: {text}")));
            }
        }
        Some(None)
    }
}

fn body(node: &mut Node) -> Option<&mut Vec<Node>> {
    match node {
        Node::Loop { body, .. } | Node::If { body, .. } | Node::Stack { body, .. } => Some(body),
        _ => None,
    }
}

fn size(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| 1 + body(&mut node.clone()).map_or(0, |body| size(body))).sum()
}

/// Removes the node of that number, or (`inner`) puts its body in its place.
fn take(nodes: &mut Vec<Node>, left: &mut usize, inner: bool) -> bool {
    for at in 0..nodes.len() {
        if *left == 0 {
            let mut node = nodes.remove(at);
            match (inner, body(&mut node)) {
                (true, Some(body)) => drop(nodes.splice(at..at, std::mem::take(body))),
                (true, None) => return false,
                _ => {}
            }
            return true;
        }
        *left -= 1;
        if let Some(body) = body(&mut nodes[at])
            && take(body, left, inner)
        {
            return true;
        }
    }
    false
}

fn prepare(guest: &Guest, parts: &[(u64, Vec<u8>)]) {
    guest.write_code(0, &vec![0xCC; (PAGES.code << 12) as usize]);
    parts.iter().for_each(|(at, bytes)| guest.write_code(*at, bytes));
}

fn run(guest: &mut Guest, program: &Program) -> Result<End, String> {
    guest.write_data(0, &vec![0; (PAGES.data << 12) as usize]);
    guest.load(&State { rip: program.entry(), ..program.state });
    let (trap, state) = guest.run()?;
    Ok(End { trap, state, data: guest.data() })
}

fn difference(expected: &End, found: &End) -> Option<String> {
    let mut parts = Vec::new();
    let mut word = |name: &str, expected: u64, found: u64| {
        if expected != found {
            parts.push(format!("{name} {found:x} not {expected:x}"));
        }
    };
    let (e, f) = (&expected.state, &found.state);
    word("vector", expected.trap.vector.into(), found.trap.vector.into());
    word("error", expected.trap.error.into(), found.trap.error.into());
    if expected.trap.vector == PAGE_FAULT {
        word("address", expected.trap.address, found.trap.address);
    }
    word("rip", e.rip, f.rip);
    for i in 0..16 {
        word(&format!("r{i}"), e.gpr[i], f.gpr[i]);
    }
    word("rflags", e.rflags & COMPARED, f.rflags & COMPARED);
    word("mxcsr", e.mxcsr.into(), f.mxcsr.into());
    word("fcw", e.fcw.into(), f.fcw.into());
    word("fsw", e.fsw.into(), f.fsw.into());
    word("ftw", e.ftw.into(), f.ftw.into());
    for i in 0..16 {
        if e.ymm[i] != f.ymm[i] {
            parts.push(format!("ymm{i} {:x?} not {:x?}", f.ymm[i], e.ymm[i]));
        }
    }
    for i in 0..8 {
        if e.st[i] != f.st[i] {
            parts.push(format!("st{i} {:02x?} not {:02x?}", f.st[i], e.st[i]));
        }
    }
    if let Some(at) = (0..expected.data.len()).find(|&at| expected.data[at] != found.data[at]) {
        let end = (at + 8).min(expected.data.len());
        parts.push(format!(
            "data+{at:#x} {:02x?} not {:02x?}",
            &found.data[at..end],
            &expected.data[at..end]
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

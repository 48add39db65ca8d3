//! Tier 0 against tier 1 over random programs: both start in one state and must end in one, in registers,
//! flags, vector and x87 state, memory, and what was delivered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction};
use innkeeper_core::x86::attention::KICK;
use innkeeper_core::x86::bt::Settings;

use crate::guest::Guest;
use crate::programs::{Node, PAGES, Program, Programs};
use crate::rng::Rng;
use crate::state::{CODE, State, Trap};

/// Status flags, and those that programs may set.
const COMPARED: u64 = 0x3C_4FD5;
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

/// The ways in which tier 1 is driven, by name.
pub fn drives(stress: bool) -> Vec<(&'static str, Drive)> {
    let plain = Settings { code_cache_bytes: 4 << 20, ..Settings::default() };
    let exact = Settings { exact_flags: true, ..plain };
    let mut drives = vec![
        ("exact flags", Drive { settings: exact, kicks: false }),
        ("as a machine has it", Drive { settings: plain, kicks: false }),
    ];
    if stress {
        drives.push(("kicked", Drive { settings: exact, kicks: true }));
    }
    drives
}

struct End {
    trap: Trap,
    state: State,
    data: Vec<u8>,
}

pub struct Lockstep {
    programs: Programs,
    interpreted: Guest,
    translated: Guest,
    drive: Drive,
    bitness: u32,
}

/// What a campaign did.
#[derive(Default)]
pub struct Report {
    pub programs: usize,
    /// Programs that ended in another way than their last instruction.
    pub faults: usize,
    /// Instructions of programs that tier 1 handed to the interpreter.
    pub emulated: u64,
    pub blocks: u64,
    pub mismatches: Vec<String>,
}

impl Lockstep {
    /// # Panics
    /// If the host has no memory for two small guests.
    pub fn new(bitness: u32, drive: Drive) -> Self {
        Self {
            programs: Programs::new(bitness),
            interpreted: Guest::new(bitness, PAGES, None),
            translated: Guest::new(bitness, PAGES, Some(drive.settings)),
            drive,
            bitness,
        }
    }

    /// Runs as many programs from `seed` on, and stops at the `most`th mismatch.
    pub fn campaign(&mut self, programs: usize, seed: u64, most: usize) -> Report {
        let done = Arc::new(AtomicBool::new(false));
        let kicker = self.drive.kicks.then(|| {
            let (done, attention) = (Arc::clone(&done), Arc::clone(&self.translated.attention));
            std::thread::spawn(move || {
                let mut rng = Rng::new(seed);
                while !done.load(Ordering::Relaxed) {
                    attention.raise(KICK);
                    std::thread::sleep(Duration::from_micros(rng.below(60)));
                }
            })
        });
        let mut report = Report::default();
        let mut seeds = Rng::new(seed);
        while report.programs < programs && report.mismatches.len() < most {
            let seed = seeds.word();
            let program = self.programs.make(seed);
            let Some(result) = self.compare(&program, &mut report) else { continue };
            report.programs += 1;
            if let Some(difference) = result {
                report.mismatches.push(self.explain(seed, program, &difference));
            }
        }
        done.store(true, Ordering::Relaxed);
        if let Some(kicker) = kicker {
            kicker.join().expect("the kicking thread");
        }
        let stats = &self.translated.cpu.stats;
        report.emulated = stats.emulated_instructions.get();
        report.blocks = stats.blocks_translated.get();
        report
    }

    /// Repeats the program that a seed names.
    pub fn repeat(&mut self, seed: u64) -> Option<String> {
        let program = self.programs.make(seed);
        let difference = self.compare(&program, &mut Report::default())??;
        Some(self.explain(seed, program, &difference))
    }

    /// The difference between the tiers, if there is one; `None` if the program cannot be laid out.
    fn compare(&mut self, program: &Program, report: &mut Report) -> Option<Option<String>> {
        let parts = program.lay_out()?;
        prepare(&self.interpreted, &parts);
        let expected = run(&mut self.interpreted, program);
        report.faults += usize::from(expected.trap.vector != 3);
        prepare(&self.translated, &parts);
        for number in 0..RUNS {
            if number > 0 && program.changes_itself() {
                parts.iter().for_each(|(at, bytes)| self.translated.write_code(*at, bytes));
            }
            let found = run(&mut self.translated, program);
            if let Some(text) = difference(&expected, &found) {
                return Some(Some(format!("run {number}: {text}")));
            }
        }
        Some(None)
    }

    /// A mismatch in its smallest form.
    fn explain(&mut self, seed: u64, mut program: Program, difference: &str) -> String {
        let mut text = String::new();
        let mut said = difference.to_owned();
        while let Some((smaller, difference)) = self.shrink(&program) {
            (program, said) = (smaller, difference);
        }
        let _ = writeln!(text, "--lockstep --bits {} --repro {seed:x}: {difference}", self.bitness);
        let _ = writeln!(text, "  as far as it can be shortened: {said}");
        for (at, bytes) in program.lay_out().unwrap_or_default() {
            let mut decoder = Decoder::with_ip(self.bitness, &bytes, CODE + at, DecoderOptions::NONE);
            let mut instruction = Instruction::default();
            let (mut formatter, mut line) = (FastFormatter::new(), String::new());
            while decoder.can_decode() {
                let start = decoder.position();
                decoder.decode_out(&mut instruction);
                line.clear();
                formatter.format(&instruction, &mut line);
                let digits: String = bytes[start..decoder.position()].iter().map(|b| format!("{b:02x}")).collect();
                let _ = writeln!(text, "  {:x} {digits:22} {line}", instruction.ip());
            }
        }
        let _ = writeln!(text, "  gpr {:x?} rflags {:x}", program.state.gpr, program.state.rflags);
        text
    }

    /// The program without one of its nodes, if it still goes wrong.
    fn shrink(&mut self, program: &Program) -> Option<(Program, String)> {
        let count = size(&program.body) + program.functions.iter().map(|body| size(body)).sum::<usize>();
        for at in (0..count).rev() {
            for inner in [false, true] {
                let mut smaller = program.clone();
                let mut left = at;
                let mut taken = take(&mut smaller.body, &mut left, inner);
                for body in &mut smaller.functions {
                    taken = taken || take(body, &mut left, inner);
                }
                if !taken {
                    continue;
                }
                if let Some(Some(difference)) = self.compare(&smaller, &mut Report::default()) {
                    return Some((smaller, difference));
                }
            }
        }
        None
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

fn run(guest: &mut Guest, program: &Program) -> End {
    guest.write_data(0, &vec![0; (PAGES.data << 12) as usize]);
    guest.load(&State { rip: program.entry(), ..program.state });
    let (trap, state) = guest.run(|| true).expect("kicks are passed over");
    End { trap, state, data: guest.data() }
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
        parts.push(format!("data+{at:#x} {:02x?} not {:02x?}", &found.data[at..end], &expected.data[at..end]));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

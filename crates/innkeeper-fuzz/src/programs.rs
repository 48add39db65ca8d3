//! Random programs: straight code, loops, branches, calls, stack traffic and code that changes itself, all
//! of it bounded; laid out over a few pages.

use iced_x86::{
    Code, Encoder, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use crate::encodings::Encodings;
use crate::guest::Pages;
use crate::operands::{Draft, image_size};
use crate::rng::Rng;
use crate::state::{CODE, DATA, State};

pub const PAGES: Pages = Pages { code: 3, data: 8, writable_code: true, supervisor: false };
/// Loop counters, and room to save the stack pointer: nothing random is aimed there.
const COUNTERS: u64 = DATA + 0x7000;
const SAVED: u64 = COUNTERS + 0x40;
const POINTER: u64 = COUNTERS + 0x48;
const STACK: u64 = DATA + 0x5000;
const MOST_DEPTH: usize = 3;
const FUNCTIONS: usize = 3;

/// A piece of a program.
#[derive(Clone, Debug)]
pub enum Node {
    Plain {
        moves: Vec<(u8, u64)>,
        instruction: Instruction,
        defines: Option<u8>,
    },
    Loop {
        count: u8,
        body: Vec<Self>,
    },
    /// Jumps over `body` under a condition.
    If {
        condition: u8,
        far: bool,
        body: Vec<Self>,
    },
    Call {
        function: usize,
        way: u8,
    },
    /// PUSH and, behind `body`, POP.
    Stack {
        push: Vec<u8>,
        body: Vec<Self>,
        pop: u8,
    },
    /// PUSHF to a register, or these flags from the stack.
    Flags {
        to: u8,
        set: Option<u32>,
    },
    /// Goes on behind itself, by a return to an address that no call pushed or by a jump through a register.
    Onward {
        way: u8,
    },
    /// What only a supervisor may do.
    System(Vec<u8>),
    /// MOV of a constant to EAX, which is another constant the next time.
    Changing {
        constant: u32,
        next: u32,
    },
}

#[derive(Clone, Debug)]
pub struct Program {
    pub bitness: u32,
    /// The offsets of the program and its functions from `CODE`.
    starts: [u64; 1 + FUNCTIONS],
    pub body: Vec<Node>,
    pub functions: [Vec<Node>; FUNCTIONS],
    pub state: State,
}

pub struct Programs {
    bitness: u32,
    supervisor: bool,
    codes: Vec<Code>,
    info: InstructionInfoFactory,
}

impl Programs {
    pub fn new(bitness: u32, supervisor: bool) -> Self {
        let codes = Encodings::new(bitness).iter().filter(|&code| is_wanted(code)).collect();
        Self { bitness, supervisor, codes, info: InstructionInfoFactory::new() }
    }

    /// The program that a seed names.
    pub fn make(&mut self, seed: u64) -> Program {
        let mut rng = Rng::new(seed);
        let near_end = |rng: &mut Rng, page: u64| (page << 12) + 0xFFF - rng.below(0x200);
        let starts = [
            if rng.one_in(2) { near_end(&mut rng, 0) } else { rng.below(0x800) },
            0x2800 + rng.below(0x80),
            0x2A00 + rng.below(0x80),
            if rng.one_in(2) { 0x2C00 } else { 0x0F80 - rng.below(0x40) },
        ];
        // A function at the end of the first page would be in the program's way.
        let starts = if starts[0] < 0x1000 { [starts[0], starts[1], starts[2], 0x2C00] } else { starts };
        let state = self.state(&mut rng);
        let length = 6 + rng.below(20) as usize;
        let body = self.nodes(&mut rng, length, 0, FUNCTIONS);
        let functions = std::array::from_fn(|number| {
            let length = 1 + rng.below(6) as usize;
            self.nodes(&mut rng, length, MOST_DEPTH - 1, number)
        });
        Program { bitness: self.bitness, starts, body, functions, state }
    }

    fn state(&self, rng: &mut Rng) -> State {
        let mut state = State::default();
        let narrow = if self.bitness == 32 { 0xFFFF_FFFF } else { u64::MAX };
        let draft = Draft::new(rng, self.bitness);
        (state.ymm, state.window) = (draft.ymm, draft.window);
        state.gpr = draft.gpr.map(|value| value & narrow);
        state.gpr[4] = STACK + rng.below(64);
        state.rflags = 0x202 | rng.word() & 0x8D5;
        state.mxcsr = 0x1F80 | (rng.below(4) as u32) << 13;
        state.fcw = 0x7F | rng.pick(&[0, 2, 3, 3]) << 8;
        state.ftw = if rng.one_in(2) { 0x3F } else { 0 };
        for (i, st) in state.st.iter_mut().enumerate() {
            *st = [0, 0, 0, 0, 0, 0, i as u8, 0x80 | rng.word() as u8, rng.word() as u8 & 7, 0x40];
        }
        state
    }

    fn nodes(&mut self, rng: &mut Rng, length: usize, depth: usize, callable: usize) -> Vec<Node> {
        (0..length).filter_map(|_| self.node(rng, depth, callable)).collect()
    }

    fn node(&mut self, rng: &mut Rng, depth: usize, callable: usize) -> Option<Node> {
        let deeper = depth < MOST_DEPTH;
        let shorter = |rng: &mut Rng| 1 + rng.below(5) as usize;
        let register = |rng: &mut Rng, bitness: u32| loop {
            let number = rng.below(if bitness == 64 { 16 } else { 8 }) as u8;
            if number != 4 {
                return number;
            }
        };
        let all = if self.supervisor { 27 } else { 24 };
        Some(match rng.below(all) {
            0 | 1 if deeper => {
                let (count, length) = (1 + rng.below(5) as u8, shorter(rng));
                Node::Loop { count, body: self.nodes(rng, length, depth + 1, callable) }
            }
            2 | 3 if deeper => {
                let (condition, far, length) = (rng.below(16) as u8, rng.one_in(2), shorter(rng));
                Node::If { condition, far, body: self.nodes(rng, length, depth + 1, callable) }
            }
            4 if deeper => {
                let (push, length) = (self.push(rng), shorter(rng) - 1);
                let body = self.nodes(rng, length, depth + 1, callable);
                Node::Stack { push, body, pop: register(rng, self.bitness) }
            }
            5 | 6 if callable > 0 => {
                Node::Call { function: rng.below(callable as u64) as usize, way: rng.below(3) as u8 }
            }
            7 => Node::Flags { to: register(rng, self.bitness), set: rng.one_in(2).then(|| self.flags(rng)) },
            8 => Node::Onward { way: rng.below(4) as u8 },
            9 if rng.one_in(2) => Node::Changing { constant: rng.word() as u32, next: rng.word() as u32 },
            24.. => Node::System(system(rng, self.bitness)),
            _ => return self.plain(rng),
        })
    }

    /// An image of RFLAGS for POPF.
    fn flags(&self, rng: &mut Rng) -> u32 {
        let interrupts = if self.supervisor && rng.one_in(2) { 0 } else { 0x200 };
        rng.word() as u32 & 0x8D5 | 2 | interrupts
    }

    /// Some form of PUSH that does not fault.
    fn push(&self, rng: &mut Rng) -> Vec<u8> {
        let constant = (rng.word() as u32).to_le_bytes();
        let slot = (POINTER as u32).to_le_bytes();
        match rng.below(5) {
            0 => vec![0x6A, constant[0]],
            1 => [&[0x68][..], &constant].concat(),
            2 if self.bitness == 64 => [&[0xFF, 0x34, 0x25][..], &slot].concat(),
            2 => [&[0xFF, 0x35][..], &slot].concat(),
            3 if self.bitness == 64 => vec![0x41, 0x50 | rng.below(8) as u8],
            _ => vec![0x50 | rng.below(8) as u8],
        }
    }

    fn plain(&mut self, rng: &mut Rng) -> Option<Node> {
        let code = loop {
            let code = rng.pick(&self.codes);
            // Half of all encodings are vector instructions; programs are not.
            if code.op_code().table() == iced_x86::OpCodeTableKind::Normal || rng.one_in(3) {
                break code;
            }
        };
        let mut draft = Draft::new(rng, self.bitness);
        draft.gpr = [UNTOUCHED; 16];
        draft.careful = true;
        draft.build(code)?;
        let (instruction, gpr) = (draft.instruction, draft.gpr);
        Encoder::new(self.bitness).encode(&instruction, CODE).ok()?;
        let writes = |access| !matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
        let used = self.info.info(&instruction).used_registers();
        let moves_stack =
            used.iter().any(|used| used.register().full_register() == Register::RSP && writes(used.access()));
        if moves_stack {
            return None;
        }
        let mut moves: Vec<(u8, u64)> =
            (0..16).filter(|&i| gpr[i as usize] != UNTOUCHED).map(|i| (i, gpr[i as usize])).collect();
        if matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) {
            if instruction.op0_kind() != iced_x86::OpKind::Register && !rng.one_in(8) {
                return None;
            }
            let divisor = instruction.op0_register().full_register().number() as u8;
            moves.push((0, rng.interesting() >> 2));
            moves.push((2, 0));
            if !matches!(divisor, 0 | 2 | 4) {
                moves.push((divisor, rng.interesting() | 0x11));
            }
        }
        // Flags that processors leave differently are replaced.
        let defines = leaves_flags_undefined(&instruction).then(|| rng.word() as u8);
        Some(Node::Plain { moves, instruction, defines })
    }
}

/// Something that a program may not do, and that leaves what it must.
fn system(rng: &mut Rng, bitness: u32) -> Vec<u8> {
    let page = ((DATA >> 12 << 12) as u32 + ((rng.below(8) as u32) << 12)).to_le_bytes();
    let leaf = rng.pick(&[0_u32, 1, 7, 0x8000_0001]).to_le_bytes();
    let msr = rng.pick(&[0xC000_0080_u32, 0xC000_0100, 0xC000_0102, 0x277]).to_le_bytes();
    let either: &[u8] = match rng.below(if bitness == 64 { 14 } else { 10 }) {
        0 => &[0xFA],                                                           // cli
        1 => &[0xFB],                                                           // sti
        2 => &[0x0F, 0x01, 0xCB],                                               // stac
        3 => &[0x0F, 0x01, 0xCA],                                               // clac
        4 => &[0x0F, 0x20, 0xD8, 0x0F, 0x22, 0xD8],                             // mov rax, cr3; mov cr3, rax
        5 => &[0x0F, 0x20, 0xC0, 0x0F, 0x22, 0xC0, 0x0F, 0x06], // mov rax, cr0; mov cr0, rax; clts
        6 => &[0x8C, 0xD8, 0x8E, 0xC0],                         // mov eax, ds; mov es, eax
        7 => &[&[0xB8][..], &leaf, &[0xB9, 0, 0, 0, 0, 0x0F, 0xA2]].concat(), // cpuid
        8 => &[&[0xB9][..], &msr, &[0x0F, 0x32, 0x0F, 0x30]].concat(), // rdmsr; wrmsr
        9 if bitness == 64 => &[&[0x0F, 0x01, 0x3C, 0x25][..], &page].concat(), // invlpg
        9 => &[&[0x0F, 0x01, 0x3D][..], &page].concat(),
        // mov eax, page; wrgsbase rax; swapgs; rdgsbase rcx
        10 => &[
            &[0xB8][..],
            &page,
            &[0xF3, 0x48, 0x0F, 0xAE, 0xD8, 0x0F, 0x01, 0xF8, 0xF3, 0x48, 0x0F, 0xAE, 0xC9],
        ]
        .concat(),
        // lea rcx, [rip+9]; push 18h; push rsp; pushfq; push 10h; push rcx; iretq; lea rsp, [rsp+8]
        11 | 12 => &[
            0x48, 0x8D, 0x0D, 9, 0, 0, 0, 0x6A, 0x18, 0x54, 0x9C, 0x6A, 0x10, 0x51, 0x48, 0xCF, 0x48, 0x8D,
            0x64, 0x24, 8,
        ],
        // cli; pushfq; pop rcx; sti; push rcx; popfq
        _ => &[0xFA, 0x9C, 0x59, 0xFB, 0x51, 0x9D],
    };
    either.to_vec()
}

/// A value that no operand asks for.
const UNTOUCHED: u64 = 0x0BAD_0BAD_0BAD_0BAD;

fn is_wanted(code: Code) -> bool {
    use Mnemonic as M;
    let info = code.op_code();
    code.flow_control() == FlowControl::Next
        && !code.is_privileged()
        && !info.is_input_output()
        && !code.is_stack_instruction()
        && image_size(code.mnemonic()).is_none()
        && !format!("{:?}", code.mnemonic()).contains("gather")
        && !matches!(
            code.mnemonic(),
            M::Bound | M::Into | M::Ldmxcsr | M::Vldmxcsr | M::Fldcw | M::Cli | M::Sti | M::Enter | M::Leave
                | M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu | M::Ud0 | M::Ud1 | M::Ud2 | M::INVALID
                | M::Ffree | M::Ffreep // what they do to C1 is undefined
                | M::Vcvtps2ph // hosts differ in what it has done when its store faults
                | M::Arpl | M::Aam | M::Outsb | M::Outsw | M::Outsd | M::Insb | M::Insw | M::Insd | M::Wait
        )
        && !(0..info.op_count()).any(|i| {
            use iced_x86::OpCodeOperandKind as K;
            matches!(info.op_kind(i), K::cr_reg | K::dr_reg | K::tr_reg | K::seg_reg)
        })
}

/// Whether a host may leave other flags than the interpreter, or translated code lose them, where the
/// manuals call them undefined.
pub fn leaves_flags_undefined(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        instruction.mnemonic(),
        M::Bt
            | M::Btc
            | M::Btr
            | M::Bts
            | M::Div
            | M::Idiv
            | M::Bsf
            | M::Bsr
            | M::Mul
            | M::Imul
            | M::Lzcnt
            | M::Tzcnt
            | M::Rcl
            | M::Rcr
            | M::Andn
            | M::Bextr
            | M::Blsi
            | M::Blsmsk
            | M::Blsr
            | M::Bzhi
            | M::Aaa
            | M::Aad
            | M::Aam
            | M::Aas
            | M::Daa
            | M::Das
    )
}

// ---- layout -------------------------------------------------------------------------------------

/// Machine code on its way to an address.
struct Layout {
    bitness: u32,
    at: u64,
    bytes: Vec<u8>,
    functions: [u64; FUNCTIONS],
    depth: u64,
    /// Flags survive no call, return or indirect jump.
    conventional: bool,
}

impl Program {
    /// Offsets from `CODE` and the bytes there; `None` if it does not fit. `conventional`: no flags are
    /// expected to survive a call, a return or an indirect jump.
    pub fn lay_out(&self, conventional: bool) -> Option<Vec<(u64, Vec<u8>)>> {
        let functions = std::array::from_fn(|i| CODE + self.starts[1 + i]);
        let mut parts = Vec::new();
        for (number, &start) in self.starts.iter().enumerate() {
            let (bitness, at, bytes) = (self.bitness, CODE + start, Vec::new());
            let mut layout = Layout { bitness, at, bytes, functions, depth: 0, conventional };
            match number {
                0 => {
                    layout.nodes(&self.body)?;
                    layout.raw(&[0xCC]);
                }
                _ => {
                    // One that is called in a loop of another has a counter of its own.
                    layout.depth = (MOST_DEPTH + number) as u64;
                    layout.settle();
                    layout.nodes(&self.functions[number - 1])?;
                    match number {
                        3 => layout.raw(&[0x59, 0xFF, 0xE1]), // pop rcx; jmp rcx
                        _ => layout.raw(&[0xC3]),
                    }
                }
            }
            parts.push((start, layout.bytes));
        }
        let mut ranges: Vec<_> =
            parts.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64)).collect();
        ranges.sort_unstable();
        let apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        (apart && ranges.last()?.1 <= PAGES.code << 12).then_some(parts)
    }

    /// Where it begins.
    pub fn entry(&self) -> u64 {
        CODE + self.starts[0]
    }

    pub fn changes_itself(&self) -> bool {
        fn any(nodes: &[Node]) -> bool {
            nodes.iter().any(|node| match node {
                Node::Changing { .. } => true,
                Node::Loop { body, .. } | Node::If { body, .. } | Node::Stack { body, .. } => any(body),
                _ => false,
            })
        }
        any(&self.body) || self.functions.iter().any(|body| any(body))
    }
}

impl Layout {
    fn here(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn wide(&self) -> bool {
        self.bitness == 64
    }

    /// MOV of a constant to a whole register.
    fn constant(&mut self, register: u8, value: u64) {
        if self.wide() {
            self.raw(&[0x48 | register >> 3, 0xB8 | register & 7]);
            self.raw(&value.to_le_bytes());
        } else {
            self.raw(&[0xB8 | register & 7]);
            self.raw(&(value as u32).to_le_bytes());
        }
    }

    /// An instruction with one operand at a fixed address.
    fn absolute(&mut self, opcode: &[u8], extension: u8, address: u64) {
        self.raw(opcode);
        if self.wide() {
            self.raw(&[extension << 3 | 4, 0x25]);
        } else {
            self.raw(&[extension << 3 | 5]);
        }
        self.raw(&(address as u32).to_le_bytes());
    }

    fn rex(&self) -> &'static [u8] {
        if self.wide() { &[0x48] } else { &[] }
    }

    fn pop(&mut self, register: u8) {
        if register >= 8 {
            self.raw(&[0x41]);
        }
        self.raw(&[0x58 | register & 7]);
    }

    fn nodes(&mut self, nodes: &[Node]) -> Option<()> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        match node {
            Node::Plain { moves, instruction, defines } => {
                let mut moves = moves.clone();
                let stack = moves.iter().any(|&(register, _)| register == 4);
                if stack {
                    self.absolute(&[self.rex(), &[0x89]].concat(), 4, SAVED);
                }
                // RIP-relative operands are encoded for their place.
                moves.iter_mut().for_each(|(register, value)| self.constant(*register, *value));
                let mut encoder = Encoder::new(self.bitness);
                encoder.encode(instruction, self.here()).ok()?;
                self.raw(&encoder.take_buffer());
                if stack {
                    self.absolute(&[self.rex(), &[0x8B]].concat(), 4, SAVED);
                }
                if let Some(value) = defines {
                    self.raw(&[0x83, 0xF8, *value]); // cmp eax, value
                }
            }
            Node::Loop { count, body } => {
                let counter = COUNTERS + 8 * self.depth;
                self.depth += 1;
                self.absolute(&[0xC7], 0, counter);
                self.raw(&u32::from(*count).to_le_bytes());
                let top = self.here();
                self.nodes(body)?;
                self.depth -= 1;
                self.absolute(&[0xFF], 1, counter); // dec
                self.branch(&[0x75], &[0x0F, 0x85], top);
            }
            Node::If { condition, far, body } => {
                let from = self.bytes.len();
                self.raw(if *far { &[0; 6] } else { &[0; 2] });
                let start = self.bytes.len();
                self.nodes(body)?;
                let distance = (self.bytes.len() - start) as i32;
                match i8::try_from(distance) {
                    Ok(short) if !far => {
                        self.bytes[from..start].copy_from_slice(&[0x70 | condition, short as u8]);
                    }
                    _ if !far => {
                        self.bytes.truncate(from);
                        return self.node(&Node::If { condition: *condition, far: true, body: body.clone() });
                    }
                    _ => {
                        self.bytes[from..from + 2].copy_from_slice(&[0x0F, 0x80 | condition]);
                        self.bytes[from + 2..start].copy_from_slice(&distance.to_le_bytes());
                    }
                }
            }
            Node::Call { function, way } => {
                self.call(self.functions[*function], *way);
                self.settle();
            }
            Node::Stack { push, body, pop } => {
                self.raw(push);
                self.nodes(body)?;
                self.pop(*pop);
            }
            Node::Flags { to, set: None } => {
                self.raw(&[0x9C]);
                self.pop(*to);
            }
            Node::Flags { set: Some(flags), .. } => {
                self.raw(&[0x68]);
                self.raw(&flags.to_le_bytes());
                self.raw(&[0x9D]);
            }
            Node::System(bytes) => {
                self.raw(bytes);
                self.settle();
            }
            Node::Onward { way } => {
                self.onward(*way);
                self.settle();
            }
            Node::Changing { constant, next } => {
                self.raw(&[0xB8]);
                let place = self.here();
                self.raw(&constant.to_le_bytes());
                self.absolute(&[0xC7], 0, place);
                self.raw(&next.to_le_bytes());
            }
        }
        Some(())
    }

    /// Replaces the flags where they are as good as lost.
    fn settle(&mut self) {
        if self.conventional {
            self.raw(&[0x83, 0xFA, 0x42]); // cmp edx, 42h
        }
    }

    fn branch(&mut self, short: &[u8], long: &[u8], target: u64) {
        let distance = |layout: &Self, length: usize| target as i64 - (layout.here() as i64 + length as i64);
        match i8::try_from(distance(self, short.len() + 1)) {
            Ok(near) => {
                self.raw(short);
                self.raw(&[near as u8]);
            }
            Err(_) => {
                let distance = distance(self, long.len() + 4) as i32;
                self.raw(long);
                self.raw(&distance.to_le_bytes());
            }
        }
    }

    fn call(&mut self, target: u64, way: u8) {
        match way {
            0 => {
                let distance = (target as i64 - (self.here() as i64 + 5)) as i32;
                self.raw(&[0xE8]);
                self.raw(&distance.to_le_bytes());
            }
            1 => {
                self.constant(2, target);
                self.raw(&[0xFF, 0xD2]); // call rdx
            }
            _ => {
                self.constant(0, target);
                self.absolute(&[self.rex(), &[0x89]].concat(), 0, POINTER);
                self.absolute(&[0xFF], 2, POINTER);
            }
        }
    }

    fn onward(&mut self, way: u8) {
        let constant = if self.wide() { 10 } else { 5 };
        match way {
            0 => {
                self.constant(1, self.here() + constant + 2);
                self.raw(&[0x51, 0xC3]); // push rcx; ret
            }
            1 => {
                self.constant(6, self.here() + constant + 2);
                self.raw(&[0xFF, 0xE6]); // jmp rsi
            }
            2 if self.wide() => {
                self.raw(&[0x49, 0xBA]); // mov r10, target; jmp r10
                self.raw(&(self.here() + 8 + 3).to_le_bytes());
                self.raw(&[0x41, 0xFF, 0xE2]);
            }
            // A call of what follows, whose return address is dropped.
            _ => self.raw(&[0xE8, 0, 0, 0, 0, 0x59]),
        }
    }
}

//! What a vCPU stores to a watched range is told of, whatever instruction does it, in both tiers: in 64-bit mode, through
//! large pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bt;
use super::cpu::{Cpu, RBX, RDX};
use super::testing::{load, machine, translating};
use crate::exit::Exit;
use crate::memory::{PAGE_SIZE, Ram, WriteWatch};
use crate::state::Activity;

/// Where the range is seen, within what the machine's tables map by 2 MiB pages.
const FRAME: u64 = 0x1000_0000;
const PAGES: u64 = 4;
const BYTES: u64 = PAGES * PAGE_SIZE;

/// A vCPU, and a watched range that RBX points to.
struct Scene {
    cpu: Box<Cpu>,
    ram: Arc<Ram>,
    told: Arc<AtomicU32>,
    watch: WriteWatch,
}

impl Scene {
    fn new(cpu: Box<Cpu>) -> Self {
        let memory = Arc::clone(&cpu.platform.memory);
        memory.set_engine(Some(Arc::clone(&cpu.platform.code_guard) as _));
        let ram = Arc::new(Ram::take(&memory, BYTES).unwrap());
        memory.map_ram(FRAME, &ram, 0, BYTES, false).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let watch = WriteWatch::new(&ram, Arc::new(move || _ = count.fetch_add(1, Ordering::SeqCst)));
        Self { cpu, ram, told, watch }
    }

    fn holds(&self) -> bool {
        self.watch.holds(0..BYTES).unwrap()
    }

    fn run(&mut self, code: &[u8]) {
        load(&mut self.cpu, code);
        self.cpu.regs[RBX] = FRAME;
        self.cpu.activity = Activity::Runnable;
        assert_eq!(self.cpu.run(), Exit::Halt);
    }

    fn told(&self) -> u32 {
        self.told.swap(0, Ordering::SeqCst)
    }

    fn byte(&self, at: u64) -> u8 {
        self.ram.bytes()[at as usize].load(Ordering::Relaxed)
    }
}

/// Runs `test` with an interpreting vCPU, and with a translating one where the host can.
fn in_both_tiers(test: impl Fn(Scene)) {
    test(Scene::new(machine(&[])));
    if let Some(cpu) = translating(&[], bt::Settings::default()) {
        test(Scene::new(cpu));
    }
}

/// Each writes to the range's first page, the byte at 16 among others: what that has then is behind.
const STORES: [(&str, &[u8], u8); 12] = [
    ("mov [rbx+16],5", &[0xC7, 0x43, 16, 5, 0, 0, 0], 5),
    ("mov eax,0x700; mov [rbx+15],eax", &[0xB8, 0, 7, 0, 0, 0x89, 0x43, 15], 7),
    ("mov al,3; xchg [rbx+16],al", &[0xB0, 3, 0x86, 0x43, 16], 3),
    ("mov byte [rbx+16],1; lock inc [rbx+16]", &[0xC6, 0x43, 16, 1, 0xF0, 0xFE, 0x43, 16], 2),
    (
        "lea rdi,[rbx+16]; mov al,9; mov ecx,100; rep stosb",
        &[0x48, 0x8D, 0x7B, 16, 0xB0, 9, 0xB9, 100, 0, 0, 0, 0xF3, 0xAA],
        9,
    ),
    (
        "mov rbp,rsp; lea rsp,[rbx+24]; push 4; mov rsp,rbp",
        &[0x48, 0x89, 0xE5, 0x48, 0x8D, 0x63, 24, 0x6A, 4, 0x48, 0x89, 0xEC],
        4,
    ),
    (
        "mov eax,6; movd xmm1,eax; movups [rbx+16],xmm1",
        &[0xB8, 6, 0, 0, 0, 0x66, 0x0F, 0x6E, 0xC8, 0x0F, 0x11, 0x4B, 16],
        6,
    ),
    ("mov byte [rbx+16],0xFF; fxsave [rbx]", &[0xC6, 0x43, 16, 0xFF, 0x0F, 0xAE, 3], 0),
    ("fld1; fstp qword [rbx+10]", &[0xD9, 0xE8, 0xDD, 0x5B, 10], 0xF0),
    // Stores that the translator checks as one.
    (
        "mov [rbx+0],0; mov [rbx+8],0; mov [rbx+16],8; mov [rbx+24],0",
        &[
            0xC7, 0x43, 0, 0, 0, 0, 0, 0xC7, 0x43, 8, 0, 0, 0, 0, 0xC7, 0x43, 16, 8, 0, 0, 0, 0xC7, 0x43, 24,
            0, 0, 0, 0,
        ],
        8,
    ),
    ("sgdt [rbx+14]; mov byte [rbx+16],2", &[0x0F, 1, 0x43, 14, 0xC6, 0x43, 16, 2], 2),
    (
        "mov al,11; mov byte [rbx+16],1; add [rbx+16],al; sub ecx,ecx",
        &[0xB0, 11, 0xC6, 0x43, 16, 1, 0, 0x43, 16, 0x29, 0xC9],
        12,
    ),
];

#[test]
fn every_kind_of_store_ends_a_watch_once() {
    in_both_tiers(|mut scene| {
        for (what, code, byte) in STORES {
            for turn in ["first", "second"] {
                scene.ram.bytes()[16].store(0xAA, Ordering::Relaxed);
                assert!(scene.holds(), "{what}: nobody runs");
                scene.run(code);
                assert_eq!((scene.told(), scene.byte(16)), (1, byte), "{what}, the {turn} time");
                scene.run(code);
                assert_eq!((scene.told(), scene.byte(16)), (0, byte), "{what}, unwatched");
            }
        }
    });
}

#[test]
fn reading_and_stores_beside_it_do_not() {
    in_both_tiers(|mut scene| {
        assert!(scene.holds());
        // mov eax,[rbx]; lea rsi,[rbx+100]; mov ecx,50; rep lodsb; mov [rbx+0x4000],eax (nobody there); mov [0x20000],eax
        scene
            .run(&[0x8B, 3, 0x48, 0x8D, 0x73, 100, 0xB9, 50, 0, 0, 0, 0xF3, 0xAC, 0x89, 0x83, 0, 0x40, 0, 0]);
        scene.run(&[0x89, 4, 0x25, 0, 0, 2, 0]);
        assert_eq!(scene.told(), 0);
        assert!(scene.holds());
    });
}

#[test]
fn code_in_the_range_that_changes_its_own_page_is_told_of() {
    in_both_tiers(|mut scene| {
        // inc byte [rbx+0x800]; ret
        scene.ram.write(0, &[0xFE, 0x83, 0, 8, 0, 0, 0xC3]).unwrap();
        for turn in 1..=6 {
            assert!(scene.holds());
            scene.run(&[0xFF, 0xD3]); // call rbx
            assert_eq!((scene.told(), scene.byte(0x800)), (1, turn));
            if turn == 3 {
                scene.ram.write(0, &[0xFE]).unwrap(); // it is decoded again
            }
        }
        // What becomes code while it is watched still is.
        scene.ram.write(PAGE_SIZE, &[0x90, 0xC3]).unwrap();
        assert!(scene.holds());
        scene.run(&[0x48, 0x8D, 0x83, 0, 0x10, 0, 0, 0xFF, 0xD0]); // lea rax,[rbx+0x1000]; call rax
        assert_eq!(scene.told(), 0);
        scene.run(&[0xC6, 0x83, 1, 0x10, 0, 0, 0xC3]); // mov byte [rbx+0x1001],0xC3
        assert_eq!(scene.told(), 1);
    });
}

#[test]
fn stores_across_pages_and_from_outside_into_the_range_are_told_of() {
    in_both_tiers(|mut scene| {
        assert!(scene.holds());
        scene.run(&[0xC7, 0x83, 0xFE, 0x0F, 0, 0, 1, 2, 3, 4]); // mov dword [rbx+0xFFE],0x04030201
        assert_eq!((scene.told(), scene.byte(0xFFF), scene.byte(0x1000)), (1, 2, 3));
        assert!(scene.holds());
        // lea rdi,[rbx-2]; mov al,0x77; mov ecx,4; rep stosb: from where nobody is into the range
        scene.run(&[0x48, 0x8D, 0x7B, 0xFE, 0xB0, 0x77, 0xB9, 4, 0, 0, 0, 0xF3, 0xAA]);
        assert_eq!((scene.told(), scene.byte(1), scene.byte(2)), (1, 0x77, 0));
    });
}

/// For writes that are reported a vCPU is recorded as a page's writer, and keeps its write access when the page becomes code
/// again; but not once it has written there unreported.
#[test]
fn code_that_is_written_beside_code_and_unreported_by_turns_is_what_was_written_last() {
    in_both_tiers(|mut scene| {
        scene.ram.write(0, &[0xB0, 0, 0xC3]).unwrap(); // mov al, N; ret
        scene.run(&[
            0x31, 0xD2, 0xB9, 200, 0, 0, 0, // xor edx, edx; mov ecx, 200
            0x88, 0x4B, 1, // again: mov [rbx+1], cl
            0xFF, 0xD3, // call rbx
            0x0F, 0xB6, 0xC0, 0x01, 0xC2, // movzx eax, al; add edx, eax
            0x88, 0x8B, 1, 8, 0, 0, // mov [rbx+0x801], cl: beside code
            0xF6, 0xC1, 1, 0x74, 7, // test cl, 1; jz over
            0x88, 0x53, 1, // mov [rbx+1], dl: no code is left there
            0xC6, 0x43, 1, 0x55, // mov byte [rbx+1], 0x55
            0xFF, 0xC9, 0x75, 0xE0, // over: dec ecx; jnz again
            0xF4,
        ]);
        assert_eq!(scene.cpu.regs[RDX], (1..=200).sum::<u64>());
    });
}

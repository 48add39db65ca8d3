use super::*;
use innkeeper_bus::memory::{Engine, GuestMemory};

const MEMORY: u64 = 1 << 20;
/// CRTC registers 0 to 18h of BIOS modes 3 and 13h.
const MODE_3: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0, 0, 0, 0, 0x9C, 0x8E, 0x8F,
    0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
];

struct Card {
    chip: Arc<Vga>,
    ports: Region,
    dispi: Region,
    window: Region,
    registers: Region,
    time: Arc<AtomicU64>,
}

impl Card {
    fn new() -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, 4096)]).unwrap());
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let ram = Arc::new(Ram::take(&memory, MEMORY).unwrap());
        let chip = Vga::new(ram, Box::new(move || clock.load(Ordering::Relaxed)));
        let region = |part| Region { chip: Arc::clone(&chip), part };
        let [ports, dispi] = [region(Part::Ports), region(Part::DispiPorts)];
        let [window, registers] = [region(Part::Window), region(Part::Registers)];
        let card = Self { chip, ports, dispi, window, registers, time };
        card.out(0x3C2, 0x67);
        card
    }

    fn out(&self, port: u16, value: u8) {
        self.ports.write((port - FIRST_PORT).into(), 1, value.into());
    }

    fn read(&self, port: u16) -> u8 {
        self.ports.read((port - FIRST_PORT).into(), 1) as u8
    }

    fn set(&self, port: u16, index: u8, value: u8) {
        self.ports.write((port - FIRST_PORT).into(), 2, u64::from(value) << 8 | u64::from(index));
    }

    fn attribute(&self, index: u8, value: u8) {
        self.read(0x3DA);
        self.out(0x3C0, index);
        self.out(0x3C0, value);
    }

    fn bochs(&self, index: u64, value: u64) {
        self.dispi.write(0, 2, index);
        self.dispi.write(1, 2, value);
    }

    /// Everything as for 80 columns, with grey levels as colours.
    fn text_mode(&self) {
        self.set(0x3D4, 0x11, 0);
        (0..).zip(MODE_3).for_each(|(index, value)| self.set(0x3D4, index, value));
        (0..).zip([3, 0, 3, 0, 2]).for_each(|(index, value)| self.set(0x3C4, index, value));
        (0..).zip([0, 0, 0, 0, 0, 0x10, 0x0E, 0xF, 0xFF]).for_each(|(i, value)| self.set(0x3CE, i, value));
        (0..16).for_each(|index| self.attribute(index, index));
        (0x10..).zip([0x0C, 0, 0xF, 8, 0]).for_each(|(index, value)| self.attribute(index, value));
        self.out(0x3C0, 0x20);
        self.out(0x3C8, 0);
        (0..=255).for_each(|level| (0..3).for_each(|_| self.out(0x3C9, level)));
    }

    fn frame(&self) -> Frame {
        let mut frame = Frame::default();
        self.chip.refresh(&mut frame);
        frame
    }
}

#[test]
fn registers_read_back_what_exists_of_them() {
    let card = Card::new();
    for (index, bits) in [(0u8, 0x03), (1, 0x3D), (2, 0x0F), (3, 0x3F), (4, 0x0E)] {
        card.set(0x3C4, index, 0xFF);
        assert_eq!(card.read(0x3C5), bits);
    }
    card.set(0x3D4, 0x11, 0x80);
    card.set(0x3D4, 0, 0x12);
    assert_eq!(card.read(0x3D5), 0);
    card.set(0x3D4, 7, 0xFF);
    assert_eq!(card.read(0x3D5), 0x10);
    card.out(0x3C2, 0x66); // monochrome: the CRTC moves to 3B4h
    assert_eq!((card.read(0x3D5), card.read(0x3B5)), (0xFF, 0x10));
    assert_eq!(card.read(0x3CC), 0x66);
}

#[test]
fn the_attribute_controller_takes_index_and_data_in_turn() {
    let card = Card::new();
    card.attribute(0x10, 0x41);
    card.read(0x3DA);
    card.out(0x3C0, 0x30);
    assert_eq!((card.read(0x3C0), card.read(0x3C1)), (0x30, 0x41));
}

#[test]
fn a_colour_changes_with_its_third_component() {
    let card = Card::new();
    card.out(0x3C8, 7);
    [0xFF, 2, 3].iter().for_each(|&value| card.out(0x3C9, value));
    [9, 9].iter().for_each(|&value| card.out(0x3C9, value));
    card.out(0x3C7, 7);
    let read: Vec<u8> = (0..6).map(|_| card.read(0x3C9)).collect();
    assert_eq!(read, [0x3F, 2, 3, 0, 0, 0]);
    assert_eq!((card.read(0x3C7), card.read(0x3C8)), (3, 9));
}

#[test]
fn retraces_come_and_go_with_time() {
    let card = Card::new();
    card.text_mode();
    let status: Vec<u8> = (0..2000)
        .map(|step| {
            card.time.store(step * 7_000, Ordering::Relaxed);
            card.read(0x3DA) & 9
        })
        .collect();
    assert!([0, 1, 9].iter().all(|wanted| status.contains(wanted)) && !status.contains(&8));
}

#[test]
fn characters_show_in_nine_dots_with_their_attributes() {
    let card = Card::new();
    card.text_mode();
    card.set(0x3C4, 2, 4); // the font: plane 2, sequential
    card.set(0x3C4, 4, 6);
    card.set(0x3CE, 6, 4);
    card.window.write(0x41 * 32, 1, 0b1010_0001);
    card.window.write(0xC4 * 32, 1, 0b0000_0001);
    card.set(0x3C4, 2, 3);
    card.set(0x3C4, 4, 2);
    card.set(0x3CE, 6, 0x0E);
    card.window.write(0x1_8000, 4, 0x07C4_1E41);
    let frame = card.frame();
    assert_eq!((frame.width, frame.height), (720, 400));
    let grey = |level: u32| (level << 2 | level >> 4) * 0x01_0101;
    let (ink, paper, dim) = (grey(14), grey(1), grey(7));
    let expected = [ink, paper, ink, paper, paper, paper, paper, ink, paper];
    assert_eq!(frame.pixels[..9], expected);
    assert_eq!(frame.pixels[9..18], [0, 0, 0, 0, 0, 0, 0, dim, dim]);
    let text = card.chip.text().unwrap();
    assert_eq!((text.columns, text.rows, &text.cells[..2]), (80, 25, &[(0x41, 0x1E), (0xC4, 7)][..]));
    assert_eq!(text.cursor, Some((0, 0)));
}

#[test]
fn the_cursor_blinks_by_time_and_only_then_is_anything_new() {
    let card = Card::new();
    card.text_mode();
    let mut frame = card.frame();
    assert_eq!(card.chip.refresh(&mut frame), []);
    card.window.write(0x1_8000 + 1, 1, 7);
    assert_eq!(card.chip.refresh(&mut frame), [Rect { x: 0, y: 0, width: 64, height: 16 }]);
    assert_eq!(frame.pixels[13 * 720], 0x1C_1C1C);
    card.time.store(8 * 14_300_000, Ordering::Relaxed);
    assert_eq!(card.chip.refresh(&mut frame), [Rect { x: 0, y: 0, width: 64, height: 16 }]);
    assert_eq!(frame.pixels[13 * 720], 0);
    assert_eq!(card.chip.refresh(&mut frame), []);
}

#[test]
fn until_something_blinks_a_change_is_told_unless_guests_write_to_memory() {
    let card = Card::new();
    card.text_mode();
    let heard = Arc::new(AtomicU64::new(0));
    let ear = Arc::clone(&heard);
    let bell: Bell = Arc::new(move || _ = ear.fetch_add(1, Ordering::SeqCst));
    let frame = card.chip.lock().frame_ns();
    card.time.store(frame, Ordering::Relaxed);
    assert_eq!(card.chip.rest(&bell), Duration::from_nanos(7 * frame));
    card.attribute(0x10, 0x04);
    assert_eq!(heard.load(Ordering::SeqCst), 1);
    card.set(0x3D4, 0xA, 0x20); // nothing blinks any more
    assert_eq!(
        (card.chip.rest(&bell), card.chip.rest(&bell)),
        (Duration::from_nanos(u64::MAX), Duration::from_nanos(u64::MAX))
    );
    card.window.write(0x1_8000, 2, 0x0741);
    card.window.write(0x1_8000, 2, 0x0742);
    assert_eq!(heard.load(Ordering::SeqCst), 2);
    for (index, value) in [(1, 320), (2, 200), (3, 32), (4, 0x41)] {
        card.bochs(index, value);
    }
    assert_eq!(card.chip.rest(&bell), Duration::ZERO, "there is no engine that tells");
}

/// An engine without vCPUs: nobody writes unreported.
struct Nobody;

impl Engine for Nobody {
    fn withdraw(&self, find: &mut dyn FnMut() -> u64) -> Option<u64> {
        Some(find())
    }
    fn holding(&self, _writers: u64) -> u64 {
        0
    }
}

/// A bell, and how often it was rung since that was asked last.
fn bell() -> (Bell, impl Fn() -> u64) {
    let heard = Arc::new(AtomicU64::new(0));
    let ear = Arc::clone(&heard);
    (Arc::new(move || _ = ear.fetch_add(1, Ordering::SeqCst)), move || heard.swap(0, Ordering::SeqCst))
}

#[test]
fn a_linear_mode_rests_until_what_it_shows_is_written_to() {
    const LINE: u64 = 4 * 640;
    let card = Card::new();
    for (index, value) in [(1, 320), (2, 200), (3, 32), (4, 0x41), (6, 640), (8, 16), (9, 20)] {
        card.bochs(index, value);
    }
    card.out(0x3C0, 0x20);
    let memory = &card.chip.memory;
    memory.memory().set_engine(Some(Arc::new(Nobody)));
    let (bell, rung) = bell();
    let mut frame = card.frame();
    (0..40).for_each(|_| assert_eq!(card.chip.refresh(&mut frame), []));
    // Before the rest, on a line that the next look of many would pass over: the one after the rest does not.
    (0..200u64).filter(|line| line % PARTS != 0).for_each(|line| {
        memory.bytes()[((line + 20) * LINE + 64) as usize].store(0xAB, Ordering::Relaxed);
        assert_eq!(card.chip.rest(&bell), Duration::MAX);
        assert_eq!(card.chip.refresh(&mut frame).len(), 1, "line {line}");
        (0..16).for_each(|_| assert_eq!(card.chip.refresh(&mut frame), []));
    });
    assert_eq!(rung(), 0);
    for (offset, rings) in [(20 * LINE + 64, 1), (219 * LINE + 64 + 4 * 320 - 1, 1), (100 * LINE, 1)] {
        assert_eq!((card.chip.rest(&bell), card.chip.rest(&bell)), (Duration::MAX, Duration::MAX));
        memory.write(18 * LINE, &[1]).unwrap();
        memory.write(222 * LINE, &[1]).unwrap();
        assert_eq!(rung(), 0, "beside what is shown");
        memory.write(offset, &[7]).unwrap();
        memory.write(offset, &[8]).unwrap();
        assert_eq!(rung(), rings, "{offset:#x}");
    }
    assert_eq!(card.chip.rest(&bell), Duration::MAX);
    card.bochs(9, 0);
    assert_eq!((rung(), card.chip.rest(&bell)), (1, Duration::MAX));
    memory.write(18 * LINE, &[2]).unwrap();
    assert_eq!(rung(), 1, "another part is shown");
}

#[test]
fn two_who_rest_before_a_linear_mode_both_hear_and_see() {
    let card = Card::new();
    for (index, value) in [(1, 320), (2, 200), (3, 32), (4, 0x41)] {
        card.bochs(index, value);
    }
    card.out(0x3C0, 0x20);
    card.chip.memory.memory().set_engine(Some(Arc::new(Nobody)));
    let ((one, one_rung), (other, other_rung)) = (bell(), bell());
    let mut frames = [card.frame(), card.frame()];
    assert_eq!(card.chip.rest(&one), Duration::MAX);
    for frame in &mut frames {
        (0..40).for_each(|_| assert_eq!(card.chip.refresh(frame), []));
    }
    assert_eq!(card.chip.rest(&other), Duration::MAX);
    card.chip.memory.write(4 * 320 * 33, &[1]).unwrap();
    assert_eq!((one_rung(), other_rung()), (1, 1));
    assert_eq!((card.chip.rest(&one), card.chip.rest(&other)), (Duration::MAX, Duration::MAX));
    assert!(frames.iter_mut().all(|frame| card.chip.refresh(frame).len() == 1));
    card.window.write(0, 1, 3);
    assert_eq!((one_rung(), other_rung()), (1, 1));
}

#[test]
fn a_split_screen_starts_over_below_its_line() {
    let card = Card::new();
    card.text_mode();
    card.window.write(0x1_8000, 2, 0x0741);
    card.window.write(0x1_8000 + 160, 2, 0x0742);
    card.set(0x3D4, 0xD, 80);
    card.set(0x3D4, 0x18, 31);
    card.set(0x3D4, 7, 0x0F);
    card.set(0x3D4, 9, 0x0F);
    let text = card.chip.text().unwrap();
    assert_eq!((text.cells[0].0, text.cells[160].0), (0x42, 0x41));
    assert_eq!(text.rows, 25);
}

#[test]
fn a_linear_mode_shows_what_guests_write_to_memory() {
    let card = Card::new();
    for (index, value) in [(1, 320), (2, 200), (3, 32), (4, 0x41)] {
        card.bochs(index, value);
    }
    card.out(0x3C0, 0x20);
    let mut frame = card.frame();
    assert_eq!((frame.width, frame.height), (320, 200));
    for _ in 0..40 {
        assert_eq!(card.chip.refresh(&mut frame), []);
    }
    let byte = &card.chip.memory.bytes()[4 * (320 * 33 + 300) + 1];
    byte.store(0xAB, Ordering::Relaxed);
    let found: Vec<_> = (0..PARTS).flat_map(|_| card.chip.refresh(&mut frame)).collect();
    assert_eq!(found, [Rect { x: 256, y: 32, width: 64, height: 16 }]);
    assert_eq!(frame.pixels[320 * 33 + 300], 0xAB00);
}

#[test]
fn the_extensions_pan_over_a_larger_picture_and_refuse_what_has_no_room() {
    let card = Card::new();
    for (index, value) in [(1, 64), (2, 64), (3, 16), (4, 0x41), (6, 100), (8, 3), (9, 2)] {
        card.bochs(index, value);
    }
    card.out(0x3C0, 0x20);
    let at = 2 * (100 * 2 + 3);
    card.chip.memory.write(at, &[0x00, 0xF8]).unwrap();
    assert_eq!(card.frame().pixels[0], 0xFF_0000);
    card.dispi.write(0, 2, 7);
    assert_eq!(card.dispi.read(1, 2), MEMORY / 200);
    card.bochs(9, 0xFFFF); // beyond the end: as if it were off
    assert_eq!((card.frame().width, card.frame().height), (640, 480));
    card.bochs(4, 2);
    card.dispi.write(0, 2, 1);
    assert_eq!(card.dispi.read(1, 2), 4096);
}

#[test]
fn the_window_reaches_the_bank_that_is_chosen() {
    let card = Card::new();
    for (index, value) in [(1, 640), (2, 480), (3, 8), (4, 1), (5, 2)] {
        card.bochs(index, value);
    }
    card.window.write(5, 4, 0x0403_0201);
    let mut out = [0; 4];
    card.chip.memory.read(0x2_0005, &mut out).unwrap();
    assert_eq!(out, [1, 2, 3, 4]);
    assert_eq!(card.window.read(5, 2), 0x0201);
    assert_eq!(card.window.read(0x1_8000, 2), 0xFFFF);
}

#[test]
fn the_register_page_has_both_and_an_edid() {
    let card = Card::new();
    assert_eq!(card.registers.read(0, 8), 0x00FF_FFFF_FFFF_FF00);
    card.registers.write(0x402, 1, 0xE3);
    assert_eq!((card.read(0x3CC), card.registers.read(0x40C, 1)), (0xE3, 0xE3));
    assert_eq!(card.registers.read(0x500, 2), 0xB0C5);
    card.registers.write(0x502, 2, 800);
    assert_eq!(card.registers.read(0x502, 2), 800);
    assert_eq!(card.registers.read(0x600, 4), 4);
}

/// The write modes as their description says it, bit by bit.
fn modelled(registers: &Registers, latch: [u8; 4], planes: [u8; 4], value: u8) -> [u8; 4] {
    let gc = &registers.graphics;
    let bit_of = |byte: u8, bit: u8| byte >> bit & 1;
    std::array::from_fn(|plane| {
        if bit_of(registers.sequencer[2], plane as u8) == 0 {
            return planes[plane];
        }
        let rotated = (value >> (gc[3] & 7)) | (u16::from(value) << (8 - (gc[3] & 7))) as u8;
        (0..8).fold(0, |byte, bit| {
            let old = bit_of(latch[plane], bit);
            let set = bit_of(gc[0], plane as u8);
            let (source, mask) = match gc[5] & 3 {
                0 if bit_of(gc[1], plane as u8) != 0 => (set, bit_of(gc[8], bit)),
                0 => (bit_of(rotated, bit), bit_of(gc[8], bit)),
                1 => return byte | old << bit,
                2 => (bit_of(value, plane as u8), bit_of(gc[8], bit)),
                _ => (set, bit_of(gc[8], bit) & bit_of(rotated, bit)),
            };
            let new = [source, source & old, source | old, source ^ old][usize::from(gc[3] >> 3 & 3)];
            byte | if mask != 0 { new } else { old } << bit
        })
    })
}

#[test]
fn planar_writes_are_as_the_model_has_them() {
    let card = Card::new();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    card.set(0x3C4, 4, 6);
    for case in 0..20_000 {
        (0..=8).filter(|&index| index != 6).for_each(|index| card.set(0x3CE, index, random()));
        card.set(0x3CE, 5, random() & 0x0B);
        card.set(0x3CE, 6, 5);
        card.set(0x3C4, 2, random());
        let at = u64::from(random());
        let planes: [u8; 4] = std::array::from_fn(|_| random());
        card.chip.memory.write(4 * at, &planes).unwrap();
        let read = card.window.read(if case % 3 == 0 { at } else { u64::from(random()) }, 1) as u8;
        let registers = card.chip.lock().clone();
        let latch = registers.latches;
        let compares = registers.graphics[5] & 8 != 0;
        let wanted = (0..8).fold(0, |byte, bit| {
            let equal = (0..4).all(|plane| {
                registers.graphics[7] >> plane & 1 == 0
                    || latch[plane] >> bit & 1 == registers.graphics[2] >> plane & 1
            });
            byte | u8::from(equal) << bit
        });
        assert_eq!(read, if compares { wanted } else { latch[usize::from(registers.graphics[4])] });
        let value = random();
        card.window.write(at, 1, value.into());
        let mut out = [0; 4];
        card.chip.memory.read(4 * at, &mut out).unwrap();
        assert_eq!(out, modelled(&registers, latch, planes, value), "case {case}");
    }
}

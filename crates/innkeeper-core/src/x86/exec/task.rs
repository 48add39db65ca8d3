//! Task switches by JMP, CALL, IRET and task gates, with 16- and 32-bit TSSs.
//! Source: Intel SDM vol. 3, chapter 8. Until the commit point nothing has changed and faults belong
//! to the old task; behind it they are raised in the new one.

use super::event::Event;
use crate::state::SegmentState;
use crate::x86::cpu::{Cpu, RIP, cr, flag};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::seg;
use crate::x86::segment::{self as attr, Descriptor, is_null, null_stack, rpl};

/// DR6.BT: the new task's TSS asks for a debug trap.
const DR6_BT: u64 = 1 << 15;
/// The local enable flags of DR7, which do not survive a task switch.
const DR7_LOCAL: u64 = 0x155;
/// In the type of a TSS descriptor.
const BUSY: u32 = 2;

/// What asks for a task switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Jump,
    Call,
    Return,
    Event,
}

impl Switch {
    /// The new task is nested in the old one: linked to it, with NT set.
    fn nests(self) -> bool {
        matches!(self, Self::Call | Self::Event)
    }
}

/// A request for a task switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub switch: Switch,
    pub ext: u32,
    /// The RFLAGS image to save.
    pub flags: u64,
    /// What the run loop takes off RIP when the instruction faults: its length. RIP is that much
    /// beyond the new task's first instruction if the switch faults behind the commit point.
    pub rewind: u64,
}

/// A TSS to switch to, its descriptor checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    selector: u16,
    descriptor: Descriptor,
}

/// The dynamic part of a TSS. Segment selectors are in the order ES CS SS DS FS GS.
#[derive(Clone, Copy, Debug, Default)]
struct Image {
    cr3: u32,
    eip: u32,
    eflags: u32,
    gpr: [u32; 8],
    selectors: [u16; 6],
    ldt: u16,
    trap: bool,
}

/// Where a TSS keeps what, by its width.
struct Layout {
    width: u8,
    eip: u32,
    gpr: u32,
    selectors: u32,
    /// FS and GS exist only in a 32-bit TSS.
    segments: usize,
    ldt: u32,
    /// The lowest legal limit.
    limit: u32,
}

const LAYOUT_16: Layout =
    Layout { width: 2, eip: 0xE, gpr: 0x12, selectors: 0x22, segments: 4, ldt: 0x2A, limit: 0x2B };
const LAYOUT_32: Layout =
    Layout { width: 4, eip: 0x20, gpr: 0x28, selectors: 0x48, segments: 6, ldt: 0x60, limit: 0x67 };

fn layout(kind: u32) -> &'static Layout {
    if kind & 8 != 0 { &LAYOUT_32 } else { &LAYOUT_16 }
}

impl Cpu {
    /// The available TSS that a selector names, for JMP, CALL and task gates. `vector` and `ext` are
    /// those of the fault where there is none.
    pub(super) fn find_task(&mut self, selector: u16, vector: u8, ext: u32) -> Result<Task, Stop> {
        self.find_tss(selector, vector, ext, [1, 9])
    }

    fn find_tss(&mut self, selector: u16, vector: u8, ext: u32, kinds: [u32; 2]) -> Result<Task, Stop> {
        if selector & 4 != 0 || is_null(selector) {
            return Err(self.selector_fault(vector, selector, ext));
        }
        let descriptor = self.read_descriptor(selector, vector, ext)?;
        if !kinds.contains(&descriptor.kind()) {
            return Err(self.selector_fault(vector, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        Ok(Task { selector, descriptor })
    }

    /// An event through a task gate.
    pub(super) fn task_switch_by_event(&mut self, event: &Event, selector: u16) -> Result<(), Stop> {
        let task = self.find_task(selector, vector::GP, event.ext())?;
        let &Event { flags, rewind, .. } = event;
        self.task_switch(task, Request { switch: Switch::Event, ext: event.ext(), flags, rewind })?;
        let Some(error) = event.error else { return Ok(()) };
        let size = layout(self.tr.kind()).width;
        let mut frame = self.current_frame(event.ext());
        self.push_frame(&mut frame, size, u64::from(error))?;
        self.enter_frame(&frame);
        Ok(())
    }

    /// IRET with NT set: back to the task that the current TSS links to.
    pub(super) fn task_return(&mut self, rewind: u64) -> Result<(), Stop> {
        let link: u16 = self.load_system(self.tr.base)?;
        let task = self.find_tss(link, vector::TS, 0, [3, 0xB])?;
        let flags = self.rflags & !flag::NT;
        self.task_switch(task, Request { switch: Switch::Return, ext: 0, flags, rewind })
    }

    /// Switches tasks.
    pub(super) fn task_switch(&mut self, task: Task, request: Request) -> Result<(), Stop> {
        let Request { switch, ext, flags, rewind } = request;
        let segment = task.descriptor.segment(task.selector);
        let new = layout(segment.kind());
        if segment.limit < new.limit {
            return Err(self.selector_fault(vector::TS, task.selector, ext));
        }
        let old = layout(self.tr.kind());
        if self.tr.has(attr::UNUSABLE) || self.tr.limit < old.limit {
            return Err(self.selector_fault(vector::TS, self.tr.selector, ext));
        }
        let mut image = self.read_task(segment.base, new)?;
        let pdptes = self.pdptes_for_task(task.selector, image.cr3, new, ext)?;
        self.save_task(old, flags)?;
        if switch.nests() {
            self.store_system(segment.base, self.tr.selector)?;
            image.eflags |= flag::NT as u32;
        }
        self.move_busy(task, switch)?;
        self.commit_task(task, &image, new, pdptes);
        let loaded = self.load_task_segments(&image, ext);
        if image.trap {
            self.debug_hits |= DR6_BT;
        }
        if loaded.is_err() {
            self.regs[RIP] = self.regs[RIP].wrapping_add(rewind);
        }
        loaded
    }

    fn read_task(&mut self, base: u64, layout: &Layout) -> Result<Image, Stop> {
        let mut image = Image::default();
        let at = |offset: u32| base.wrapping_add(u64::from(offset));
        let width = u32::from(layout.width);
        if layout.width == 4 {
            image.cr3 = self.load_system(at(0x1C))?;
            image.trap = self.load_system::<u16>(at(0x64))? & 1 != 0;
        }
        let word = |cpu: &mut Self, offset| match layout.width {
            2 => cpu.load_system::<u16>(at(offset)).map(u32::from),
            _ => cpu.load_system::<u32>(at(offset)),
        };
        image.eip = word(self, layout.eip)?;
        image.eflags = word(self, layout.eip + width)?;
        for i in 0..8 {
            image.gpr[i] = word(self, layout.gpr + width * i as u32)?;
        }
        for i in 0..layout.segments {
            image.selectors[i] = word(self, layout.selectors + width * i as u32)? as u16;
        }
        image.ldt = word(self, layout.ldt)? as u16;
        Ok(image)
    }

    /// The page-directory pointers of the new task's CR3, if it uses any.
    fn pdptes_for_task(
        &mut self,
        selector: u16,
        cr3: u32,
        layout: &Layout,
        ext: u32,
    ) -> Result<Option<[u64; 4]>, Stop> {
        if layout.width == 2 || self.cr0 & cr::CR0_PG == 0 || self.cr4 & cr::CR4_PAE == 0 {
            return Ok(None);
        }
        match self.read_pdptes(u64::from(cr3)) {
            Some(entries) => Ok(Some(entries)),
            None => Err(self.selector_fault(vector::TS, selector, ext)),
        }
    }

    /// Writes the old task's state into its TSS.
    fn save_task(&mut self, layout: &Layout, eflags: u64) -> Result<(), Stop> {
        let base = self.tr.base;
        let width = u32::from(layout.width);
        let at = |offset: u32| base.wrapping_add(u64::from(offset));
        let word = |cpu: &mut Self, offset, value: u64| match layout.width {
            2 => cpu.store_system(at(offset), value as u16),
            _ => cpu.store_system(at(offset), value as u32),
        };
        word(self, layout.eip, self.regs[RIP])?;
        word(self, layout.eip + width, eflags)?;
        for i in 0..8 {
            word(self, layout.gpr + width * i as u32, self.regs[i])?;
        }
        for i in 0..layout.segments {
            let selector = self.segments[i].selector;
            self.store_system(at(layout.selectors + width * i as u32), selector)?;
        }
        Ok(())
    }

    /// Sets and clears the busy flags of the two descriptors.
    fn move_busy(&mut self, task: Task, switch: Switch) -> Result<(), Stop> {
        let leaves = !switch.nests();
        let old = if leaves { self.find_descriptor(self.tr.selector)? } else { None };
        let byte = |descriptor: Descriptor| (descriptor.raw >> 40) as u8;
        if let Some(old) = old {
            // Writable? Then what follows cannot fault half-way.
            self.store_system(old.address.wrapping_add(5), byte(old))?;
        }
        if switch != Switch::Return {
            let at = task.descriptor.address.wrapping_add(5);
            self.store_system(at, byte(task.descriptor) | BUSY as u8)?;
        }
        if let Some(old) = old.filter(|old| old.address != task.descriptor.address) {
            self.store_system(old.address.wrapping_add(5), byte(old) & !(BUSY as u8))?;
        }
        Ok(())
    }

    /// The point of no return: registers, TR and CR3 are the new task's; its segments are still to be
    /// loaded.
    fn commit_task(&mut self, task: Task, image: &Image, layout: &Layout, pdptes: Option<[u64; 4]>) {
        self.tr = task.descriptor.segment(task.selector);
        self.tr.attributes |= BUSY;
        self.cr0 |= cr::CR0_TS;
        self.dr[7] &= !DR7_LOCAL;
        let paging = self.cr0 & cr::CR0_PG != 0;
        if layout.width == 4 && paging && self.cr3 != u64::from(image.cr3) {
            self.cr3 = u64::from(image.cr3);
            self.pdptes = pdptes.unwrap_or(self.pdptes);
            self.switch_address_space(false);
        }
        for (register, value) in self.regs.iter_mut().zip(image.gpr) {
            *register = u64::from(value);
        }
        self.regs[RIP] = u64::from(image.eip);
        self.ldtr = SegmentState::null(image.ldt);
        let v86 = u64::from(image.eflags) & flag::VM != 0;
        let cpl = rpl(image.selectors[seg::CS as usize]);
        for (segment, selector) in self.segments.iter_mut().zip(image.selectors) {
            *segment = if v86 { SegmentState::real(selector, 3) } else { null_stack(selector, cpl) };
        }
        self.set_rflags(u64::from(image.eflags));
    }

    fn load_task_segments(&mut self, image: &Image, ext: u32) -> Result<(), Stop> {
        if !is_null(image.ldt) {
            if image.ldt & 4 != 0 {
                return Err(self.selector_fault(vector::TS, image.ldt, ext));
            }
            let descriptor = self.read_descriptor(image.ldt, vector::TS, ext)?;
            if descriptor.kind() != 2 || !descriptor.is_present() {
                return Err(self.selector_fault(vector::TS, image.ldt, ext));
            }
            self.ldtr = descriptor.segment(image.ldt);
        }
        if self.v86() {
            return Ok(());
        }
        self.load_task_code(image.selectors[seg::CS as usize], ext)?;
        self.load_task_stack(image.selectors[seg::SS as usize], ext)?;
        for number in [seg::DS, seg::ES, seg::FS, seg::GS] {
            self.load_task_data(number, image.selectors[number as usize], ext)?;
        }
        if u64::from(image.eip) > u64::from(self.segments[seg::CS as usize].limit) {
            return Err(self.gp(ext));
        }
        Ok(())
    }

    /// The descriptor of one of the new task's segments, if the selector is not null.
    fn task_descriptor(&mut self, selector: u16, ext: u32) -> Result<Descriptor, Stop> {
        if is_null(selector) {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        self.read_descriptor(selector, vector::TS, ext)
    }

    fn load_task_code(&mut self, selector: u16, ext: u32) -> Result<(), Stop> {
        let mut descriptor = self.task_descriptor(selector, ext)?;
        let (dpl, level) = (descriptor.dpl(), rpl(selector));
        let level_fits = if descriptor.is_conforming() { dpl <= level } else { dpl == level };
        if !descriptor.is_code() || !level_fits {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        self.mark_accessed(&mut descriptor)?;
        self.set_segment(seg::CS, descriptor.segment(selector));
        Ok(())
    }

    fn load_task_stack(&mut self, selector: u16, ext: u32) -> Result<(), Stop> {
        let mut descriptor = self.task_descriptor(selector, ext)?;
        let levels_fit = descriptor.dpl() == self.cpl && rpl(selector) == self.cpl;
        if !descriptor.is_writable_data() || !levels_fit {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::SS, selector, ext));
        }
        self.mark_accessed(&mut descriptor)?;
        self.set_segment(seg::SS, descriptor.segment(selector));
        Ok(())
    }

    fn load_task_data(&mut self, number: u8, selector: u16, ext: u32) -> Result<(), Stop> {
        if is_null(selector) {
            self.set_segment(number, SegmentState::null(selector));
            return Ok(());
        }
        let mut descriptor = self.task_descriptor(selector, ext)?;
        let privilege = self.cpl.max(rpl(selector));
        if !descriptor.is_readable() || (!descriptor.is_conforming() && privilege > descriptor.dpl()) {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        self.mark_accessed(&mut descriptor)?;
        self.set_segment(number, descriptor.segment(selector));
        Ok(())
    }
}

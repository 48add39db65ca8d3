//! Branches: chained where they can be, looked up where not, calls paired with returns.

use super::*;

impl Emitter<'_> {
    pub(super) fn jump(&mut self, it: &Decoded) -> bool {
        let target = self.wrap(it.instruction.near_branch_target());
        let flags = it.live_after != 0;
        if target <= it.instruction.ip() {
            self.polled_jump(target, flags);
        } else {
            let site = self.hot.jmp();
            self.forward.push((site, target, self.mode));
        }
        true
    }

    /// Looks for attention, in the hot region, before the jump of an exit that is registered next.
    pub(super) fn polled_jump(&mut self, target: u64, flags: bool) {
        let found = poll(&mut self.hot, flags);
        let site = self.hot.jmp();
        match self.loop_start(target, self.mode) {
            Some(host) => self.hot.patch(site, host),
            None => self.jump_out(site, target, self.mode),
        }
        let exit = self.exit(0, target, self.mode);
        let here = self.cold.here();
        self.hot.patch(found, here);
        self.leave_polled(exit, flags);
    }

    pub(super) fn jump_if(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let Some(condition) = condition(instruction.code()) else { return false };
        let target = self.wrap(instruction.near_branch_target());
        if target > instruction.ip() {
            let from = self.hot.jcc(condition);
            self.forward.push((from, target, self.mode));
            return true;
        }
        let skip = self.hot.jcc(condition ^ 1);
        let flags = self.exact || self.live_at(target) != 0;
        self.polled_jump(target, flags);
        let here = self.hot.here();
        self.hot.patch(skip, here);
        true
    }

    pub(super) fn call(&mut self, it: &Decoded) -> bool {
        if !self.is_paired() {
            return false;
        }
        let target = self.wrap(it.instruction.near_branch_target());
        let flags = it.live != 0;
        self.push_return(it);
        let found = poll(&mut self.hot, flags);
        let exit = if self.is_far(target) { self.call_far(target, flags) } else { self.call_near(target) };
        let here = self.cold.here();
        self.hot.patch(found, here);
        self.leave_polled(exit, flags);
        self.landing(it);
        true
    }

    fn call_near(&mut self, target: u64) -> ExitId {
        let site = self.hot.call();
        self.exit(site, target, self.mode)
    }

    /// Calls a program's code in another page, which is never chained to.
    fn call_far(&mut self, target: u64, flags: bool) -> ExitId {
        if flags {
            put_flags_aside(&mut self.hot);
        }
        self.hot.mov_imm(R10, target);
        let miss = look_up(&mut self.hot, self.mode.view(), Target::Constant(target));
        self.call_found(flags);
        let exit = self.exit(0, target, self.mode);
        let here = self.cold.here();
        self.hot.patch(miss, here);
        self.leave_far(exit, flags);
        exit
    }

    /// Calls the code of the jump-table entry at R11. (A call through memory was slower.)
    fn call_found(&mut self, flags: bool) {
        self.hot.load(R10, at(R11, JUMP_CODE));
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.hot.call_reg(R10);
    }

    /// Whether calls and returns here use the host's: in the view that is the rule, so that both ends of a
    /// pair have the same.
    pub(super) fn is_paired(&self) -> bool {
        let rule = if self.source.assumed.smap { SUPERVISOR_SMAP } else { SUPERVISOR };
        self.mode.user() || self.mode.view() == rule
    }

    /// Where the host's return of a call's callee arrives, with the guest's return address in R10.
    pub(super) fn landing(&mut self, it: &Decoded) {
        let here = self.hot.here() as u32;
        self.landings.push(here);
        let back = self.wrap(it.instruction.next_ip());
        let flags = it.live_after != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        match i32::try_from(back as i64) {
            Ok(back) => self.hot.alu_imm(Size::Q, 7, R10, back),
            Err(_) => {
                self.hot.mov_imm(R11, back);
                self.hot.rr(Size::Q, &[0x3B], R10, R11);
            }
        }
        let from = self.hot.jcc(cc::NE);
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.pending.push(Cold::Unpaired { from, view: self.mode.view(), flags });
        if self.translator.tracer.is_some() {
            let from = self.hot.jmp();
            self.pending.push(Cold::Record { from, rip: back });
        }
        self.prologue(flags);
    }

    /// Pushes the return address.
    pub(super) fn push_return(&mut self, it: &Decoded) {
        let bytes = self.stack_bytes();
        let back = self.wrap(it.instruction.next_ip());
        let short = i32::try_from(back as i64).is_ok() || !self.mode.long();
        let down = -(bytes as i32);
        let form = if short { Form::Sum } else { Form::Single };
        let to = self.access(it, Address::Plain(R9, down), bytes, true, 0, form);
        let size = self.width();
        if short {
            self.hot.rm(size, &[0xC7], 0, to);
            self.hot.raw(&(back as u32).to_le_bytes());
        } else {
            self.hot.mov_imm(free(to), back);
            self.hot.store(to, free(to));
        }
        self.move_stack(down);
        self.behind(it);
    }

    pub(super) fn ret(&mut self, it: &Decoded) -> bool {
        let bytes = self.stack_bytes();
        let released =
            if it.instruction.op_count() == 0 { 0 } else { i32::from(it.instruction.immediate16()) };
        let from = self.access(it, Address::Plain(R9, 0), bytes, false, 0, Form::Sum);
        let size = self.width();
        self.hot.rm(size, &[0x8B], R10, from);
        self.move_stack(bytes as i32 + released);
        if self.is_paired() {
            self.hot.raw(&[0xC3]);
        } else if it.live_after != 0 {
            self.go_indirect(true);
        } else {
            let thunk = self.translator.cache.thunks.look_up[self.mode.view()];
            self.hot.jmp_to(thunk);
        }
        true
    }

    pub(super) fn jump_indirect(&mut self, it: &Decoded) -> bool {
        if !self.load_target(it) {
            return false;
        }
        self.go_indirect(it.live_after != 0);
        true
    }

    pub(super) fn call_indirect(&mut self, it: &Decoded) -> bool {
        if !self.is_paired() || !self.load_target(it) {
            return false;
        }
        self.hot.store(gs(field!(value)), R10);
        self.push_return(it);
        self.hot.load(R10, gs(field!(value)));
        self.call_through(it.live != 0);
        self.landing(it);
        true
    }

    /// R10 := the target of an indirect branch.
    pub(super) fn load_target(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let size = self.width();
        match instruction.op0_kind() {
            OpKind::Register => match number(instruction.op0_register()).map(place) {
                Some(Place::Host(host)) => self.hot.mov(size, R10, host),
                Some(Place::Memory(slot)) => self.hot.load(R10, gs(slot)),
                None => return false,
            },
            _ => {
                if !self.is_addressable(instruction) {
                    return false;
                }
                let bytes = self.stack_bytes();
                let from = self.access(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.rm(size, &[0x8B], R10, from);
            }
        }
        true
    }

    /// Jumps to the translation of R10, looking for attention on the way.
    pub(super) fn go_indirect(&mut self, flags: bool) {
        let out = self.find_target(flags);
        self.hot.load(R10, at(R11, JUMP_CODE));
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.hot.jmp_reg(R10);
        self.leave_indirect(out, flags);
    }

    /// Calls the translation of R10.
    fn call_through(&mut self, flags: bool) {
        let out = self.find_target(flags);
        self.call_found(flags);
        self.leave_indirect(out, flags);
    }

    /// R11 := the jump-table entry of R10; gives the jumps taken where there is none, or attention is wanted.
    fn find_target(&mut self, flags: bool) -> [usize; 2] {
        if flags {
            put_flags_aside(&mut self.hot);
        }
        [doorbell(&mut self.hot), look_up(&mut self.hot, self.mode.view(), Target::Register)]
    }

    fn leave_indirect(&mut self, from: [usize; 2], flags: bool) {
        let here = self.cold.here();
        from.into_iter().for_each(|from| self.hot.patch(from, here));
        if flags {
            take_flags_back(&mut self.cold);
        }
        let thunk = self.translator.cache.thunks.exit_indirect;
        self.cold.jmp_to(thunk);
    }
}

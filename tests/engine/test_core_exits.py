"""What ends a run, interrupts, and other processors, under every engine."""

import threading
import time
from collections.abc import Callable

import pytest

from innkeeper import _core

Start = Callable[[str], None]
StartVcpu = Callable[[_core.Vcpu, str], None]
Run = Callable[[_core.Vcpu], tuple[str, str]]

CODE = 0x1000
HANDLER = 0x2000
RESULT = 0x3000
PORT = 0x510
RESCUE_SECONDS = 10.0


class Recorder:
    """A chip that remembers what was written, and reads as something that tells offset and size."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int, /) -> int:
        return 0x1122334455667788 + offset + (size << 32)

    def write(self, offset: int, size: int, value: int, /) -> None:
        self.writes.append((offset, size, value))


# ---- exits -----------------------------------------------------------------------------------------


def test_a_triple_fault_is_a_shutdown(vcpu: _core.Vcpu, start_protected: StartVcpu, run: Run) -> None:
    start_protected(vcpu, "0f0b")  # ud2
    state = vcpu.get_state()
    state["idtr"] = {"base": 0, "limit": 0}
    vcpu.set_state(state)
    assert run(vcpu) == ("shutdown", "")


def test_a_kick_ends_a_spinning_guest_while_python_goes_on(vcpu: _core.Vcpu, start_real: Start) -> None:
    start_real("ebfe")
    exits: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: exits.append(vcpu.run()))
    thread.start()
    deadline = time.monotonic() + RESCUE_SECONDS
    while time.monotonic() < deadline:  # this thread runs, so the guest's does not hold the GIL
        try:
            vcpu.get_state()
        except RuntimeError:
            break
    with pytest.raises(RuntimeError, match="running"):
        vcpu.get_state()

    vcpu.kick()
    thread.join(RESCUE_SECONDS)

    assert exits == [("kicked", "")]
    assert vcpu.get_state()["rip"] == CODE


def test_a_kick_before_run_is_not_lost(vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start, run: Run) -> None:
    start_real("ebfe")
    vcpu.kick()
    vm.vcpu(0).kick()  # another object for the same vCPU
    assert run(vcpu) == ("kicked", "")
    vm.vcpu(0).kick()
    assert run(vcpu) == ("kicked", "")


def test_a_kick_from_a_device_lets_the_access_complete(
    vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start, run: Run
) -> None:
    class Kicking(Recorder):
        def read(self, offset: int, size: int, /) -> int:
            vcpu.kick()
            return 0x5A + offset + 0 * size

    # mov dx,0x510; in al,dx; jmp $
    start_real("ba1005 ec ebfe")
    vm.map_ports(PORT, 1, Kicking())
    assert run(vcpu) == ("kicked", "")
    state = vcpu.get_state()
    assert (state["rip"], state["gpr"][0] & 0xFF) == (CODE + 4, 0x5A)


# ---- interrupts and other processors ---------------------------------------------------------------


@pytest.fixture
def halting_handler(memory: _core.Memory) -> None:
    """mov byte [0x3000],1; cli; hlt, in 16-bit code."""
    memory.write(HANDLER, bytes.fromhex("c606003001 fa f4"))


@pytest.mark.usefixtures("halting_handler")
def test_a_line_interrupts_the_guest(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    class Line(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.set_irq(4, True)
            vm.set_irq(4, False)

    # The PIC at vector 0x20, all masked but IRQ 4; sti; mov dx,0x510; out dx,al; jmp $
    pic = "b011e620 b020e621 b004e621 b001e621 b0efe621"
    start_real(pic + "fb ba1005 ee ebfe")
    memory.write(4 * 0x24, HANDLER.to_bytes(4, "little"))
    vm.map_ports(PORT, 1, Line())
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 1) == b"\1"


def test_a_message_interrupts_the_guest(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_protected: StartVcpu, run: Run
) -> None:
    class Message(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.signal_msi(0xFEE00000, 0x40)

    # The APIC on by its spurious-vector register; sti; mov edx,0x510; out dx,al; jmp $
    start_protected(vcpu, "c705f000e0feff010000 fb ba10050000 ee ebfe")
    memory.write(HANDLER, bytes.fromhex("c6050030000001 fa f4"))  # mov byte [0x3000],1; cli; hlt
    vm.map_ports(PORT, 1, Message())
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 1) == b"\1"


def test_a_second_vcpu_starts_by_init_and_sipi(
    engine: str, memory: _core.Memory, start_protected: StartVcpu, run: Run
) -> None:
    vm = _core.Vm(engine, memory, 2)
    first, second = vm.vcpu(0), vm.vcpu(1)
    memory.write(HANDLER, bytes.fromhex("c606003077 fa f4"))  # 16-bit mov byte [0x3000],0x77; cli; hlt
    # ICR: INIT, then SIPI to page 2, both to APIC 1; wait: cmp byte [0x3000],0x77; jne wait; cli; hlt
    icr = "c7051003e0fe00000001 c7050003e0fe00450000 c7050003e0fe02460000"
    start_protected(first, icr + "803d0030000077 75f7 fa f4")
    exits: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: exits.append(run(second)))
    thread.start()

    assert run(first) == ("halt", "")

    thread.join(RESCUE_SECONDS)
    assert exits == [("halt", "")]
    state = second.get_state()
    assert (state["segments"][1]["base"], state["rip"], state["activity"]) == (HANDLER, 7, "halted")


def test_a_reset_of_the_interrupts_forgets_what_is_in_service_and_what_waits(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_protected: StartVcpu, run: Run
) -> None:
    power_on = vcpu.get_state()
    # x2APIC mode by IA32_APIC_BASE, the APIC on by its spurious-vector register, vectors 31h and 40h to itself; sti; jmp $
    on = "b91b000000 0f32 0d000c0000 0f30 b90f080000 b8ff010000 31d2 0f30"
    start_protected(vcpu, on + "b93f080000 b831000000 0f30 b840000000 0f30 fb 90 ebfe")
    memory.write(HANDLER, bytes.fromhex("f4"))  # it never comes to the end of its interrupt
    assert run(vcpu) == ("halt", "")

    vm.reset_interrupts()

    vcpu.set_state(power_on)
    # IA32_APIC_BASE; then in the page where the APIC is at power-up: in service and requested, the spurious vector; hlt
    registers = "a12001e0fe a304300000 a11002e0fe a308300000 a1f000e0fe a30c300000"
    start_protected(vcpu, "b91b000000 0f32 a300300000" + registers + "f4")
    assert run(vcpu) == ("halt", "")
    base, in_service, requested, spurious = (int.from_bytes(memory.read(RESULT + 4 * i, 4), "little") for i in range(4))
    assert (base, in_service, requested, spurious) == (0xFEE00900, 0, 0, 0xFF)


def test_the_interrupts_of_a_running_vcpu_are_not_reset(vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start) -> None:
    def reset_until_it_runs() -> None:
        deadline = time.monotonic() + RESCUE_SECONDS
        while time.monotonic() < deadline:
            vm.reset_interrupts()

    start_real("ebfe")
    thread = threading.Thread(target=vcpu.run)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="kick it"):
            reset_until_it_runs()
    finally:
        vcpu.kick()
        thread.join()

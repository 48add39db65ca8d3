"""A picture in memory that guests write to as they like: while it rests, engines of our own tell of the next write."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest

from innkeeper import _core

from .conftest import HANDLER

StartProtected = Callable[[_core.Vcpu, str], None]

HERE, ELSEWHERE = 0xE000_0000, 0xD000_0000
WIDTH, HEIGHT = 320, 200
PIXEL = 4 * (33 * WIDTH + 100)
READY = 0x3000
PATIENCE_S = 20.0
REST_S = 0.3  # a dozen looks, if it is looked at


@pytest.fixture
def ram(memory: _core.Memory) -> _core.Ram:
    return memory.device_ram(1 << 20)


@pytest.fixture
def screen(vm: _core.Vm, ram: _core.Ram) -> _core.Screen:
    chip = _core.Vga(ram, still=True)
    for index, value in ((1, WIDTH), (2, HEIGHT), (3, 32), (4, 0x41)):
        chip.dispi_ports.write(0, 2, index)
        chip.dispi_ports.write(1, 2, value)
    chip.ports.write(0x3C0 - 0x3B0, 1, 0x20)
    vm.map_ram(HERE, ram)
    return chip.screen


class Watching:
    """A thread that waits for changes; what it has seen is in the queue, as how often it had looked."""

    def __init__(self, screen: _core.Screen) -> None:
        self.watch = _core.Watch(screen)
        self.changes: SimpleQueue[int] = SimpleQueue()
        self.watch.want(True)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while self.watch.wait():
            self.changes.put(self.watch.looks)

    def comes_to_rest(self, patience_s: float = PATIENCE_S) -> bool:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            looks = self.watch.looks
            time.sleep(REST_S)
            if self.watch.looks == looks:
                return True
        return False

    def close(self) -> None:
        self.watch.close()
        self.thread.join()


@pytest.fixture
def watching(screen: _core.Screen) -> Iterator[Watching]:
    watching = Watching(screen)
    watching.changes.get(timeout=PATIENCE_S)  # the first picture
    yield watching
    watching.close()


@contextmanager
def running(vcpu: _core.Vcpu, memory: _core.Memory) -> Iterator[None]:
    """While a thread runs the guest, which marks that it can be interrupted."""
    thread = threading.Thread(target=vcpu.run)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while memory.read(READY, 1) == b"\0":
            assert time.monotonic() < deadline, "the guest does not start"
            time.sleep(0.001)
        yield
    finally:
        vcpu.kick()
        thread.join()


def pixel(screen: _core.Screen) -> int:
    frame = _core.Frame()
    frame.refresh(screen)
    return int.from_bytes(frame.pixels()[PIXEL : PIXEL + 4], "little")


def start(vcpu: _core.Vcpu, memory: _core.Memory, start_protected: StartProtected, at: int = HERE) -> None:
    """A guest that waits for interrupts, and counts them in a pixel."""
    # The APIC on by its spurious-vector register; mov byte [0x3000],1; sti; l: hlt; jmp l
    start_protected(vcpu, "c705f000e0feff010000 c6050030000001 fb f4 ebfd")
    # inc dword [pixel]; EOI; mov esp,0x8000; sti; l: hlt; jmp l (not every host's KVM has IRET in this mode)
    count = "ff05" + (at + PIXEL).to_bytes(4, "little").hex()
    memory.write(HANDLER, bytes.fromhex(count + "c705b000e0fe00000000 bc00800000 fb f4 ebfd"))


def interrupt(vm: _core.Vm) -> None:
    vm.signal_msi(0xFEE00000, 0x40)


def test_a_picture_in_memory_is_not_looked_at_until_a_guest_draws(
    vm: _core.Vm,
    vcpu: _core.Vcpu,
    memory: _core.Memory,
    engine: str,
    screen: _core.Screen,
    watching: Watching,
    start_protected: StartProtected,
) -> None:
    start(vcpu, memory, start_protected)
    with running(vcpu, memory):
        for drawn in range(1, 4):
            if engine == "kvm":
                assert not watching.comes_to_rest(4 * REST_S)
            else:
                assert watching.comes_to_rest()
            interrupt(vm)
            watching.changes.get(timeout=PATIENCE_S)
            assert pixel(screen) == drawn
        interrupt(vm)  # while it is lively
        watching.changes.get(timeout=PATIENCE_S)
        assert pixel(screen) == 4


def test_the_picture_is_watched_wherever_guests_see_it(
    vm: _core.Vm,
    vcpu: _core.Vcpu,
    memory: _core.Memory,
    engine: str,
    ram: _core.Ram,
    screen: _core.Screen,
    watching: Watching,
    start_protected: StartProtected,
) -> None:
    start(vcpu, memory, start_protected, ELSEWHERE)
    with running(vcpu, memory):
        interrupt(vm)  # nothing is there
        assert engine == "kvm" or watching.comes_to_rest()
        vm.unmap_ram(HERE)
        vm.map_ram(ELSEWHERE, ram)
        interrupt(vm)
        watching.changes.get(timeout=PATIENCE_S)
        assert pixel(screen) == 1


def test_devices_are_heard_too(
    memory: _core.Memory, engine: str, ram: _core.Ram, screen: _core.Screen, watching: Watching
) -> None:
    writes: list[Callable[[], None]] = [
        lambda: memory.write(HERE + PIXEL, b"\1"),
        lambda: ram.write(PIXEL, b"\2"),
    ]
    for value, write in enumerate(writes, 1):
        assert engine == "kvm" or watching.comes_to_rest()
        write()
        watching.changes.get(timeout=PATIENCE_S)
        assert pixel(screen) == value


class Slow:
    """A device that keeps the vCPU that reads it until it is told to let go."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()

    def read(self, offset: int, size: int, /) -> int:  # noqa: ARG002 - a chip that is the same everywhere
        self.inside.set()
        assert self.go_on.wait(PATIENCE_S)
        return 0

    def write(self, offset: int, size: int, value: int, /) -> None: ...


def test_a_vcpu_that_is_in_a_device_holds_nobody_up(
    vm: _core.Vm,
    vcpu: _core.Vcpu,
    memory: _core.Memory,
    screen: _core.Screen,
    watching: Watching,
    start_protected: StartProtected,
) -> None:
    # mov byte [0x3000],1; mov byte [pixel],1; mov dx,0x510; in al,dx; mov byte [pixel],2; jmp $
    address = (HERE + PIXEL).to_bytes(4, "little").hex()
    start_protected(vcpu, f"c6050030000001 c605{address}01 66ba1005 ec c605{address}02 ebfe")
    device = Slow()
    vm.map_ports(0x510, 1, device)
    with running(vcpu, memory):
        assert device.inside.wait(PATIENCE_S)
        watching.changes.get(timeout=PATIENCE_S)
        before = watching.watch.looks
        time.sleep(2)  # long enough to rest
        assert watching.watch.looks > before, "the vCPU can still write unreported: it is looked at"
        device.go_on.set()
        watching.changes.get(timeout=PATIENCE_S)
        assert pixel(screen) == 2

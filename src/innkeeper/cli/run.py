"""`inn run`: one guest, from its kernel's first instruction until it powers off."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from uuid import UUID

from innkeeper.cli import live
from innkeeper.cli.numbers import number, vcpus_of, whole_number
from innkeeper.cli.reach import control_path
from innkeeper.cli.status import Status
from innkeeper.config import (
    BalloonConfig,
    BootConfig,
    ConsoleConfig,
    DiskConfig,
    EngineChoice,
    FilesystemConfig,
    FirmwareConfig,
    GdbConfig,
    GraphicsConfig,
    GraphicsKind,
    InputKind,
    MachineConfig,
    NetworkConfig,
    NetworkKind,
    VideoModel,
    VsockConfig,
)
from innkeeper.console.stdio import is_ours
from innkeeper.machine.names import check_name
from innkeeper.machine.outcome import Outcome, OutcomeKind

if TYPE_CHECKING:
    from innkeeper.machine import Machine

STATUSES = {
    OutcomeKind.POWERED_OFF: Status.DONE,
    OutcomeKind.RESET: Status.RESET,
    OutcomeKind.TRIPLE_FAULT: Status.RESET,
    OutcomeKind.HALTED: Status.HALTED,
    OutcomeKind.TIMEOUT: Status.TIMEOUT,
    OutcomeKind.STOPPED: Status.INTERRUPTED,
}
DEFAULT_CONSOLE = ConsoleConfig()
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(parser: argparse.ArgumentParser) -> None:
    add_options(parser, [engine.value for engine in EngineChoice], "auto: the fastest that can")


def add_options(parser: argparse.ArgumentParser, engines: list[str], engine: str) -> None:
    """The options of a verb that runs a guest. `engine` is the default one, and why it is."""
    parser.epilog = (
        "exit status: 0 the guest powered off, 3 it reset (with --no-reboot), 4 it halted for good, "
        "124 --timeout, 130 left with ^], 2 a mistake in the command, 1 a bug of ours"
    )
    add_guest_options(parser)
    parser.add_argument(
        "--engine",
        choices=engines,
        default=engine.partition(":")[0],
        help=f"what runs the guest's instructions (default: {engine})",
    )
    parser.add_argument(
        "--code-cache",
        type=whole_number,
        default=64,
        metavar="MIB",
        help="translated code to keep for each vCPU, in MiB, with engine bt (default: %(default)s)",
    )
    parser.add_argument(
        "--console",
        type=ConsoleConfig.parse,
        default=DEFAULT_CONSOLE,
        metavar="WHERE",
        help="the serial port's other end: stdio (^] leaves), none, file:PATH, pty or unix:PATH (default: stdio)",
    )
    parser.add_argument("--timeout", type=number, metavar="SECONDS", help="end the run then, with status 124")
    parser.add_argument("--stats", type=Path, metavar="FILE.json", help="write what the guest did, when the run ends")
    parser.add_argument(
        "--stats-interval",
        type=live.interval,
        metavar="SECONDS",
        help="print a line on stderr so often: what the engine had to do a second since the last line, by kind",
    )
    parser.add_argument("--no-reboot", action="store_true", help="a reset by the guest ends the run, with status 3")
    add_display_options(parser)
    add_debugging_options(parser)


def add_display_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--graphics",
        type=GraphicsConfig.parse,
        action="append",
        default=[],
        metavar="vnc,port=…",
        help="who may see the screen, in virt-install's words, or terminal: this one; repeat it for more",
    )
    parser.add_argument(
        "--video",
        type=VideoModel,
        choices=list(VideoModel),
        help="the graphics card (default: vga with firmware or --graphics, none otherwise)",
    )
    parser.add_argument("--name", type=check_name, metavar="NAME", help="under which inn screenshot and others find it")
    parser.add_argument("--control", type=control_path, metavar="unix:PATH", help="a socket where they find it as well")


def add_debugging_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gdb",
        type=GdbConfig.parse,
        metavar="WHERE",
        help="serve gdb at a loopback PORT or at unix:PATH; with ,wait the guest starts when gdb lets it",
    )
    parser.add_argument(
        "--debug-exit", action="store_true", help="test devices: a value written to port 0xf4 ends the run"
    )


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernel",
        type=Path,
        metavar="PATH",
        help="a bzImage, a PVH or a multiboot ELF, started directly, or a bzImage by --firmware uefi; without it, firmware boots a disk, disc or network",
    )
    add_firmware_options(parser)
    parser.add_argument("--initrd", type=Path, metavar="PATH", help="an initramfs or initial RAM disk")
    parser.add_argument("--append", default="", metavar="TEXT", help="the kernel's command line")
    parser.add_argument(
        "--memory", type=whole_number, default=512, metavar="MIB", help="guest memory in MiB (default: %(default)s)"
    )
    parser.add_argument(
        "--disk",
        type=DiskConfig.parse,
        action="append",
        default=[],
        metavar="path=…,bus=…",
        help="a disk, in virt-install's words; repeat it for more",
    )
    parser.add_argument(
        "--cdrom",
        type=lambda text: DiskConfig.cdrom(Path(text)),
        action="append",
        dest="disk",
        metavar="ISO",
        help="a CD-ROM drive with this disc",
    )
    add_network_option(parser)
    add_virtio_options(parser)
    add_vsock_option(parser)
    parser.add_argument(
        "--vcpus",
        type=vcpus_of,
        default="1",
        metavar="N[,maxvcpus=M]",
        help="virtual processors, and how many there may be once some were plugged in (default: %(default)s)",
    )


def add_firmware_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--firmware",
        type=FirmwareConfig.parse,
        metavar="bios|uefi[,path=…,vars=…]",
        help="what starts a machine without a kernel: SeaBIOS (default) or OVMF, which keeps its variables in vars=PATH, and starts a kernel too",
    )
    parser.add_argument(
        "--firmware-log", type=Path, metavar="PATH", help="write there what firmware says on its debug port"
    )
    parser.add_argument(
        "--boot",
        type=BootConfig.parse,
        metavar="cdrom,hd,network[,menu=on]",
        help="what firmware boots, in this order and nothing else",
    )
    parser.add_argument("--uuid", type=UUID, metavar="UUID", help="the machine's UUID (default: a new one)")


def add_virtio_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--filesystem",
        type=FilesystemConfig.parse,
        action="append",
        default=[],
        metavar="source=DIR,target=TAG",
        help="a folder that the guest mounts by 9p, in virt-install's words (readonly=yes); repeat it for more",
    )
    parser.add_argument(
        "--rng",
        choices=["builtin", "/dev/urandom", "none"],
        default="none",
        help="an entropy device that gives the guest the host's random bytes (default: none)",
    )
    parser.add_argument(
        "--balloon",
        type=BalloonConfig.parse,
        metavar="on|memory=MIB",
        help="a balloon: free guest memory goes back to the host, and MIB are left to the guest",
    )
    parser.add_argument(
        "--virtio-console",
        type=ConsoleConfig.parse,
        action="append",
        default=[],
        metavar="WHERE",
        help="a virtio console (hvc0) beside the serial port, with the same choices; repeat it for more",
    )
    parser.add_argument(
        "--input",
        type=InputKind,
        choices=list(InputKind),
        action="append",
        default=[],
        help="a virtio keyboard or tablet, used instead of the PS/2 one once the guest's driver listens",
    )


def add_vsock_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vsock",
        type=VsockConfig.parse,
        metavar="cid=3,path=FILE",
        help="sockets between guest and host: say CONNECT PORT at FILE, and listen at FILE_PORT",
    )


def add_network_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        type=NetworkConfig.parse,
        action="append",
        default=[],
        metavar="user|tap=…|bridge=…",
        help="a network card, in virt-install's words, such as user,portForward=2222:22; repeat it for more",
    )


def execute(arguments: argparse.Namespace) -> int:
    from innkeeper.machine import Machine

    outcome, signals = run_to_its_end(Machine(config_of(arguments)), arguments)
    if signals:
        die_of(signals[0])
    return status_of(outcome)


def config_of(arguments: argparse.Namespace, *, trace: bool = False) -> MachineConfig:
    config = MachineConfig(
        kernel=arguments.kernel,
        firmware=firmware_of(arguments),
        boot=arguments.boot,
        uuid=arguments.uuid,
        initrd=arguments.initrd,
        append=arguments.append,
        memory_mib=arguments.memory,
        vcpus=arguments.vcpus[0],
        max_vcpus=arguments.vcpus[1],
        disks=tuple(arguments.disk),
        networks=tuple(arguments.network),
        filesystems=tuple(arguments.filesystem),
        vsock=arguments.vsock,
        rng=arguments.rng != "none",
        balloon=arguments.balloon,
        virtio_consoles=tuple(arguments.virtio_console),
        inputs=tuple(arguments.input),
        engine=EngineChoice(arguments.engine),
        code_cache_mib=arguments.code_cache,
        trace=trace,
        console=arguments.console,
        graphics=graphics_of(arguments),
        video=arguments.video,
        name=arguments.name,
        control=arguments.control,
        timeout_s=arguments.timeout,
        gdb=arguments.gdb,
        no_reboot=arguments.no_reboot,
        stats=arguments.stats,
        debug_exit=arguments.debug_exit,
    )
    if not any(card.kind is NetworkKind.NETWORK for card in config.networks):
        return config
    from innkeeper.manager.networks.resolve import resolve

    return resolve(config)


def graphics_of(arguments: argparse.Namespace) -> tuple[GraphicsConfig, ...]:
    """Firmware's screen shows on a terminal, if there is one that nothing else was said about."""
    given = tuple(arguments.graphics)
    unsaid = not given and arguments.kernel is None and arguments.console is DEFAULT_CONSOLE
    has_card = arguments.video in (None, VideoModel.VGA)  # no BIOS shows anything on others
    if unsaid and has_card and is_ours(0) and os.isatty(1):
        return (GraphicsConfig(kind=GraphicsKind.TERMINAL),)
    return given


def firmware_of(arguments: argparse.Namespace) -> FirmwareConfig | None:
    config: FirmwareConfig | None = arguments.firmware
    if arguments.firmware_log is not None:
        config = replace(config or FirmwareConfig(), log=arguments.firmware_log)
    return config


def run_to_its_end(machine: Machine, arguments: argparse.Namespace) -> tuple[Outcome, list[int]]:
    """How it ended, and the signals that ended it."""
    with ending_signals(machine.stop) as received, machine:
        machine.start()
        with live.live_statistics(machine.statistics, arguments.stats_interval):
            outcome = machine.wait()
    return outcome, received


def status_of(outcome: Outcome) -> int:
    """The exit status; whatever is not a power-off is also said in words."""
    if outcome.error is not None:
        raise outcome.error
    if outcome.kind is OutcomeKind.EXITED and outcome.status is not None:
        return outcome.status
    status = STATUSES[outcome.kind]
    if status is not Status.DONE:
        print(outcome.in_full(), file=sys.stderr)
    return status


@contextmanager
def ending_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """While it lasts, the signals that would kill us call `stop` instead; gives those that came."""
    received: list[int] = []
    # Python runs a handler only in the main thread and only between two steps of it: a signal that comes just before
    # that thread goes to sleep would wait for its waking. The pipe's end is written at once, and read by a thread.
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(heard, True)

    def listen() -> None:
        while number := os.read(heard, 1):
            if number[0] in before:
                received.append(number[0])
                stop()

    before = {number: signal.signal(number, nothing) for number in ENDING_SIGNALS if not ignored(number)}
    wakeup = signal.set_wakeup_fd(told)
    listener = threading.Thread(target=listen, name="innkeeper-signals", daemon=True)
    listener.start()
    try:
        yield received
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)  # the end of what the listener reads
        listener.join()
        os.close(heard)


def nothing(_number: int, _frame: FrameType | None) -> None:
    """In place of the default: what has to be done is done by the thread that hears of the signal."""


def ignored(number: signal.Signals) -> bool:
    """Under nohup or in a shell script's background, some are ignored, and shall stay so."""
    return signal.getsignal(number) is signal.SIG_IGN


def die_of(number: int) -> None:
    """Ends this process by the signal itself, so that whoever started it sees that."""
    sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

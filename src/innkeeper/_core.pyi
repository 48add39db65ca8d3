"""The Rust core, as Python sees it: guest memory, virtual machines, vCPUs.

Everything here releases the GIL while it waits or runs a guest.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NotRequired, Protocol, TypeAlias, TypedDict, final, type_check_only

__all__ = [
    "E1000",
    "AhciController",
    "AtaDrive",
    "BlockJob",
    "CdTray",
    "Disk",
    "Fabric",
    "Frame",
    "IdeController",
    "Line",
    "Memory",
    "MemoryScreen",
    "NetCard",
    "NetLink",
    "PciInterrupts",
    "Ram",
    "Region",
    "Screen",
    "Vcpu",
    "Vga",
    "Viewer",
    "VirtioBalloon",
    "VirtioChannel",
    "VirtioConsole",
    "VirtioDevice",
    "VirtioGpu",
    "VirtioInput",
    "VirtioPci",
    "Vm",
    "Watch",
    "bt_unavailable",
    "disassemble",
    "host_features",
    "image_chain",
    "image_check",
    "image_commit",
    "image_compare",
    "image_convert",
    "image_create",
    "image_info",
    "image_map",
    "image_probe",
    "image_rebase",
    "image_resize",
    "image_snapshot",
    "image_snapshots",
    "kvm_probe",
    "probe_iso",
]

@type_check_only
class Device(Protocol):
    """A guest-visible chip: sees offsets into its own region. `size` is 1, 2, 4 or 8 bytes."""

    def read(self, offset: int, size: int, /) -> int: ...
    def write(self, offset: int, size: int, value: int, /) -> None: ...

@final
class Memory:
    """Guest RAM as ranges of (guest-physical address, size), page-aligned, ascending, zeroed.

    Ranges within a PC's adapter area, A0000 to FFFFF, may be moved; so may device RAM, which is not part of `size`.
    `ranges` are those in place now. Raises `ValueError` for bad ranges and `MemoryError` if the host refuses the mapping.
    """

    def __new__(cls, ranges: list[tuple[int, int]], /) -> Memory: ...
    @property
    def size(self) -> int: ...
    @property
    def ranges(self) -> list[tuple[int, int]]: ...
    def read(self, gpa: int, length: int, /) -> bytes:
        """Raises `ValueError` unless all of it is RAM."""
    def write(self, gpa: int, data: bytes, /) -> None:
        """What hits read-only memory is lost. Raises `ValueError` unless all of it is RAM."""
    def clear(self) -> None:
        """Zeroes all RAM, but not that of devices."""
    def device_ram(self, size: int, /) -> Ram:
        """Zeroed RAM of a device: whole pages. Raises `ValueError` where there is no room for it."""
    def movable_ram(self, gpa: int, /) -> Ram:
        """The RAM of the range in the adapter area that started at `gpa`, wherever it is now."""
    def save(self, descriptor: int, watch: Callable[[int], object] | None = None, /) -> None:
        """Writes all of it to an open file, wherever guests see it. Nobody may write to it meanwhile.

        `watch` is called now and then with the bytes done; what it raises ends the work. Raises `OSError`.
        """
    def restore(self, descriptor: int, watch: Callable[[int], object] | None = None, /) -> None:
        """The same backwards, over whatever there was. Raises `OSError`, and `ValueError` for what cannot be."""

@final
class Ram:
    """Memory that guests see where and while `Vm.map_ram` says so; freed and unmapped with the last handle."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, length: int, /) -> bytes: ...
    def write(self, offset: int, data: bytes, /) -> None:
        """Also what is read-only for guests. Raises `ValueError` beyond its size."""
    def save(self, descriptor: int, watch: Callable[[int], object] | None = None, /) -> None:
        """Writes all of it to an open file, wherever guests see it. Nobody may write to it meanwhile.

        `watch` is called now and then with the bytes done; what it raises ends the work. Raises `OSError`.
        """
    def restore(self, descriptor: int, watch: Callable[[int], object] | None = None, /) -> None:
        """The same backwards, over whatever there was. Raises `OSError`, and `ValueError` for what cannot be."""

@type_check_only
class DiskTraffic(TypedDict):
    """What was done: requests, bytes and nanoseconds of each kind."""

    read: tuple[int, int, int]
    written: tuple[int, int, int]
    flushed: tuple[int, int, int]
    failed: int
    error: int
    """The host's answer to the last request, if that failed: its number, or -1; else 0."""

@final
class Disk:
    """An open disk image, raw or qcow2; locked against other users until it is closed and no device has it.

    Opening raises `OSError`, `BlockingIOError` if another process uses the image, and `ValueError` if the image is
    broken, of an unknown kind or not to be trusted. Requests raise `OSError`.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        /,
        *,
        format: Literal["raw", "qcow2"] | str | None = None,  # noqa: A002, PYI051 - the option's name; others are refused
        read_only: bool = False,
        backing: bool = True,
        lock: bool = True,
        cache: str = "writeback",
        discard: str = "unmap",
        detect_zeroes: str = "off",
    ) -> Disk:
        """`format`: None finds out. `backing`: False leaves out what lies below, which then reads as zeroes.

        `lock`: False looks at an image that others write, at one's own risk. `cache`: "writeback" (durable when the
        guest flushes), "writethrough" (with each write), "none" and "directsync" (the same past the host's page
        cache) or "unsafe" (flushes are ignored). `discard`: "unmap" or
        "ignore". `detect_zeroes`: "off", "on" (zeroes written as data take no space) or "unmap" (and give it back).
        """
    @property
    def format(self) -> str: ...
    @property
    def chain(self) -> list[Path]:
        """The image and what lies below it, downwards."""
    @property
    def warnings(self) -> list[str]:
        """What whoever opened it should be told."""
    @property
    def size(self) -> int:
        """In bytes, a multiple of 512."""
    @property
    def read_only(self) -> bool: ...
    def read(self, offset: int, length: int, /) -> bytes: ...
    def write(self, offset: int, data: bytes, /) -> None: ...
    def write_zeroes(self, offset: int, length: int, /, *, unmap: bool = False) -> None: ...
    def discard(self, offset: int, length: int, /) -> None: ...
    def extent(self, offset: int, length: int, /) -> tuple[int, bool, bool]:
        """How many bytes from there on are alike, whether they read as zeroes, and whether the image itself holds them."""
    def flush(self) -> None:
        """What was written survives a loss of power once this returns."""
    def settle(self) -> None:
        """The same, and leaves the file as `close` would: nothing is written there until the next request. Raises `OSError`."""
    def grow(self, size: int, /) -> None:
        """Makes it larger while it is in use; a virtio device's driver is told by `VirtioDevice.changed`. Raises `OSError`."""
    def traffic(self) -> DiskTraffic: ...
    def close(self) -> None:
        """Flushes, and lets go of the image; devices that have it keep it open."""

@final
class BlockJob:
    """Work on a disk in use, whose guest goes on; images are counted from 0, the one in use, downwards.

    Making one raises `OSError` or `ValueError`, with one whole sentence; then the disk is as it was. A job of `commit` from the image in
    use, or of `copy`, has everything that is written go to the other image too, until it is left.
    """

    @staticmethod
    def pull(disk: Disk, base: int | None, name: str | None, /) -> BlockJob:
        """What lies below, down to `base` or all, becomes part of the image in use, which then calls `base` by this name."""
    @staticmethod
    def commit(disk: Disk, top: int, base: int, name: str, /) -> BlockJob:
        """What `top` has, and what lies between, is written into `base`, which what lies over `top` then calls by this name."""
    @staticmethod
    def copy(disk: Disk, path: Path, /, *, format: str, shallow: bool, blank: bool) -> BlockJob:  # noqa: A002 - the option's name
        """To another image; `shallow` without what lies below. A `blank` one reads as zeroes where nothing was written."""
    @property
    def destination(self) -> tuple[Path, str] | None:
        """Where the disk may move to, and the format there; None if it stays where it is."""
    def run(self, watch: Callable[[int, int], None], /) -> None:
        """Once; `watch` is told how far it is, and ends it with an exception. Raises that, or `OSError`; the disk is what it was then."""
    def be_strict(self, strict: bool, /) -> None:
        """What the other image refuses is refused from now on, so that it cannot come to differ. Raises `OSError` if it does."""
    def leave(self, *, pivot: bool) -> None:
        """The disk is what it was, or with `pivot` the other image. Idempotent. Raises `OSError` if that is not the same."""

def lay_overlays(moves: Sequence[tuple[Disk, Path]], /) -> None:
    """Moves disks in use onto overlays, empty qcow2 images that lie over the files that they are in: all at one moment, or
    none. Raises `OSError` or `ValueError`, with one whole sentence.
    """

def snapshot_disks(disks: Sequence[Disk], action: Literal["create", "delete"], name: str, /) -> None:
    """Makes or forgets a snapshot within the qcow2 images of disks in use: in all of them at one moment, or none. Raises
    `OSError` or `ValueError`, with one whole sentence.
    """

@final
class Region:
    """A region of a device that lives in Rust. On a machine's bus it is called without the interpreter."""

    def read(self, offset: int, size: int, /) -> int: ...
    def write(self, offset: int, size: int, value: int, /) -> None: ...

@final
class Fabric:
    """Whatever delivers a machine's interrupts: a `Vm.fabric`, or a test's own callables."""

    def __new__(cls, set_irq: Callable[[int, bool], None], signal_msi: Callable[[int, int], None], /) -> Fabric: ...
    def line(self, gsi: int, /) -> Line:
        """The line to a fixed GSI."""

@final
class Line:
    """One end of an interrupt line."""

    def set(self, level: bool, /) -> None: ...
    def pulse(self) -> None: ...

@final
class PciInterrupts:
    """A board's INTx wires: eight, from the IOAPIC's input `first_gsi` on, and to the PICs as `route` says."""

    def __new__(cls, fabric: Fabric, first_gsi: int, /) -> PciInterrupts: ...
    def pin(self, slot: int, pin: int, /) -> Line:
        """The pin (0 is INTA) of the function in a slot."""
    def route(self, pirq: int, irq: int | None, /) -> None:
        """PIRQ 0 to 3 leads to this ISA interrupt from now on, or to none."""

@final
class NetLink:
    """Where a card's frames go on the host. It ends with `close`, or with the last card on it, whichever is later.

    Raises `OSError`: with the address of the forward that the host refused, or the step of opening a tap.
    """

    @staticmethod
    def user(
        mac: bytes | list[int],
        /,
        *,
        loopback: bool,
        name_servers: list[tuple[str, int]],
        host_name: str | None,
        forwards: list[tuple[bool, str, int, int]],
        boot: tuple[str | None, str | None, list[tuple[int, str]]] = ...,
    ) -> NetLink:
        """The built-in network. Forwards: whether UDP, the host's address and port, the guest's port.

        `boot` is the folder of files for guests that boot from the network, and the first of them; or those that may be, each
        for guests of an architecture (RFC 4578, 2.1): the first that is there is told.
        """
    @staticmethod
    def tap(name: str, bridge: str | None, /) -> NetLink:
        """A tap interface, made if there is none of that name; steps "open", "attach", "configure", "bridge", "up"."""
    @staticmethod
    def stream(descriptor: int, /) -> NetLink:
        """A connected stream socket with frames behind their lengths, as passt has it. Takes the descriptor over."""
    @property
    def name(self) -> str | None:
        """The interface."""
    @property
    def forwarded(self) -> list[tuple[str, int]]:
        """Where the forwards listen."""
    def traffic(self) -> tuple[int, int, int, int]:
        """Bytes and frames received, and sent, as the guest sees it."""
    def leases(self) -> list[tuple[str, str, str | None]]:
        """Of the built-in network: who was last given which address, and what that calls itself."""
    def close(self) -> None: ...

@final
class E1000:
    """An Intel 82540EM without its configuration space, from one power-on to the next."""

    def __new__(cls, link: NetLink, mac: bytes | list[int], up: bool, memory: Memory, line: Line, /) -> E1000: ...
    def memory_region(self) -> tuple[Region, int]:
        """The region of memory, and its size."""
    def port_region(self) -> tuple[Region, int]: ...
    def set_command(self, command: int, /) -> None:
        """Configuration space's command register was written."""
    def set_up(self, up: bool, /) -> None: ...
    def shut_down(self) -> None:
        """The board is taken apart. Returns once the card does not touch memory any more."""
    def pause(self) -> None:
        """Returns once the card touches no memory and raises no interrupt. What the driver has given is sent."""
    def go_on(self) -> None: ...
    def state(self) -> dict[str, Any]:
        """Once it is paused, in plain values. Raises `BlockingIOError` in the middle of a frame."""
    def restore(self, state: dict[str, Any], /) -> None:
        """Takes on another card's, while it is paused. Raises `ValueError`."""

@final
class NetCard:
    """A virtio network card, whose cable can be pulled."""

    def __new__(
        cls, link: NetLink, mac: bytes | list[int], /, *, queues: int = 1, mtu: int | None = None
    ) -> NetCard: ...
    def device(self) -> VirtioDevice: ...
    @property
    def up(self) -> bool: ...
    def set_up(self, up: bool, /) -> None: ...
    def announce(self) -> None:
        """Asks the guest to tell the network where it is."""

@final
class VirtioDevice:
    """A virtio device without its transport: it outlives boards."""

    @staticmethod
    def rng() -> VirtioDevice:
        """Entropy from the host."""
    @staticmethod
    def blk(
        disk: Disk,
        /,
        *,
        serial: str = "",
        read_only: bool = False,
        queues: int = 1,
        cache: str = "writeback",
        discard: bool = True,
    ) -> VirtioDevice:
        """A block device. `cache` is that of the disk: here it counts whether writes wait for flushes, and those for none."""
    @staticmethod
    def filesystem(source: Path, tag: str, /, *, read_only: bool = False) -> VirtioDevice:
        """A folder as a 9P file system that the guest mounts by its tag."""
    @staticmethod
    def vsock(cid: int, path: Path, listener: int, /) -> VirtioDevice:
        """Sockets between guest and host; `listener` is the descriptor of the Unix socket at `path`."""
    @property
    def kind(self) -> int:
        """Its device type, as in virtio 1.2, chapter 5."""
    def changed(self) -> None:
        """What it has on the host has another size: the driver shall look again."""

@type_check_only
class BalloonReport(TypedDict):
    """`statistics` are (tag, value) as in virtio 1.2, 5.5.6.3."""

    wanted_bytes: int
    actual_bytes: int
    inflated_bytes: int
    reported_bytes: int
    statistics: list[tuple[int, int]]

@final
class VirtioBalloon:
    """Memory that the guest gives up."""

    def __new__(cls, *, deflate_on_oom: bool = True) -> VirtioBalloon: ...
    @property
    def device(self) -> VirtioDevice: ...
    def set_wanted(self, size: int, /) -> None:
        """How many bytes the guest shall give up."""
    def refresh(self) -> None:
        """Asks the guest for new statistics, which arrive some time later."""
    def report(self) -> BalloonReport: ...

@final
class VirtioGpu:
    """A graphics device for two dimensions, and its one monitor."""

    def __new__(cls) -> VirtioGpu: ...
    @property
    def device(self) -> VirtioDevice: ...
    @property
    def screen(self) -> Screen:
        """0 × 0 until a driver shows something; a driver hears of what viewers prefer."""

@final
class VirtioInput:
    """A "keyboard" or a "tablet"."""

    TABLET_RANGE: int
    """A tablet's coordinates go from 0 to here."""

    def __new__(cls, model: str, /) -> VirtioInput: ...
    @property
    def device(self) -> VirtioDevice: ...
    @property
    def listening(self) -> bool:
        """Whether the guest's driver takes events."""
    def send(self, events: list[tuple[int, int, int]], /) -> None:
        """One report of Linux's events: type, code, value."""

@final
class VirtioConsole:
    """A console device. `sink` is called with what the guest says, from a thread that may wait."""

    def __new__(cls, sink: Callable[[bytes], object], /) -> VirtioConsole: ...
    @property
    def device(self) -> VirtioDevice: ...
    def receive(self, data: bytes, /) -> int:
        """Types; gives how many bytes there was room for."""
    def set_size(self, columns: int, rows: int, /) -> None: ...
    def close(self, patience_s: float, /) -> None:
        """Returns when the sink has all there was, or has not taken it in that time."""

@final
class VirtioChannel:
    """A channel: a port with a name, for a program in the guest. `sink` is called with what that says, from a thread that may wait."""

    def __new__(cls, name: str, sink: Callable[[bytes], object], /) -> VirtioChannel: ...
    @property
    def device(self) -> VirtioDevice: ...
    @property
    def is_open(self) -> bool:
        """Whether a program in the guest has it open."""
    def send(self, data: bytes, /) -> int:
        """Gives how many bytes there was room for: none if no program has it open."""
    def close(self, patience_s: float, /) -> None:
        """Returns when the sink has all there was, or has not taken it in that time."""

@final
class VirtioPci:
    """A virtio function on PCI without its configuration space, from one power-on to the next."""

    PLACES: tuple[int, int, int, int]
    """Where the parts of the modern region are: common configuration, ISR status, device configuration, doorbells."""
    NOTIFY_MULTIPLIER: int

    def __new__(cls, device: VirtioDevice, memory: Memory, fabric: Fabric, line: Line, /) -> VirtioPci: ...
    def region(self, window: str, /) -> tuple[Region, int]:
        """The region "legacy", "vectors" or "modern", and its size."""
    @property
    def vectors(self) -> int: ...
    @property
    def pending_at(self) -> int:
        """Where the pending bits begin in the region of the vectors."""
    def set_command(self, command: int, /) -> None:
        """Configuration space's command register was written."""
    def set_msix_control(self, control: int, /) -> None: ...
    def shut_down(self) -> None:
        """The board is taken apart. Returns once the device does not touch memory any more."""
    @property
    def can_be_saved(self) -> bool: ...
    @property
    def obstacle(self) -> str | None:
        """What keeps it from being saved in the middle of what it does, once it is paused."""
    def pause(self) -> None:
        """Returns once the device touches no memory and raises no interrupt. What it has begun is finished."""
    def go_on(self) -> None: ...
    def state(self) -> dict[str, Any]:
        """Once it is paused, in plain values. Configuration space and bus mastering are not part of it."""
    def restore(self, state: dict[str, Any], /) -> None:
        """Takes on the state of another function of its kind; it is paused then. Raises `ValueError`."""

@final
class Screen:
    """What a display device shows."""

    def text(self) -> tuple[list[tuple[int, int]], int, int, tuple[int, int] | None] | None:
        """In a text mode: character (code page 437) and attribute of each cell, columns, rows, the cursor's place."""
    def cursor(self) -> tuple[int, int, int, int, int, bytes] | None:
        """The pointer, if viewers draw it: a number that changes with it, width, height, hot spot, BGRA pixels."""
    def prefer(self, width: int, height: int, /) -> None:
        """A viewer would like this size; a hint."""

@final
class Frame:
    """One viewer's copy of a screen."""

    def __new__(cls) -> Frame: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    def refresh(self, screen: Screen, /) -> list[tuple[int, int, int, int]]:
        """Brings it up to date; gives x, y, width and height of each rectangle that changed."""
    def pixels(self) -> bytes:
        """Row by row, four bytes a pixel: blue, green, red, 0."""

@final
class Vga:
    """A VGA with Bochs's extensions, which shows what is in a piece of RAM. `still` stops its clock, for tests."""

    def __new__(cls, memory: Ram, /, *, still: bool = False) -> Vga: ...
    def reset(self) -> None:
        """The registers as after power-on."""
    def state(self) -> dict[str, Any]:
        """The registers, in plain values."""
    def restore(self, state: dict[str, Any], /) -> None:
        """Takes on another card's. Raises `ValueError`."""
    @property
    def ports(self) -> Region:
        """Ports 3B0h-3DFh."""
    @property
    def dispi_ports(self) -> Region:
        """Ports 1CEh-1D1h."""
    @property
    def window(self) -> Region:
        """A0000h-BFFFFh."""
    @property
    def registers(self) -> Region:
        """A page with the registers of both, and the EDID."""
    @property
    def screen(self) -> Screen: ...

@final
class MemoryScreen:
    """A screen whose picture is given from outside, at first 0 × 0."""

    def __new__(cls) -> MemoryScreen: ...
    @property
    def screen(self) -> Screen: ...
    @property
    def preferred(self) -> tuple[int, int] | None:
        """What a viewer would like; to be followed by `resize`, or not."""
    def resize(self, width: int, height: int, /) -> None:
        """Another size, all black. Raises `ValueError` beyond 16384 a side."""
    def draw(self, x: int, y: int, width: int, height: int, pixels: bytes, /) -> None:
        """Pixels row by row, four bytes each: blue, green, red, 0. Raises `ValueError` if they do not fit."""
    def set_cursor(self, width: int, height: int, hot_x: int, hot_y: int, pixels: bytes, /) -> None:
        """The pointer's shape: blue, green, red, alpha. Raises `ValueError` if sizes disagree. 0 × 0 takes it away."""
    def set_text(
        self, cells: list[tuple[int, int]] | None, columns: int, rows: int, cursor: tuple[int, int] | None, /
    ) -> None:
        """The characters that it is said to show."""

@final
class Viewer:
    """One viewer of a screen: its own copy of the picture, what it has not seen, and how it wants it encoded."""

    def __new__(cls) -> Viewer: ...
    def refresh(self, screen: Screen, /) -> tuple[int, int]:
        """Looks at the screen, and gives its size."""
    def follow(self) -> tuple[int, int]:
        """The viewer is told this size now, and has seen nothing of it yet."""
    @property
    def told(self) -> tuple[int, int]:
        """What `follow` gave last."""
    def set_format(self, pixel_format: bytes, /) -> None:
        """RFB's PIXEL_FORMAT. Raises `ValueError` for one that cannot be."""
    def set_encodings(self, numbers: list[int], /) -> None: ...
    def forget(self, x: int, y: int, width: int, height: int, /) -> None:
        """The viewer wants these pixels, even if they have not changed."""
    def update(self, x: int, y: int, width: int, height: int, /) -> tuple[int, bytes]:
        """What it has not seen of an area: a number of RFB rectangles, encoded."""
    def cursor(self, screen: Screen, alpha: bool, /) -> tuple[int, int, int, int, int, bytes] | None:
        """The pointer: a number that changes with it, hot spot, width, height, and the body of its rectangle."""

@final
class Watch:
    """Waits for a screen to change. It looks only while that is wanted."""

    def __new__(cls, screen: Screen, /) -> Watch: ...
    def want(self, wanted: bool, /) -> None: ...
    def stir(self) -> None:
        """Something was done that the screen may answer to soon."""
    @property
    def looks(self) -> int:
        """How often it has looked at the screen."""
    def wait(self) -> bool:
        """Until something changed; False once it is closed."""
    def close(self) -> None: ...

@final
class AhciController:
    """An AHCI controller with a drive or none on each of its six ports. Raises `OSError` if the host refuses a thread."""

    def __new__(
        cls, memory: Memory, fabric: Fabric, pin: Line, drives: Sequence[AtaDrive | None], /
    ) -> AhciController: ...
    def region(self) -> Region:
        """4 KiB of memory-mapped registers."""
    def set_master(self, enabled: bool, /) -> None:
        """Whether the function may reach memory."""
    def set_interrupts(self, pin_off: bool, message: tuple[int, int] | None, /) -> None:
        """INTx disable, and MSI's address and data if it is on."""
    def pause(self) -> None:
        """Waits until its drives have nothing to do, while the vCPUs stand still. Raises `BlockingIOError` if the guest is
        in the middle of something with one.
        """
    def state(self) -> dict[str, Any]:
        """Once it is paused, in plain values."""
    def restore(self, state: dict[str, Any], /) -> None:
        """Takes on another controller's, once it is paused. Raises `ValueError`."""
    def close(self) -> None:
        """Ends its threads; commands that are under way are finished or forgotten."""

@final
class CdTray:
    """A CD-ROM drive's tray with a disc or without. It outlives the boards that the drive is on."""

    def __new__(cls, disc: Disk | None = None, /) -> CdTray: ...
    def change(self, disc: Disk | None, /, *, force: bool = False) -> bool:
        """Puts another disc in, or takes it out. False if the guest has locked the tray; it is told of the wish."""
    @property
    def open(self) -> bool: ...
    @property
    def locked(self) -> bool: ...
    @property
    def loaded(self) -> bool:
        """There is a disc, and the tray is closed."""

@final
class AtaDrive:
    """A disk, or a CD-ROM drive with its tray, to be put behind a controller: each board's anew."""

    def __new__(cls, contents: Disk | CdTray, /, *, serial: str, model: str, trim: bool = False) -> AtaDrive: ...

@final
class IdeController:
    """The IDE function of a PIIX3: two channels with two drives each. Raises `OSError` if the host refuses a thread."""

    def __new__(
        cls,
        memory: Memory,
        lines: tuple[Line, Line],
        drives: tuple[tuple[AtaDrive | None, AtaDrive | None], tuple[AtaDrive | None, AtaDrive | None]],
        /,
    ) -> IdeController: ...
    def command_block(self, index: int, /) -> Region:
        """Eight ports of a channel."""
    def control_block(self, index: int, /) -> Region:
        """One port of a channel."""
    def bus_master(self) -> Region:
        """Sixteen ports, for both channels."""
    def set_master(self, enabled: bool, /) -> None:
        """Whether the function may reach memory."""
    def pause(self) -> None:
        """Waits until its drives have nothing to do, while the vCPUs stand still. Raises `BlockingIOError` if the guest is
        in the middle of something with one.
        """
    def state(self) -> dict[str, Any]:
        """Once it is paused, in plain values."""
    def restore(self, state: dict[str, Any], /) -> None:
        """Takes on another controller's, once it is paused. Raises `ValueError`."""
    def close(self) -> None:
        """Ends its threads; commands that are under way are finished or forgotten."""

@type_check_only
class Segment(TypedDict):
    selector: int
    attributes: int
    limit: int
    base: int

@type_check_only
class Table(TypedDict):
    base: int
    limit: int

@type_check_only
class CpuState(TypedDict):
    """Version 1 of a vCPU's state; encodings as in `crates/innkeeper-core/src/state.rs`.

    `gpr`: rax rcx rdx rbx rsp rbp rsi rdi r8..r15. `segments`: es cs ss ds fs gs.
    `activity`: "runnable", "halted" or "wait-for-sipi".
    """

    gpr: list[int]
    rip: int
    rflags: int
    segments: list[Segment]
    ldtr: Segment
    tr: Segment
    gdtr: Table
    idtr: Table
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    xcr0: int
    efer: int
    dr: list[int]
    msrs: list[tuple[int, int]]
    xsave: bytes
    activity: str

@type_check_only
class TracedBlock(TypedDict):
    """A translated block: guest code as it was, the host's code made of it, and what became of that.

    `mode` begins with the width, as in "64-bit CPL0". `exits` counts the reasons for leaving it.
    """

    vcpu: int
    rip: int
    gpa: int
    mode: str
    guest: bytes
    host: bytes
    host_address: int
    executions: int
    exits: dict[str, int]

@final
class Vcpu:
    """One virtual processor. `run` belongs to one thread at a time; `kick` to any."""

    def run(self) -> tuple[str, str]:
        """Runs until the machine must decide: (kind, detail).

        Kinds: "halt", "shutdown", "kicked", "debug", "internal-error". Raises what a Python device
        raised, after the access that met it.
        """
    def kick(self) -> None:
        """Makes `run` return "kicked" soon, or at once when next called."""
    def get_state(self) -> CpuState: ...
    def set_stops(self, breakpoints: list[int], watches: list[tuple[int, int, bool, bool]], step: bool, /) -> None:
        """What `run` returns "debug" for: linear addresses of instructions, watches as (address, length, reads,
        writes), each instruction. Raises `RuntimeError` while it runs, `ValueError` if the engine cannot.
        """
    def set_state(self, state: CpuState, /) -> None: ...

@final
class Vm:
    """A virtual machine under one engine: "bt", "interp" or "kvm".

    Raises `OSError` if the host refuses or lacks what the engine needs. The vCPUs start in their reset
    state (the first at F000:FFF0, the others waiting for a SIPI). APIC IDs are the indices. Interrupt
    controllers, PIT and local APICs are the engine's own and already mapped. `code_cache_mib`, a
    vCPU's share, and `trace` are for "bt"; so is `testing`, which only tests use (`tests/checked.py`).
    """

    def __new__(
        cls,
        engine: str,
        memory: Memory,
        vcpus: int,
        /,
        *,
        code_cache_mib: int = 64,
        trace: bool = False,
        testing: dict[str, Any] | None = None,
    ) -> Vm: ...
    def vcpu(self, index: int, /) -> Vcpu: ...
    def map_ports(self, base: int, size: int, device: Device, /) -> None:
        """Raises `ValueError` where it overlaps."""
    def unmap_ports(self, base: int, /) -> None: ...
    def map_mmio(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_mmio(self, base: int, /) -> None: ...
    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None:
        """Shows `ram` from `offset` on at `gpa`, over whatever MMIO is there; guests' writes to what is read-only go
        to the MMIO.

        vCPUs that run see it at their next step. Raises `ValueError` where it overlaps other memory.
        """
    def unmap_ram(self, gpa: int, /) -> None:
        """Takes away what was mapped from `gpa` on, or a range of the adapter area."""
    def set_irq(self, gsi: int, level: bool, /) -> None: ...
    def signal_msi(self, address: int, data: int, /) -> None: ...
    def reset_interrupts(self) -> None:
        """Interrupt controllers, PIT and local APICs as after power-up, nothing pending; time and registers stay.

        Raises `RuntimeError` while a vCPU runs, `OSError` if the host refuses.
        """
    def set_plugged(self, index: int, plugged: bool, /) -> None:
        """Whether a vCPU is plugged in, as all are at first. What is not hears of no interrupt, NMI, INIT or SIPI.

        Its local APIC is as after power-up; its registers stay. Raises `RuntimeError` while it runs, `ValueError` if
        there is no such, `OSError` if the host refuses.
        """
    @property
    def fabric(self) -> Fabric: ...
    @property
    def tsc_khz(self) -> int: ...
    def statistics(self) -> dict[str, Any]:
        """Counters so far. An engine lists what it can see: "kvm" has no "instructions".

        {"vcpus": [{"instructions": int, ..., "exceptions": {vector: n}, "ports": {"in 0x3fd": n}}]}
        """
    def state(self) -> dict[str, Any]:
        """What is not memory, devices or `CpuState`, in plain values. Raises `RuntimeError` while a vCPU runs, and
        `ValueError` if the engine cannot.
        """
    def restore(self, state: dict[str, Any], vcpus: list[CpuState], /) -> None:
        """Takes that and the vCPUs' states on, when memory and devices are restored. Raises as above, and `ValueError`
        for what cannot be: the VM must not run then.
        """
    def rewind(self, clock: dict[str, Any], /) -> None:
        """Takes on the clock of an earlier state of this VM, whose vCPUs stand still; all else stays. Python runs nothing meanwhile."""
    def trace(self) -> list[TracedBlock]:
        """Every block that bt has translated and still has. Empty without `trace`; leaves out vCPUs that run."""
    def flight_record(self) -> list[list[int]]:
        """Where each vCPU's last blocks began or were returned to, oldest first. Empty without `trace`."""

def bt_unavailable() -> str | None:
    """Why this host cannot run the engine "bt"; None if it can."""

def disassemble(code: bytes, address: int, bits: int, /) -> list[tuple[int, bytes, str]]:
    """Machine code as (address, bytes, text) of each instruction. Raises `ValueError` unless bits are 16, 32 or 64."""

def host_features() -> dict[str, bool]:
    """The instruction-set extensions of the host that the software engines could present."""

def host_tsc_khz() -> int:
    """The rate of the host's time-stamp counter in kHz. It is found once per process, which may take 20 ms."""

def probe_iso(disc: Disk, /) -> str | None:
    """The label of the disc's ISO 9660 file system, "" if it has UDF alone, None if neither. Raises `OSError`."""

def kvm_probe() -> dict[str, Any]:
    """What this host's /dev/kvm can really do, by running micro-guests.

    {"usable": bool, "why": str, "backend": str, "api_version": int, "ring0_native": bool,
    "ring0_mips": float, "syscall": bool, "paging_32bit": bool, "int3": bool, "cpuid_masking": bool,
    "tsc_offset": bool, "seconds": float}
    """

# The image tools; `innkeeper.storage` is their face. A watcher is called several times a second with the bytes done
# and to do; what it raises ends the work, as Ctrl-C does, and is raised from here. Otherwise they raise `ValueError`
# (the request or the image cannot be) or `OSError` (the host refused), each with one whole sentence.

_Watcher: TypeAlias = Callable[[int, int], object] | None

ImageSnapshot = TypedDict(
    "ImageSnapshot",
    {
        "id": str,
        "name": str,
        "vm-state-size": int,
        "date-sec": int,
        "date-nsec": int,
        "vm-clock-sec": int,
        "vm-clock-nsec": int,
        "icount": NotRequired[int],
    },
)
"""An internal snapshot, in qemu-img's words."""

ImageInfo = TypedDict(
    "ImageInfo",
    {
        "virtual-size": int,
        "filename": str,
        "format": str,
        "actual-size": int,
        "cluster-size": NotRequired[int],
        "snapshots": NotRequired[list[ImageSnapshot]],
        "format-specific": NotRequired[dict[str, Any]],
        "backing-filename": NotRequired[str],
        "full-backing-filename": NotRequired[str],
        "backing-filename-format": NotRequired[str],
        "dirty-flag": bool,
    },
)
"""What an image says of itself, in qemu-img's words."""

ImageCheck = TypedDict(
    "ImageCheck",
    {
        "filename": str,
        "format": str,
        "check-errors": int,
        "image-end-offset": int,
        "corruptions": NotRequired[int],
        "leaks": NotRequired[int],
        "corruptions-fixed": NotRequired[int],
        "leaks-fixed": NotRequired[int],
        "total-clusters": int,
        "allocated-clusters": NotRequired[int],
        "fragmented-clusters": NotRequired[int],
        "compressed-clusters": NotRequired[int],
        "findings": list[str],
    },
)
"""What a check found, in qemu-img's words; `findings` says it in sentences."""

class ImageMapRow(TypedDict):
    """Bytes of a disk that are alike, and together where they are anywhere."""

    start: int
    length: int
    depth: int
    present: bool
    zero: bool
    data: bool
    compressed: bool
    offset: NotRequired[int]
    filename: NotRequired[str]

def image_probe(path: str, /) -> str: ...
def image_create(
    path: str,
    format: str,  # noqa: A002 - the option's name
    size: int | None,
    options: dict[str, Any],
    open_backing: bool,
    progress: _Watcher,
    /,
) -> int: ...
def image_info(path: str, format: str | None, share: bool, /) -> ImageInfo: ...  # noqa: A002
def image_chain(path: str, format: str | None, share: bool, /) -> list[ImageInfo]: ...  # noqa: A002
def image_check(
    path: str,
    format: str | None,  # noqa: A002
    repair: str | None,
    share: bool,
    progress: _Watcher,
    /,
) -> ImageCheck: ...
def image_convert(
    source: str, target: str, request: dict[str, Any], options: dict[str, Any], progress: _Watcher, /
) -> None: ...
def image_resize(
    path: str,
    format: str | None,  # noqa: A002
    size: int,
    shrink: bool,
    preallocation: str,
    progress: _Watcher,
    /,
) -> None: ...
def image_snapshots(path: str, share: bool, /) -> list[ImageSnapshot]: ...
def image_snapshot(path: str, action: str, name: str, /) -> None: ...
def image_commit(
    path: str,
    format: str | None,  # noqa: A002
    base: str | None,
    keep: bool,
    progress: _Watcher,
    /,
) -> None: ...
def image_rebase(
    path: str,
    format: str | None,  # noqa: A002
    backing: str | None,
    backing_format: str | None,
    unsafe: bool,
    progress: _Watcher,
    /,
) -> None: ...
def image_map(path: str, format: str | None, start: int, length: int | None, share: bool, /) -> list[ImageMapRow]: ...  # noqa: A002
def image_compare(
    first: str,
    second: str,
    first_format: str | None,
    second_format: str | None,
    strict: bool,
    share: bool,
    progress: _Watcher,
    /,
) -> str | None: ...

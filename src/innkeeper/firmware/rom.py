"""Firmware images: SeaBIOS and OVMF, as their packages have them or as the user names them.

An image lies below 4 GiB and ends there, where the processor begins; a BIOS shows its end below 1 MiB too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from innkeeper.config import FirmwareConfig, FirmwareKind
from innkeeper.errors import BootError
from innkeeper.firmware.files import read_file
from innkeeper.firmware.variables import VariableStore
from innkeeper.host.packages import firmware_file
from innkeeper.records import dataclass

PACKAGES = {FirmwareKind.BIOS: "seabios", FirmwareKind.UEFI: "ovmf"}
PAGE, KIB, MIB = 0x1000, 1 << 10, 1 << 20
SMALLEST, LARGEST = 64 * KIB, 16 * MIB
CODE, VARIABLES = "CODE", "VARS"


@dataclass(frozen=True, slots=True)
class Firmware:
    """An image with what belongs to it on the host, from the machine's start to its end."""

    kind: FirmwareKind
    path: Path
    rom: bytes
    variables: VariableStore | None
    log: Callable[[bytes], None] | None
    """Where it says what it does, if anybody wants to know."""
    _close: Callable[[], None]

    @property
    def protocol(self) -> str:
        return str(self.kind)

    def close(self) -> None:
        if self.variables is not None:
            self.variables.close()
        self._close()


def open_firmware(config: FirmwareConfig) -> Firmware:
    """Raises `InnkeeperError` if it is not there or cannot be."""
    path = config.path or firmware_file(PACKAGES[config.kind])
    rom = read_file(path, "firmware")
    if not SMALLEST <= len(rom) <= LARGEST or len(rom) % PAGE:
        raise BootError(
            f"firmware {path} has {len(rom)} bytes; an image has whole pages, from {SMALLEST // KIB} KiB to "
            f"{LARGEST // MIB} MiB"
        )
    say, close = _open_log(config.log)
    try:
        return Firmware(config.kind, path, rom, _variables(config, path), say, close)
    except BaseException:
        close()
        raise


def _variables(config: FirmwareConfig, path: Path) -> VariableStore | None:
    if config.kind is not FirmwareKind.UEFI:
        return None
    template = config.template or path.with_name(path.name.replace(CODE, VARIABLES).replace(".secboot", ""))
    if template != path and template.is_file():
        return VariableStore.open(config.vars, read_file(template, "UEFI variables"))
    if config.vars is not None and config.vars.exists():
        return VariableStore.open(config.vars, None)
    if config.template is not None:
        raise BootError(f"there is no {template} to make UEFI variables from; name another with template=")
    raise BootError(f"firmware {path} has no template of its variables beside it; name a file with vars=")


def _open_log(path: Path | None) -> tuple[Callable[[bytes], None] | None, Callable[[], None]]:
    if path is None:
        return None, (lambda: None)
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise BootError(f"cannot write firmware log {path}: {(error.strerror or str(error)).lower()}") from error
    return (lambda data: _say(file.write, data)), file.close


def _say(write: Callable[[bytes], int | None], data: bytes) -> None:
    with suppress(OSError):  # a full disk must not stop the guest: the log ends here
        write(data)

"""How a machine without a kernel of its own starts: which firmware, and what that boots.

The words are virt-install's: `--boot cdrom,hd,network,menu=on`, `--firmware uefi,vars=PATH`.
"""

from enum import StrEnum
from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass


class FirmwareKind(StrEnum):
    """What runs first."""

    BIOS = "bios"  # SeaBIOS
    UEFI = "uefi"  # OVMF


class BootDevice(StrEnum):
    """A kind of device to start from."""

    CDROM = "cdrom"
    HD = "hd"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareConfig:
    """Which firmware, from which file (Debian's if none is named)."""

    kind: FirmwareKind = FirmwareKind.BIOS
    path: Path | None = None
    vars: Path | None = None
    """Where UEFI keeps its variables; without it they end with the machine."""
    template: Path | None = None
    """What its variables are made from at first: by itself, the file beside the image."""
    log: Path | None = None
    """What SeaBIOS and OVMF say on their debug port."""

    def __post_init__(self) -> None:
        if self.vars is not None and self.kind is not FirmwareKind.UEFI:
            raise ConfigError(f"firmware {self.kind} has vars={self.vars}; only uefi keeps variables in a file")
        if self.template is not None and self.kind is not FirmwareKind.UEFI:
            raise ConfigError(f"firmware {self.kind} has template={self.template}; only uefi keeps variables in a file")

    @classmethod
    def parse(cls, text: str, option: str = "--firmware") -> "FirmwareConfig":
        """Reads the command line's form.

        >>> FirmwareConfig.parse("uefi,vars=a.fd").vars
        PosixPath('a.fd')
        """
        pairs = KeyValues(option, text, first="kind")
        kind = pairs.choice("kind", FirmwareKind) or FirmwareKind.BIOS
        paths = {key: Path(given) for key in ("path", "vars", "template") if (given := pairs.text(key))}
        config = cls(kind=kind, **paths)
        pairs.finish()
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class BootConfig:
    """In which order devices are tried, and whether firmware shows its menu."""

    order: tuple[BootDevice, ...] = (BootDevice.CDROM, BootDevice.HD, BootDevice.NETWORK)
    menu: bool = False
    useserial: bool = False
    """A BIOS talks on the serial port also where somebody looks at the screen."""

    @classmethod
    def parse(cls, text: str, option: str = "--boot") -> "BootConfig":
        """Reads the command line's form.

        >>> BootConfig.parse("hd,cdrom,menu=on")
        BootConfig(order=(<BootDevice.HD: 'hd'>, <BootDevice.CDROM: 'cdrom'>), menu=True, useserial=False)
        """
        words = [word for word in text.split(",") if "=" not in word]
        pairs = KeyValues(option, ",".join(word for word in text.split(",") if "=" in word))
        menu, useserial = pairs.flag("menu", default=False), pairs.flag("useserial", default=False)
        pairs.finish()
        known = ", ".join(BootDevice)
        if unknown := [word for word in words if word not in list(BootDevice)]:
            raise ConfigError(f"{option} names {unknown[0]!r}; devices to boot from are {known}")
        if len(set(words)) != len(words):
            raise ConfigError(f"{option} is {text!r}; each kind of device is named once")
        order = tuple(BootDevice(word) for word in words)
        return cls(order=order or cls().order, menu=bool(menu), useserial=bool(useserial))

"""How a machine starts: the first time, when an installer runs, and from then on."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from innkeeper.cli.installing.words import taken
from innkeeper.config import BootConfig, BootDevice, FirmwareConfig, FirmwareKind, MachineConfig
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.media import Location

METHODS = {
    "--cdrom": "cdrom",
    "--location": "location",
    "--pxe": "pxe",
    "--import": "imports",
    "--install": "install",
}
INSTALL_KEYS = ("kernel", "initrd", "kernel_args", "kernel_args_overwrite", "bootdev", "no_install", "os")
LOADER_FIXED = {"loader.type": ("pflash", "rom"), "loader.readonly": ("yes", "on"), "loader_secure": ("no", "off")}
"""What a loader may say only as it is."""
BOOT_KEYS = ("kernel", "initrd", "kernel_args", "cmdline", "menu", "bootmenu.enable", "loader", "nvram", "firmware")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What `MachineConfig` says of how a machine starts."""

    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    firmware: FirmwareConfig | None = None
    boot: BootConfig | None = None

    def of(self, machine: MachineConfig) -> MachineConfig:
        return replace(
            machine,
            kernel=self.kernel,
            initrd=self.initrd,
            append=self.append,
            firmware=self.firmware,
            boot=self.boot,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """`later` is what is kept; `first` is None if the first start is like the others. `location` is where it comes from."""

    later: Start
    first: Start | None = None
    location: Location | None = None
    cdrom: Path | None = None


def read(arguments: argparse.Namespace) -> Steps:
    """Raises `ConfigError` unless it is clear how the machine starts."""
    given = [option for option, name in METHODS.items() if getattr(arguments, name)]
    if len(given) > 1 and given != ["--cdrom", "--install"]:
        raise ConfigError(f"{' and '.join(given)} are given; one of them says how the first start goes")
    later = read_boot(arguments.boot)
    check_location(arguments)
    if arguments.location is not None:
        return from_location(arguments, later)
    if arguments.install is not None:
        return from_install(arguments, later)
    if arguments.cdrom is not None:
        if arguments.unattended is not None:
            return from_location(arguments, later, Location(path=arguments.cdrom.absolute()))
        return from_disc(arguments.cdrom.absolute(), later)
    if arguments.pxe:
        first = replace(later, boot=BootConfig(order=(BootDevice.NETWORK, BootDevice.HD)))
        return Steps(first=first, later=with_order(later, BootDevice.HD, BootDevice.NETWORK))
    if not (arguments.imports or arguments.boot or arguments.cloud_init is not None):
        raise ConfigError("nothing says what to install from; give --cdrom, --location, --pxe, --boot or --import")
    return Steps(later=later)


def with_order(start: Start, *order: BootDevice) -> Start:
    """The order, unless `--boot` has said one, or a kernel."""
    return start if start.boot is not None or start.kernel is not None else replace(start, boot=BootConfig(order=order))


def from_disc(disc: Path, later: Start) -> Steps:
    """First from the disc. Later from the disk: the disc stays in its drive for as long as the disk holds nothing."""
    if later.kernel is not None:
        raise ConfigError("--cdrom is given, and --boot has a kernel, which starts instead; leave out one of them")
    first = replace(later, boot=BootConfig(order=(BootDevice.CDROM, BootDevice.HD)))
    return Steps(first=first, later=with_order(later, BootDevice.HD, BootDevice.CDROM), cdrom=disc)


def check_location(arguments: argparse.Namespace) -> None:
    kernel = arguments.location or (arguments.cdrom and arguments.unattended is not None)
    kernel = kernel or "kernel=" in (arguments.install or "")
    for option, given in (("--extra-args", arguments.extra_args), ("--initrd-inject", arguments.initrd_inject)):
        if given and not kernel:
            raise ConfigError(
                f"{option} is for the kernel of --location, and there is none; --location takes an ISO too"
            )


def from_location(arguments: argparse.Namespace, later: Start, location: Location | None = None) -> Steps:
    location = location or read_location(arguments.location)
    refuse_uefi(later, "--location")
    disc = location.path if location.is_disc else None
    later = with_order(later, BootDevice.HD, *([BootDevice.CDROM] if disc else []))
    return Steps(first=Start(append=" ".join(arguments.extra_args)), later=later, location=location, cdrom=disc)


def refuse_uefi(later: Start, option: str) -> None:
    if later.firmware is not None and later.firmware.kind is FirmwareKind.UEFI:
        raise ConfigError(
            f"{option} starts a kernel without firmware, which then installs for none; with --boot uefi, give --cdrom"
        )


def read_location(text: str) -> Location:
    pairs = taken("--location", text, "location", "path", "kernel", "initrd", first="location")
    path = pairs.get("location") or pairs.get("path") or ""
    if "://" in path and not path.startswith("file://"):
        raise ConfigError(f"--location is {path}; it must be an ISO image or a folder: fetch it first")
    path = path.removeprefix("file://")
    if not path or not Path(path).exists():
        raise ConfigError(f"--location is {path!r}, and there is no such ISO image or folder")
    if ("kernel" in pairs) != ("initrd" in pairs):
        raise ConfigError("--location has a kernel or an initrd alone; give both")
    return Location(path=Path(path).absolute(), kernel=pairs.get("kernel"), initrd=pairs.get("initrd"))


def from_install(arguments: argparse.Namespace, later: Start) -> Steps:
    pairs = taken("--install", arguments.install, *INSTALL_KEYS, first="os")
    if "os" in pairs:
        raise ConfigError(
            f"--install has os={pairs['os']}, which would be fetched; give --location with an ISO or a folder"
        )
    if pairs.get("no_install") in ("yes", "on"):
        if arguments.cdrom is None:
            return Steps(later=later)
        return Steps(later=with_order(later, BootDevice.CDROM, BootDevice.HD), cdrom=arguments.cdrom.absolute())
    if "bootdev" in pairs:
        if pairs["bootdev"] not in list(BootDevice):
            raise ConfigError(f"--install has bootdev={pairs['bootdev']}; it can be {', '.join(BootDevice)}")
        cdrom = arguments.cdrom.absolute() if arguments.cdrom is not None else None
        first = replace(later, boot=BootConfig(order=(BootDevice(pairs["bootdev"]),)))
        return Steps(first=first, later=with_order(later, BootDevice.HD), cdrom=cdrom)
    if "kernel" not in pairs:
        raise ConfigError("--install says neither kernel, bootdev nor no_install; give one")
    refuse_uefi(later, "--install kernel=…")
    words = " ".join([*([pairs["kernel_args"]] if "kernel_args" in pairs else []), *arguments.extra_args])
    first = Start(kernel=existing(pairs["kernel"]), initrd=existing(pairs.get("initrd")), append=words)
    return Steps(first=first, later=with_order(later, BootDevice.HD))


def existing(path: str | None) -> Path | None:
    if path is not None and not Path(path).is_file():
        raise ConfigError(f"there is no file {path}")
    return Path(path).absolute() if path is not None else None


def read_boot(text: str) -> Start:
    """`--boot`: devices in their order, firmware, or a kernel."""
    words = [word for word in text.split(",") if word]
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    for key, fine in LOADER_FIXED.items():
        if pairs.get(key, fine[0]) not in fine:
            raise ConfigError(f"--boot has {key}={pairs[key]}; it can be {' or '.join(fine)}")
    if unknown := [key for key in pairs if key not in (*BOOT_KEYS, *LOADER_FIXED)]:
        raise ConfigError(f"--boot has an unknown key {unknown[0]!r}; it knows {', '.join(BOOT_KEYS)}")
    uefi = "uefi" in names or pairs.get("firmware") == "efi" or pairs.get("loader.type") == "pflash"
    names = [name for name in names if name != "uefi"]
    if pairs.get("firmware", "efi") not in ("efi", "bios"):
        raise ConfigError(f"--boot has firmware={pairs['firmware']}; it can be efi or bios")
    if "kernel" in pairs:
        words_of_kernel = pairs.get("kernel_args") or pairs.get("cmdline") or ""
        return Start(kernel=existing(pairs["kernel"]), initrd=existing(pairs.get("initrd")), append=words_of_kernel)
    if extra := [key for key in ("initrd", "kernel_args", "cmdline") if key in pairs]:
        raise ConfigError(f"--boot has {extra[0]}, and no kernel to take it; give kernel=FILE")
    menu = pairs.get("menu") or pairs.get("bootmenu.enable")
    boot = BootConfig.parse(",".join([*names, *([f"menu={menu}"] if menu else [])])) if names or menu else None
    loader = existing(pairs.get("loader"))
    variables = Path(pairs["nvram"]).absolute() if "nvram" in pairs else None
    if not uefi and loader is None:
        return Start(boot=boot)
    kind = FirmwareKind.UEFI if uefi else FirmwareKind.BIOS
    return Start(boot=boot, firmware=FirmwareConfig(kind=kind, path=loader, vars=variables))

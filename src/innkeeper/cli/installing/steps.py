"""How a machine starts: the first time, when an installer runs, and from then on."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from innkeeper.cli.installing.host import FOLDER, NOTHING, Host
from innkeeper.cli.installing.words import taken
from innkeeper.config import BootConfig, BootDevice, FirmwareConfig, FirmwareKind, KeyValues, MachineConfig
from innkeeper.config.keyvalue import YES
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.media import Location
from innkeeper.records import dataclass

METHODS = {
    "--cdrom": "cdrom",
    "--location": "location",
    "--pxe": "pxe",
    "--import": "imports",
    "--install": "install",
}
INSTALL_KEYS = ("kernel", "initrd", "kernel_args", "kernel_args_overwrite", "bootdev", "no_install", "os")
LOADER_FIXED = {"loader.type": ("pflash", "rom"), "loader.readonly": ("yes", "on"), "loader.secure": ("no", "off")}
"""What a loader may say only as it is."""
UEFI_KEYS = ("loader", "nvram", "nvram.template", "firmware", *LOADER_FIXED)
BOOT_KEYS = ("kernel", "initrd", "kernel_args", "menu", "useserial", *UEFI_KEYS)
BOOT_NAMES = {
    "cmdline": "kernel_args",
    "bootmenu.enable": "menu",
    "bootmenu_enable": "menu",
    "bios.useserial": "useserial",
    "bios_useserial": "useserial",
    "loader_type": "loader.type",
    "loader_ro": "loader.readonly",
    "loader_secure": "loader.secure",
    "nvram_template": "nvram.template",
}
"""Other words for them."""
FEATURE = re.compile(r"(firmware\.feature\d+)\.(name|enabled)")
REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://")
"""How an address begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What `MachineConfig` says of how a machine starts."""

    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    firmware: FirmwareConfig | None = None
    boot: BootConfig | None = None
    ordered: bool = True
    """Whether somebody chose the order that `boot` has."""

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
    only_these_words: bool = False
    """For the installer's kernel, which is told nothing by itself."""

    @property
    def ejects(self) -> bool:
        """Whether the installer's disc would start again, and again, if it stayed in its drive."""
        order = self.later.boot.order if self.later.boot is not None else ()
        return self.first is not None and self.cdrom is not None and order[:1] == (BootDevice.CDROM,)


def read(arguments: argparse.Namespace, host: Host, kept: Start | None = None) -> Steps:
    """Raises `ConfigError` unless it is clear how the machine starts. `kept` is how one starts that there is."""
    given = [option for option, name in METHODS.items() if getattr(arguments, name)]
    if len(given) > 1 and given not in (["--cdrom", "--install"], ["--location", "--install"]):
        raise ConfigError(f"{' and '.join(given)} are given; one of them says how the first start goes")
    later = read_boot(",".join(arguments.boot), host) if kept is None else kept
    check_location(arguments)
    if arguments.cdrom is not None:
        refuse_address("--cdrom", arguments.cdrom)
    if arguments.live and given != ["--cdrom"]:
        raise ConfigError("--live starts from the disc of --cdrom, each time; give that, and no other way to install")
    if arguments.location is not None:
        return from_location(arguments, host, later)
    if arguments.install is not None:
        return from_install(arguments, host, later)
    if arguments.cdrom is not None:
        return from_cdrom(arguments, host, later)
    if arguments.pxe:
        first = in_order(later, BootDevice.NETWORK, BootDevice.HD)
        return Steps(first=first, later=with_order(later, BootDevice.HD, BootDevice.NETWORK))
    if not (arguments.imports or arguments.boot or arguments.cloud_init is not None):
        raise ConfigError("nothing says what to install from; give --cdrom, --location, --pxe, --boot or --import")
    return Steps(later=later)


def refuse_address(option: str, path: str) -> None:
    if REMOTE.match(path):
        raise ConfigError(f"{option} is {path}, an address; it must be a file of this host: fetch it first")


def with_order(start: Start, *order: BootDevice) -> Start:
    """The order, unless `--boot` has said one, or a kernel."""
    said = start.kernel is not None or (start.boot is not None and start.ordered)
    return start if said else in_order(start, *order)


def in_order(start: Start, *order: BootDevice) -> Start:
    return replace(start, boot=replace(start.boot or BootConfig(), order=order), ordered=True)


def from_cdrom(arguments: argparse.Namespace, host: Host, later: Start) -> Steps:
    disc = Path(arguments.cdrom).absolute()
    if arguments.live:  # nothing is installed from it
        return Steps(later=with_order(later, BootDevice.CDROM, BootDevice.HD), cdrom=disc)
    if arguments.unattended is not None:
        return from_location(arguments, host, later, Location(path=disc))
    return from_disc(disc, later)


def from_disc(disc: Path, later: Start) -> Steps:
    """First from the disc. Later from the disk: the disc stays in its drive for as long as the disk holds nothing."""
    if later.kernel is not None:
        raise ConfigError("--cdrom is given, and --boot has a kernel, which starts instead; leave out one of them")
    first = in_order(later, BootDevice.CDROM, BootDevice.HD)
    return Steps(first=first, later=with_order(later, BootDevice.HD, BootDevice.CDROM), cdrom=disc)


def check_location(arguments: argparse.Namespace) -> None:
    kernel = arguments.location or (arguments.cdrom and arguments.unattended is not None)
    kernel = kernel or "kernel=" in (arguments.install or "")
    for option, given in (("--extra-args", arguments.extra_args), ("--initrd-inject", arguments.initrd_inject)):
        if given and not kernel:
            raise ConfigError(
                f"{option} is for the kernel of --location, and there is none; --location takes an ISO too"
            )


def from_location(arguments: argparse.Namespace, host: Host, later: Start, location: Location | None = None) -> Steps:
    location = location or read_location(arguments.location, host)
    disc = location.path if host.kind(location.path) != FOLDER else None
    later = with_order(later, BootDevice.HD, *([BootDevice.CDROM] if disc else []))
    words, only = list(arguments.extra_args), False
    if arguments.install is not None:
        pairs = taken("--install", arguments.install, "kernel_args", "kernel_args_overwrite")
        words, only = [*words, *pairs.get("kernel_args", "").split()], pairs.get("kernel_args_overwrite") in YES
    first = Start(append=" ".join(words).strip(), firmware=by_uefi(later))
    return Steps(first=first, later=later, location=location, cdrom=disc, only_these_words=only)


def by_uefi(later: Start) -> FirmwareConfig | None:
    """What starts the installer's kernel, so that it sees what it installs for; a BIOS does not."""
    return later.firmware if later.firmware is not None and later.firmware.kind is FirmwareKind.UEFI else None


def read_location(text: str, host: Host) -> Location:
    pairs = taken("--location", text, "location", "path", "kernel", "initrd", first="location")
    path = pairs.get("location") or pairs.get("path") or ""
    if "://" in path and not path.startswith("file://"):
        raise ConfigError(f"--location is {path}; it must be an ISO image or a folder: fetch it first")
    path = path.removeprefix("file://")
    if not path or host.kind(Path(path).absolute()) == NOTHING:
        raise ConfigError(f"--location is {path!r}, and there is no such ISO image or folder")
    if ("kernel" in pairs) != ("initrd" in pairs):
        raise ConfigError("--location has a kernel or an initrd alone; give both")
    return Location(path=Path(path).absolute(), kernel=pairs.get("kernel"), initrd=pairs.get("initrd"))


def from_install(arguments: argparse.Namespace, host: Host, later: Start) -> Steps:
    pairs = taken("--install", arguments.install, *INSTALL_KEYS, first="os")
    if "os" in pairs:
        raise ConfigError(
            f"--install has os={pairs['os']}, which would be fetched; give --location with an ISO or a folder"
        )
    if pairs.get("no_install") in ("yes", "on"):
        if arguments.cdrom is None:
            return Steps(later=later)
        return Steps(later=with_order(later, BootDevice.CDROM, BootDevice.HD), cdrom=Path(arguments.cdrom).absolute())
    if "bootdev" in pairs:
        if pairs["bootdev"] not in list(BootDevice):
            raise ConfigError(f"--install has bootdev={pairs['bootdev']}; it can be {', '.join(BootDevice)}")
        cdrom = Path(arguments.cdrom).absolute() if arguments.cdrom is not None else None
        first = in_order(later, BootDevice(pairs["bootdev"]))
        return Steps(first=first, later=with_order(later, BootDevice.HD), cdrom=cdrom)
    if "kernel" not in pairs:
        raise ConfigError("--install says neither kernel, bootdev nor no_install; give one")
    words = " ".join([*([pairs["kernel_args"]] if "kernel_args" in pairs else []), *arguments.extra_args]).strip()
    kernel, initrd = host.existing(pairs["kernel"]), host.existing(pairs.get("initrd"))
    first = Start(kernel=kernel, initrd=initrd, append=words, firmware=by_uefi(later))
    return Steps(first=first, later=with_order(later, BootDevice.HD))


def read_boot(text: str, host: Host) -> Start:
    """`--boot`: devices in their order, firmware, or a kernel."""
    names, pairs = boot_words(text)
    firmware = read_firmware(names, pairs, host)
    names = [name for name in names if name != "uefi"]
    if "kernel" in pairs:
        return of_kernel(names, pairs, host, firmware)
    if extra := [key for key in ("initrd", "kernel_args") if key in pairs]:
        raise ConfigError(f"--boot has {extra[0]}, and no kernel to take it; give kernel=FILE")
    flags = [f"{key}={pairs[key]}" for key in ("menu", "useserial") if key in pairs]
    boot = BootConfig.parse(",".join([*names, *flags])) if names or flags else None
    return Start(boot=boot, firmware=firmware, ordered=bool(names))


def read_firmware(names: list[str], pairs: dict[str, str], host: Host) -> FirmwareConfig | None:
    """None if nothing is said of it."""
    uefi = "uefi" in names or pairs.get("firmware") == "efi" or pairs.get("loader.type") == "pflash"
    loader = host.existing(pairs.get("loader"))
    variables, template = (Path(pairs[key]).absolute() if key in pairs else None for key in ("nvram", "nvram.template"))
    if not uefi and loader is None:
        if variables is not None or template is not None:
            raise ConfigError("--boot has nvram, which is UEFI's; give uefi, or a loader= with loader.type=pflash")
        return None
    kind = FirmwareKind.UEFI if uefi else FirmwareKind.BIOS
    return FirmwareConfig(kind=kind, path=loader, vars=variables, template=template)


def boot_words(text: str) -> tuple[list[str], dict[str, str]]:
    """Names, and keys with their values."""
    names: list[str] = []
    pairs: dict[str, str] = {}
    for word in KeyValues("--boot", "").words(text):
        key, equals, value = word.partition("=")
        key = BOOT_NAMES.get(key, key)
        if not equals and word not in names:
            names.append(word)
        elif equals and pairs.setdefault(key, value) != value:
            raise ConfigError(f"--boot gives {key} twice")
    check_features(pairs)
    for key, fine in LOADER_FIXED.items():
        if pairs.get(key, fine[0]) not in fine:
            raise ConfigError(f"--boot has {key}={pairs[key]}; it can be {' or '.join(fine)}")
    if unknown := [key for key in pairs if key not in BOOT_KEYS]:
        raise ConfigError(f"--boot has an unknown key {unknown[0]!r}; it knows {', '.join(BOOT_KEYS)}")
    if pairs.get("firmware", "efi") not in ("efi", "bios"):
        raise ConfigError(f"--boot has firmware={pairs['firmware']}; it can be efi or bios")
    return names, pairs


def check_features(pairs: dict[str, str]) -> None:
    """Takes them out: none can be had, and to be without is fine."""
    for key in [key for key in pairs if FEATURE.fullmatch(key)]:
        value = pairs.pop(key)
        if key.endswith(".enabled") and value in YES:
            raise ConfigError(f"--boot has {key}={value}; secure boot and its keys cannot be had: it must be no")


def of_kernel(names: list[str], pairs: dict[str, str], host: Host, firmware: FirmwareConfig | None) -> Start:
    """A kernel that starts each time, without firmware or by UEFI."""
    by_uefi = firmware is not None and firmware.kind is FirmwareKind.UEFI
    fine = ("kernel", "initrd", "kernel_args", *(UEFI_KEYS if by_uefi else ()))
    if extra := [*names, *(key for key in pairs if key not in fine)]:
        raise ConfigError(f"--boot has a kernel, which is what starts, and {extra[0]}; leave out one of them")
    words, initrd = pairs.get("kernel_args", "").strip(), host.existing(pairs.get("initrd"))
    return Start(kernel=host.existing(pairs["kernel"]), initrd=initrd, append=words, firmware=firmware)

"""What a command asks of the manager that is to install a machine: all of it in one message, which is foreign input there."""

from pathlib import Path

from innkeeper.config import DiskConfig
from innkeeper.errors import ConfigError
from innkeeper.manager.definition import Definition
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.installation.media import Location
from innkeeper.records import dataclass

SEED_FILES = ("meta-data", "user-data", "network-config")
CHECKS = ("path_in_use", "disk_size", "mac_in_use", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A disk as it was asked for: its path means nothing where a pool, or a volume of one (`POOL/VOLUME`), says where it is."""

    disk: DiskConfig
    pool: str | None = None
    vol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFile:
    """One file of cloud-init's disc."""

    name: str
    text: str

    def __post_init__(self) -> None:
        if self.name not in SEED_FILES:
            raise ConfigError(
                f"a file of --cloud-init is {self.name[:80]!r}; it must be one of {', '.join(SEED_FILES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One machine, and how it starts at first. Raises `ConfigError` for what cannot be.

    `kept` and `first` are documents: of the machine, and of its first start if that differs. `then` is whether the machine starts as it
    is kept when the first start has ended; `installs`, whether an installer runs at first, and `ends_by_itself`, whether turning the guest
    off leads on as well as restarting it.
    """

    kept: str
    first: str | None = None
    then: bool = False
    installs: bool = False
    ends_by_itself: bool = False
    again: bool = False
    """The machine is there already."""
    transient: bool = False
    autostart: bool = False
    disks: tuple[DiskConfig, ...] = ()
    """Those that are to be made."""
    location: Location | None = None
    cdrom: Path | None = None
    initrd: Path | None = None
    """Where the RAM disk of the first start comes from, if no location has it."""
    inject: tuple[Path, ...] = ()
    answers: str | None = None
    seed: tuple[SeedFile, ...] = ()

    def __post_init__(self) -> None:
        places = [self.location.path if self.location is not None else None, self.cdrom, self.initrd, *self.inject]
        for place in places:
            if place is not None and not place.is_absolute():
                raise ConfigError(f"{place} is in no folder that the manager knows; give its whole path, from / on")
        if self.first is not None and read_xml(self.first).name != self.definition.name:
            raise ConfigError(f"the first start is that of another machine than {self.definition.name}")

    @property
    def definition(self) -> Definition:
        return read_xml(self.kept)

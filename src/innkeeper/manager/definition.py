"""What a machine is, as long as somebody keeps it: a name, an identity, and how it is built."""

from dataclasses import field
from enum import StrEnum
from uuid import UUID, uuid4

from innkeeper.config import MachineConfig
from innkeeper.errors import ConfigError
from innkeeper.machine.names import NAME
from innkeeper.records import dataclass


class Action(StrEnum):
    """What follows when a guest ends by itself."""

    DESTROY = "destroy"
    RESTART = "restart"


def check_domain_name(name: str) -> str:
    """Raises `ConfigError` unless it can name a machine: a file's name, and no option.

    >>> check_domain_name("../etc")
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: a machine's name is '../etc'; it must be at most 63 letters, digits and . _ -, and not begin with a sign
    """
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise ConfigError(
            f"a machine's name is {shown!r}; it must be at most 63 letters, digits and . _ -, and not begin with a sign"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One machine. Raises `ConfigError` for what cannot be."""

    name: str
    uuid: UUID = field(default_factory=uuid4)
    title: str = ""
    description: str = ""
    machine: MachineConfig
    on_reboot: Action = Action.RESTART
    on_poweroff: Action = Action.DESTROY
    os_id: str = ""
    """What is, or is to be, installed: a name of libosinfo's, such as http://debian.org/debian/12."""

    def __post_init__(self) -> None:
        check_domain_name(self.name)
        if "\n" in self.title:
            raise ConfigError(f"the title of {self.name} has more than one line; the description may")

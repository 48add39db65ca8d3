"""What the manager offers: one object with a service for each kind of thing, of which marked methods may be called from outside.

Arguments and results of marked methods are JSON's own kinds (`TypedDict` where they have parts), a `Descriptor`, or a generator of such. Errors are
`innkeeper.errors`. The daemon calls them from several threads.
"""

import inspect
from collections.abc import Callable
from typing import Any, Self

from innkeeper.errors import ConfigError
from innkeeper.manager.agents import Agents
from innkeeper.manager.block_jobs import Blocks
from innkeeper.manager.descriptions import Descriptions
from innkeeper.manager.domains import Domains
from innkeeper.manager.events import Events
from innkeeper.manager.hardware import Hardware
from innkeeper.manager.installation.service import Installations
from innkeeper.manager.jobs import Jobs
from innkeeper.manager.launcher import Launcher
from innkeeper.manager.networks import Networks
from innkeeper.manager.node import Node
from innkeeper.manager.saves import Saves
from innkeeper.manager.served import is_served
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.storage import Pools, Volumes

Method = Callable[..., Any]
REFRESH = "refresh"
ANNOUNCED = {
    "networks.define": "defined",
    "networks.undefine": "undefined",
    "networks.create": "started",
    "networks.start": "started",
    "networks.destroy": "stopped",
    "pools.define": "defined",
    "pools.undefine": "undefined",
    "pools.build": "created",
    "pools.create": "started",
    "pools.start": "started",
    "pools.destroy": "stopped",
    "pools.delete": "deleted",
    "pools.refresh": "refreshed",
}
"""What has happened when a method has returned, in the words of libvirt's events."""


class Manager:
    """All that is kept for one user, or for the host."""

    def __init__(self, launcher: Launcher) -> None:
        self.events = Events()
        self.node = Node()
        self.networks = Networks()
        self.domains = Domains(launcher, self.events)
        self.installations = Installations(self.domains)
        self.hardware = Hardware()
        self.saves = Saves(self.domains)
        self.jobs = Jobs(self.domains, self.saves)
        self.descriptions = Descriptions(self.domains, self.networks)
        self.agents = Agents(self.domains)
        self.pools = Pools()
        self.volumes = Volumes()
        self.snapshots = Snapshots(power=self.domains)
        self.blocks = Blocks(self.domains, self.snapshots)

    def close(self) -> None:
        """For clients: they hang up by it. The service itself holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def method(self, name: str) -> Method:
        """By its full name, as in `domains.start`. Raises `ConfigError` if there is none that may be called."""
        service, _, method = name.partition(".")
        found: Method | None = getattr(getattr(self, service, None), method, None)
        if found is None or not is_served(found):
            raise ConfigError(f"the manager cannot do {name[:80]!r}")
        return found

    def _announced(self, name: str, result: Any) -> Any:
        """Who watches hears of what has happened to networks and pools."""
        if name in ANNOUNCED:
            what = result["name"] if isinstance(result, dict) else result
            self.events.publish(
                what, ANNOUNCED[name], kind=REFRESH if name == "pools.refresh" else name.partition(".")[0]
            )
        return result

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Raises `InnkeeperError`, also for arguments that do not fit."""
        method = self.method(name)
        if has_nul([args, kwargs]):
            raise ConfigError(f"{name} is asked with a NUL character, which no name and no file has")
        try:
            inspect.signature(method).bind(*args, **kwargs)
        except TypeError as error:
            raise ConfigError(f"{name} takes other arguments: {error}") from error
        return self._announced(name, method(*args, **kwargs))


def has_nul(value: Any) -> bool:
    r"""Whether a text in it has a NUL, at which the host's own calls would end it.

    >>> has_nul(["a", {"b": "c"}]), has_nul([{"b": ["a\0"]}])
    (False, True)
    """
    if isinstance(value, str):
        return "\0" in value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(has_nul(part) for part in parts)

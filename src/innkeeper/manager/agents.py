"""The service of guests' agents: what only a program within the guest can do or tell.

Spec: the QEMU Guest Agent Protocol Reference. What an agent answers is a guest's word: parts that are not as they should be raise `HostError`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypedDict

from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, process_of
from innkeeper.manager.agent_answers import KINDS, Disks, known_commands, number, parts, whole, word
from innkeeper.manager.served import served

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains

PATIENCE_S = 60.0
ENDING_S, LOOK_S = 2.0, 0.05
NS = 10**9
COMMAND_LIMIT = 1 << 20
MODES = {"shutdown": "powerdown", "reboot": "reboot"}


class Interface(TypedDict):
    """A network interface as the guest knows it; addresses with their kinds and prefixes."""

    name: str
    mac: str
    addresses: list[tuple[str, str, int]]


class FileSystem(TypedDict):
    """One that is mounted in the guest; `disks` are targets of the machine's, or what the guest calls those that are not known."""

    mountpoint: str
    name: str
    type: str
    total: int | None
    used: int | None
    disks: list[str]


def execute(name: str, command: str, patience_s: float = PATIENCE_S, **arguments: Any) -> Any:
    """What the agent of a running machine answers. Raises `HostError`."""
    asked: dict[str, Any] = {"execute": command}
    if arguments:
        asked["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
    return forward(name, asked, patience_s)


def forward(name: str, asked: Mapping[str, Any], patience_s: float) -> Any:
    """The same in the agent's own words."""
    return ask(control_of(name), "agent", command=asked, timeout_s=patience_s, patience_s=patience_s + 30)


def disks_of(name: str) -> Disks:
    return Disks(ask(control_of(name), "devices")["disks"])


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """The file systems of a guest are as on a disk that was unmounted, and nobody writes to them; they go on whatever happens."""
    try:
        execute(name, "guest-fsfreeze-freeze")
    except HostError:
        with suppress(HostError):  # it may have begun to
            execute(name, "guest-fsfreeze-thaw")
        raise
    try:
        yield
    finally:
        execute(name, "guest-fsfreeze-thaw")


class Agents:
    """Of machines that run. Methods raise `InnkeeperError`."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    @served
    def command(self, name: str, text: str, *, timeout_s: float = PATIENCE_S) -> Any:
        """What the agent answers to a command in its own words."""
        name = self._domains.running_name(name)
        if len(text) > COMMAND_LIMIT:
            raise ConfigError(f"the command has {len(text)} characters; at most {COMMAND_LIMIT} can be")
        try:
            asked = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the command is no JSON: {error}") from error
        if not isinstance(asked, dict) or not isinstance(asked.get("execute"), str):
            raise ConfigError("the command must be a JSON object that says what to execute")
        return forward(name, asked, timeout_s)

    # ---- time -----------------------------------------------------------------------------------

    @served
    def time(self, name: str) -> int:
        """The guest's, in nanoseconds since 1970."""
        return whole(execute(self._domains.running_name(name), "guest-get-time"), "its time")

    @served
    def set_time(self, name: str, seconds: int | None = None, *, sync: bool = False) -> None:
        """Sets the guest's time: to these seconds since 1970, to this host's, or if it is to `sync` to what its real-time clock says."""
        name = self._domains.running_name(name)
        if sync:
            execute(name, "guest-set-time")
            return
        nanoseconds = time.time_ns() if seconds is None else seconds * NS
        execute(name, "guest-set-time", time=nanoseconds)

    # ---- file systems ---------------------------------------------------------------------------

    @served
    def freeze(self, name: str, mountpoints: list[str] | None = None) -> int:
        """Has file systems be complete on their disks, and nobody write to them; says how many."""
        name = self._domains.running_name(name)
        if mountpoints:
            return whole(execute(name, "guest-fsfreeze-freeze-list", mountpoints=mountpoints), "how many were frozen")
        return whole(execute(name, "guest-fsfreeze-freeze"), "how many were frozen")

    @served
    def thaw(self, name: str) -> int:
        return whole(execute(self._domains.running_name(name), "guest-fsfreeze-thaw"), "how many were thawed")

    @served
    def trim(self, name: str, minimum: int = 0) -> None:
        """Has blocks that no file system uses be discarded."""
        found = execute(self._domains.running_name(name), "guest-fstrim", minimum=minimum)
        for each in found.get("paths", []) if isinstance(found, dict) else ():
            if isinstance(each, dict) and "error" in each:
                raise HostError(f"{word(each.get('path'))} in the guest is not trimmed: {word(each['error'])}")

    @served
    def file_systems(self, name: str) -> list[FileSystem]:
        name = self._domains.running_name(name)
        found, machine = parts(execute(name, "guest-get-fsinfo"), "file systems"), disks_of(name)
        return [
            FileSystem(
                mountpoint=word(each.get("mountpoint")),
                name=word(each.get("name")),
                type=word(each.get("type")),
                total=number(each.get("total-bytes")),
                used=number(each.get("used-bytes")),
                disks=[
                    machine.target(disk) or word(disk.get("dev") or disk.get("serial"))
                    for disk in parts(each.get("disk", []), "disks")
                ],
            )
            for each in found
        ]

    # ---- what it is -----------------------------------------------------------------------------

    @served
    def host_name(self, name: str) -> str:
        found = execute(self._domains.running_name(name), "guest-get-host-name")
        return word(found.get("host-name") if isinstance(found, dict) else None)

    @served
    def interfaces(self, name: str) -> list[Interface]:
        found = parts(execute(self._domains.running_name(name), "guest-network-get-interfaces"), "interfaces")
        return [
            Interface(
                name=word(each.get("name")),
                mac=word(each.get("hardware-address", "")),
                addresses=[
                    (word(one.get("ip-address-type")), word(one.get("ip-address")), number(one.get("prefix")) or 0)
                    for one in parts(each.get("ip-addresses", []), "addresses")
                ],
            )
            for each in found
        ]

    @served
    def describe(self, name: str, kinds: list[str]) -> dict[str, str]:
        """All that is to be known of a guest, by virsh's names; of all kinds that the agent knows, unless some are asked for."""
        name = self._domains.running_name(name)
        known = None if kinds else known_commands(execute(name, "guest-info"))
        machine = disks_of(name)
        found: dict[str, str] = {}
        for kind in kinds or KINDS:
            command, flat = KINDS[kind]
            if known is None or command in known:
                found |= flat(execute(name, command), machine)
        return found

    # ---- what it does ---------------------------------------------------------------------------

    @served
    def shutdown(self, name: str, mode: str = "shutdown") -> str:
        """Has the guest shut down by itself, or reboot. Returns the machine's name."""
        name = self._domains.running_name(name)
        process = process_of(name)
        try:
            execute(name, "guest-shutdown", mode=MODES[mode])
        except HostError:  # it may have ended before it could answer, which is what was asked for
            deadline = time.monotonic() + ENDING_S
            while process_of(name) == process:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)
        return name

    @served
    def set_password(self, name: str, user: str, password: str, *, encrypted: bool = False) -> None:
        coded = base64.b64encode(password.encode()).decode()
        name = self._domains.running_name(name)
        execute(name, "guest-set-user-password", username=user, password=coded, crypted=encrypted)

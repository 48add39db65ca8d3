"""Which commands `inn virsh` has: in groups, as virsh's help has them, and which of them change nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from innkeeper.cli import Verb, load, machines, networks, node, shell, snapshots, storage
from innkeeper.cli.parser import Parser

FAILED = 1
"""The exit status of virsh for whatever went wrong."""

ONLY_HERE = {
    "screenshot": "save what a running machine's screen shows",
    "send-key": "press keys in a running machine",
}
"""The plain verbs of these names have arguments of their own."""

SAME = {"exit": "quit"}
MONITOR = frozenset(
    {
        "domblkerror", "domblkinfo", "domblklist", "domblkstat", "domcontrol", "domif-getlink", "domifaddr", "domiflist", "domifstat", "dominfo",
        "dommemstat", "domstate", "domstats", "list",
    }
)  # fmt: skip
READING = MONITOR | frozenset(
    {
        *shell.VERBS, *node.VERBS, "domdisplay", "domfsinfo", "domhostname", "domid", "domjobinfo", "guestinfo", "domname", "domuuid", "dumptoml", "dumpxml", "event",
        "managedsave-dumpxml", "net-dhcp-leases", "net-event", "net-dumpxml", "net-info", "net-list", "net-name", "net-uuid", "pool-dumpxml", "pool-event", "pool-info",
        "pool-list", "pool-name", "pool-uuid", "save-image-dumpxml", "snapshot-dumpxml", "snapshot-info",
        "snapshot-list", "snapshot-parent", "ttyconsole", "vcpucount", "vcpuinfo", "vncdisplay", "vol-dumpxml", "vol-info",
        "vol-key", "vol-list", "vol-name", "vol-path", "vol-pool",
    }
)  # fmt: skip
"""What `--readonly` lets through."""


class Group(NamedTuple):
    """Commands that belong together."""

    keyword: str
    title: str
    verbs: dict[str, str]


def part(verbs: Mapping[str, str], *, starting: str = "", among: frozenset[str] | None = None) -> dict[str, str]:
    return {
        name: summary
        for name, summary in sorted(verbs.items())
        if name.startswith(starting) and (among is None or name in among)
    }


OF_MACHINES = machines.VERBS | ONLY_HERE
GROUPS = (
    Group("domain", "machines", part(OF_MACHINES, among=frozenset(OF_MACHINES) - MONITOR)),
    Group("monitor", "what machines are and do", part(OF_MACHINES, among=MONITOR)),
    Group("host", "the host", part(node.VERBS)),
    Group("network", "networks", part(networks.VERBS)),
    Group("snapshot", "snapshots", part(snapshots.VERBS)),
    Group("pool", "storage pools", part(storage.VERBS, starting="pool-")),
    Group("volume", "volumes in storage pools", part(storage.VERBS, starting="vol-")),
    Group("virsh", "inn virsh itself", part(shell.VERBS)),
)
NAMES = {name: summary for group in GROUPS for name, summary in group.verbs.items()}


class Command(Parser):
    """One command's, which loads the verb when it is the one that was asked for."""

    mistake = FAILED


class Commands(Mapping[str, Parser]):
    """All of them, each made when it is looked at."""

    def __getitem__(self, name: str) -> Parser:
        if name not in NAMES:
            raise KeyError(name)
        parser = Command(prog=f"inn virsh {name}", description=NAMES[name], allow_abbrev=False)
        verb = module(name)
        verb.register(parser)
        parser.set_defaults(verb=verb)
        return parser

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


COMMANDS = Commands()


def module(name: str) -> Verb:
    if name in shell.VERBS:
        return cast("Verb", importlib.import_module(f"{shell.__name__}.{SAME.get(name, name)}"))
    return load(f"virsh-{name}" if name in ONLY_HERE else name)


def command(name: str) -> Parser | None:
    return COMMANDS.get(name)


def named(name: str) -> str:
    """Which one may have been meant."""
    from difflib import get_close_matches

    like = get_close_matches(name, NAMES, 1)
    return f"; did you mean {like[0]!r}?" if like else ""

"""A network on this host, started and ended: a list of steps each, every one of which can be done again.

The record comes first and goes last. Whoever is killed between leaves a record, by which the next start completes what is missing and the
next end removes what is there.
"""

import shutil
from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.net.host import bridge, dnsmasq, foreign, forwarding, records, rules, taps
from innkeeper.net.host.network import OWN_BRIDGE, Mode, Network
from innkeeper.net.host.records import Record, State
from innkeeper.records import dataclass

CAP_NET_ADMIN = 12
STATUS = Path("/proc/self/status")

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Owner:
    """A user whose machines may join without being root."""

    number: int
    taps: int = taps.COUNT


@dataclass(slots=True)
class Notes:
    """What a user should know of what was done, one sentence each."""

    said: list[str] = field(default_factory=list)

    def add(self, words: str | None) -> None:
        if words is not None:
            self.said.append(words)


def may_change() -> bool:
    """Whether this process has CAP_NET_ADMIN."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_NET_ADMIN & 1)
    return False


def start(network: Network, document: str, owner: Owner | None = None) -> list[str]:
    """Has the network there, whole, however much of it was. Returns what is to be known of it.

    Raises `HostError`; what was not there before is not there then either.
    """
    with records.locked():
        before = records.read(network.name)
        check(network)
        notes = Notes()
        try:
            run(steps_to_start(network, document, owner, notes))
        except HostError:
            if before is None or before.state is not State.ACTIVE:
                run(steps_to_end(record_of(network, document, State.ENDING), Notes()))
            raise
        return notes.said


def end(name: str) -> list[str]:
    """Takes away all that is there of a network. Returns what is to be known. Raises `HostError`."""
    with records.locked():
        record = records.read(name)
        if record is None:
            raise HostError(f"network {name} is not active")
        notes = Notes()
        run(steps_to_end(record, notes))
        return notes.said


def update(network: Network, document: str) -> None:
    """Tells an active network's server of other hosts and names. Raises `HostError`."""
    with records.locked():
        records.write(record_of(network, document, State.ACTIVE))
        if network.needs_server:
            dnsmasq.start(network)


def run(all_steps: list[Step]) -> None:
    for step in all_steps:
        step()


def is_active(record: Record | None) -> bool:
    """Whether a network is there as its record says."""
    if record is None or record.state is not State.ACTIVE:
        return False
    if record.mode == Mode.USER:
        return True
    link = bridge.look(record.bridge)
    if record.mode == Mode.BRIDGE:
        return link is not None and link.kind == "bridge"
    return bridge.ours(link, record.mac)


def check(network: Network) -> None:
    """All that can be known before anything is made. Raises `HostError`."""
    for record in records.every():
        if (
            record.name != network.name
            and record.bridge == network.bridge
            and Mode.BRIDGE not in (record.mode, network.mode)
        ):
            raise HostError(
                f"network {network.name} cannot have the bridge {network.bridge}, which network {record.name} has; "
                f"end that, or take another name"
            )
    if network.mode is Mode.BRIDGE:
        if not bridge.exists(network):
            raise HostError(f"network {network.name} is over the bridge {network.bridge}, which is not there")
        return
    bridge.check(network)
    if rules.has_rules(network):
        rules.require()
    if network.needs_server:
        dnsmasq.require()


def record_of(network: Network, document: str, state: State) -> Record:
    return Record(
        name=network.name,
        uuid=str(network.uuid),
        mode=network.mode,
        bridge=network.bridge,
        mac=bridge.mac_of(network),
        state=state,
        document=document,
        versions=tuple(forwarding.wanted(network)),
    )


def steps_to_start(network: Network, document: str, owner: Owner | None, notes: Notes) -> list[Step]:
    steps: list[Step] = [lambda: records.write(record_of(network, document, State.STARTING))]
    if network.mode in OWN_BRIDGE:
        steps += [
            lambda: bridge.make(network),
            lambda: bridge.configure(network),
            lambda: forwarding.switch_on(forwarding.wanted(network)),
            lambda: rules.apply(network) if rules.has_rules(network) else None,
            lambda: notes.said.extend(foreign.allow(network)) if rules.has_rules(network) else None,
            lambda: dnsmasq.start(network) if network.needs_server else dnsmasq.stop(network.name),
            lambda: bridge.plug(network.bridge, records.unplugged(network.name)),
            lambda: records.forget_unplugged(network.name),
        ]
    if owner is not None:
        steps.append(lambda: ignore(taps.ensure(network.bridge, owner.number, owner.taps)))
    steps.append(lambda: records.write(record_of(network, document, State.ACTIVE)))
    return steps


def steps_to_end(record: Record, notes: Notes) -> list[Step]:
    name = record.name
    if record.mode == Mode.BRIDGE:
        return [lambda: ignore(taps.remove(record.bridge)), lambda: records.remove(name)]
    others = {version for it in records.every() if it.name != name for version in it.versions}
    filtered = record.mode != Mode.OPEN
    return [
        lambda: records.write(replace(record, state=State.ENDING)),
        lambda: notes.add(unplugged(record)),
        lambda: dnsmasq.stop(name),
        lambda: foreign.disallow(name) if filtered else None,
        lambda: rules.remove(name) if filtered else None,
        lambda: ignore(taps.remove(record.bridge)),
        lambda: bridge.remove(record.bridge, record.mac),
        lambda: notes.add(forwarding.switch_back(others)),
        lambda: shutil.rmtree(records.files_of(name), ignore_errors=True),
        lambda: records.remove(name),
    ]


def unplugged(record: Record) -> str | None:
    """Machines that lose their cable."""
    if not bridge.is_there(record.bridge, record.mac):
        return None
    own = taps.prefix(record.bridge)
    there = [link for link in bridge.members(record.bridge) if not link.name.startswith(own)]
    if not there:
        return None
    records.write_unplugged(record.name, [(link.index, link.name) for link in there])
    return f"unplugged until {record.name} is started again: {', '.join(link.name for link in there)}"


def ignore(_: object) -> None:
    """For steps whose answer nobody asks for."""

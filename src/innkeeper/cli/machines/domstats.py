"""`inn domstats`: what machines have used and moved so far, in virsh's names."""

import argparse
from typing import TYPE_CHECKING, Any

from innkeeper.cli.machines import common, reasons
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.language import translate

if TYPE_CHECKING:
    from innkeeper.manager.domains import Listed
    from innkeeper.manager.service import Manager

GROUPS = ("state", "cpu-total", "balloon", "vcpu", "interface", "block", "exits")
STATES = {"running": 1, "paused": 3, "in shutdown": 4, "shut off": 5, "crashed": 6, "pmsuspended": 7}
GUEST = {
    "swap_in_bytes": "swap_in",
    "swap_out_bytes": "swap_out",
    "major_faults": "major_fault",
    "minor_faults": "minor_fault",
    "free_bytes": "unused",
    "total_bytes": "available",
    "available_bytes": "usable",
    "disk_cache_bytes": "disk_caches",
    "huge_page_allocations": "hugetlb_pgalloc",
    "huge_page_failures": "hugetlb_pgfail",
}
KIB = 1024
ELSEWHERE = ("perf", "iothread", "memory", "dirtyrate", "vm")
"""Groups of virsh's that nothing here belongs to."""
LISTED = {
    "active": "all that run",
    "inactive": "all that do not",
    "persistent": "all that are kept",
    "transient": "all that run without being kept",
    "running": "all that run and do not stand still",
    "paused": "all that stand still",
    "shutoff": "all that are shut off",
    "other": "all that do something else",
}
STATE_NAMES = {"running": "running", "paused": "paused", "shutoff": "shut off"}


def register(parser: argparse.ArgumentParser) -> None:
    text = "these machines; without any, all that run"
    operand(parser, "domain", text, required=False, many=True, metavar="NAME")
    add = parser.add_argument
    for group in GROUPS:
        add(f"--{group}", action="store_true", help=f"only this and what else is named: {group}")
    for group in ELSEWHERE:
        add(f"--{group}", action="store_true", help="of which machines here have no figures")
    for kind, text in LISTED.items():
        add(f"--list-{kind}", action="store_true", help=text)
    add("--enforce", action="store_true", help="have it be an error if there are no figures of what is named")
    add("--raw", action="store_true", help="taken for virsh's sake: figures are as they are")
    add("--nowait", action="store_true", help="taken for virsh's sake: nothing is waited for")
    refuse(parser, {"--backing": "what is read of a disk's backing images counts as the disk's own"})
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    absent = [group for group in ELSEWHERE if getattr(arguments, group)]
    if absent and arguments.enforce:
        raise ConfigError(f"--{absent[0]} is asked for with --enforce, and machines here have no such figures")
    manager = common.manager(arguments)
    kinds = [kind for kind in LISTED if getattr(arguments, f"list_{kind}")]
    if kinds and arguments.domain:
        raise ConfigError(f"--list-{kinds[0]} is given with {arguments.domain[0]}; name machines, or say which kind")
    names = arguments.domain or [one["name"] for one in manager.domains.all() if is_of(one, kinds or ["active"])]
    asked = [group for group in GROUPS if getattr(arguments, group.replace("-", "_"))]
    groups = asked if asked or absent else list(GROUPS)
    found = {name: statistics(manager, name, groups) for name in names}
    if arguments.json:
        common.show_json(found)
        return Status.DONE
    for name, facts in found.items():
        print(translate(f"Domain: '{name}'"))
        print("".join(f"  {key}={value}\n" for key, value in facts.items()))
    return Status.DONE


def is_of(one: "Listed", kinds: list[str]) -> bool:
    """Whether a machine is of one of the kinds at least."""
    holds = {
        "active": one["id"] is not None,
        "inactive": one["id"] is None,
        "persistent": one["persistent"],
        "transient": not one["persistent"],
        "other": one["state"] not in STATE_NAMES.values(),
    }
    holds |= {kind: one["state"] == state for kind, state in STATE_NAMES.items()}
    return any(holds[kind] for kind in kinds)


def statistics(manager: "Manager", name: str, groups: list[str]) -> dict[str, Any]:
    """One machine's figures. Of one that does not run there is only the state."""
    state = manager.domains.state(name)
    facts: dict[str, Any] = {}
    if "state" in groups:
        facts["state.state"], (_, facts["state.reason"]) = STATES.get(state, 0), reasons.reason(manager, name, state)
    if state == "shut off":
        return facts
    figures = manager.hardware.figures(name)
    cpu = {"time": figures["cpu_time_ns"], "user": figures["user_ns"], "system": figures["system_ns"]}
    parts: dict[str, dict[str, Any]] = {
        "cpu-total": {f"cpu.{name}": value for name, value in cpu.items()},
        "balloon": balloon(figures),
        "vcpu": vcpus(figures),
        "interface": interfaces(figures),
        "block": blocks(figures),
        "exits": {f"exits.{kind}": count for kind, count in figures["exits"].items()},
    }
    for group in groups:
        facts |= parts.get(group, {})
    return facts


def balloon(figures: Any) -> dict[str, Any]:
    memory = figures["memory"]
    return {
        "balloon.current": memory["current_kib"],
        "balloon.maximum": memory["maximum_kib"],
        **{f"balloon.{name}": value for name, value in guest_memory(memory["guest"]).items()},
        "balloon.rss": memory["resident_kib"],
    }


def guest_memory(guest: dict[str, int]) -> dict[str, int]:
    """What the guest says of its memory in virsh's words: sizes in KiB."""
    return {
        GUEST[name]: value // KIB if name.endswith("_bytes") else value
        for name, value in guest.items()
        if name in GUEST
    }


def vcpus(figures: Any) -> dict[str, Any]:
    listed = figures["vcpus"]
    facts: dict[str, Any] = {"vcpu.current": len(listed), "vcpu.maximum": figures["vcpus_maximum"]}
    for vcpu in listed:
        facts[f"vcpu.{vcpu['number']}.state"] = 1 if vcpu["state"] == "running" else 0
        facts[f"vcpu.{vcpu['number']}.time"] = vcpu["time_ns"]
    return facts


def interfaces(figures: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"net.count": len(figures["cards"])}
    for index, card in enumerate(figures["cards"]):
        facts[f"net.{index}.name"] = card["target"] or card["mac"]
        for key in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets"):
            facts[f"net.{index}.{key.replace('_', '.').replace('packets', 'pkts')}"] = card[key]
    return facts


def blocks(figures: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"block.count": len(figures["disks"])}
    for index, disk in enumerate(figures["disks"]):
        facts[f"block.{index}.name"] = disk["target"]
        if disk["source"]:
            facts[f"block.{index}.path"] = disk["source"]
        for key, value in disk.items():
            if key not in ("target", "source"):
                facts[f"block.{index}.{key.replace('_', '.')}"] = value
    return facts

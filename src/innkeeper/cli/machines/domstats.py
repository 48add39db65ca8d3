"""`inn domstats`: what machines have used and moved so far, in virsh's names."""

import argparse
from typing import TYPE_CHECKING, Any

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

GROUPS = ("state", "cpu-total", "balloon", "vcpu", "interface", "block", "exits")
STATES = {"running": 1, "paused": 3, "shut off": 5}
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


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domains", nargs="*", metavar="NAME", help="these machines; without any, all that run")
    for group in GROUPS:
        parser.add_argument(f"--{group}", action="store_true", help=f"only this and what else is named: {group}")
    parser.add_argument("--raw", action="store_true", help="taken for virsh's sake: figures are as they are")
    parser.add_argument("--list-active", action="store_true", help="all that run")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager = common.manager(arguments)
    names = arguments.domains or [one["name"] for one in manager.domains.all() if one["state"] != "shut off"]
    groups = [group for group in GROUPS if getattr(arguments, group.replace("-", "_"))] or list(GROUPS)
    found = {name: statistics(manager, name, groups) for name in names}
    if arguments.json:
        common.show_json(found)
        return Status.DONE
    for name, facts in found.items():
        say(f"Domain: '{name}'")
        print("".join(f"  {key}={value}\n" for key, value in facts.items()))
    return Status.DONE


def statistics(manager: "Manager", name: str, groups: list[str]) -> dict[str, Any]:
    """One machine's figures. Of one that does not run there is only the state."""
    state = manager.domains.state(name)
    facts: dict[str, Any] = {"state.state": STATES.get(state, 0), "state.reason": 1} if "state" in groups else {}
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
    facts: dict[str, Any] = {"vcpu.current": len(listed), "vcpu.maximum": len(listed)}
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

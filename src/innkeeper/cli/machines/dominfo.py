"""`inn dominfo`: what a machine is."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate

NS = 1e9


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    info, counts = manager.domains.info(name), manager.hardware.vcpu_counts(name)
    vcpus = counts["live"] or counts["config"]
    figures = manager.hardware.figures(name) if info["id"] is not None else None
    facts = {
        "Id": str(info["id"] or "-"),
        "Name": info["name"],
        "UUID": info["uuid"],
        "OS Type": "hvm",
        "State": translate(info["state"]),
        "CPU(s)": str(vcpus["current"] if vcpus is not None else info["vcpus"]),
        "Max CPU(s)": str(vcpus["maximum"] if vcpus is not None else info["vcpus"]),
        "CPU time": "" if figures is None else f"{figures['cpu_time_ns'] / NS:.1f}s",
        "Max memory": f"{info['memory_kib']} KiB",
        "Used memory": "" if figures is None else f"{figures['memory']['current_kib']} KiB",
        "Engine": info["engine"],
        "Persistent": translate("yes" if info["persistent"] else "no"),
        "Autostart": translate("enable" if info["autostart"] else "disable"),
        "Managed save": translate("yes" if info["managed_save"] else "no"),
    }
    common.show_facts(arguments, {name: value for name, value in facts.items() if value})
    return Status.DONE

"""`inn nodeinfo`: what processors and how much memory the host has."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    info = common.manager(arguments).node.info()
    facts = {
        "CPU model": info["model"],
        "CPU(s)": str(info["cpus"]),
        "CPU frequency": f"{info['mhz']} MHz",
        "CPU socket(s)": str(info["sockets"]),
        "Core(s) per socket": str(info["cores"]),
        "Thread(s) per core": str(info["threads"]),
        "NUMA cell(s)": str(info["nodes"]),
        "Memory size": f"{info['memory_kib']} KiB",
    }
    common.show_facts(arguments, facts, columns=20)
    return Status.DONE

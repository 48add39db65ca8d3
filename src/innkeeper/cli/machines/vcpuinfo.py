"""`inn vcpuinfo`: what each vCPU of a running machine does."""

import argparse
import os

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status

NS = 1e9


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    vcpus = common.manager(arguments).hardware.figures(common.name_of(arguments))["vcpus"]
    if arguments.json:
        common.show_json(vcpus)
        return Status.DONE
    affinity = "y" * (os.cpu_count() or 1)
    for vcpu in vcpus:
        facts = {
            "VCPU": vcpu["number"],
            "CPU": "N/A" if vcpu["processor"] is None else vcpu["processor"],
            "State": vcpu["state"],
            "CPU time": f"{vcpu['time_ns'] / NS:.1f}s",
            "CPU Affinity": affinity,
        }
        print(common.facts_text(facts))
    return Status.DONE

"""`inn vcpuinfo`: what each vCPU of a running machine does."""

import argparse
import os

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status

NS = 1e9


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--pretty", action="store_true", help="the host's processors as a range")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    vcpus = common.manager(arguments).hardware.figures(common.name_of(arguments))["vcpus"]
    if arguments.json:
        common.show_json(vcpus)
        return Status.DONE
    count = os.cpu_count() or 1
    affinity = f"{'0-' * (count > 1)}{count - 1} (out of {count})" if arguments.pretty else "y" * count
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

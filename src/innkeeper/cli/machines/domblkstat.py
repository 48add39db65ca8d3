"""`inn domblkstat`: what a running machine's disk has been asked for."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

NAMES = {
    "rd_req": "rd_reqs",
    "rd_bytes": "rd_bytes",
    "wr_req": "wr_reqs",
    "wr_bytes": "wr_bytes",
    "flush_operations": "fl_reqs",
    "rd_total_times": "rd_times",
    "wr_total_times": "wr_times",
    "flush_total_times": "fl_times",
    "errs": "errors",
}
WORDS = {
    "rd_req": "number of read operations",
    "rd_bytes": "number of bytes read",
    "wr_req": "number of write operations",
    "wr_bytes": "number of bytes written",
    "flush_operations": "number of flush operations",
    "rd_total_times": "total duration of reads (ns)",
    "wr_total_times": "total duration of writes (ns)",
    "flush_total_times": "total duration of flushes (ns)",
    "errs": "error count",
}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "device", "its target, as in vda, or its file; all together if not given", required=False)
    parser.add_argument("--human", action="store_true", help="say what each figure is")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = arguments.device
    disks = common.manager(arguments).hardware.figures(common.name_of(arguments))["disks"]
    found = [disk for disk in disks if wanted is None or wanted in (disk["target"], disk["source"])]
    if not found:
        known = ", ".join(disk["target"] for disk in disks) or "none at all"
        raise ConfigError(f"the machine has no disk {wanted or 'that could be asked'}; it has {known}")
    facts = {name: sum(disk[key] for disk in found) for name, key in NAMES.items()}  # type: ignore[literal-required] # as above
    if arguments.json:
        common.show_json(facts)
    elif arguments.human:
        print("".join(f"{wanted or ''} {WORDS[name] + ':':<32} {value}\n" for name, value in facts.items()))
    else:
        print("".join(f"{wanted or ''} {name} {value}\n" for name, value in facts.items()))
    return Status.DONE

"""`inn doctor`: what this host offers to guests, what follows from it, and how to get more."""

import argparse
import json
from dataclasses import asdict

from innkeeper.cli.status import Status
from innkeeper.config import EngineChoice
from innkeeper.engine import Host, choose
from innkeeper.errors import EngineError
from innkeeper.host import Finding, examine

NAME_WIDTH = 16


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def execute(arguments: argparse.Namespace) -> int:
    try:
        from innkeeper import _core
    except ImportError as error:
        raise EngineError(f"the extension innkeeper._core does not load ({error}); build it with make build") from error
    probe = _core.kvm_probe()
    unavailable = _core.bt_unavailable()
    findings = examine(probe, _core.host_features(), unavailable)
    host = Host(kvm_probe=lambda: probe, bt_unavailable=lambda: unavailable)
    why = choose(EngineChoice.AUTO, frozenset(), host=host).why
    if arguments.json:
        report = {"findings": [asdict(finding) for finding in findings], "engine_auto": why}
        print(json.dumps(report, indent=2))
    else:
        print("\n".join([*map(describe, findings), line("--engine auto", why)]))
    return Status.DONE


def describe(finding: Finding) -> str:
    lines = [
        line(finding.name, f"{finding.status}: {finding.summary}"),
        line("", f"so: {finding.consequence}"),
    ]
    if finding.advice is not None:
        lines.append(line("", f"for more: {finding.advice}"))
    return "\n".join(lines)


def line(name: str, text: str) -> str:
    return f"{name:{NAME_WIDTH}}{text}"

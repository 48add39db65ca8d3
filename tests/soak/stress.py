"""All of the guest's own stress, every class of stress-ng included, on one and two processors."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from innkeeper.config import EngineChoice
from innkeeper.errors import ConfigError
from innkeeper.image import fetch_kernel
from tests.stress.image import build_stress_guest, can_compile, words
from tests.stress.run import OWN_PARTS, Report, Work, stress

from .report import say

ROUNDS = 5
CRAMPED_MIB = 4  # a boot needs ten
ALL = ("boot", *OWN_PARTS, "modules", "together", "ng")
OWN_LIMIT_S = 1200  # for a round of what is not stress-ng; an interpreter needs a minute or two
CLASS_EXTRA_S = 30  # for what a class does before and after its time


def soak_stress(arguments: argparse.Namespace, folder: Path) -> bool:
    if not can_compile():
        raise ConfigError("gcc (Debian package gcc, with libc6-dev) builds the programs of the stress guest")
    kernel = fetch_kernel()
    initrd = build_stress_guest(kernel, folder)
    good = True
    for work in works(arguments):
        report = stress(kernel.vmlinuz, initrd, work)
        tell(report, work)
        good = good and report.passed
    return good


def works(arguments: argparse.Namespace) -> Iterator[Work]:
    """Everything, for each count of processors; and what rewrites code again, with hardly a place for translations."""
    for vcpus in arguments.vcpus or (1, 2):
        yield work_for(arguments, vcpus)
        if arguments.engine is EngineChoice.BT and not arguments.part:
            yield replace(work_for(arguments, vcpus), parts=("boot", *OWN_PARTS), rounds=1, code_cache_mib=CRAMPED_MIB)


def work_for(arguments: argparse.Namespace, vcpus: int) -> Work:
    rounds = arguments.count or ROUNDS
    limit_s = rounds * OWN_LIMIT_S + len(words("classes")) * (arguments.seconds + CLASS_EXTRA_S)
    return Work(
        parts=tuple(arguments.part or ALL),
        vcpus=vcpus,
        engine=arguments.engine,
        rounds=rounds,
        seconds=arguments.seconds,
        limit_s=limit_s,
    )


def tell(report: Report, work: Work) -> None:
    on = f"with {work.vcpus} vCPUs" + (f" and {work.code_cache_mib} MiB of code cache" if work.code_cache_mib else "")
    by_word: dict[str, list[str]] = {"PASS": [], "SKIP": [], "FAIL": []}
    for name, verdict in report.verdicts.items():
        by_word[verdict.word].append(name)
        if verdict.word == "FAIL":
            say("stress", f"{name} {on} FAILS:\n{verdict.complaint}")
    counts = ", ".join(f"{len(names)} {word}" for word, names in by_word.items())
    took = sum(verdict.seconds for verdict in report.verdicts.values())
    say("stress", f"{counts} {on} in {took:.0f} s of the guest's; skipped: {by_word['SKIP']}")
    if report.failure:
        say("stress", f"the guest {on} does not reach its end: {report.failure}")

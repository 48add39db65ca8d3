"""Boots in which the interpreter checks what translated code does, or in which what is rare is frequent."""

import argparse
import time
from pathlib import Path

from innkeeper import EngineError, OutcomeKind
from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage, fetch_kernel
from tests.checked import LONG, Way, boot

from .guests import build_guest, complaints
from .report import say

LIMIT_S = 1800
# Dropping translations all the time, a guest is so slow that its watchdogs bark.
APPEND = "console=ttyS0 nowatchdog rcupdate.rcu_cpu_stall_suppress=1"


def soak_checked(arguments: argparse.Namespace, folder: Path) -> bool:
    if arguments.engine is not EngineChoice.BT:
        say("checked", f"engine {arguments.engine} translates nothing")
        return True
    kernel, initrd = fetch_kernel(), build_guest(folder)
    rounds = range(arguments.count or 1)
    verdicts = [is_good(way, kernel, initrd) for _ in rounds for way in LONG]
    return all(verdicts)


def is_good(way: Way, kernel: KernelImage, initrd: Path) -> bool:
    start = time.monotonic()
    try:
        outcome, said = boot(way, kernel.vmlinuz, initrd, append=APPEND, limit_s=LIMIT_S)
    except EngineError as error:
        say("checked", f"{way.name}: FAILS: {error}")
        return False
    wrong = complaints(said, kernel, 1)
    if outcome.kind is not OutcomeKind.POWERED_OFF:
        wrong.append(f"it ended otherwise: {outcome}")
    if wrong:
        say("checked", f"{way.name}: FAILS: " + "\n  ".join(wrong))
    else:
        say("checked", f"{way.name}: {time.monotonic() - start:.0f} s")
    return not wrong

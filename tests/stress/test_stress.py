"""A sample of the guest's own stress under binary translation; `scripts/soak stress` does all of it, and longer.

The interpreter passes it too, but takes minutes.
"""

from pathlib import Path

import pytest

from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage
from tests.engines import skip_unless_available

from .image import words
from .run import OWN_PARTS, Report, Work, stress

pytestmark = [pytest.mark.boot, pytest.mark.slow]

# What is hard on a translator: code that changes, traps, signals, other processors, floating point, memory maps.
CLASSES = (
    *("cpu", "vm", "icache", "opcode", "vecmath", "fp", "str", "branch", "far-branch", "longjmp"),
    *("sigsegv", "sigfpe", "sigtrap", "bad-altstack", "priv-instr", "usersyscall", "mprotect", "userfaultfd"),
    *("clone", "vfork", "futex", "switch", "timer", "tlb-shootdown", "mcontend", "affinity"),
)
ALONE = Work(vcpus=1, parts=("boot", *OWN_PARTS, "modules"))
PAIR = Work(vcpus=2, parts=("boot", *OWN_PARTS, "together", *(f"ng:{name}" for name in CLASSES)))
CRAMPED = Work(vcpus=2, parts=("boot", "code", "faults", "steps", "threads", "bpf"), code_cache_mib=4)


def run(debian: KernelImage, stress_guest: Path, work: Work) -> Report:
    skip_unless_available(work.engine)
    return stress(debian.vmlinuz, stress_guest, work)


@pytest.fixture(scope="module")
def alone(debian: KernelImage, stress_guest: Path) -> Report:
    return run(debian, stress_guest, ALONE)


@pytest.fixture(scope="module")
def pair(debian: KernelImage, stress_guest: Path) -> Report:
    return run(debian, stress_guest, PAIR)


@pytest.fixture(scope="module")
def cramped(debian: KernelImage, stress_guest: Path) -> Report:
    return run(debian, stress_guest, CRAMPED)


def passes(report: Report, part: str) -> None:
    """A run that ended early is told of once, by the test of its end; its parts until then count."""
    if part not in report.verdicts:
        pytest.skip("the guest did not get that far")
    verdict = report.verdicts[part]
    if verdict.word == "SKIP":
        pytest.skip(f"the guest cannot do it: {verdict.complaint.strip()}")
    assert verdict.word == "PASS", verdict.complaint


@pytest.mark.parametrize("part", ALONE.parts)
def test_it_holds_on_one_processor(alone: Report, part: str) -> None:
    passes(alone, part)


@pytest.mark.parametrize("part", PAIR.parts)
def test_it_holds_on_two_processors(pair: Report, part: str) -> None:
    passes(pair, part)


@pytest.mark.parametrize("part", CRAMPED.parts)
def test_it_holds_in_a_code_cache_that_is_always_full(cramped: Report, part: str) -> None:
    passes(cramped, part)


def test_the_run_on_one_processor_reaches_its_end(alone: Report) -> None:
    assert not alone.failure


def test_the_run_on_two_processors_reaches_its_end(pair: Report) -> None:
    assert not pair.failure


def test_the_run_in_a_small_code_cache_reaches_its_end(cramped: Report) -> None:
    assert not cramped.failure


def test_the_classes_of_the_sample_are_in_the_list() -> None:
    assert set(CLASSES) <= set(words("classes"))


def test_a_part_that_is_wrong_is_found(debian: KernelImage, stress_guest: Path) -> None:
    """The guest must be able to fail: it is told to do what it cannot."""
    report = run(debian, stress_guest, Work(vcpus=1, parts=("nonsense",), engine=EngineChoice.BT))

    assert not report.failure
    assert not report.passed
    assert report.verdicts["nonsense"].word == "FAIL"
    assert "part_nonsense: not found" in report.verdicts["nonsense"].complaint

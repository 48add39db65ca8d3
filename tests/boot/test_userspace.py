"""Debian's own kernel from its first instruction to a shell script and a power-off; one boot, much looked at."""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import pytest

from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import LIMIT_S, Done, guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

TOUR = """
section() { echo "=== $1"; }
section uname; uname -sr
section cpuinfo; cat /proc/cpuinfo
section memory; cat /proc/meminfo
section command-line; cat /proc/cmdline
section modules; lsmod
section time; date +%s
section interrupts; cat /proc/interrupts
section arithmetic; awk 'BEGIN { printf "%.12f %e\\n", 355 / 113, 1 / 3e200 }'; seq 1000 | sha256sum
section log; dmesg
section end; sleep 0.2; poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Tour:
    """What the guest showed, section by section, and what the host counted meanwhile."""

    engine: EngineChoice
    done: Done
    sections: dict[str, str]
    report: dict[str, Any]


@pytest.fixture(scope="module")
def tour(
    debian: KernelImage, initramfs: Initramfs, tmp_path_factory: pytest.TempPathFactory, engine: EngineChoice
) -> Tour:
    stats = tmp_path_factory.mktemp("stats") / "stats.json"
    options = guest(debian.vmlinuz, initramfs(TOUR), append="console=ttyS0", engine=engine)
    done = inn_run(*options, "--stats", str(stats))
    assert "=== end\n" in done.said, done.said[-2000:] + done.complaint
    parts = re.split(r"^=== ([\w-]+)\n", done.said, flags=re.MULTILINE)
    return Tour(engine, done, dict(zip(parts[1::2], parts[2::2], strict=True)), json.loads(stats.read_text()))


def test_a_power_off_ends_the_run_with_status_0(tour: Tour) -> None:
    assert tour.done.status == 0
    assert tour.done.complaint == f"engine {tour.engine}: as asked\n"
    assert "reboot: Power down" in tour.sections["end"]


def test_the_kernel_is_debians_own(tour: Tour, debian: KernelImage) -> None:
    assert tour.sections["uname"] == f"Linux {debian.release}\n"
    assert tour.sections["command-line"] == "console=ttyS0\n"


def test_there_is_one_processor_and_it_says_what_it_is(tour: Tour) -> None:
    facts = dict(re.findall(r"^(.+?)\s*: (.*)$", tour.sections["cpuinfo"], re.MULTILINE))

    assert tour.sections["cpuinfo"].count("processor\t: ") == 1
    assert {"lm", "nx", "sse2", "hypervisor", "x2apic", "tsc_deadline_timer"} <= set(facts["flags"].split())
    assert "vmx" not in facts["flags"].split()
    assert "svm" not in facts["flags"].split()


def test_the_memory_given_is_there(tour: Tour) -> None:
    (total_kib,) = re.findall(r"MemTotal: +(\d+) kB", tour.sections["memory"])

    assert 430 << 10 < int(total_kib) < 512 << 10


def test_modules_load_into_the_kernel(tour: Tour) -> None:
    assert re.search(r"^virtio_net ", tour.sections["modules"], re.MULTILINE)


def test_time_comes_from_kvmclock_and_the_cmos_clock(tour: Tour) -> None:
    log = tour.sections["log"]

    assert "kvm-clock: Using msrs 4b564d01 and 4b564d00" in log
    assert "Calibrating delay loop (skipped) preset value" in log
    assert "tsc: Fast TSC calibration" not in log
    assert "tsc: Unable to calibrate" not in log
    assert abs(int(tour.sections["time"]) - time.time()) < LIMIT_S


def test_floating_point_and_sha_in_userspace_are_right(tour: Tour) -> None:
    assert tour.sections["arithmetic"].splitlines() == [
        "3.141592920354 3.333333e-201",
        "67d4ff71d43921d5739f387da09746f405e425b07d727e4c69d029461d1f051f  -",
    ]


def test_the_kernel_finds_nothing_to_complain_about(tour: Tour) -> None:
    bad = (
        r"BUG|WARNING:|Oops|Call Trace|ACPI (BIOS )?(Error|Warning)|\[Firmware Bug\]|unchecked MSR|soft lockup|segfault"
    )

    assert len(tour.sections["log"].splitlines()) > 100
    assert [line for line in tour.sections["log"].splitlines() if re.search(bad, line)] == []


def test_the_ledger_has_the_run_in_figures(tour: Tour) -> None:
    report = tour.report
    (vcpu,) = report["vcpus"]

    assert (report["engine"], report["outcome"], report["resets"]) == (tour.engine, "powered_off", 0)
    assert report["instructions"] == vcpu["instructions"]
    assert report["mips"] == pytest.approx(report["instructions"] / 1e6 / ran(report), rel=0.01, abs=0.1)
    for key in ("interrupts", "tlb_fills", "tlb_flushes", "halts", "cpuids", "msr_reads", "msr_writes", "mmio_reads"):
        assert vcpu[key] > 0, key


def test_the_ledger_tells_what_was_interpreted_and_what_translated(tour: Tour) -> None:
    (vcpu,) = tour.report["vcpus"]

    if tour.engine is EngineChoice.INTERP:
        assert 0 < vcpu["blocks_decoded"] < vcpu["instructions_decoded"] < vcpu["blocks"] < vcpu["instructions"]
        assert vcpu["instructions"] > 500_000_000
        assert vcpu["blocks_translated"] == 0
    else:
        assert vcpu["instructions"] < 50_000_000
        assert vcpu["blocks_translated"] > 10_000
        assert vcpu["host_code_bytes"] > vcpu["guest_code_bytes"] > 0


def test_the_ledger_counts_accesses_by_port(tour: Tour) -> None:
    (vcpu,) = tour.report["vcpus"]
    reads = sum(count for port, count in vcpu["ports"].items() if port.startswith("in "))
    writes = sum(count for port, count in vcpu["ports"].items() if port.startswith("out "))

    assert (reads, writes) == (vcpu["port_reads"], vcpu["port_writes"])
    assert vcpu["ports"]["out 0x3f8"] >= len(tour.done.said)
    assert vcpu["ports"]["out 0x604"] >= 1  # PM1a control: the power-off


def test_the_ledger_counts_exceptions_by_vector(tour: Tour) -> None:
    (vcpu,) = tour.report["vcpus"]

    assert vcpu["page_faults"] == vcpu["exceptions"]["14"] > 100
    assert "8" not in vcpu["exceptions"]  # no double fault


def test_the_ledger_has_when_each_phase_was_reached(tour: Tour) -> None:
    phases = ["built", "started", "first_output", "userspace", "ended"]
    seconds = [tour.report["seconds"][phase] for phase in phases]

    assert list(tour.report["seconds"]) == phases
    assert seconds[0] > 0
    assert seconds == sorted(seconds)


def ran(report: dict[str, Any]) -> float:
    seconds: float = report["seconds"]["ended"] - report["seconds"]["started"]
    return seconds

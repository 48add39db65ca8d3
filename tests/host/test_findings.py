"""What is concluded from a host, on hosts made up of files."""

from pathlib import Path
from typing import Any

import pytest

from innkeeper.host import Status, examine
from innkeeper.host.kvm import find_kvm
from innkeeper.host.memory import find_huge_pages, find_memory
from innkeeper.host.namespaces import find_tap, find_user_namespaces, try_namespaces
from innkeeper.host.packages import find_firmware, find_image_tools
from innkeeper.host.processor import find_processor
from innkeeper.host.translation import find_translation

GOOD_KVM: dict[str, Any] = {
    "usable": True,
    "why": "",
    "backend": "kvm_intel",
    "api_version": 12,
    "ring0_native": True,
    "ring0_mips": 2500.0,
    "syscall": True,
    "paging_32bit": True,
    "int3": True,
    "cpuid_masking": True,
    "tsc_offset": True,
    "seconds": 0.1,
}


def test_a_kvm_that_does_everything_is_used() -> None:
    finding = find_kvm(GOOD_KVM)

    assert finding.status is Status.YES
    assert finding.summary == "usable (kvm_intel), 2500 million ring-0 instructions a second"
    assert finding.advice is None


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("ring0_native", "kernel code at the processor's own speed"),
        ("syscall", "SYSCALL into the kernel"),
        ("cpuid_masking", "hiding CPU features from the guest"),
    ],
)
def test_a_kvm_that_lacks_something_says_what(lacking: str, sentence: str) -> None:
    finding = find_kvm({**GOOD_KVM, lacking: False})

    assert finding.status is Status.PARTLY
    assert finding.summary.endswith(f"but lacks {sentence}")
    assert "in software" in finding.consequence


@pytest.mark.parametrize(("exists", "mode", "advice"), [(False, 0, "load kvm_intel or kvm_amd"), (True, 0o600, None)])
def test_an_unusable_kvm_comes_with_the_way_to_get_one(
    tmp_path: Path, exists: bool, mode: int, advice: str | None
) -> None:
    device = tmp_path / "kvm"
    if exists:
        device.touch(mode)

    finding = find_kvm({"usable": False, "why": "/dev/kvm: No such device"}, device)

    assert finding.status is Status.NO
    assert finding.summary == "/dev/kvm: No such device"
    assert finding.advice is None if advice is None else finding.advice and advice in finding.advice


@pytest.mark.parametrize(
    ("enabled", "status"),
    [
        ("[always] madvise never", Status.YES),
        ("always [madvise] never", Status.PARTLY),
        ("always madvise [never]", Status.NO),
        (None, Status.NO),
    ],
)
def test_huge_pages(tmp_path: Path, enabled: str | None, status: Status) -> None:
    if enabled is not None:
        (tmp_path / "transparent_hugepage").mkdir()
        (tmp_path / "transparent_hugepage/enabled").write_text(enabled + "\n")
        (tmp_path / "hugepages/hugepages-2048kB").mkdir(parents=True)
        (tmp_path / "hugepages/hugepages-2048kB/free_hugepages").write_text("7\n")

    finding = find_huge_pages(tmp_path)

    assert finding.status is status
    assert finding.facts["free"] == ({"2048kB": 7} if enabled else {})
    assert (finding.advice is None) == (status is Status.YES)


def test_little_memory_comes_with_advice(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        1048576 kB\nMemFree: 1 kB\nMemAvailable:     102400 kB\n")

    finding = find_memory(meminfo)

    assert (finding.status, finding.summary) == (Status.PARTLY, "100 MiB available of 1024 MiB")
    assert finding.advice is not None


def test_namespaces_that_are_refused() -> None:
    finding = find_user_namespaces({"user": "Operation not permitted"})

    assert (finding.status, finding.summary) == (Status.NO, "cannot be made: Operation not permitted")
    assert finding.advice is not None


def test_the_attempt_at_namespaces_leaves_this_process_where_it_was() -> None:
    before = [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("user", "net")]

    report = try_namespaces()

    assert set(report) == {"user", "net", "tap"}
    assert [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("user", "net")] == before


def test_a_tap_only_in_our_own_namespace(tmp_path: Path) -> None:
    finding = find_tap({"user": None, "net": None, "tap": None}, tmp_path / "absent")

    assert finding.status is Status.PARTLY


def test_no_tap_at_all(tmp_path: Path) -> None:
    finding = find_tap({"user": None, "net": None, "tap": "not tried"}, tmp_path / "absent")

    assert finding.status is Status.NO
    assert finding.summary == f"cannot be made: {tmp_path}/absent: No such file or directory"


@pytest.mark.parametrize(
    ("present", "status"), [(["seabios", "OVMF"], Status.YES), (["OVMF"], Status.PARTLY), ([], Status.NO)]
)
def test_firmware(tmp_path: Path, present: list[str], status: Status) -> None:
    files = {"seabios": "seabios/bios-256k.bin", "OVMF": "OVMF/OVMF_CODE_4M.fd"}
    for name in present:
        path = tmp_path / "usr/share" / files[name]
        path.parent.mkdir(parents=True)
        path.touch()

    finding = find_firmware(tmp_path)

    assert finding.status is status
    assert (finding.advice is None) == (status is Status.YES)


def test_a_host_without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    finding = find_image_tools()

    assert (finding.status, finding.summary) == (Status.NO, "not there: apt, dpkg")


def test_the_processor_lists_what_it_lacks(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Test CPU\n")

    finding = find_processor({"avx2": True, "sha": False}, cpuinfo)

    assert finding.summary.startswith("Test CPU, ")
    assert finding.advice == "a processor that has sha"


def test_a_processor_that_runs_translated_code() -> None:
    finding = find_translation(None)

    assert finding.status is Status.YES
    assert "--engine bt" in finding.consequence
    assert finding.advice is None


def test_a_processor_that_does_not_says_what_it_lacks() -> None:
    finding = find_translation("the host's processor has no AVX")

    assert (finding.status, finding.summary) == (Status.NO, "the host's processor has no AVX")
    assert "--engine interp" in finding.consequence
    assert finding.advice is not None


def test_everything_is_examined_on_this_very_host() -> None:
    findings = examine(GOOD_KVM, {"avx2": True}, None)

    names = [finding.name for finding in findings]
    assert names == [
        "processor",
        "KVM",
        "translation",
        "memory",
        "huge pages",
        "user namespaces",
        "tap",
        "firmware",
        "image tools",
        "network tools",
    ]

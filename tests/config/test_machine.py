"""The machine's configuration: what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from innkeeper.config import (
    CODE_CACHE_MIB_LIMIT,
    VCPUS_LIMIT,
    ConsoleConfig,
    ConsoleKind,
    EngineChoice,
    InputKind,
    MachineConfig,
)
from innkeeper.errors import ConfigError

KERNEL = Path("vmlinuz")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"memory_mib": 0}, "memory is 0 MiB; it must be between 2 and 1048576"),
        ({"memory_mib": 10**9}, "memory is 1000000000 MiB; it must be between 2 and 1048576"),
        ({"memory_mib": -5}, "memory is -5 MiB; it must be between 2 and 1048576"),
        ({"vcpus": 0}, f"vcpus is 0; it must be between 1 and {VCPUS_LIMIT}"),
        ({"vcpus": 999}, f"vcpus is 999; it must be between 1 and {VCPUS_LIMIT}"),
        ({"vcpus": 2, "max_vcpus": 1}, f"maxvcpus is 1; it must be between 2 and {VCPUS_LIMIT}"),
        ({"max_vcpus": 65}, f"maxvcpus is 65; it must be between 1 and {VCPUS_LIMIT}"),
        ({"code_cache_mib": 0}, "code cache is 0 MiB; it must be between 1 and 1024"),
        ({"code_cache_mib": 1025}, "code cache is 1025 MiB; it must be between 1 and 1024"),
        ({"trace": True}, "trace is on, and the engine is auto; only bt traces"),
        ({"trace": True, "engine": EngineChoice.KVM}, "trace is on, and the engine is kvm; only bt traces"),
        ({"timeout_s": 0.0}, "timeout is 0 s; it must be above 0 and at most 1e+09"),
        ({"timeout_s": float("nan")}, "timeout is nan s; it must be above 0 and at most 1e+09"),
        ({"timeout_s": 1e300}, "timeout is 1e+300 s; it must be above 0 and at most 1e+09"),
        ({"append": "a\0b"}, "append holds a NUL character; a kernel command line ends at the first one"),
        ({"append": "é" * 1024}, "append is 2048 bytes long; a kernel command line has at most 2047"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        MachineConfig(kernel=KERNEL, **values)

    assert str(raised.value) == sentence


@pytest.mark.parametrize(("memory_mib", "vcpus"), [(2, 1), (1 << 20, VCPUS_LIMIT)])
def test_the_limits_themselves_are_allowed(memory_mib: int, vcpus: int) -> None:
    config = MachineConfig(kernel=KERNEL, memory_mib=memory_mib, vcpus=vcpus)

    assert (config.memory_mib, config.vcpus) == (memory_mib, vcpus)


@pytest.mark.parametrize("code_cache_mib", [1, CODE_CACHE_MIB_LIMIT])
def test_the_limits_of_the_code_cache_are_allowed(code_cache_mib: int) -> None:
    assert MachineConfig(kernel=KERNEL, code_cache_mib=code_cache_mib).code_cache_mib == code_cache_mib


def test_the_engine_that_traces_may_be_told_to() -> None:
    assert MachineConfig(kernel=KERNEL, trace=True, engine=EngineChoice.BT).trace


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("stdio", ConsoleKind.STDIO, None),
        ("none", ConsoleKind.NONE, None),
        ("pty", ConsoleKind.PTY, None),
        ("file:serial.log", ConsoleKind.FILE, Path("serial.log")),
        ("unix:/run/a:b.sock", ConsoleKind.UNIX, Path("/run/a:b.sock")),
    ],
)
def test_console_forms_of_the_command_line(text: str, kind: ConsoleKind, path: Path | None) -> None:
    assert ConsoleConfig.parse(text) == ConsoleConfig(kind=kind, path=path)


@pytest.mark.parametrize("text", ["", "vt100", "file", "file:", "unix:", "pty:x", "stdio:", "memory"])
def test_console_forms_that_are_not(text: str) -> None:
    with pytest.raises(ConfigError, match="console"):
        ConsoleConfig.parse(text)


def test_two_consoles_cannot_both_be_stdio() -> None:
    with pytest.raises(ConfigError, match="two consoles are stdio"):
        MachineConfig(kernel=Path("vmlinuz"), virtio_consoles=(ConsoleConfig(),))


def test_a_machine_has_one_input_device_of_a_kind() -> None:
    with pytest.raises(ConfigError, match="one of a kind"):
        MachineConfig(kernel=Path("vmlinuz"), inputs=(InputKind.TABLET, InputKind.TABLET))

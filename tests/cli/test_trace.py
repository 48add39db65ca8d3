"""`inn trace`: which blocks are shown, and how."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper import _core
from innkeeper.cli import listing, main
from innkeeper.cli.status import Status
from innkeeper.testing.guests import CRASH, POWER_OFF, flat_guest, say

if TYPE_CHECKING:
    from innkeeper._core import TracedBlock

INN = [sys.executable, "-m", "innkeeper.cli"]
KERNEL = 0xFFFF_FFFF_8100_0000
LOOP = bytes.fromhex("b9e8030000 83e901 75fb")  # mov ecx,1000; again: sub ecx,1; jnz again


def block(rip: int = KERNEL, executions: int = 1, **changes: Any) -> "TracedBlock":
    made: TracedBlock = {
        "vcpu": 0,
        "rip": rip,
        "gpa": rip & 0xFF_FFFF,
        "mode": "64-bit CPL0",
        "guest": bytes(8),
        "host": bytes(16),
        "host_address": 0x7F00_0000_1000,
        "executions": executions,
        "exits": {},
    }
    return {**made, **changes}  # type: ignore[typeddict-item]


def disassemble(code: bytes, address: int, bits: int, /) -> list[tuple[int, bytes, str]]:
    """Every four bytes an instruction of its own name."""
    return [(address + at, code[at : at + 4], f"{bits}-bit {code[at : at + 4].hex()}") for at in range(0, len(code), 4)]


# ---- which blocks ----------------------------------------------------------------------------------


def test_the_hottest_come_first_and_the_others_are_counted() -> None:
    blocks = [block(0x1000, 5), block(0x2000, 0), block(0x3000, 50), block(0x4000, 20), block(0x5000, 25)]

    chosen = listing.choose_blocks(blocks, at=None, most=2)

    assert [block["rip"] for block in chosen.blocks] == [0x3000, 0x5000]
    assert (chosen.of, chosen.executions) == (4, 100)


@pytest.mark.parametrize(
    ("address", "found"),
    [(KERNEL, [0]), (KERNEL + 7, [0]), (KERNEL + 8, []), (KERNEL - 1, []), (0x1000, [1]), (0x5_0007, [1]), (0, [0])],
)
def test_a_block_is_found_by_any_address_in_it_virtual_or_physical(address: int, found: list[int]) -> None:
    blocks = [block(KERNEL), block(0x1000, gpa=0x5_0000)]

    chosen = listing.choose_blocks(blocks, at=address, most=10)

    assert [blocks.index(block) for block in chosen.blocks] == found


# ---- how they look ---------------------------------------------------------------------------------


def test_guest_code_stands_beside_its_translation() -> None:
    hot = block(executions=75, exits={"interrupt": 1, "page fault": 20})
    cold = block(0x40_0000, 25, vcpu=1, mode="32-bit CPL3", guest=bytes(4))

    text = list(listing.as_text(listing.choose_blocks([cold, hot], at=None, most=10), disassemble))

    assert text == [
        "block 1 of 2: executed 75 times, 75.0 % of all, by vCPU 0",
        "  64-bit CPL0, at ffffffff81000000, in memory at 0; 8 bytes became 16, 2.0 for one",
        "  left for the engine: page fault 20 times, interrupt once",
        "  guest                             │ translation",
        "  ffffffff81000000  64-bit 00000000 │ 7f0000001000  64-bit 00000000",
        "  ffffffff81000004  64-bit 00000000 │ 7f0000001004  64-bit 00000000",
        "                                    │ 7f0000001008  64-bit 00000000",
        "                                    │ 7f000000100c  64-bit 00000000",
        "",
        "block 2 of 2: executed 25 times, 25.0 % of all, by vCPU 1",
        "  32-bit CPL3, at 400000, in memory at 400000; 4 bytes became 16, 4.0 for one",
        "  never left for the engine",
        "  guest                   │ translation",
        "  400000  32-bit 00000000 │ 7f0000001000  64-bit 00000000",
        "                          │ 7f0000001004  64-bit 00000000",
        "                          │ 7f0000001008  64-bit 00000000",
        "                          │ 7f000000100c  64-bit 00000000",
        "",
    ]


def test_programs_get_addresses_as_text_and_code_in_hexadecimal() -> None:
    traced = block(executions=3, exits={"interrupt": 2}, guest=b"\1\2\3\4", host=b"\5")

    report = listing.as_json(listing.choose_blocks([traced], at=None, most=10), disassemble)

    assert (report["of"], report["executions"]) == (1, 3)
    (shown,) = report["blocks"]
    assert shown["guest"] == [{"address": "0xffffffff81000000", "bytes": "01020304", "text": "64-bit 01020304"}]
    assert shown["translation"] == [{"address": "0x7f0000001000", "bytes": "05", "text": "64-bit 05"}]
    assert (shown["rip"], shown["gpa"], shown["exits"]) == ("0xffffffff81000000", "0x0", {"interrupt": 2})
    json.dumps(report)


@pytest.mark.parametrize(
    ("bits", "code", "instructions"),
    [
        (64, "48894708 c3", [(0x1000, "48894708", "mov [rdi+8],rax"), (0x1004, "c3", "ret")]),
        (64, "488b0502000000", [(0x1000, "488b0502000000", "mov rax,[0x1009]")]),
        (32, "40 ebfd", [(0x1000, "40", "inc eax"), (0x1001, "ebfd", "jmp 0x1000")]),
        (16, "b83412", [(0x1000, "b83412", "mov ax,0x1234")]),
        (64, "90 06", [(0x1000, "90", "nop"), (0x1001, "06", "(bad)")]),
        (64, "", []),
    ],
)
def test_the_disassembler_knows_every_width(bits: int, code: str, instructions: list[tuple[int, str, str]]) -> None:
    found = _core.disassemble(bytes.fromhex(code), 0x1000, bits)

    assert [(address, code.hex(), text) for address, code, text in found] == instructions


def test_the_disassembler_refuses_other_widths() -> None:
    with pytest.raises(ValueError, match="8 bits; code is 16, 32 or 64 bits wide"):
        _core.disassemble(b"\x90", 0, 8)


# ---- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--blocks", "0"], "argument --blocks: 0 is not above 0"),
        (["--blocks", "few"], "argument --blocks: 'few' is not a whole number"),
        (["--at", "main"], "argument --at: 'main' is not an address in hexadecimal"),
        (["--at", "1" + "0" * 16], "is not an address in hexadecimal"),
        (["--engine", "interp"], "invalid choice: 'interp'"),
        (["--json", "/absent/trace.json"], "cannot write the trace to /absent/trace.json"),
        (["--code-cache", "0"], "code cache is 0 MiB; it must be between 1 and 1024"),
    ],
)
def test_a_mistake_is_one_sentence(options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["trace", "--kernel", "/absent", *options])
    except SystemExit as leaving:
        status = int(leaving.code or 0)

    assert status == Status.MISTAKE
    assert sentence in capsys.readouterr().err


@pytest.fixture
def trace(tmp_path: Path) -> Any:
    unavailable = _core.bt_unavailable()
    if unavailable is not None:
        pytest.skip(f"binary translation cannot be used here: {unavailable}")

    def inn_trace(code: bytes, *options: str) -> subprocess.CompletedProcess[str]:
        kernel = tmp_path / "kernel"
        kernel.write_bytes(flat_guest(code))
        command = [*INN, "trace", "--kernel", str(kernel), "--memory", "16", *options]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )

    return inn_trace


def test_the_hottest_block_of_a_loop_is_shown_after_the_guests_own_words(trace: Any) -> None:
    done = trace(say(b"hello\r\n") + LOOP + POWER_OFF, "--blocks", "1")

    assert done.returncode == Status.DONE, done.stderr
    said, first, _, _, heads, *code = done.stdout.splitlines()
    assert said == "hello"
    assert first.startswith("block 1 of ")
    assert "executed 999 times" in first or "executed 1000 times" in first
    assert heads.split() == ["guest", "│", "translation"]
    assert "sub ecx" in code[0]


def test_a_block_at_an_address_is_written_for_programs(trace: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"

    done = trace(LOOP + POWER_OFF, "--at", "100025", "--json", str(path))  # `sub ecx,1`, behind header and MOV

    assert (done.returncode, done.stdout) == (Status.DONE, "")
    blocks = json.loads(path.read_text())["blocks"]
    assert blocks
    assert all(any(one["address"] == "0x100025" for one in block["guest"]) for block in blocks)


def test_where_nothing_was_executed_there_is_nothing_to_show(trace: Any) -> None:
    done = trace(POWER_OFF, "--at", "dead0000")

    assert done.stdout == "no translated block at dead0000 was executed\n"


def test_a_triple_fault_shows_what_led_to_it(trace: Any) -> None:
    done = trace(LOOP + CRASH, "--no-reboot")

    assert done.returncode == Status.RESET
    assert "last blocks of vCPU 0, oldest first:" in done.stderr
    assert " 0000000000100025" in done.stderr

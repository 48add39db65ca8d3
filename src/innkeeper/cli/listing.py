"""Translated blocks for readers: a block's guest code beside its translation, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import TracedBlock

Instruction = tuple[int, bytes, str]
Disassemble = Callable[[bytes, int, int], list[Instruction]]
"""Machine code, its address, and 16, 32 or 64 bits, as (address, bytes, text) of each instruction."""

GAP = " │ "


@dataclass(frozen=True, slots=True)
class Listing:
    """The blocks to be shown, hottest first, and how many of how much they are."""

    blocks: Sequence[TracedBlock]
    of: int  # blocks that there were to choose from
    executions: int  # of all blocks together


def choose_blocks(blocks: Iterable[TracedBlock], *, at: int | None, most: int) -> Listing:
    """The `most` hottest ones that were executed; with `at`, of those that cover that address, GVA or GPA."""
    executed = [block for block in blocks if block["executions"]]
    wanted = [block for block in executed if at is None or covers(block, at)]
    hottest = sorted(wanted, key=lambda block: (-block["executions"], block["rip"], block["vcpu"]))
    return Listing(hottest[:most], len(wanted), sum(block["executions"] for block in executed))


def covers(block: TracedBlock, address: int) -> bool:
    return any(start <= address < start + len(block["guest"]) for start in (block["rip"], block["gpa"]))


def width_of(block: TracedBlock) -> int:
    """16, 32 or 64: what the mode begins with."""
    return int(block["mode"].partition("-")[0])


def as_text(listing: Listing, disassemble: Disassemble) -> Iterator[str]:
    """The listing, line by line."""
    for number, block in enumerate(listing.blocks, start=1):
        share = 100 * block["executions"] / listing.executions
        executed = f"executed {times(block['executions'])}, {share:.1f} % of all"
        yield f"block {number} of {listing.of}: {executed}, by vCPU {block['vcpu']}"
        yield f"  {block['mode']}, at {block['rip']:x}, in memory at {block['gpa']:x}; {sizes(block)}"
        yield f"  {exits(block)}"
        yield from side_by_side(guest_code(block, disassemble), translation(block, disassemble))
        yield ""


def sizes(block: TracedBlock) -> str:
    guest, host = len(block["guest"]), len(block["host"])
    return f"{guest} bytes became {host}" + (f", {host / guest:.1f} for one" if guest else "")


def exits(block: TracedBlock) -> str:
    """Why it was left for the engine, the most frequent reason first; else it went on to the next block by itself."""
    reasons = sorted(block["exits"].items(), key=lambda reason: -reason[1])
    if not reasons:
        return "never left for the engine"
    return "left for the engine: " + ", ".join(f"{reason} {times(count)}" for reason, count in reasons)


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def guest_code(block: TracedBlock, disassemble: Disassemble) -> list[Instruction]:
    return disassemble(block["guest"], block["rip"], width_of(block))


def translation(block: TracedBlock, disassemble: Disassemble) -> list[Instruction]:
    return disassemble(block["host"], block["host_address"], 64)


def side_by_side(left: list[Instruction], right: list[Instruction]) -> Iterator[str]:
    first, second = (["guest", *lines(left)], ["translation", *lines(right)])
    width = max(map(len, first))
    for one, other in zip_longest(first, second, fillvalue=""):
        yield f"  {one:{width}}{GAP}{other}".rstrip()


def lines(instructions: Iterable[Instruction]) -> list[str]:
    return [f"{address:x}  {text}" for address, _, text in instructions]


def as_json(listing: Listing, disassemble: Disassemble) -> dict[str, Any]:
    """The listing for programs. Addresses are strings: not every reader has 64-bit numbers."""
    return {
        "version": 1,
        "of": listing.of,
        "executions": listing.executions,
        "blocks": [
            {
                "vcpu": block["vcpu"],
                "rip": hex(block["rip"]),
                "gpa": hex(block["gpa"]),
                "mode": block["mode"],
                "executions": block["executions"],
                "exits": block["exits"],
                "guest": [spelled(instruction) for instruction in guest_code(block, disassemble)],
                "translation": [spelled(instruction) for instruction in translation(block, disassemble)],
            }
            for block in listing.blocks
        ],
    }


def spelled(instruction: Instruction) -> dict[str, str]:
    address, code, text = instruction
    return {"address": hex(address), "bytes": code.hex(), "text": text}

"""The bars that a boot is held to, and what was measured against them."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from measure import Boot, Measured

# Wall time to userspace, ours to QEMU's: bar and aim, by engine.
WALL_BARS: dict[str, tuple[float, float | None]] = {"bt": (1.0, 0.6), "interp": (12.0, None)}
# Engines that count what they execute: translated code does not.
COUNTING = {"interp"}
MIPS_BAR = 60.0
START_BAR_MS, MEMORY_BAR_MIB = 300.0, 150.0
BLOCK_BAR_US, BLOCK_AIM_US = 10.0, 5.0
CODE_GROWTH_BAR = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Something measured, held against its bar if it has one. With `low`, less is better."""

    what: str
    measured: float
    unit: str
    digits: int = 0
    bar: float | None = None
    aim: float | None = None
    low: bool = True

    def row(self) -> str:
        measured = f"{self.measured:.{self.digits}f} {self.unit}"
        return f"{self.what} | {measured} | {self._limit(self.bar)} | {self._limit(self.aim)} | {self.verdict} |\n"

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "met, and the aim"
        return "met" if self._reaches(self.bar) else "**not met**"

    def _reaches(self, limit: float) -> bool:
        return self.measured <= limit if self.low else self.measured >= limit

    def _limit(self, limit: float | None) -> str:
        return "" if limit is None else f"at {'most' if self.low else 'least'} {limit:g} {self.unit}"


def judge(engine: str, ours: Measured, qemus: list[Boot]) -> list[Judgement]:
    """All that is known of an engine, in the order of the page."""
    ratio = median(our.userspace_s / their.userspace_s for our, their in zip(ours.boots, qemus, strict=True))
    bar, aim = WALL_BARS.get(engine, (None, None))
    wall = "wall time to userspace, ours to QEMU's, median of pairs"
    return [
        Judgement(what=wall, measured=ratio, unit="×", digits=2, bar=bar, aim=aim),
        *(instructions(ours.ledgers) if engine in COUNTING else []),
        Judgement(
            what="from `inn run` to a tiny guest's first byte, median",
            measured=median(ours.starts_s) * 1000,
            unit="ms",
            bar=START_BAR_MS,
        ),
        Judgement(
            what="memory beside what the guest has touched, median",
            measured=median(boot.beside_guest_mib for boot in ours.boots),
            unit="MiB",
            bar=MEMORY_BAR_MIB,
        ),
        *translation(ours.ledgers),
    ]


def instructions(ledgers: list[dict[str, Any]]) -> list[Judgement]:
    """How many were executed."""
    mips = median(ledger["mips"] for ledger in ledgers)
    count = median(ledger["instructions"] for ledger in ledgers) / 1e6
    return [
        Judgement(what="guest instructions a second", measured=mips, unit="million", bar=MIPS_BAR, low=False),
        Judgement(what="guest instructions of the boot", measured=count, unit="million"),
    ]


def translation(ledgers: list[dict[str, Any]]) -> list[Judgement]:
    """What translating cost, in an engine that translates."""
    blocks, took_ns, guest_bytes, host_bytes = (
        median(total(ledger, name) for ledger in ledgers)
        for name in ("blocks_translated", "translation_ns", "guest_code_bytes", "host_code_bytes")
    )
    if not blocks or not guest_bytes:
        return []
    return [
        Judgement(what="blocks translated in the boot", measured=blocks / 1000, unit="thousand"),
        Judgement(
            what="translating a block, mean",
            measured=took_ns / blocks / 1000,
            unit="µs",
            digits=1,
            bar=BLOCK_BAR_US,
            aim=BLOCK_AIM_US,
        ),
        Judgement(
            what="bytes of host code for one of the guest's",
            measured=host_bytes / guest_bytes,
            unit="bytes",
            digits=1,
            bar=CODE_GROWTH_BAR,
        ),
    ]


def total(ledger: dict[str, Any], name: str) -> int:
    """A counter over all vCPUs; 0 if the engine has none of that name."""
    return sum(vcpu.get(name, 0) for vcpu in ledger.get("vcpus", []))

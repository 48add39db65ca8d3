"""Two processors under Debian's kernel: both are there, both work, and they wake each other."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import Done, guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROUNDS = 300
PAIR = f"""
echo "online: $(nproc), $(cat /sys/devices/system/cpu/online)"
grep MemTotal /proc/meminfo
work() {{ i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done; echo "worked on $(cut -d ' ' -f 39 /proc/self/stat)"; }}
taskset -p 1 $$ >/dev/null; work &
taskset -p 2 $$ >/dev/null; work &
wait
# Two processes, one on each processor, that take turns: each turn is a wake-up from the other side.
mkfifo /tmp/there /tmp/back
while read -r x; do echo "$x"; done </tmp/there >/tmp/back &
taskset -p 1 $! >/dev/null
n=0
exec 3>/tmp/there 4</tmp/back
while [ $n -lt {ROUNDS} ]; do echo $n >&3; read -r y <&4; [ "$y" = $n ] || echo "sent $n, came $y"; n=$((n + 1)); done
echo "rounds: $n"
grep ^cpu /proc/stat
cat /proc/interrupts
dmesg | grep -i -e smpboot -e 'hung' -e 'stall' -e 'Brought up'
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """What the guest said, and each vCPU's ledger."""

    engine: EngineChoice
    done: Done
    vcpus: list[dict[str, Any]]


@pytest.fixture(scope="module")
def pair(
    debian: KernelImage, initramfs: Initramfs, tmp_path_factory: pytest.TempPathFactory, engine: EngineChoice
) -> Pair:
    stats = tmp_path_factory.mktemp("stats") / "stats.json"
    options = guest(debian.vmlinuz, initramfs(PAIR), memory=5000, engine=engine)
    done = inn_run(*options, "--vcpus", "2", "--stats", str(stats))
    assert done.status == 0, done.said[-2000:] + done.complaint
    return Pair(engine, done, json.loads(stats.read_text())["vcpus"])


def test_both_are_online(pair: Pair) -> None:
    assert "online: 2, 0-1" in pair.done.lines
    assert "smp: Brought up 1 node, 2 CPUs" in pair.done.said


def test_memory_above_4_gib_is_there(pair: Pair) -> None:
    (total_kib,) = re.findall(r"^MemTotal: +(\d+) kB", pair.done.said, re.MULTILINE)

    assert 4500 << 10 < int(total_kib) < 5000 << 10


def test_both_work(pair: Pair) -> None:
    worked = re.findall(r"^worked on (\d)$", pair.done.said, re.MULTILINE)
    busy = {
        name: sum(map(int, rest.split()[:3]))
        for name, rest in re.findall(r"^(cpu\d) (.*)$", pair.done.said, re.MULTILINE)
    }

    assert sorted(worked) == ["0", "1"]
    assert busy.keys() == {"cpu0", "cpu1"}
    assert all(ticks > 0 for ticks in busy.values())
    counter, least = ("instructions", 10_000_000) if pair.engine is EngineChoice.INTERP else ("blocks_translated", 1000)
    assert all(vcpu[counter] > least for vcpu in pair.vcpus)


def test_interrupts_reach_both(pair: Pair) -> None:
    for line in ("LOC", "CAL"):
        (counts,) = re.findall(rf"^ *{line}: +(\d+) +(\d+) ", pair.done.said, re.MULTILINE)
        assert all(int(count) > 0 for count in counts), line
    assert all(vcpu["interrupts"] > 50 for vcpu in pair.vcpus)


def test_they_wake_each_other(pair: Pair) -> None:
    assert f"rounds: {ROUNDS}" in pair.done.lines
    assert "came" not in pair.done.said
    assert "stall" not in pair.done.said

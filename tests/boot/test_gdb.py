"""Stock gdb on a Debian kernel: breakpoints, watches, steps, threads, and a guest that goes on undisturbed."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import Machine, MachineConfig, OutcomeKind
from innkeeper.config import EngineChoice, GdbConfig
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import LIMIT_S

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb on this host: package gdb"),
]

INIT = """
grep -E ' (__x64_sys_sethostname|jiffies|linux_banner)$' /proc/kallsyms
echo ready; read -r _
hostname debugged
uname -n
poweroff -f
"""
COMMANDS = """
set pagination off
set confirm off
target remote {socket}
info threads
hbreak *{__x64_sys_sethostname}
continue
printf "at %lx\\n", $pc
x/s {linux_banner}
stepi
printf "then %lx\\n", $pc
set $before = *(long*){jiffies}
watch *(long*){jiffies}
continue
printf "later %d\\n", *(long*){jiffies} > $before
delete
monitor info vcpus
detach
"""


def run_gdb(directory: Path, commands: str, ready: Callable[[], None]) -> str:
    """What gdb says. `ready` is called once the breakpoint is set."""
    script = directory / "commands"
    script.write_text(commands)
    lines: list[str] = []
    with subprocess.Popen(
        ["gdb", "-nx", "-batch", "-x", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as gdb:
        assert gdb.stdout is not None
        for line in gdb.stdout:
            lines.append(line)
            if "Hardware assisted breakpoint 1" in line:
                ready()
    return "".join(lines)


def test_gdb_stops_the_guest_where_it_likes_and_lets_it_go(
    engine: EngineChoice, debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    console, socket = MemoryConsole(), tmp_path / "gdb"
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initramfs(INIT),
        append="console=ttyS0 nokaslr quiet",
        vcpus=2,
        engine=engine,
        gdb=GdbConfig(path=socket),
        timeout_s=LIMIT_S,
    )
    with Machine(config, console=console) as machine:
        machine.start()
        said = console.wait_for(b"ready", timeout_s=LIMIT_S).decode()
        symbols = {name: f"0x{at}" for at, name in re.findall(r"([0-9a-f]{16}) \w (\w+)", said)}
        shown = run_gdb(tmp_path, COMMANDS.format(socket=socket, **symbols), lambda: machine.write_console(b"\n"))
        outcome = machine.wait()
    assert re.search(r"Thread 2 \(vCPU 1, \w+\)", shown), shown
    place = int(symbols["__x64_sys_sethostname"], 16)
    assert f"at {place:x}\n" in shown, shown
    then = re.search(r"then ([0-9a-f]+)", shown)
    assert then is not None, shown
    assert place < int(then[1], 16) <= place + 15
    assert '"Linux version' in shown
    assert "Hardware watchpoint 2" in shown
    assert "later 1\n" in shown, shown
    assert "vCPU 0: rip 0x" in shown
    assert (outcome.kind, "debugged" in console.text) == (OutcomeKind.POWERED_OFF, True)

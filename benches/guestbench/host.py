"""What a page was measured on, for pages and records that this benchmark makes alone."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent


def this_machine() -> str:
    commit = first_line("git", "-C", str(HERE), "describe", "--always", "--dirty")
    host = f"{processor()}, {os.cpu_count()} processors, Linux {platform.release()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {host}, {first_line('qemu-system-x86_64', '--version')}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def first_line(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return f"no {command[0]}"
    return said.partition("\n")[0]

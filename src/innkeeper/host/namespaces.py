"""User namespaces and tap devices, tried out for a moment in a process of their own.

Spec: user_namespaces(7), Linux Documentation/networking/tuntap.rst. Run as a program, this module
prints what it could do; the namespaces and the device vanish with it.
"""

import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from innkeeper.host.finding import Finding, Status

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002
CAP_NET_ADMIN = 12
TUN = Path("/dev/net/tun")


def try_namespaces() -> dict[str, Any]:
    """Does the attempts in a child process and returns its report."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"user": f"the probe failed: {last}", "net": "not tried", "tap": "not tried"}
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def find_user_namespaces(report: dict[str, Any]) -> Finding:
    there = report["user"] is None
    return Finding(
        name="user namespaces",
        status=Status.YES if there else Status.NO,
        summary="an unprivileged process can make one" if there else f"cannot be made: {report['user']}",
        consequence=(
            "sandboxes, and guest networks once they are there, need no root"
            if there
            else "what needs a namespace of its own is refused unless root starts it"
        ),
        advice=None
        if there
        else "as root: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1",
        facts={"error": report["user"]},
    )


def find_tap(report: dict[str, Any], tun: Path = TUN) -> Finding:
    opened = can_open(tun)
    direct = opened is None and has_capability(CAP_NET_ADMIN)
    private = report["tap"] is None
    facts = {"device": opened, "host": direct, "namespace": report["tap"]}
    if direct:
        status, summary = Status.YES, "this process may make one on the host"
        consequence = "network cards can join the host's bridges"
    elif private:
        status, summary = Status.PARTLY, "only in a network namespace of our own"
        consequence = "network cards go through the built-in user network, or taps that root made"
    else:
        status, summary = Status.NO, f"cannot be made: {opened or report['tap']}"
        consequence = "network cards go through the built-in user network, or taps that root made"
    advice = None if direct else "CAP_NET_ADMIN, or taps made for you: sudo inn net tap BRIDGE --user YOU"
    return Finding(name="tap", status=status, summary=summary, consequence=consequence, advice=advice, facts=facts)


def can_open(device: Path) -> str | None:
    """None if the device opens, else why not."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device}: {error.strerror}"
    return None


def has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def attempts() -> dict[str, str | None]:
    """What was refused, and why; None is success."""
    user = unshare(CLONE_NEWUSER)
    net = unshare(CLONE_NEWNET) if user is None else "not tried"
    tap = make_tap() if net is None else "not tried"
    return {"user": user, "net": net, "tap": tap}


def unshare(flags: int) -> str | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return None if libc.unshare(flags) == 0 else os.strerror(ctypes.get_errno())


def make_tap() -> str | None:
    try:
        device = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"inn%d", IFF_TAP_NO_PI))
    except OSError as error:
        return f"{TUN}: {error.strerror}"
    return None


if __name__ == "__main__":
    print(json.dumps(attempts()))

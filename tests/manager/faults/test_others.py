"""Other users: the manager's socket and those of machines refuse them."""

import base64
import grp
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.namespaces import Namespace, skip_unless_possible

from innkeeper.manager import connect
from innkeeper.testing.guests import SPIN, flat_guest

XML = "<domain type='bt'><name>web</name><memory unit='MiB'>32</memory><os><type>hvm</type><kernel>{}</kernel></os></domain>"
# Says what a socket has to say to somebody: nothing, if it hangs up.
GROUP = "daemon"  # one that every host has
TRY = """
import os, socket, sys
os.setgroups([int(group) for group in sys.argv[2:]]); os.setgid(65534); os.setuid(65534)
line = socket.socket(socket.AF_UNIX)
line.settimeout(10)
try:
    line.connect(sys.argv[1])
    line.sendall(b'{"version": 1, "do": "info"}\\n')
    print("heard", line.recv(1000))
except OSError as error:
    print("refused", error)
"""


# All that a member may need is imported first: Python itself may be where others cannot read.
MEMBER = """
import contextlib, importlib, io, json, os, pkgutil, sys, innkeeper
import encodings.idna, _strptime
for module in pkgutil.walk_packages(innkeeper.__path__, "innkeeper."):
    if not module.name.endswith(("__main__", "top.app")):
        importlib.import_module(module.name)
from innkeeper.cli import main
from innkeeper.view.target import Target
os.setgroups([int(sys.argv[1])]); os.setgid(65534); os.setuid(65534)
os.environ.update(dict.fromkeys(("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"), "/run/home"))
os.chdir("/run/home")
said = []
for line in sys.argv[2].split("; "):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(line.split())
    said.append([status, out.getvalue()])
    if "start" in line:
        target = Target("web", system=True)
        target.console().close(); target.screen().close()
        said.append([0, json.dumps(target.state())])
print(json.dumps(said))
"""
SEEN = XML.replace("</os>", "</os><devices><video><model type='vga'/></video></devices>")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_sockets_refuse_other_users_even_if_they_can_be_reached(user: Path) -> None:
    (user / "guest").write_bytes(flat_guest(SPIN))
    runtime = user / "run/innkeeper"
    with connect() as manager:
        manager.domains.define(XML.format(user / "guest"))
        manager.domains.start("web")
        sockets = {name: runtime / name for name in ("manager", "web/control", "web/console")}
        for path in sockets.values():
            assert path.stat().st_mode & 0o077 == 0
            assert said(path).startswith("refused")
        outer = user
        while outer != Path("/tmp") and outer != outer.parent:
            outer.chmod(0o755)
            outer = outer.parent
        for folder in (user / "run", runtime, runtime / "web"):
            folder.chmod(0o755)
        for path in sockets.values():
            assert "Permission denied" in said(path)
        for name in ("manager", "web/control"):  # who is let through by mistake is asked who he is
            sockets[name].chmod(0o777)
            assert said(sockets[name]) in (
                "heard b''",
                "refused [Errno 32] Broken pipe",
                "refused [Errno 104] Connection reset by peer",
            )
        for folder in (user / "run", runtime, runtime / "web"):
            folder.chmod(0o700)
        manager.domains.destroy("web")


def said(path: Path) -> str:
    words = [sys.executable, "-c", TRY, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, cwd="/").stdout.strip()


@pytest.mark.slow
def test_the_hosts_manager_lets_its_group_in_and_nobody_else() -> None:
    skip_unless_possible("mount")
    with Namespace() as host:
        host.shell("mount -t tmpfs none /var/lib")
        words = host.inside(sys.executable, "-m", "innkeeper.cli", "--system", "daemon", "--group", GROUP)
        with subprocess.Popen(words, cwd="/", stderr=subprocess.PIPE) as daemon:
            assert daemon.stderr is not None
            assert b"listens at /run/innkeeper.sock" in daemon.stderr.readline()
            assert host.shell("stat -c '%a %U %G' /run/innkeeper.sock") == f"660 root {GROUP}\n"
            assert "Permission denied" in within(host)
            assert within(host, grp.getgrnam(GROUP).gr_gid).startswith('heard b\'{"innkeeper"')
            assert host.shell("stat -c '%a' /run/innkeeper /var/lib/innkeeper") == "700\n700\n"
            daemon.terminate()


def within(host: Namespace, *groups: int) -> str:
    return host.run(sys.executable, "-c", TRY, "/run/innkeeper.sock", *map(str, groups)).stdout.strip()


@pytest.mark.slow
def test_members_of_the_group_use_the_hosts_machines() -> None:
    """What they make is theirs, what the manager makes is root's, and neither needs the other's rights beyond the socket."""
    skip_unless_possible("mount")
    with Namespace() as host:
        host.shell("mount -t tmpfs none /var/lib; chmod 755 /run; mkdir -m 700 /run/home; chown 65534:65534 /run/home")
        guest = base64.b64encode(flat_guest(SPIN)).decode()
        host.shell(f"echo {guest} | base64 -d > /run/guest")
        host.shell(f"cat > /run/home/web.xml <<'END'\n{SEEN.format('/run/guest')}\nEND")
        words = host.inside(sys.executable, "-m", "innkeeper.cli", "--system", "daemon", "--group", GROUP)
        with subprocess.Popen(words, cwd="/", stderr=subprocess.PIPE) as daemon:
            assert daemon.stderr is not None
            assert b"listens at /run/innkeeper.sock" in daemon.stderr.readline()
            lines = [
                "--system define web.xml", "virsh -c qemu:///system start web", "virsh -c qemu:///system screenshot web shot.png",
                "--system view web --vv web.vv", "--system save web web.save", "--system restore web.save", "--system vol-create-as default v 1M",
                "--system destroy web", "--system list --all", "--system undefine web",
            ]  # fmt: skip
            group = str(grp.getgrnam(GROUP).gr_gid)
            said = json.loads(host.run(sys.executable, "-c", MEMBER, group, "; ".join(lines)).stdout)
            assert [status for status, _ in said] == [0] * (len(lines) + 1), said
            state = json.loads(said[2][1])
            assert (state["running"], state["screen"], state["console"]["reachable"]) == (True, True, True)
            assert " -    web    shut off" in said[9][1]
            listed = host.shell(
                "cd /run/home && stat -c '%n %U %a' shot.png web.vv web.save /var/lib/innkeeper/images/v"
            )
            assert listed.split("\n")[:-1] == [
                "shot.png nobody 644", "web.vv nobody 600", "web.save root 600", "/var/lib/innkeeper/images/v root 600",
            ]  # fmt: skip
            daemon.terminate()

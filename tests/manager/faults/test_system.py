"""`inn virt-install` for the host's manager, asked by a member of its group: all is resolved, made and undone where the machine runs."""

import base64
import grp
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Self

import pytest
from tests.namespaces import Namespace, skip_unless_possible

from innkeeper.manager.storage.describe import describe_volume
from innkeeper.testing.guests import SPIN, flat_guest

pytestmark = pytest.mark.slow
GROUP = "daemon"  # one that every host has
MEMBER = 65534
FOLDERS = ("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME")
# All that a member may need is imported first: Python itself may be where others cannot read.
SETUP = """
import importlib, os, pkgutil, sys, innkeeper
import encodings.idna, _strptime
for module in pkgutil.walk_packages(innkeeper.__path__, "innkeeper."):
    if not module.name.endswith(("__main__", "top.app")):
        importlib.import_module(module.name)
from innkeeper.cli import main
os.setgroups([int(sys.argv[1])]); os.setgid(65534); os.setuid(65534)
os.environ.update(dict.fromkeys({folders}, "/run/home"))
os.chdir("/run/home")
"""
MANY = (
    SETUP
    + """
import contextlib, io, json
said = []
def own(kind, *words):
    "By the member's own store: no manager of a member can run a Python that is where others cannot read."
    from innkeeper.manager.storage import Pools, Volumes
    from innkeeper.manager.storage.work import finish
    from innkeeper.manager.store import Store
    if kind == "pool":
        Pools().create(words[0])
    elif kind == "volume":
        finish(Volumes().create(*words))
    else:
        with Store() as store:
            print(*[row.name for row in store.all()])
    return 0
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = own(*words[1:]) if words[0] == "own" else main(words)
    said.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""
)
ONE = SETUP + "\nprint('ready', flush=True); sys.stdin.readline(); sys.exit(main(sys.argv[2:]))\n"
POOL = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"
IMAGES = "/var/lib/innkeeper/images"
ALONE = ["--memory", "32", "--virt-type", "bt", "--network", "none", "--graphics", "none", "--osinfo", "generic"]
BY_KERNEL = ["--import", "--boot", "kernel=guest", "--noautoconsole"]


class Host(Namespace):
    """A host whose manager runs, with its store in a /var/lib of its own, and a member of its group at home in /run/home."""

    def __enter__(self) -> Self:
        self.shell("mount -t tmpfs none /var/lib; chmod 755 /run; mkdir -m 700 /run/home; chown 65534:65534 /run/home")
        guest = base64.b64encode(flat_guest(SPIN)).decode()
        self.shell(
            f"cd /run/home; echo {guest} | base64 -d > guest; mkdir tree; cp guest tree/vmlinuz; cp guest tree/initrd"
        )
        self.shell("chown -R 65534:65534 /run/home")
        self.daemon = self.start()
        return self

    def start(self) -> "subprocess.Popen[bytes]":
        words = self.inside(sys.executable, "-m", "innkeeper.cli", "--system", "daemon", "--group", GROUP)
        daemon = subprocess.Popen(words, cwd="/", stderr=subprocess.PIPE)
        assert daemon.stderr is not None
        assert b"listens at /run/innkeeper.sock" in daemon.stderr.readline()
        return daemon

    def kill(self) -> None:
        """The manager, and not what waits for it to be started."""
        os.kill(int(self.shell("cat /run/innkeeper/manager.lock")), 9)
        self.daemon.wait(30)
        assert self.daemon.stderr is not None
        self.daemon.stderr.close()

    def close(self) -> None:
        self.daemon.kill()
        self.daemon.wait(30)
        assert self.daemon.stderr is not None
        self.daemon.stderr.close()

    def member(self, *lines: list[str]) -> list[tuple[int, str, str]]:
        """What commands of a member answer: status, output and complaints."""
        group = str(grp.getgrnam(GROUP).gr_gid)
        done = self.run(sys.executable, "-c", MANY.format(folders=FOLDERS), group, json.dumps(lines))
        return [(status, out, err) for status, out, err in json.loads(done.stdout)]

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """A command of a member, which goes on when a line is written to it."""
        group = str(grp.getgrnam(GROUP).gr_gid)
        command = self.inside(sys.executable, "-c", ONE.format(folders=FOLDERS), group, *words)
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd="/")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def names(self, folder: str) -> list[str]:
        return self.shell(f"ls -A {folder} 2>/dev/null || true").split()


@pytest.fixture
def host() -> Iterator[Host]:
    skip_unless_possible("mount")
    with Host() as host:
        yield host
        host.close()


def install(*words: str, name: str = "web") -> list[str]:
    return ["virt-install", "--connect", "qemu:///system", "--name", name, *ALONE, *words]


def go_on(command: "subprocess.Popen[str]") -> None:
    """One that `Host.begin` began."""
    assert command.stdin is not None
    command.stdin.write("\n")
    command.stdin.flush()


def installing(command: "subprocess.Popen[str]") -> IO[str]:
    """Has it go on until its installer runs; gives what it complains of from then on."""
    go_on(command)
    assert command.stderr is not None
    while "Domain installation started." not in command.stderr.readline():
        assert command.poll() is None
    return command.stderr


def test_pools_volumes_and_files_are_the_hosts(host: Host) -> None:
    """The member has pools of the same names, and a machine, which are none of the host's business."""
    host.shell("mkdir /run/theirs /run/home/mine; chown 65534 /run/home/mine")
    host.shell(f'echo "{POOL.format("more", "/run/theirs")}" >/run/home/theirs.xml')
    said = host.member(
        ["own", "pool", POOL.format("more", "/run/home/mine")],
        ["own", "volume", "more", describe_volume({"name": "v", "capacity": "1048576", "format": "raw"})],
        ["--system", "pool-create", "theirs.xml"],
        ["--system", "vol-create-as", "more", "v", "2M", "--format", "qcow2"],
        ["--system", "vol-create-as", "more", "below", "1M", "--format", "qcow2"],
        install(
            *("--disk", "vol=more/v", "--disk", "pool=more,size=0.01", "--disk", "size=0.01,format=raw"),
            *(
                "--disk",
                "path=plain,size=0.01",
                "--disk",
                "path=over,size=0.01,backing_store=../theirs/below,backing_format=qcow2",
            ),
            *BY_KERNEL,
        ),
        ["--system", "domblklist", "web"],
        install("--disk", "vol=more/v", *BY_KERNEL, name="other"),
        ["--system", "destroy", "web"],
        ["own", "machines"],
    )
    assert [status for status, _, _ in said] == [0] * 7 + [2, 0, 0], said
    for path in ("/run/theirs/v", "/run/theirs/web.qcow2", f"{IMAGES}/web.img", "/run/home/plain", "/run/home/over"):
        assert path in said[6][1]
    assert "disk /run/theirs/v is that of machine web" in said[7][2]
    assert said[-1][1].strip() == ""
    assert host.names("/run/home/mine") == ["v"]
    owners = host.shell(f"stat -c '%n %U %a' /run/theirs/web.qcow2 {IMAGES}/web.img /run/home/plain /run/home/over")
    assert [line.split()[1:] for line in owners.splitlines()] == [["root", "600"]] * 4
    assert host.names("/run/home/innkeeper/installations") == []
    assert not [name for name in host.names("/run/home /run/theirs") if name.startswith(".innkeeper")]


def test_an_installer_and_what_answers_it_are_in_the_hosts_folders(host: Host) -> None:
    host.shell("cd /run/home; echo secret >pw; echo more >more.cfg; chown 65534 pw more.cfg; chmod 600 pw more.cfg")
    said = host.member(
        install("--location", "tree,kernel=vmlinuz,initrd=initrd", "--initrd-inject", "more.cfg", "--disk", "size=0.01",
                "--unattended", "profile=jeos,admin-password-file=pw,user-login=a,user-password-file=pw", "--noautoconsole",
                "--osinfo", "debian12"),
        ["--system", "domstate", "web"],
        ["own", "machines"],
    )  # fmt: skip
    assert [status for status, _, _ in said] == [0, 0, 0], said
    place = "/var/lib/innkeeper/installations/web"
    assert sorted(host.names(place)) == ["initrd", "kernel", "lock", "preseed.cfg", "started.json"]
    assert "password secret" in host.shell(f"cat {place}/preseed.cfg")
    assert host.names("/run/home/innkeeper/installations") == []
    host.member(["--system", "destroy", "web"], ["--system", "list", "--all"])
    assert host.names("/var/lib/innkeeper/installations") == []
    assert host.names(IMAGES) == ["web.qcow2"]


def test_what_exists_is_never_written_over(host: Host) -> None:
    host.shell(
        "echo precious >/run/precious; cd /run/home; ln -s /run/precious link; ln -s /run/nothing gone; ln -s /run there"
    )
    uuid = "00000000-0000-0000-0000-000000000005"
    said = host.member(
        install("--disk", "path=gone,size=0.01", *BY_KERNEL),
        install("--disk", "path=link,size=0.01,format=raw", *BY_KERNEL, "--dry-run"),
        install("--disk", "path=/run/home,size=0.01", *BY_KERNEL),
        install("--disk", "none", "--uuid", uuid, *BY_KERNEL, name="first"),
        install("--disk", "path=there/new,size=0.01", "--uuid", uuid, *BY_KERNEL),
        install("--disk", "path=there/new,size=0.01", *BY_KERNEL, name="first"),
        ["--system", "list", "--all", "--name"],
    )
    assert [status for status, _, _ in said] == [2, 0, 2, 0, 2, 2, 0], said
    assert "disk /run/home/gone is a symbolic link to /run/nothing, where there is nothing" in said[0][2]
    assert f"UUID {uuid} is that of machine first" in said[4][2]
    assert "a machine named first exists already" in said[5][2]
    assert said[6][1].split() == ["first"]
    assert host.shell("cat /run/precious") == "precious\n"
    assert not {"new", "nothing"} & set(host.names("/run"))


def hostile(host: Host, service: str, *args: object) -> str:
    """What the manager answers to somebody who speaks to its socket without the command."""
    program = (
        "import json, sys; from innkeeper.errors import InnkeeperError; from innkeeper.manager.client import connect\n"
        "manager = connect(system=True)\n"
        "try:\n"
        "    answer = getattr(manager.installations, sys.argv[1])(*json.loads(sys.argv[2]))\n"
        "    print('done', answer if isinstance(answer, (str, list, dict, type(None))) else list(answer))\n"
        "except InnkeeperError as error: print(type(error).__name__, error)\n"
    )
    return host.run(sys.executable, "-c", program, service, json.dumps(args)).stdout


def test_orders_that_no_command_gives_are_refused(host: Host) -> None:
    xml = "<domain type='bt'><name>{}</name><memory unit='MiB'>32</memory><os><type>hvm</type></os></domain>"
    disk = {"path": "/run/home/guest", "size_gib": 0.01}
    for words, service, *args in (
        ("a machine's name is '../../etc'", "places", "../../etc"),
        ("a machine's name is '..'", "give_up", "..", ""),
        ("a machine's name is '/run'", "goes_on", "/run"),
        ("done None", "give_up", "web", ""),
        ("a machine's name is", "install", {"kept": xml.format("../x")}),
        ("that of another machine", "install", {"kept": xml.format("a"), "first": xml.format("b")}),
        ("it is there by now", "install", {"kept": xml.format("a"), "disks": [disk]}),
        ("give its whole path", "install", {"kept": xml.format("a"), "disks": [disk | {"path": "guest"}]}),
        ("give its whole path", "install", {"kept": xml.format("a"), "inject": ["etc/shadow"]}),
        ("it must be one of meta-data", "install", {"kept": xml.format("a"), "seed": [{"name": "../x", "text": ""}]}),
        ("Order has no scratch", "install", {"kept": xml.format("a"), "scratch": "/etc"}),
        ("is no list", "install", {"kept": xml.format("a"), "disks": 7}),
        ("is no str", "install", {"kept": 7}),
        ("it must be an object", "install", [1]),
        ("is no file", "install", {"kept": xml.format("a"), "location": {"path": "/run/home/tree", "kernel": "vmlinuz",
                                   "initrd": "initrd"}, "inject": ["/dev/zero"]}),
        ("there is no file /dev/zero", "install", {"kept": xml.format("a"), "initrd": "/dev/zero"}),
    ):  # fmt: skip
        answer = hostile(host, service, *args)
        assert words in answer, (service, args, answer)
        assert "internal" not in answer
    assert host.shell("cmp /run/home/guest /run/home/tree/vmlinuz; echo same") == "same\n"
    assert host.names("/var/lib/innkeeper/installations") == []


DISKS = ["--disk", "size=0.2,format=raw,sparse=no", "--disk", "path=plain,size=0.1,sparse=no"]


def has_left_nothing(host: Host) -> bool:
    listed = host.shell(f"{sys.executable} -m innkeeper.cli --system list --all --name").strip()
    left = host.names("/var/lib/innkeeper/installations") + host.names(IMAGES)
    return not listed and not left and host.names("/run/home/plain") == [] and not hidden(host)


def hidden(host: Host) -> list[str]:
    return [name for name in host.names("/run/home") if name.startswith(".innkeeper")]


def settle(host: Host) -> bool:
    """Whether nothing is left; else the machine runs, and is ended and forgotten."""
    inn = f"{sys.executable} -m innkeeper.cli --system"
    lock = "/var/lib/innkeeper/installations/web/lock"
    host.shell(f"test ! -e {lock} || flock -w 60 {lock} true")  # the manager is still at it
    deadline = time.monotonic() + 60
    while not (gone := has_left_nothing(host)) and "web" not in host.shell(f"{inn} list --name"):
        left = host.names(IMAGES), hidden(host), host.names("/var/lib/innkeeper/installations")
        assert time.monotonic() < deadline, left
        time.sleep(0.2)  # its process may just be starting
    if not gone:
        host.shell(f"{inn} destroy web; {inn} undefine web --remove-all-storage")
    assert has_left_nothing(host)
    return gone


INSTALLER = ["--location", "tree,kernel=vmlinuz,initrd=initrd"]


def test_a_command_that_is_killed_at_any_time_leaves_a_machine_or_nothing(host: Host) -> None:
    found = set()
    for hundredths in (5, 15, 25, 35, 45, 60, 80, 120, 300):
        with host.begin(*install(*INSTALLER, *DISKS, "--noautoconsole")) as command:
            go_on(command)
            with suppress(subprocess.TimeoutExpired):
                command.wait(hundredths / 100)
            command.kill()
        found.add(settle(host))
    assert found == {True, False}


def test_a_manager_that_is_killed_at_any_time_leaves_a_machine_or_nothing(host: Host) -> None:
    for hundredths in (5, 15, 25, 35, 50, 70, 100):
        with host.begin(*install(*INSTALLER, *DISKS, "--noautoconsole")) as command:
            go_on(command)
            time.sleep(hundredths / 100)
            host.kill()
            host.daemon = host.start()
            status = command.wait(60)
            assert command.stderr is not None
            said = command.stderr.read()
        assert "Traceback" not in said
        assert settle(host) == (status != 0), f"status {status} after {hundredths}: {said}"


def test_both_killed_is_undone_by_the_next_manager(host: Host) -> None:
    with host.begin(
        *install(*INSTALLER, "--disk", "path=plain,size=2,format=qcow2,sparse=no", "--noautoconsole")
    ) as command:
        go_on(command)
        deadline = time.monotonic() + 30
        while not hidden(host):
            assert time.monotonic() < deadline
        host.kill()
        command.kill()
    assert hidden(host)
    host.daemon = host.start()
    host.shell(f"{sys.executable} -m innkeeper.cli --system list")
    assert has_left_nothing(host)


def test_an_installation_that_is_waited_for_can_be_interrupted(host: Host) -> None:
    with host.begin(*install(*INSTALLER, "--disk", "size=0.01", "--wait")) as command:
        complaints = installing(command)
        time.sleep(0.5)
        host.shell(f"{sys.executable} -m innkeeper.cli --system list; {sys.executable} -m innkeeper.cli list")
        assert command.poll() is None
        command.terminate()
        assert command.wait(60) == 128 + 15
        assert f"is removed, and {IMAGES}/web.qcow2; the same command" in complaints.read()
    assert has_left_nothing(host)


def test_an_installation_that_is_waited_for_outlives_its_manager(host: Host) -> None:
    """A member cannot start another, but goes on with one that root starts."""
    with host.begin(*install(*INSTALLER, "--disk", "size=0.01", "--wait")) as command:
        complaints = installing(command)
        host.kill()
        assert command.wait(60) == 2
        said = complaints.read()
        assert "inn daemon --system starts it; the installation of web goes on by itself" in said
        assert "removed" not in said
    host.daemon = host.start()
    assert "web" in host.shell(f"{sys.executable} -m innkeeper.cli --system list --name")
    assert sorted(host.names("/var/lib/innkeeper/installations/web")) == ["initrd", "kernel", "lock", "started.json"]
    assert not settle(host)


def test_keys_text_and_pictures_are_for_the_hosts_machine(host: Host) -> None:
    words = install("--disk", "none", *BY_KERNEL)
    words[words.index("--graphics") + 1] = "vnc"
    said = host.member(
        ["--system", "send-key", "--name", "web", "ret"],
        [*words, "--video", "vga"],
        ["--system", "screenshot", "--name", "web", "shot.png"],
        ["--system", "screenshot", "again.png"],
        ["--system", "type", "hello"],
        ["--system", "send-key", "ret"],
        ["--system", "send-key", "--control", "unix:/run/x", "ret"],
        ["send-key", "--name", "web", "ret"],
        ["complete", "--", "--system", "start", ""],
        ["complete", "--", "virsh", "-c", "qemu:///system", "start", ""],
        ["--system", "doctor"],
    )
    assert [status for status, _, _ in said] == [2, 0, 0, 0, 0, 0, 2, 2, 0, 0, 2], said
    assert [out for _, out, _ in said[8:10]] == ["web\n", "web\n"]
    assert "inn doctor asks no manager" in said[10][2]
    assert host.shell("stat -c %U /run/home/shot.png") == "nobody\n"

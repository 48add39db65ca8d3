"""virt-install asks whoever will run the machine: here a manager with folders of its own, as the host's has."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import end

from innkeeper.cli import main
from innkeeper.manager import read_xml
from innkeeper.manager.storage import Pools, Volumes
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish
from innkeeper.testing.guests import SPIN, flat_guest

POOL = "<pool type='dir'><name>more</name><target><path>{}</path></target></pool>"
ALONE = ["--memory", "32", "--virt-type", "bt", "--network", "none", "--graphics", "none", "--osinfo", "generic"]


def pool(folder: Path, size: int) -> None:
    """In the store of the environment."""
    folder.mkdir()
    Pools().create(POOL.format(folder))
    finish(Volumes().create("more", describe_volume({"name": "v", "capacity": str(size), "format": "raw"})))


@pytest.fixture
def host(user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    """The folder of the host's store; its manager runs as this user, who has a store and a pool of the same name beside it."""
    host = user / "host"
    (host / "run").mkdir(parents=True, mode=0o700)
    with pytest.MonkeyPatch.context() as there:
        for name, place in (("XDG_STATE_HOME", "state"), ("XDG_DATA_HOME", "data"), ("XDG_RUNTIME_DIR", "run")):
            there.setenv(name, str(host / place))
        assert main(["list"]) == 0
        pool(host / "pool", 1 << 21)
    (user / "here").mkdir()
    monkeypatch.chdir(user / "here")
    pool(user / "mine", 1 << 20)
    (user / "here/guest").write_bytes(flat_guest(SPIN))
    monkeypatch.setattr("innkeeper.manager.client.SYSTEM_SOCKET", host / "run/innkeeper/manager")
    capsys.readouterr()
    yield host
    for lock in sorted((host / "run/innkeeper").glob("**/*lock")):
        if (process := lock.read_text().strip()) and Path(f"/proc/{process}").exists():
            end(int(process))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def install(*words: str, name: str = "web") -> int:
    return main(["virt-install", "--connect", "qemu:///system", "--name", name, *ALONE, *words])


def test_what_is_printed_has_the_hosts_places(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--disk", "vol=more/v", "--disk", "pool=more,size=0.01", "--disk", "size=0.01", "--disk", "rel,size=0.01"]
    assert install(*words, "--import", "--boot", "uefi", "--print-xml") == 0
    machine = read_xml(capsys.readouterr().out).machine
    here = host.parent / "here"
    images = host / "data/innkeeper/images"
    assert [disk.path for disk in machine.disks] == [
        host / "pool/v",
        host / "pool/web.qcow2",
        images / "web.qcow2",
        here / "rel",
    ]
    assert machine.firmware is not None
    assert machine.firmware.vars == host / "state/innkeeper/web.nvram"
    (here / "install.amd").mkdir()
    for name in ("vmlinuz", "initrd.gz"):
        (here / "install.amd" / name).touch()
    assert install("--location", ".", "--disk", "none", "--print-xml", "1") == 0
    first = read_xml(capsys.readouterr().out).machine
    assert (first.kernel, first.initrd) == tuple(
        host / "state/innkeeper/installations/web" / name for name in ("kernel", "initrd")
    )


def test_what_is_made_is_in_the_hosts_store(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_kernel = ["--import", "--boot", "kernel=guest", "--noautoconsole"]
    assert install("--disk", "pool=more,size=0.01", "--disk", "rel,size=0.01", *by_kernel) == 0, capsys.readouterr().err
    assert main(["--system", "list", "--name"]) == 0
    assert main(["list", "--all", "--name"]) == 0
    assert capsys.readouterr().out.split() == ["web"]
    assert names(host / "pool") == ["v", "web.qcow2"]
    assert names(host.parent / "mine") == ["v"]
    assert names(host.parent / "here") == ["guest", "rel"]
    assert not list((host / "state/innkeeper/installations").iterdir())
    assert not (host.parent / "state/innkeeper/installations").exists()
    assert install("--disk", "none", *by_kernel) == 2
    assert "a machine named web exists already" in capsys.readouterr().err
    assert install("--disk", "rel", *by_kernel, name="other") == 2
    assert f"disk {host.parent}/here/rel is that of machine web" in capsys.readouterr().err
    assert main(["virt-install", "--name", "web", *ALONE, "--disk", "rel", *by_kernel, "--dry-run"]) == 0
    assert main(["--system", "destroy", "web"]) == 0


def test_devices_are_looked_for_where_the_manager_is(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install("--disk", "none", "--import", "--boot", "kernel=guest", "--noautoconsole") == 0
    (host.parent / "here/more.img").write_bytes(bytes(1 << 20))
    for words, status in (
        (["attach-disk", "web", "more.img", "vdb"], 0),
        (["attach-disk", "web", "none.img", "vdc"], 2),
        (["change-media", "web", "hdc", "more.img", "--block"], 2),
        (["send-key", "--name", "web", "ret"], 0),
        (["screenshot", "--control", "unix:x", "shot.png"], 2),
        (["run", "--kernel", "guest"], 2),
        (["complete", "--", "--system", "start", ""], 2),
    ):
        assert main(["--system", *words]) == status, (words, capsys.readouterr().err)
    said = capsys.readouterr().err
    for part in ("there is no file", "is no block device", "are reached by their names", "inn run asks no manager"):
        assert part in said
    assert main(["complete", "--", "--system", "start", ""]) == 0
    assert main(["complete", "--", "virsh", "--connect", "qemu:///system", "start", ""]) == 0
    assert main(["complete", "--", "start", ""]) == 0
    assert capsys.readouterr().out.split() == ["web", "web"]
    assert main(["--system", "destroy", "web"]) == 0


def test_a_killed_manager_is_followed_by_one_that_undoes(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the command of this user asks of its own manager has nothing to do with it."""
    left = host / "state/innkeeper/installations/web"
    left.mkdir(parents=True)
    (host / "disk").touch()
    (left / "made.json").write_text(
        f'{{"name": "web", "token": "x", "files": {{"{host}/disk": null}}, "folders": [], "uuid": null}}'
    )
    assert main(["list"]) == 0
    assert (host / "disk").exists()
    assert install("--disk", "none", "--import", "--boot", "kernel=guest", "--dry-run") == 0
    assert f"is removed, and {host}/disk; the same command can be run again" in capsys.readouterr().err
    assert not left.exists()

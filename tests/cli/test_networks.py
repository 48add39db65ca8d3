"""The networks' verbs: virsh's words, its tables, and what is said of mistakes."""

import json
from pathlib import Path

import pytest

from innkeeper.cli import main
from innkeeper.cli.networks import common
from innkeeper.manager.networks import Networks
from innkeeper.net.host import realise, records

XML = "<network><name>mine</name><forward mode='user'/><portgroup name='x'/></network>"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without networks, on a host without any, where nothing can be made."""
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "host").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr(common, "networks", lambda _: Networks())
    monkeypatch.setattr(records, "FOLDER", tmp_path / "host")
    monkeypatch.setattr(realise, "may_change", lambda: False)
    return tmp_path


@pytest.fixture
def mine(folders: Path) -> Path:
    file = folders / "mine.xml"
    file.write_text(XML)
    assert main(["net-define", str(file)]) == 0
    return file


def test_the_default_network_is_there_and_inactive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virsh", "net-list", "--all"]) == 0
    assert capsys.readouterr().out == (
        " Name      State      Autostart   Persistent\n"
        "----------------------------------------------\n"
        " default   inactive   no          yes\n\n"
    )
    assert main(["net-list", "--name"]) == 0
    assert capsys.readouterr().out == ""


def test_a_network_that_is_undefined_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["net-undefine", "default"]) == 0
    assert main(["net", "list", "--all", "--json"]) == 0
    assert capsys.readouterr().out.endswith("[]\n")


def test_a_networks_life(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["net-define", str(mine)]) == 0
    said = capsys.readouterr()
    assert said.out == f"Network mine defined from {mine}\n\n"
    assert "without meaning here: portgroup" in said.err
    assert main(["net", "start", "mine"]) == 0
    assert main(["net-start", "--network", "mine"]) == 0  # it is started once more
    assert main(["net-autostart", "mine"]) == 0
    assert main(["net-info", "mine", "--json"]) == 0
    lines = capsys.readouterr().out
    assert "Network mine marked as autostarted" in lines
    info = json.loads(lines[lines.index("{") :])
    assert (info["active"], info["autostart"], info["mode"]) == (True, True, "user")
    assert main(["net-name", info["uuid"]]) == 0
    assert main(["net-uuid", "mine"]) == 0
    assert capsys.readouterr().out == f"mine\n\n{info['uuid']}\n\n"
    assert main(["net-undefine", "mine"]) == 0
    assert main(["net-list", "--transient", "--uuid"]) == 0
    assert capsys.readouterr().out.endswith(f"{info['uuid']}\n")
    assert main(["net-destroy", "mine"]) == 0
    assert main(["net-info", "mine"]) == 2
    assert "there is no network 'mine'" in capsys.readouterr().err


def test_a_definition_is_kept_as_it_was_given(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["net-define", str(mine)]) == 0  # once more: the same identity
    capsys.readouterr()
    assert main(["net-dumpxml", "mine"]) == 0
    shown = capsys.readouterr().out
    assert '<portgroup name="x" />' in shown
    assert "<uuid>" in shown


@pytest.mark.usefixtures("mine")
def test_editing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    assert main(["net-edit", "mine"]) == 0
    assert "not changed" in capsys.readouterr().out
    monkeypatch.setenv("EDITOR", "sed -i s/portgroup/vlan/")
    assert main(["net-edit", "mine"]) == 0
    said = capsys.readouterr()
    assert "Network mine XML configuration edited." in said.out
    assert "vlan" in said.err
    monkeypatch.setenv("EDITOR", "sed -i s/user/abuser/")
    assert main(["net-edit", "mine"]) == 2
    said = capsys.readouterr()
    left = Path(said.err.rpartition("what you wrote is in ")[2].strip())
    assert "abuser" in left.read_text()
    left.unlink()
    left.parent.rmdir()
    for editor, words in (("false", "ended with status 1"), ("nosuchprogram", "cannot start the editor nosuchprogram")):
        monkeypatch.setenv("EDITOR", editor)
        assert main(["net-edit", "mine"]) == 2
        assert words in capsys.readouterr().err


def test_a_hosts_address_is_changed_in_a_definition(capsys: pytest.CaptureFixture[str]) -> None:
    host = "<host mac='52:54:00:00:00:01' name='web' ip='192.168.122.10'/>"
    assert main(["net-update", "default", "add", "ip-dhcp-host", host, "--config"]) == 0
    assert capsys.readouterr().out == "Updated network default persistent config\n\n"
    assert main(["net-dumpxml", "default"]) == 0
    assert 'name="web"' in capsys.readouterr().out
    for words, said in (
        (["add", "ip-dhcp-host", host, "--live"], "not active, so nothing of it can be changed now"),
        (["push", "ip-dhcp-host", host], "command is 'push'"),
        (["add", "portgroup", host], "section is 'portgroup'"),
        (["add", "ip-dhcp-host", "<host mac='52:54:00:00:00:02' ip='10.0.0.1'/>"], "is not in 192.168.122.0/24"),
        (["add", "ip-dhcp-host", "/nosuchfile"], "cannot read '/nosuchfile'"),
        (["add", "ip-dhcp-host", host, "--live", "--current"], "--current is given with"),
    ):
        assert main(["net-update", "default", *words]) == 2
        assert said in capsys.readouterr().err


def test_making_a_bridge_without_root_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["net", "create", "br0", "--address", "10.0.2.1/24"]) == 2
    assert "making bridge br0 needs root: run `sudo inn net-start br0` once" in capsys.readouterr().err
    assert main(["net-list", "--inactive", "--name"]) == 0
    assert capsys.readouterr().out == "br0\ndefault\n"  # it is kept: sudo finds it


def test_the_same_words_are_the_same_network(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["net", "create", "br0", "--address", "10.0.2.1/24", "--no-start"]
    assert main([*words, "--autostart"]) == 0
    assert main(words) == 0
    assert main([*words, "--domain", "inn.test"]) == 2
    assert "a network named br0 exists already, and is another" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", ["net-start", "net-destroy", "net-undefine", "net-info", "net-dumpxml", "net-edit", "net-uuid"]
)
def test_a_network_of_no_name(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "nobodys"]) == 2
    assert "there is no network 'nobodys'; inn net-list --all shows all" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([verb])
    assert "network is missing; give it, as in --network NETWORK" in capsys.readouterr().err

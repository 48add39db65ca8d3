"""A card's network by its name, on a host where this user may make none."""

from pathlib import Path

import pytest

from innkeeper.config import NetworkConfig, NetworkKind
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.networks import Networks
from innkeeper.manager.networks.resolve import resolve_card
from innkeeper.net.host import realise, records
from innkeeper.net.host.records import Record, State
from innkeeper.net.links import bridge_of, open_link

ISOLATED = "<network><name>alone</name><bridge name='nobr1'/><ip address='10.9.0.1' prefix='24'/></network>"


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Networks:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "host").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(records, "FOLDER", tmp_path / "host")
    monkeypatch.setattr(realise, "may_change", lambda: False)
    return Networks()


def card(name: str) -> NetworkConfig:
    return NetworkConfig.parse(f"network={name},model=e1000,mac=52:54:00:00:00:07")


def test_a_network_of_mode_user_is_each_machines_own_once_it_is_started(networks: Networks) -> None:
    networks.define("<network><name>mine</name><forward mode='user'/></network>")
    with pytest.raises(HostError, match="network mine is not active; inn net-start mine starts it"):
        resolve_card(card("mine"), networks)
    networks.start("mine")
    resolved = resolve_card(card("mine"), networks)
    assert (resolved.kind, resolved.name, resolved.model, resolved.mac) == (
        NetworkKind.USER, "", "e1000", "52:54:00:00:00:07",
    )  # fmt: skip
    assert networks.info("mine")["active"]
    networks.destroy("mine")
    assert not networks.info("mine")["active"]


def test_without_root_the_default_network_is_the_built_in_one_and_says_so(networks: Networks) -> None:
    resolved = resolve_card(card("default"), networks)
    assert (resolved.kind, resolved.name) == (NetworkKind.USER, "default")
    opened = open_link(resolved, bytes(6))
    opened.close()
    assert opened.note == (
        "a card is on the built-in network, in place of network default, which is not active, and which root starts: "
        "sudo inn net-start default"
    )


def test_nothing_takes_an_isolated_networks_place(networks: Networks) -> None:
    networks.define(ISOLATED)
    with pytest.raises(HostError, match="network alone is not active"):
        resolve_card(card("alone"), networks)


def test_a_network_that_nobody_knows(networks: Networks) -> None:
    with pytest.raises(ConfigError, match="there is no network 'nobodys'"):
        resolve_card(card("nobodys"), networks)


def test_what_root_started_is_there_for_everybody(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(
        name="roots", uuid="u", mode="nat", bridge="br7", mac="m", state=State.ACTIVE,
        document="<network><name>roots</name><bridge name='br7'/></network>",
    )  # fmt: skip
    records.write(record)
    monkeypatch.setattr(realise, "is_active", lambda record: record.name == "roots")
    resolved = resolve_card(card("roots"), networks)
    assert (resolved.kind, resolved.name) == (NetworkKind.NETWORK, "roots")
    assert bridge_of("roots") == "br7"
    assert [it["name"] for it in networks.list() if it["active"]] == ["roots"]
    with pytest.raises(HostError, match="ending network roots needs root: run `sudo inn net-destroy roots`"):
        networks.destroy("roots")


def test_what_is_marked_starts_with_the_manager_and_what_cannot_is_told(networks: Networks) -> None:
    networks.define("<network><name>mine</name><forward mode='user'/></network>")
    for name in ("mine", "default"):
        networks.set_autostart(name, on=True)
    [wrong] = networks.start_marked()
    assert wrong.startswith("network default: making bridge virbr0 needs root")
    assert networks.info("mine")["active"]


def test_a_definition_that_names_no_bridge_gets_one_and_keeps_it(networks: Networks) -> None:
    text = "<network><name>n</name><forward/><ip address='10.8.0.1' prefix='24'/></network>"
    networks.define(text)
    first = networks.info("n")
    assert (first["bridge"] or "").startswith("virbr")
    assert first["bridge"] != "virbr0"  # the default network's
    networks.define(text)
    assert networks.info("n") == first


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (
            lambda it: it.start("default"),
            "making bridge virbr0 needs root: run `sudo inn net-start default` once; your",
        ),
        (lambda it: it.create(ISOLATED), "making bridge nobr1 needs root"),
        (lambda it: it.destroy("default"), "network default is not active"),
        (lambda it: it.leases("default"), "network default is not active; inn net-start default starts it"),
    ],
)
def test_what_needs_root_says_so(networks: Networks, do: object, words: str) -> None:
    with pytest.raises(HostError, match=words):
        do(networks)  # type: ignore[operator] # one of the above

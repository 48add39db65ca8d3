"""What nft is given for each kind of network."""

from innkeeper.manager.networks.network_xml import read_network
from innkeeper.net.host import rules
from innkeeper.net.host.rules import Statement


def table(forward: str) -> list[Statement]:
    ip = "<ip address='10.0.2.1' prefix='24'/><ip family='ipv6' address='fd00::1' prefix='64'/>"
    return rules.table(read_network(f"<network><name>n</name>{forward}<bridge name='br9'/>{ip}</network>"))


def expressions(statements: list[Statement], chain: str) -> list[str]:
    made = [it["add"]["rule"] for it in statements if "rule" in it["add"]]
    return [str(it["expr"]) for it in made if it["chain"] == chain]


def test_ipv6_is_translated_only_if_asked_for() -> None:
    assert not any("fd00::" in it for it in expressions(table("<forward/>"), "postrouting"))
    asked = expressions(table("<forward><nat ipv6='yes'/></forward>"), "postrouting")
    assert any("fd00::" in it and "masquerade" in it for it in asked)


def test_ports_and_the_way_out() -> None:
    forward = "<forward dev='eth0'><nat><port start='2000' end='3000'/></nat></forward>"
    translated = [it for it in expressions(table(forward), "postrouting") if "masquerade" in it]
    assert all("'eth0'" in it for it in translated)
    assert sum("[2000, 3000]" in it for it in translated) == 2  # of TCP and of UDP
    assert sum("'eth0'" in it for it in expressions(table(forward), "forward")) == 4  # out and in, of each version


def test_nothing_is_forwarded_of_an_isolated_network() -> None:
    assert not any("10.0.2.0" in it for it in expressions(table(""), "forward"))
    assert expressions(table(""), "postrouting") == []
    assert all("'reject'" in it for it in expressions(table(""), "forward")[1:])

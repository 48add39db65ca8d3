"""What passes a network: one nftables table for each, `inet inn_NAME`, put in place and taken away whole.

Spec: libnftables-json(5), nft(8). The table is ours alone and concerns our bridge alone, so nothing of others is touched. Every change is one
transaction. What others' tables drop stays dropped whatever ours accepts: see `foreign.py`.
"""

import json
import os
import shutil
import subprocess
from typing import Any

from innkeeper.errors import HostError
from innkeeper.net.host.network import Address, Mode, Network

PROGRAM, PACKAGE = "nft", "nftables"
FAMILY = "inet"
PATIENCE_S = 30.0
FILTER, SRCNAT = 0, 100  # where others' chains sit too; the order among accepting chains does not matter
NOT_TRANSLATED = {4: ("224.0.0.0", 24), 6: ("ff00::", 8)}  # what stays on the link by its nature
EVERYBODY = "255.255.255.255"

Statement = dict[str, Any]


def table_of(network: str) -> str:
    return f"inn_{network}"


def has_rules(network: Network) -> bool:
    return network.mode in (Mode.NAT, Mode.ROUTE, Mode.NONE)


def apply(network: Network) -> None:
    """Puts the network's table in place of the one that may be there. Raises `HostError`."""
    transact([*removal(network.name), *table(network)], f"the rules of network {network.name}")


def remove(name: str) -> None:
    """Idempotent. Raises `HostError`."""
    transact(removal(name), f"the end of network {name}'s rules")


def is_there(name: str) -> bool:
    """Raises `HostError`."""
    return any(it["table"]["name"] == table_of(name) for it in listing(["tables", FAMILY]) if "table" in it)


def removal(name: str) -> list[Statement]:
    """Made first, so that deleting always succeeds."""
    whole = {"table": {"family": FAMILY, "name": table_of(name)}}
    return [{"add": whole}, {"delete": whole}]


def table(network: Network) -> list[Statement]:
    """All that makes the table anew."""
    name = table_of(network.name)
    made: list[Statement] = [{"add": {"table": {"family": FAMILY, "name": name}}}]
    made.append(chain(name, "forward", "filter", "forward", FILTER))
    made += [rule(name, "forward", expression) for expression in forwarding(network)]
    translated = [it for it in network.addresses if it.interface.version == 4 or network.nat_ipv6]
    if network.mode is Mode.NAT and translated:
        made.append(chain(name, "postrouting", "nat", "postrouting", SRCNAT))
        for address in translated:
            made += [rule(name, "postrouting", expression) for expression in translation(network, address)]
    return made


def chain(table: str, name: str, kind: str, hook: str, priority: int) -> Statement:
    described = {"family": FAMILY, "table": table, "name": name, "type": kind, "hook": hook, "prio": priority}
    return {"add": {"chain": {**described, "policy": "accept"}}}


def rule(table: str, chain: str, expression: list[Statement]) -> Statement:
    return {"add": {"rule": {"family": FAMILY, "table": table, "chain": chain, "expr": expression}}}


def forwarding(network: Network) -> list[list[Statement]]:
    """Machines among themselves always; out and in as the mode has it; nothing else, and who asks is told so."""
    inside, outside = meta("iifname", network.bridge), meta("oifname", network.bridge)
    rules = [[inside, outside, accept()]]
    if network.mode is not Mode.NONE:
        for address in network.addresses:
            back = network.mode is Mode.NAT and (address.interface.version == 4 or network.nat_ipv6)
            for device in network.devices or (None,):
                out = [meta("oifname", device)] if device is not None else []
                into = [meta("iifname", device)] if device is not None else []
                answers = [established()] if back else []
                rules.append([inside, *out, of(address, "saddr"), accept()])
                rules.append([*into, outside, of(address, "daddr"), *answers, accept()])
    return [*rules, [inside, reject()], [outside, reject()]]


def translation(network: Network, address: Address) -> list[list[Statement]]:
    """Masquerading: whatever leaves the network gets the address of the interface that it leaves by."""
    version = address.interface.version
    own, link = of(address, "saddr"), NOT_TRANSLATED[version]
    rules = [[own, payload(version, "daddr", {"prefix": {"addr": link[0], "len": link[1]}}), {"return": None}]]
    if version == 4:
        rules.append([own, payload(4, "daddr", EVERYBODY), {"return": None}])
    for device in network.devices or (None,):
        out = [meta("oifname", device)] if device is not None else []
        away = [own, of(address, "daddr", op="!="), *out]
        if network.nat_ports is None:
            rules.append([*away, {"masquerade": None}])
            continue
        ports = {"port": {"range": list(network.nat_ports)}}
        rules += [[*away, protocol(each), {"masquerade": ports}] for each in ("tcp", "udp")]
        rules.append([*away, {"masquerade": None}])
    return rules


def match(left: Statement, right: object, op: str = "==") -> Statement:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str, value: str) -> Statement:
    return match({"meta": {"key": key}}, value)


def protocol(name: str) -> Statement:
    return meta("l4proto", name)


def payload(version: int, field: str, value: object, op: str = "==") -> Statement:
    return match({"payload": {"protocol": "ip" if version == 4 else "ip6", "field": field}}, value, op)


def of(address: Address, field: str, op: str = "==") -> Statement:
    """That a packet's source or destination is on the network."""
    whole = address.interface.network
    prefix = {"prefix": {"addr": str(whole.network_address), "len": whole.prefixlen}}
    return payload(address.interface.version, field, prefix, op)


def established() -> Statement:
    return match({"ct": {"key": "state"}}, ["established", "related"], "in")


def accept() -> Statement:
    return {"accept": None}


def reject() -> Statement:
    return {"reject": None}


# ---- nft ----------------------------------------------------------------------------------------


def require() -> str:
    """Raises `HostError` if there is no nft."""
    program = shutil.which(PROGRAM, path=search_path())
    if program is None:
        raise HostError(
            f"rules for what passes a network are made by {PROGRAM}, which is not installed; install the package {PACKAGE}, "
            "or take forward mode open, which has no rules"
        )
    return program


def search_path() -> str:
    """Where administrators' programs are, which users' paths may leave out."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def transact(statements: list[Statement], what: str) -> None:
    """All or nothing. Raises `HostError`."""
    run(["-j", "-f", "-"], what, json.dumps({"nftables": statements}))


def listing(words: list[str]) -> list[Statement]:
    """What `nft list …` has. Raises `HostError`."""
    said = run(["-j", "list", *words], f"the list of {' '.join(words)}", "")
    found: list[Statement] = json.loads(said)["nftables"] if said.strip() else []
    return found


def run(words: list[str], what: str, given: str) -> str:
    command = [require(), *words]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise HostError(f"{PROGRAM} did not do {what} within {PATIENCE_S:g} s; look what else changes rules") from None
    if done.returncode != 0:
        said = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
        raise HostError(f"{PROGRAM} refused {what}: {said}")
    return done.stdout

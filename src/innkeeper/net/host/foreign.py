"""Rules of ours in chains of others, where theirs drop whatever they do not know: a firewall's, Docker's.

A packet has to pass every chain of its hook, so what our table accepts they can still drop. Into such a chain go rules that accept what concerns
our bridge, marked with a comment; only rules with that comment are ever removed. A chain that iptables made gets its rules by iptables, which
could not read its table otherwise.

Left out: chains that accept by policy and drop by a last rule of their own (firewalld): its zones know interfaces, see the guide.
"""

import shlex
import shutil
import subprocess

from innkeeper.errors import HostError
from innkeeper.net.host import rules
from innkeeper.net.host.network import Network
from innkeeper.net.host.rules import Statement, accept, listing, match, meta, search_path, transact
from innkeeper.records import dataclass

IPTABLES = {"ip": "iptables", "ip6": "ip6tables"}
IPTABLES_CHAINS = ("INPUT", "FORWARD")
FAMILIES = ("ip", "ip6", "inet")
SERVED = {"udp": (53, 67, 547), "tcp": (53,)}  # DNS, DHCP, DHCPv6


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of another program's that drops by policy."""

    family: str
    table: str
    name: str
    hook: str

    @property
    def by_iptables(self) -> str | None:
        """The program that made it, and is here."""
        if self.family in IPTABLES and self.table == "filter" and self.name in IPTABLES_CHAINS:
            return shutil.which(IPTABLES[self.family], path=search_path())
        return None


def mark(network: str) -> str:
    return f"innkeeper {network}"


def dropping() -> list[Chain]:
    """Raises `HostError`."""
    found = []
    for it in listing(["chains"]):
        chain = it.get("chain", {})
        ours = chain.get("table", "").startswith(rules.table_of("")) and chain.get("family") == rules.FAMILY
        hooked = chain.get("hook") in ("forward", "input") and chain.get("family") in FAMILIES
        if hooked and chain.get("policy") == "drop" and not ours:
            found.append(Chain(chain["family"], chain["table"], chain["name"], chain["hook"]))
    return found


def allow(network: Network) -> list[str]:
    """Has those chains let the network's packets pass, once each. Returns what was done, in words. Raises `HostError`."""
    done = []
    for chain in dropping():
        if chain.hook == "forward" and not network.devices and network.mode == "none":
            continue  # nothing of an isolated network is forwarded
        if count(chain, network.name) == 0:
            insert(chain, network)
            done.append(
                f"{chain.family} {chain.table} {chain.name} drops what it does not know: it lets {network.bridge} pass now"
            )
    return done


def disallow(name: str) -> None:
    """Removes what `allow` has put there, wherever it is. Raises `HostError`."""
    for it in listing(["ruleset"]):
        found = it.get("rule", {})
        if found.get("comment") == mark(name):
            where = {key: found[key] for key in ("family", "table", "chain", "handle")}
            transact([{"delete": {"rule": where}}], f"the end of a rule of {name} in {found['table']}")
    for program in filter(None, (shutil.which(each, path=search_path()) for each in IPTABLES.values())):
        for line in marked(program, name):
            iptables(program, ["-D", *line])


def count(chain: Chain, name: str) -> int:
    program = chain.by_iptables
    if program is not None:
        return sum(line[0] == chain.name for line in marked(program, name))
    found = listing(["chain", chain.family, chain.table, chain.name])
    return sum(it.get("rule", {}).get("comment") == mark(name) for it in found)


def insert(chain: Chain, network: Network) -> None:
    program = chain.by_iptables
    if program is not None:
        for words in iptables_rules(chain, network):
            comment = ["-m", "comment", "--comment", mark(network.name)]
            iptables(program, ["-I", chain.name, *words, *comment, "-j", "ACCEPT"])
        return
    where = {"family": chain.family, "table": chain.table, "chain": chain.name, "comment": mark(network.name)}
    made: list[Statement] = [
        {"insert": {"rule": {**where, "expr": [*expression, accept()]}}} for expression in nft_rules(chain, network)
    ]
    transact(made, f"rules of {network.name} in {chain.table}")


def nft_rules(chain: Chain, network: Network) -> list[list[Statement]]:
    inside = meta("iifname", network.bridge)
    if chain.hook == "forward":
        return [[inside], [meta("oifname", network.bridge)]]
    ports = {name: {"set": list(numbers)} for name, numbers in SERVED.items()}
    return [
        [inside, match({"payload": {"protocol": name, "field": "dport"}}, numbers)] for name, numbers in ports.items()
    ]


def iptables_rules(chain: Chain, network: Network) -> list[list[str]]:
    if chain.hook == "forward":
        return [["-i", network.bridge], ["-o", network.bridge]]
    return [
        ["-i", network.bridge, "-p", name, "--dport", str(number)]
        for name, numbers in SERVED.items()
        for number in numbers
    ]


def marked(program: str, name: str) -> list[list[str]]:
    """The words of each rule with our mark, its chain first."""
    found = []
    for line in iptables(program, ["-S"]).splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and mark(name) in words:
            found.append(words[1:])
    return found


def iptables(program: str, words: list[str]) -> str:
    command = [program, "-w", "5", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=rules.PATIENCE_S)
    if done.returncode != 0:
        said = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
        raise HostError(f"{program} refused {' '.join(words)}: {said}")
    return done.stdout


def forwards_for_others() -> bool:
    """Whether anybody else filters or translates what this host forwards, and so counts on it to. Raises `HostError`."""
    for it in listing(["chains"]):
        chain = it.get("chain", {})
        ours = chain.get("table", "").startswith(rules.table_of("")) and chain.get("family") == rules.FAMILY
        if not ours and (
            chain.get("hook") == "forward" or (chain.get("hook") == "postrouting" and chain.get("type") == "nat")
        ):
            return True
    return False

"""All of a host that a network may change, seen from inside it. Run as a program, it prints that."""

import json
import subprocess
from pathlib import Path
from typing import TypedDict

RUN = Path("/run/innkeeper-networks")
FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


class Seen(TypedDict):
    """Interfaces with their addresses, rules, forwarding of each IP version, servers, files."""

    links: dict[str, list[str]]
    rules: str
    forwarding: list[str]
    servers: list[str]
    files: list[str]


def say(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


def look() -> Seen:
    links = json.loads(say("ip", "-j", "address"))
    return Seen(
        links={it["ifname"]: sorted(at["local"] for at in it["addr_info"] if at["scope"] != "link") for it in links},
        rules=say("nft", "list", "ruleset"),
        forwarding=[Path(file).read_text().strip() for file in FORWARDING],
        servers=sorted(servers()),
        files=sorted(str(path) for path in RUN.rglob("*") if path.name != "lock"),
    )


def servers() -> list[str]:
    """The command lines of each dnsmasq in this network namespace."""
    here = Path("/proc/self/ns/net").stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == here:
                command = (entry / "cmdline").read_text()
                found += [command] if "dnsmasq" in command.partition("\0")[0] else []
        except OSError:
            continue  # it has ended meanwhile, or is a corpse
    return found


if __name__ == "__main__":
    print(json.dumps(look()))

"""Names of operating systems: libosinfo's, from the files of osinfo-db where those are installed.

Spec: the schema of osinfo-db (short-id, id). No device depends on a name here: it is told to the machine's XML, and says how an unattended
installation is answered. Without osinfo-db any name that could be one is taken; with it, also newer releases of systems that it knows.
"""

import re
from difflib import get_close_matches
from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

DATABASE = Path("/usr/share/osinfo/os")
SHORT_ID = re.compile(r"<short-id>([^<]+)</short-id>")
ID = re.compile(r"<os id=[\"']([^\"']+)[\"']")
NAME = re.compile(r"[a-z][a-z0-9.+-]{0,63}")
FAMILY = re.compile(r"([a-z][a-z-]*?)([0-9][0-9.]*)?")
GENERIC = ("generic", "linux2022", "linux2020", "linux2018", "linux2016")


@dataclass(frozen=True, slots=True)
class System:
    """`name` is a short-id such as debian12, `identity` libosinfo's address, empty if it is not known."""

    name: str
    identity: str = ""

    @property
    def family(self) -> str:
        """
        >>> System("debian12").family, System("ubuntu22.04").family, System("generic").family
        ('debian', 'ubuntu', 'generic')
        """  # noqa: D212 - an example says it
        found = FAMILY.fullmatch(self.name)
        return found[1] if found else self.name


def known(database: Path = DATABASE) -> dict[str, str]:
    """Short names, and their identities."""
    found: dict[str, str] = {}
    for file in sorted(database.glob("*/*.xml")):
        text = file.read_text(errors="replace")
        if identity := ID.search(text):
            found |= dict.fromkeys(SHORT_ID.findall(text), identity[1])
    return found


def system(name: str, database: Path = DATABASE) -> System:
    """Raises `ConfigError` for a name, or an identity, that no system has."""
    names = known(database)
    if name.startswith(("http://", "https://")):
        short = next((each for each, identity in names.items() if identity == name), None)
        if names and short is None:
            raise ConfigError(f"--osinfo has id={name}, which osinfo-db does not know; --osinfo list lists names")
        return System(short or name.rstrip("/").replace("/", "").rpartition(".")[2], name)
    if name in names:
        return System(name, names[name])
    if not NAME.fullmatch(name):
        raise ConfigError(f"--osinfo is {name!r}; it must be a name like debian12; --osinfo list lists names")
    wanted = System(name)
    if not names or name in GENERIC:
        return wanted
    kin = [each for each in names if System(each).family == wanted.family and FAMILY.fullmatch(each)]
    if not kin or wanted.family == wanted.name:
        like = get_close_matches(name, names, 3)
        advice = f"did you mean {' or '.join(like)}?" if like else "--osinfo list lists those that are"
        raise ConfigError(f"--osinfo is {name!r}, which is not known; {advice}")
    return System(name, newer(name.removeprefix(wanted.family), names, kin))


def newer(version: str, names: dict[str, str], kin: list[str]) -> str:
    """The identity of a release that came after the database: its kin's, with its own version."""
    for each in kin:
        head, slash, last = names[each].rpartition("/")
        if slash and each.endswith(last):
            return f"{head}/{version}"
    return ""

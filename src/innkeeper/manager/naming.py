"""Which machine a word means: a name, a UUID, or the number of a running machine's process, which is its id (virsh.1).

Machines that are kept are in the store. One that runs without being kept is transient, in virsh's word: its process knows what describes it.
"""

from contextlib import suppress
from uuid import UUID

from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, process_of, running
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.store import Row, Store, no_machine

ANSWER_S = 2.0
UUID_LENGTH = 36


def row_of(word: str) -> Row:
    """As `row_in` the user's own store."""
    with Store() as store:
        return row_in(store, word)


def row_in(store: Store, word: str) -> Row:
    """A machine that is kept, or one that is transient. Raises `InnkeeperError` if there is none, or it does not answer."""
    name, _ = find_in(store, word)
    return store.find(name) or live_row(name)


def kept_row(word: str) -> Row:
    """As `kept_in` the user's own store."""
    with Store() as store:
        return kept_in(store, word)


def kept_in(store: Store, word: str) -> Row:
    """A machine that is kept. Raises `ConfigError` if there is none, or it is transient."""
    name, _ = find_in(store, word)
    kept = store.find(name)
    if kept is None:
        raise ConfigError(
            f"machine {name} is transient: it has no definition, and is forgotten when it ends; inn define keeps it, with what "
            f"inn dumpxml {name} shows"
        )
    return kept


def find(word: str) -> tuple[str, bool]:
    """As `find_in` the user's own store."""
    with Store() as store:
        return find_in(store, word)


def find_in(store: Store, word: str) -> tuple[str, bool]:
    """The name of a machine that runs or is kept, and whether it runs. Raises `ConfigError` if there is none."""
    active = running(taken=False)
    if word in active:
        return word, True
    kept = store.find(word)
    if kept is not None:
        return kept.name, kept.name in active
    found = with_process(word, active) or with_uuid(store, word)
    if found is None:
        raise no_machine(word)
    return found, True


def with_process(word: str, active: list[str]) -> str | None:
    if not (word.isascii() and word.isdigit()):
        return None
    return next((name for name in active if process_of(name) == int(word)), None)


def with_uuid(store: Store, word: str) -> str | None:
    """The name of a transient machine."""
    if len(word) != UUID_LENGTH:
        return None
    return next((row.name for row in transients(store) if str(row.uuid) == word.lower()), None)


def transients(store: Store) -> list[Row]:
    """All machines that run without being kept, and say what they are."""
    kept = {row.name for row in store.all()}
    found = []
    for name in running():
        with suppress(HostError):  # it ends, hangs, or is one of inn run
            if name not in kept:
                found.append(live_row(name))
    return found


def check_free(store: Store, name: str, uuid: UUID) -> None:
    """Raises `ConfigError` if a transient machine has one of both, and not the other."""
    for row in transients(store):
        if row.name == name and row.uuid != uuid:
            raise ConfigError(
                f"a machine named {name} runs already, with UUID {row.uuid}; give another name, or keep that one by its UUID"
            )
        if row.uuid == uuid and row.name != name:
            raise ConfigError(
                f"UUID {uuid} is that of machine {row.name}, which runs; leave it out to have one made up"
            )


def live_row(name: str) -> Row:
    """A machine that runs, as it is now. Raises `HostError` if it does not say."""
    xml = live_xml(name)
    if xml is None:
        raise HostError(
            f"machine {name} was started by inn run, so no document describes it; inn start and inn create run "
            "machines that have one"
        )
    return Row(name, read_xml(xml).uuid, xml, autostart=False, persistent=False)


def live_xml(name: str) -> str | None:
    """The document of a machine that runs, as its devices are now; None if it is one of `inn run`. Raises `HostError`."""
    described = ask(control_of(name), "describe", patience_s=ANSWER_S)
    return None if described is None else str(described["xml"])

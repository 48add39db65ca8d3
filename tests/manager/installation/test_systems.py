"""Names of operating systems, with osinfo-db and without."""

from pathlib import Path

import pytest

from innkeeper.errors import ConfigError
from innkeeper.manager.installation.systems import known, system


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "debian.org").mkdir()
    for number in (10, 11):
        words = f'<libosinfo><os id="http://debian.org/debian/{number}"><short-id>debian{number}</short-id></os></libosinfo>'
        (tmp_path / "debian.org" / f"debian-{number}.xml").write_text(words)
    words = '<os id="http://redhat.com/rhel/7.6"><short-id>rhel7.6</short-id><short-id>rhel7.6alias</short-id></os>'
    (tmp_path / "debian.org" / "rhel.xml").write_text(words)
    return tmp_path


def test_a_name_leads_to_its_identity(database: Path) -> None:
    assert system("debian11", database).identity == "http://debian.org/debian/11"
    assert system("http://debian.org/debian/11", database).name == "debian11"
    assert system("rhel7.6", database).family == "rhel"
    assert set(known(database)) == {"debian10", "debian11", "rhel7.6", "rhel7.6alias"}


def test_a_release_that_is_newer_than_the_database_is_known_by_its_kin(database: Path) -> None:
    assert system("debian12", database).identity == "http://debian.org/debian/12"
    assert system("rhel9.4", database).identity == "http://redhat.com/rhel/9.4"


def test_names_that_no_system_has_are_refused(database: Path) -> None:
    with pytest.raises(ConfigError, match="'debain11', which is not known; did you mean debian11"):
        system("debain11", database)
    with pytest.raises(ConfigError, match="must be a name like debian12"):
        system("../etc", database)
    with pytest.raises(ConfigError, match="osinfo-db does not know"):
        system("http://example.org/os/1", database)


def test_without_a_database_names_are_taken_as_they_are(tmp_path: Path) -> None:
    assert (system("plan9", tmp_path).name, system("plan9", tmp_path).identity) == ("plan9", "")
    assert system("http://debian.org/debian/12", tmp_path).identity == "http://debian.org/debian/12"

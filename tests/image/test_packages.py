"""The package client, against fake apt tools and, where there is a package archive, the real one."""

import os
from pathlib import Path

import pytest

from innkeeper.errors import ImageError
from innkeeper.image.kernel import fetch_kernel
from innkeeper.image.packages import PackageClient, parse_stanza

STANZA = """\
Package: linux-image-cloud-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), kmod | busybox, base:amd64
Description: Linux
 for: clouds

Package: linux-image-cloud-amd64
Version: 6.1.176-1
"""

APT_CACHE = """#!/bin/sh
echo "apt-cache $*" >>"$LOG"
case "$*" in
  *Lists=*|*real*) for last; do :; done; cat "$STANZAS/$last" 2>/dev/null || exit 100;;
  *) exit 100;;
esac
"""

APT_GET = """#!/bin/sh
echo "apt-get $*" >>"$LOG"
case "$*" in
  *update*) lists="${2#*=}"; touch "$lists/debian_Packages";;
  *1.0-gone*) echo "E: Version 1.0-gone not found" >&2; exit 100;;
  *download*) echo deb >fetched.deb;;
esac
"""

DPKG_DEB = """#!/bin/sh
echo "dpkg-deb $*" >>"$LOG"
mkdir -p "$3/boot" "$3/lib/modules/9.9-test" && echo kernel >"$3/boot/vmlinuz-9.9-test"
"""


def test_the_first_stanza_is_the_candidate() -> None:
    package = parse_stanza(STANZA)

    assert package is not None
    assert (package.name, package.version) == ("linux-image-cloud-amd64", "6.1.192-2")
    assert package.depends == ("linux-image-6.1.0-56-cloud-amd64", "kmod", "base")


@pytest.mark.parametrize("text", ["", "\n\n", "N: nothing\n", "Package: x\n"])
def test_what_is_no_stanza_is_no_package(text: str) -> None:
    assert parse_stanza(text) is None


class FakeHost:
    """A host whose apt answers from files in `stanzas` once its lists were fetched."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tools = directory / "tools"
        self.stanzas = directory / "stanzas"
        self.log = directory / "log"
        for path in (tools, self.stanzas):
            path.mkdir()
        for name, script in (("apt-cache", APT_CACHE), ("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
            (tools / name).write_text(script)
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        monkeypatch.setenv("LOG", str(self.log))
        monkeypatch.setenv("STANZAS", str(self.stanzas))
        self.client = PackageClient(directory / "cache")

    def offers(self, name: str, version: str, depends: str = "") -> None:
        text = f"Package: {name}\nVersion: {version}\nDepends: {depends}\n"
        (self.stanzas / f"{name}:amd64").write_text(text)

    def ran(self, tool_and_verb: str) -> int:
        tool, verb = tool_and_verb.split()
        return sum(line.startswith(tool) and verb in line for line in self.log.read_text().splitlines())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path, monkeypatch)


def test_a_host_without_lists_gets_private_ones_once(host: FakeHost) -> None:
    host.offers("busybox", "1.35")

    found = host.client.find("busybox")

    assert found.version == "1.35"
    assert host.ran("apt-get update") == 1
    with pytest.raises(ImageError, match="no package absent in the package lists"):
        host.client.find("absent")
    assert host.ran("apt-get update") == 1


def test_lists_in_the_cache_are_used_before_new_ones_are_fetched(host: FakeHost, tmp_path: Path) -> None:
    host.offers("busybox", "1.35")
    host.client.find("busybox")

    again = PackageClient(tmp_path / "cache")

    assert again.find("busybox").version == "1.35"
    assert host.ran("apt-get update") == 1


def test_a_metapackage_leads_to_its_kernel(host: FakeHost) -> None:
    host.offers("linux-image-real-meta", "9.9-1", "linux-image-9.9-real (= 9.9-1)")
    host.offers("linux-image-9.9-real", "9.9-1", "kmod, linux-base")

    kernel = fetch_kernel("linux-image-real-meta", host.client)

    assert (kernel.package, kernel.release) == ("linux-image-9.9-real", "9.9-test")
    assert kernel.vmlinuz.read_text() == "kernel\n"
    assert kernel.modules.is_dir()


def test_a_second_fetch_downloads_nothing(host: FakeHost) -> None:
    host.offers("linux-image-9.9-real", "9.9-1")

    first = fetch_kernel("linux-image-9.9-real", host.client)
    second = fetch_kernel("linux-image-9.9-real", host.client)

    assert first == second
    assert host.ran("apt-get download") == 1


def test_nothing_but_the_package_is_left_in_it(host: FakeHost) -> None:
    host.offers("linux-image-9.9-real", "9.9-1")

    kernel = fetch_kernel("linux-image-9.9-real", host.client)

    assert sorted(path.name for path in kernel.vmlinuz.parents[1].iterdir()) == ["boot", "lib"]


def test_a_version_that_is_gone_says_so_after_fresh_lists(host: FakeHost) -> None:
    host.offers("linux-image-real", "1.0-gone")

    with pytest.raises(ImageError, match=r"Version 1\.0-gone not found"):
        fetch_kernel("linux-image-real", host.client)

    assert host.ran("apt-get update") == 1
    assert host.ran("apt-get download") == 2


def test_a_package_without_a_kernel_is_named(host: FakeHost, tmp_path: Path) -> None:
    host.offers("linux-image-real", "1")
    (tmp_path / "tools/dpkg-deb").write_text("#!/bin/sh\n")

    with pytest.raises(ImageError, match="package linux-image-real holds 0 kernels"):
        fetch_kernel("linux-image-real", host.client)


def test_a_host_without_apt_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ImageError, match="apt-get is not on this host"):
        PackageClient(tmp_path)

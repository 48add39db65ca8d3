"""Versions, passwords and TLS: who comes in, and who does not."""

import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from innkeeper.config import GraphicsConfig
from innkeeper.display.rfb import VncServer, security
from innkeeper.errors import HostError
from tests.display.rfb.client import Client
from tests.display.rfb.conftest import Bench, MakeBench

ENDS = (EOFError, ConnectionResetError, BrokenPipeError)
VERSIONS = [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 003.889\n"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "server-key.pem",
         "-out", folder / "server-cert.pem"], check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong passwords wait a hundredth of what they do."""
    monkeypatch.setattr(security, "LONGEST_DELAY_S", 0.15)
    monkeypatch.setattr(security.Throttle.__init__, "__defaults__", (0.005,))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", ["vnc", "vnc,password=secret"])
def test_every_version_comes_in(make_bench: MakeBench, version: bytes, options: str) -> None:
    bench = make_bench(options)
    with bench.connect() as client:
        client.shake_hands(version, 2 if "password" in options else 1, "secret")

        assert (client.width, client.height, client.name) == (96, 80, "bench")
        client.update()


@pytest.mark.usefixtures("swift")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_password_does_not_come_in(make_bench: MakeBench, version: bytes) -> None:
    bench = make_bench("vnc,password=secret")
    with bench.connect() as client:
        client.begin(version)
        if version > b"RFB 003.004\n":
            client.send("B", 2)
        client.answer("Secret")

        assert client.unpack("I") == (1,)
        if version >= b"RFB 003.008\n":
            assert client.read(*client.unpack("I")) == b"authentication failed"
        with pytest.raises(ENDS):
            client.read(1)


@pytest.mark.usefixtures("swift")
def test_each_wrong_password_waits_longer_also_when_many_are_tried_at_once(make_bench: MakeBench) -> None:
    bench = make_bench("vnc,password=secret")
    clients = [bench.connect() for _ in range(6)]
    start = time.monotonic()
    for client in clients:
        client.begin()
        client.send("B", 2)
        client.answer("wrong")
    for client in clients:
        client.read(4)
        client.socket.close()

    assert time.monotonic() - start > 0.005 * (1 + 2 + 4 + 8 + 16) + 0.15
    with bench.connect() as client:
        client.shake_hands(kind=2, password="secret")


def test_no_password_is_taken_where_one_is_asked_for(make_bench: MakeBench) -> None:
    with make_bench("vnc,password=secret").connect() as client:
        assert client.begin() == [2]
        client.send("B", 1)

        assert client.unpack("I") == (1,)


@pytest.mark.parametrize("spoken", [b"HTTP/1.1 20\n", b"RFB 03.008\n\n", b"RFB 003.00\xff\n"])
def test_what_is_not_rfb_is_sent_away(bench: Bench, spoken: bytes) -> None:
    with bench.connect() as client:
        client.read(12)
        client.socket.sendall(spoken)

        with pytest.raises(ENDS):
            client.read(1)


@pytest.mark.parametrize(
    ("options", "subtype"), [("", 260), (",password=secret", 261), (",username=anna,password=a longer secret", 262)]
)
def test_vencrypt_with_a_certificate(make_bench: MakeBench, certificate: Path, options: str, subtype: int) -> None:
    bench = make_bench(f"vnc,tls={certificate}{options}")
    context = ssl.create_default_context(cafile=certificate / "server-cert.pem")
    with bench.connect() as client:
        assert client.begin() == [19]
        assert client.vencrypt(context) == subtype
        come_in(client, subtype)
        client.update()


@pytest.mark.parametrize(
    ("options", "subtype"), [("", 257), (",password=secret", 258), (",username=anna,password=a longer secret", 259)]
)
def test_vencrypt_with_anonymous_tls(make_bench: MakeBench, options: str, subtype: int) -> None:
    bench = make_bench(f"vnc,tls=anonymous{options}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    with bench.connect() as client:
        client.begin()
        assert client.vencrypt(context) == subtype
        come_in(client, subtype)
        client.update()


def come_in(client: Client, subtype: int) -> None:
    if subtype in (258, 261):
        client.answer("secret")
    elif subtype in (259, 262):
        name, password = b"anna", b"a longer secret"
        client.socket.sendall(len(name).to_bytes(4) + len(password).to_bytes(4) + name + password)
    assert client.unpack("I") == (0,)
    client.enter()


@pytest.mark.usefixtures("swift")
@pytest.mark.parametrize(("name", "password"), [(b"anna", b"wrong"), (b"bob", b"a longer secret"), (b"", b"")])
def test_name_and_password_must_both_be_right(
    make_bench: MakeBench, certificate: Path, name: bytes, password: bytes
) -> None:
    bench = make_bench(f"vnc,tls={certificate},username=anna,password=a longer secret")
    with bench.connect() as client:
        client.begin()
        client.vencrypt(ssl.create_default_context(cafile=certificate / "server-cert.pem"))
        client.socket.sendall(len(name).to_bytes(4) + len(password).to_bytes(4) + name + password)

        assert client.unpack("I") == (1,)


def test_words_before_tls_are_not_taken_for_words_within_it(make_bench: MakeBench, certificate: Path) -> None:
    with make_bench(f"vnc,tls={certificate}").connect() as client:
        client.begin()
        client.send("B", 19)
        client.read(2)
        client.socket.sendall(b"\x00\x02" + (260).to_bytes(4) + b"\x01")  # and a ClientInit in the clear
        client.read(6)

        client.socket.settimeout(5)
        with pytest.raises(ENDS):
            client.read(1 << 20)


def test_version_3_3_cannot_vencrypt_and_is_told(make_bench: MakeBench, certificate: Path) -> None:
    with make_bench(f"vnc,tls={certificate}").connect() as client:
        assert client.begin(b"RFB 003.003\n") == [0]
        assert b"VeNCrypt" in client.read(*client.unpack("I"))


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    from innkeeper._core import MemoryScreen
    from tests.display.rfb.conftest import Sink

    with pytest.raises(HostError, match=r"server-cert\.pem"):
        VncServer(GraphicsConfig.parse(f"vnc,tls={tmp_path}"), MemoryScreen().screen, Sink())
    (tmp_path / "server-cert.pem").write_text("no certificate")
    (tmp_path / "server-key.pem").write_text("no key")
    with pytest.raises(HostError, match="cannot use"):
        VncServer(GraphicsConfig.parse(f"vnc,tls={tmp_path}"), MemoryScreen().screen, Sink())


def test_silence_holds_nobody_up(bench: Bench) -> None:
    silent = [socket.create_connection(("127.0.0.1", int(bench.server.address.rpartition(":")[2]))) for _ in range(5)]
    with bench.connect() as client:
        client.shake_hands()
        client.update()
    for one in silent:
        one.close()

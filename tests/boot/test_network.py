"""A stock kernel's drivers on our cards, and the whole way from a guest's program to one of the host's."""

import hashlib
import os
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from innkeeper.image import KernelImage
from tests.boot.conftest import Initramfs, fetched
from tests.boot.inn import guest, inn_piped

pytestmark = pytest.mark.boot

DATA = os.urandom(3_000_000)
ANSWER = "192.0.2.77"

COMMANDS = r"""
cat > /tmp/dhcp <<'X'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev eth0; ip route add default via $router; echo "nameserver $dns" > /etc/resolv.conf
echo "LEASE $ip $router $dns"
X
chmod +x /tmp/dhcp
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -s /tmp/dhcp -n -q
echo "DRIVER $(basename $(readlink /sys/class/net/eth0/device/driver))"
for word in $(cat /proc/cmdline); do case $word in web=*|up=*) eval "$word";; esac; done
nslookup inn.example 10.0.2.3
wget -q -O /tmp/file http://10.0.2.2:$web/file; echo "GOT $(sha256sum < /tmp/file)"
nc 10.0.2.2 $up < /tmp/file
wget -q -O - http://10.0.2.2:1/ 2>&1
echo READY
echo "a guest's greeting" | nc -l -p 7777
poweroff -f
"""


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *_words: object) -> None:
        pass


class Names(socketserver.DatagramRequestHandler):
    """Every name has one address."""

    def handle(self) -> None:
        question = self.rfile.read()
        address = question[12:].split(b"\0", 1)[1][:2] == b"\0\1"
        answers = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton(ANSWER)) if address else b""
        end = 12 + question[12:].index(b"\0") + 5
        self.wfile.write(
            question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(address), 0, 0) + question[12:end] + answers
        )


@pytest.fixture
def web() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def names() -> Iterator[int]:
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Names) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def received(listener: socket.socket) -> bytes:
    listener.settimeout(120)
    connection, _ = listener.accept()
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def greeting(port: int) -> bytes:
    """What the guest says to a visitor, once its program listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as visitor:
                return visitor.makefile("rb").readline()
        except ConnectionResetError:
            assert time.monotonic() < deadline, "nobody listens in the guest"
            time.sleep(0.1)


@pytest.mark.parametrize("model", ["virtio", "e1000"])
def test_a_guest_is_on_the_network(debian: KernelImage, initramfs: Initramfs, web: int, names: int, model: str) -> None:
    if model == "virtio":
        kernel, modules = debian, ("virtio_pci", "virtio_net")
    else:
        kernel, modules = fetched("linux-image-amd64"), ("e1000", "af_packet")  # the cloud's has no other cards
    archive = initramfs(COMMANDS, kernel, modules=modules)
    network = f"user,model={model},loopback=yes,dns=127.0.0.1:{names},portForward=0:7777"
    with socket.create_server(("127.0.0.1", 0)) as upload:
        append = f"console=ttyS0 cryptomgr.notests web={web} up={upload.getsockname()[1]}"
        with inn_piped(*guest(kernel.vmlinuz, archive, append=append), "--network", network) as running:
            running.line.wait_for("LEASE 10.0.2.15 10.0.2.2 10.0.2.3", limit_s=120)
            running.line.wait_for(f"DRIVER {'virtio_net' if model == 'virtio' else model}")
            running.line.wait_for(f"Address: {ANSWER}")
            running.line.wait_for(f"GOT {hashlib.sha256(DATA).hexdigest()}")
            assert received(upload) == DATA
            running.line.wait_for("onnection refused.*READY|READY")
            assert running.process.stderr is not None
            said = os.read(running.process.stderr.fileno(), 65536).decode()
            port = int(said.partition("127.0.0.1:")[2].partition(" ")[0])
            assert greeting(port) == b"a guest's greeting\n"
            assert running.status(limit_s=60) == 0

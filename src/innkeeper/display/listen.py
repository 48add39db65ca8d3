"""Sockets on which a server listens: loopback or other TCP, or Unix sockets that belong to one user."""

import os
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from innkeeper.errors import HostError

FIRST_PORT, PORTS = 5900, 100
BACKLOG = 16
PATH_LIMIT = 107  # sun_path less its NUL (unix(7))


def listen_tcp(host: str, port: int | None, what: str) -> socket.socket:
    """On this port, or on the first free one of VNC's. Raises `HostError`."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    except ValueError as error:
        raise HostError(f"cannot listen for {what} at {host}: it is no IP address") from error
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,)
    for number in ports:
        try:
            return _bound(family, address, number)
        except OSError as error:
            if port is not None:
                advice = "; leave port= out to take a free one" if "in use" in str(error) else ""
                raise HostError(f"cannot listen for {what} at {host}:{port}: {error.strerror}{advice}") from error
            if error.errno not in (98, 13):  # in use, not allowed: the next may be better
                raise HostError(f"cannot listen for {what} at {host}: {error.strerror}") from error
    raise HostError(f"cannot listen for {what} at {host}: ports {ports[0]} to {ports[-1]} are all in use")


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_unix(path: Path, what: str) -> socket.socket:
    """On a socket that only this user may open. Raises `HostError`."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise HostError(f"path {path} of {what} is too long for a socket; at most {PATH_LIMIT} bytes")
    _remove_stale(path, what)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen for {what} at {path}: {error.strerror}") from error
    return listener


def remove_unix(listener: socket.socket) -> None:
    """Closes it, and takes its name away."""
    name = listener.getsockname()
    listener.close()
    with suppress(FileNotFoundError):
        Path(name).unlink()


def _remove_stale(path: Path, what: str) -> None:
    """Removes a socket that nobody listens on any more: a killed run's."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(f"cannot listen for {what} at {path}: something else has that name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except OSError as error:
        raise HostError(f"cannot listen for {what} at {path}: {error.strerror}") from error
    raise HostError(f"cannot listen for {what} at {path}: another program listens there")

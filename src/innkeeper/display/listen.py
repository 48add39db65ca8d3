"""The port on which viewers are waited for: the one asked for, or the first free one of VNC's."""

import socket
from ipaddress import ip_address

from innkeeper.errors import HostError
from innkeeper.sockets import bind_tcp

FIRST_PORT, PORTS = 5900, 100


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
            return bind_tcp(family, address, number)
        except OSError as error:
            if port is not None:
                advice = "; leave port= out to take a free one" if "in use" in str(error) else ""
                raise HostError(f"cannot listen for {what} at {host}:{port}: {error.strerror}{advice}") from error
            if error.errno not in (98, 13):  # in use, not allowed: the next may be better
                raise HostError(f"cannot listen for {what} at {host}: {error.strerror}") from error
    raise HostError(f"cannot listen for {what} at {host}: ports {ports[0]} to {ports[-1]} are all in use")

"""What the manager's daemon and its clients say to each other: one JSON object a line, over a Unix socket.

The daemon greets with `{"innkeeper": its version}`, and hangs up if that has a `refused`, a sentence. A call is `{"call": "domains.start", "args": […], "kwargs": {…}}`; its answer is
`{"result": …}` or `{"error": a sentence, "kind": a class of innkeeper.errors}`. An answer in parts is any number of `{"item": …}`
lines after `{"parts": true}` and before `{"result": …}`. A result that is a descriptor travels beside `{"descriptor": true}` (unix(7), SCM_RIGHTS).
"""

import json
import os
import socket
from typing import Any, Self

LINE_LIMIT = 64 << 20  # bytes
CHUNK = 1 << 16


class Hangup(Exception):  # noqa: N818 - what it is
    """The other side has left, or says what is no message."""


class Descriptor:
    """An open file of any kind, which can be handed to a client."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        os.close(self._number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Channel:
    """One end of a conversation; owns its socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = bytearray()
        self._descriptors: list[int] = []

    def close(self) -> None:
        self.connection.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Raises `Hangup`."""
        line = json.dumps(message).encode() + b"\n"
        try:
            if descriptor is not None:
                socket.send_fds(self.connection, [line[:1]], [descriptor])
                line = line[1:]
            self.connection.sendall(line)
        except OSError as error:
            raise Hangup(error.strerror or str(error)) from error

    def receive(self) -> dict[str, Any]:
        """The next message. Raises `Hangup`."""
        end = -1
        searched = 0
        while end < 0:
            end = self._read.find(b"\n", searched)
            searched = len(self._read)
            if end < 0:
                self._fill()
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Hangup("that was no message") from error
        if not isinstance(message, dict):
            raise Hangup("that was no message")
        return message

    def descriptor(self) -> Descriptor:
        """The one that came with the last message. Raises `Hangup` if none did."""
        if not self._descriptors:
            raise Hangup("nothing came with the message")
        return Descriptor(self._descriptors.pop(0))

    def _fill(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, CHUNK, 1)
        except OSError as error:
            raise Hangup(error.strerror or str(error)) from error
        self._descriptors += descriptors
        if not data or len(self._read) + len(data) > LINE_LIMIT:
            raise Hangup("it has hung up" if not data else f"a message is longer than {LINE_LIMIT} bytes")
        self._read += data

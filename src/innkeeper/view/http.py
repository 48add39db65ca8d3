"""What the page's server needs of HTTP: one request a connection, answered in full.

Spec: RFC 9110, RFC 9112. Left out: persistent connections, chunked requests, ranges, conditional requests.
"""

import json
from http import HTTPStatus
from urllib.parse import urlsplit

from innkeeper.display.rfb.channel import StreamChannel
from innkeeper.display.rfb.websocket import parse
from innkeeper.records import dataclass

HEAD_LIMIT = 16 << 10
BODY_LIMIT = 256 << 10
SAFETY = (
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\nCross-Origin-Opener-Policy: same-origin\r\n"
)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is without its query, which nothing here has."""

    line: str
    method: str
    path: str
    headers: dict[str, str]


class Failure(Exception):  # noqa: N818 - an answer
    """What the client gets instead: a status, and a sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


async def read_request(stream: StreamChannel) -> Request:
    """Raises `Failure`, `Refused` or `Gone`."""
    line, headers = parse(await stream.read_line_block(HEAD_LIMIT))
    words = line.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise Failure(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
    if not words[1].startswith("/"):
        raise Failure(HTTPStatus.BAD_REQUEST, "a request names a path of this server")
    return Request(line, words[0], urlsplit("//host" + words[1]).path, headers)


async def read_json(stream: StreamChannel, request: Request) -> object:
    """The request's body. Raises `Failure` or `Gone`."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Failure(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 10):
        raise Failure(HTTPStatus.LENGTH_REQUIRED, "a body needs its length")
    if int(length) > BODY_LIMIT:
        raise Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {BODY_LIMIT} bytes")
    try:
        return json.loads(await stream.read(int(length)))
    except (ValueError, RecursionError) as error:
        raise Failure(HTTPStatus.BAD_REQUEST, "the body is no JSON") from error


def answer(stream: StreamChannel, status: HTTPStatus, kind: str, body: bytes, extra: str = "") -> None:
    stream.write(
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{SAFETY}{extra}Connection: close\r\n\r\n".encode()
        + body
    )


def answer_json(stream: StreamChannel, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
    answer(stream, status, "application/json", json.dumps(value).encode())

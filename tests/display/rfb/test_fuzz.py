"""A few hundred of the fuzzer's conversations; `make fuzz` has more."""

import asyncio

from tests.fuzz import rfb


def test_no_conversation_ends_by_an_error_of_ours() -> None:
    ends = asyncio.run(rfb.run(1, cases=400))

    assert ends["gone"] > 50, "most are about what comes after the handshake"
    assert len(ends) > 3

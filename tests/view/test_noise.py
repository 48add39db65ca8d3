"""Noise in place of a browser: the server survives it, and what it does not understand never reaches the guest's keyboard."""

import random
from pathlib import Path

import pytest

from innkeeper.config import VideoModel
from tests.view.client import Client, frame, serving
from tests.view.outside import machine

pytestmark = pytest.mark.slow

SEED = 20261126
CONVERSATIONS = 60


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


def noise(dice: random.Random) -> bytes:
    """Bytes that may be anything, and frames that may be cut, without a mask, or of sizes that they do not have."""
    if dice.random() < 0.3:
        return dice.randbytes(dice.randrange(1, 300))
    size = dice.choice((None, 0, 125, 126, 1 << 16, 1 << 40, (1 << 64) - 1))
    payload = dice.randbytes(dice.randrange(200))
    said = frame(dice.randrange(16), payload, final=dice.random() < 0.7, size=size, masked=dice.random() < 0.8)
    return said[: dice.randrange(1, len(said) + 1)] if dice.random() < 0.3 else said


def test_noise_in_place_of_frames_and_requests(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(SEED)
    with machine(video=VideoModel.VGA) as one, serving() as port:
        for _ in range(CONVERSATIONS):
            with Client(port) as client:
                try:
                    if dice.random() < 0.8:
                        assert client.upgrade(dice.choice(("/console", "/screen"))) == 101
                    for _ in range(dice.randrange(1, 6)):
                        client.socket.sendall(noise(dice))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it had heard enough
        with Client(port) as client:
            assert client.request("GET", "/machine")[0] == 200
        assert not one.sink.keys
    assert "fails" not in caplog.text

"""Verbs at random with kills at random: nothing is lost, half-made or left behind."""

import os
from pathlib import Path

import pytest
from tests.manager.faults.walk import World

STEPS = int(os.environ.get("INNKEEPER_WALK", "30"))
SEED = os.environ.get("INNKEEPER_SEED", "5")


@pytest.mark.slow
def test_whoever_is_killed_nothing_is_lost(user: Path) -> None:
    world = World(user, SEED)
    try:
        for _ in range(STEPS):
            world.step()
        world.end()
    except BaseException:
        print(f"INNKEEPER_SEED={SEED}, the last steps:", *world.told[-12:], sep="\n")
        raise

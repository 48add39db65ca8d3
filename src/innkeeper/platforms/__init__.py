"""Boards: which chip sits at which address, and which line it drives."""

from innkeeper.platforms.base import Control, Surroundings
from innkeeper.platforms.pc import KeptState, PcBoard

__all__ = ["Control", "KeptState", "PcBoard", "Surroundings"]

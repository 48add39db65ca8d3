"""Snapshots of machines: taken, gone back to, forgotten, each in one step that a kill cannot halve."""

from innkeeper.manager.snapshots.service import Snapshots

__all__ = ["Snapshots"]

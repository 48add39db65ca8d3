"""The host's side of a guest's screen, keyboard and pointer: who looks at it, and who types.

What a screen is, the encodings that viewers ask for and the looking at what changed are Rust's: `innkeeper-display`.
"""

from innkeeper.display.input import Button, InputSink

__all__ = ["Button", "InputSink"]

"""What was found out about one side of the host."""

from dataclasses import field
from enum import StrEnum
from typing import Any

from innkeeper.records import dataclass


class Status(StrEnum):
    """Is it there? `PARTLY` is explained by the summary."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `inn doctor` and what follows from it. Texts are one sentence each, lower case."""

    name: str
    status: Status
    summary: str
    consequence: str  # what Innkeeper will therefore do
    advice: str | None = None  # how to get more
    facts: dict[str, Any] = field(default_factory=dict)  # for programs: --json

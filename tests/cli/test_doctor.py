"""`inn doctor` on this very host: every line is there, whatever the host has."""

import json

import pytest

from innkeeper.cli import main

NAMES = [
    "processor",
    "KVM",
    "translation",
    "memory",
    "huge pages",
    "user namespaces",
    "tap",
    "firmware",
    "image tools",
    "network tools",
]


def test_every_finding_has_a_consequence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if not line.startswith(" ")]
    assert [line[:16].rstrip() for line in named] == [*NAMES, "--engine auto"]
    assert sum(line.lstrip().startswith("so: ") for line in lines) == len(NAMES)


def test_json_has_the_numbers_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert list(findings) == NAMES
    assert findings["KVM"]["status"] in ("yes", "partly", "no")
    assert isinstance(findings["KVM"]["facts"]["usable"], bool)
    assert isinstance(findings["processor"]["facts"]["features"]["avx2"], bool)
    assert report["engine_auto"].startswith(("bt: ", "interp: ", "kvm: "))

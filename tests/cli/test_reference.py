"""The written reference is what the parsers say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("render", ROOT / "scripts/render_cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)

    assert (ROOT / "docs/reference/inn.md").read_text() == render.reference(), "run make docs"

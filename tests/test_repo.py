"""The repository's own rules: sizes, docstrings, changelog, and documents that name real things."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import innkeeper

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("benches/**/*.py")])
RUST = sorted(ROOT.glob("crates/**/*.rs"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("crates/*.md")])

PYTHON_LINES = 400
RUST_LINES = 600
FUNCTION_LINES = 40
# Tables: long because the thing that they list is long.
LONG_BY_NATURE: set[str] = set()
# Paths that documents may name although they are made by a command, not kept in the repository.
MADE = {".venv", "target", "docs/benchmarks.md"}
FRAGMENT = re.compile(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize(("paths", "limit"), [(PYTHON, PYTHON_LINES), (RUST, RUST_LINES)], ids=["python", "rust"])
def test_no_file_outgrows_a_reader(paths: list[Path], limit: int) -> None:
    assert paths
    too_long = {name(path): lines(path) for path in paths if lines(path) > limit and name(path) not in LONG_BY_NATURE}

    assert not too_long


def test_the_list_of_tables_is_not_longer_than_needed() -> None:
    for table in LONG_BY_NATURE:
        path = ROOT / table
        assert lines(path) > (RUST_LINES if path.suffix == ".rs" else PYTHON_LINES), f"{table} fits by now"


def test_every_function_fits_a_screen() -> None:
    too_long = {}
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    too_long[f"{name(path)}:{node.name}"] = length

    assert not too_long


def test_every_python_module_says_what_it_is() -> None:
    silent = [name(path) for path in PYTHON if not ast.get_docstring(ast.parse(path.read_text()))]

    assert not silent


def test_every_rust_module_says_what_it_is() -> None:
    modules = [path for path in RUST if path.name != "tests.rs"]  # their module says what they test
    silent = [name(path) for path in modules if not path.read_text().startswith(("//!", "/*!"))]

    assert not silent


def test_every_crate_is_in_the_list_of_crates() -> None:
    listed = (ROOT / "crates/README.md").read_text()
    missing = [path.parent.name for path in ROOT.glob("crates/*/Cargo.toml") if f"`{path.parent.name}`" not in listed]

    assert not missing


def test_paths_that_documents_name_exist() -> None:
    """A path in backquotes that starts at one of the root's folders must be there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    lost = {}
    for document in DOCUMENTS:
        for quoted in re.findall(r"`([\w./*-]+/[\w./*-]*)`", document.read_text()):
            path = quoted.rstrip("/")
            if path.split("/")[0] in folders and not hypothetical(path) and not any(ROOT.glob(path)):
                lost[f"{name(document)}: {quoted}"] = "not there"

    assert not lost


def hypothetical(path: str) -> bool:
    """A path that a command makes, or that stands for one to be written: its name is x, as in a recipe."""
    return path in MADE or Path(path).name.split(".")[0] in ("x", "test_x")


def test_links_between_documents_lead_somewhere() -> None:
    lost = [
        f"{name(document)}: {target}"
        for document in DOCUMENTS
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
        if name_of(document, target) not in MADE and not (document.parent / target).exists()
    ]

    assert not lost


def name_of(document: Path, target: str) -> str:
    return (document.parent / target).resolve().relative_to(ROOT).as_posix()


def test_the_architecture_page_names_every_room() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "src/innkeeper").glob("*/__init__.py")}
    missing = [room for room in rooms if f"src/innkeeper/{room}/" not in page]

    assert not missing


def test_every_room_has_tests() -> None:
    rooms = {path.parent.name for path in (ROOT / "src/innkeeper").glob("*/__init__.py")} - {"testing"}
    untested = [room for room in sorted(rooms) if not any((ROOT / "tests" / room).glob("test_*.py"))]

    assert not untested


def test_changelog_fragments_are_there_and_well_named() -> None:
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]

    assert fragments
    assert not [path.name for path in fragments if not FRAGMENT.fullmatch(path.name) or not path.read_text().strip()]


def test_decision_records_are_numbered_without_gaps_and_complete() -> None:
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))

    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Context", "Options", "Decision", "Consequences"], name(path)


def test_versions_agree() -> None:
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

    assert python == rust
    assert innkeeper.__version__ == python

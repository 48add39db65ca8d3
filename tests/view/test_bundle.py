"""The page's bundle is what scripts/bundle-view makes of web/, with the packages that the notices name."""

import hashlib
import json
import re

from tests.test_repo import ROOT

STATIC = ROOT / "src/innkeeper/view/static"
WEB = ROOT / "web"


def test_the_bundle_is_made_of_these_sources() -> None:
    scripts = sorted(WEB.glob("*.js"), key=lambda path: path.name.encode())
    sources = [WEB / "index.html", *scripts, WEB / "style.css", WEB / "package.json"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    for name in ("view.js", "view.css"):
        assert digest in (STATIC / name).read_text().partition("\n")[0], f"{name} is stale; run scripts/bundle-view"
    assert (STATIC / "index.html").read_text() == (WEB / "index.html").read_text()


def test_what_is_bundled_is_pinned_and_named() -> None:
    package = json.loads((WEB / "package.json").read_text())
    lock = json.loads((WEB / "package-lock.json").read_text())["packages"]
    notices, documented = (ROOT / "THIRD-PARTY.md").read_text(), (ROOT / "docs/dependencies.md").read_text()
    for name, version in package["dependencies"].items():
        assert f"{name} {version}" in notices
        assert f"{name} | {version}" in documented
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert lock[f"node_modules/{name}"]["version"] == version
        assert lock[f"node_modules/{name}"]["integrity"].startswith("sha512-")
    for name in ("Mozilla Public License", "xterm.js authors", "Vitaly Puzrin", "Widget Workshop", "AT&T Laboratories"):
        assert name in notices


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert "http" not in (STATIC / "index.html").read_text()
    assert "url(" not in (STATIC / "view.css").read_text()


def test_the_page_has_what_the_scripts_look_for() -> None:
    page = (WEB / "index.html").read_text()
    for script in WEB.glob("*.js"):
        for name in re.findall(r'find\("([a-z-]+)"\)', script.read_text()):
            assert f'id="{name}"' in page, f"{script.name} looks for {name}"

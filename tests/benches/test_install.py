"""The benchmark of installations: what it prints of the times that it took."""

from benches.install.bench import Times, render
from tests.soak.install import Took


def test_a_page_has_the_medians_and_their_ratio() -> None:
    ours, theirs = Times(), Times()
    for seconds in (100.0, 300.0, 110.0):
        ours.add(Took(seconds, 20.0))
        theirs.add(Took(2 * seconds, 10.0))
    page = render(ours, theirs)
    assert "| from the installer's kernel to its end | 110 | 220 | 2.00 times as fast |" in page
    assert "| from there to a login, and off | 20 | 10 | 0.50 times as fast |" in page
    assert "3 turn(s)" in page

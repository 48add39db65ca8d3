"""Which catalogue a browser's user reads: by the languages that it says it prefers.

Spec: RFC 9110, section 12.5.4 (Accept-Language); RFC 4647, section 3.3.2 (extended filtering).
"""

from innkeeper.language.catalogue import DOMAIN, FOLDER, Catalogue, chosen, load

TAGS = {"zh_CN": "zh-Hans-CN"}
"""The catalogues' languages in full, by their folders (RFC 5646)."""
ENGLISH = "en"
LENGTH_LIMIT = 1000  # characters of a header


def preferred(accepted: str | None) -> tuple[str, Catalogue | None]:
    """The language's tag and its catalogue, which English needs none of. Who prefers nothing here gets the locale's."""
    for language_range in ranges((accepted or "")[:LENGTH_LIMIT]):
        if language_range == "*":
            break
        if language_range.partition("-")[0] == ENGLISH:
            return ENGLISH, None
        for folder, tag in TAGS.items():
            if fits(language_range, tag):
                return tag, in_folder(folder)
    catalogue = chosen()
    return next((tag for folder, tag in TAGS.items() if in_folder(folder) is catalogue), ENGLISH), catalogue


def in_folder(name: str) -> Catalogue:
    return load(str(FOLDER / name / "LC_MESSAGES" / f"{DOMAIN}.mo"))


def ranges(header: str) -> list[str]:
    """Those that are wanted at all, the most wanted first.

    >>> ranges("fr;q=0.5, zh-CN, en;q=0.8, de;q=0, it;q=much")
    ['zh-cn', 'en', 'fr']
    """
    weighted = []
    for part in header.lower().split(","):
        name, _, parameter = (word.strip() for word in part.partition(";"))
        try:
            weight = float(parameter.removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if name and 0 < weight <= 1:
            weighted.append((weight, name))
    return [name for _, name in sorted(weighted, key=lambda each: -each[0])]


def fits(language_range: str, tag: str) -> bool:
    """Whether a language is of a range.

    >>> [fits(each, "zh-Hans-CN") for each in ("zh", "zh-cn", "zh-hans", "zh-sg", "zh-tw", "en")]
    [True, True, True, False, False, False]
    """
    wanted, parts = language_range.lower().split("-"), tag.lower().split("-")
    if wanted.pop(0) != parts.pop(0):
        return False
    for subtag in wanted:
        while parts and parts[0] != subtag:
            if len(parts.pop(0)) == 1:
                return False
        if not parts:
            return False
        parts.pop(0)
    return True

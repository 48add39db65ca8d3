"""XML that verbs show: whole, or the parts that an XPath expression finds.

Spec: virsh.1, `--xpath` and `--wrap`; XPath 1.0, as much of it as Python's ElementTree knows: paths of elements with simple predicates.
"""

import argparse
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError, HostError

NODES = "nodes"


def options(parser: argparse.ArgumentParser, *, secrets: bool = False) -> None:
    """`secrets`: what is shown may have passwords."""
    if secrets:
        parser.add_argument("--security-info", action="store_true", help="with passwords")
    parser.add_argument("--xpath", metavar="EXPRESSION", help="only the elements that an XPath expression finds")
    parser.add_argument("--wrap", action="store_true", help="with --xpath: all of them in one element")


def chosen(arguments: argparse.Namespace, xml: str) -> str:
    """What is to be shown, without an end of line. Raises `HostError` if nothing is found."""
    if not getattr(arguments, "security_info", True):
        xml = without_secrets(xml)
    if arguments.xpath is None:
        if arguments.wrap:
            raise ConfigError("--wrap is for what --xpath finds; give that too")
        return xml.rstrip("\n")
    found = find(xml, arguments.xpath)
    if not found:
        raise HostError(f"nothing is found by the XPath expression {arguments.xpath!r}")
    for element in found:
        element.tail = None
        ET.indent(element)
    if not arguments.wrap:
        return "\n".join(ET.tostring(element, encoding="unicode") for element in found)
    root = ET.Element(NODES)
    root.extend(found)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def without_secrets(xml: str) -> str:
    """The same but for passwords.

    >>> without_secrets('<domain><devices><graphics type="vnc" passwd="x" /></devices></domain>')
    '<domain><devices><graphics type="vnc" /></devices></domain>'
    """
    root = ET.fromstring(xml)  # noqa: S314 - our own
    secret = [part for part in root.iter("graphics") if "passwd" in part.attrib]
    for part in secret:
        del part.attrib["passwd"]
    return ET.tostring(root, encoding="unicode") if secret else xml


def find(xml: str, expression: str) -> list[ET.Element]:
    """The elements of an expression. Raises `ConfigError` for one that is none, or finds something else.

    >>> [found.get("dev") for found in find("<a><b dev='x'/><c><b dev='y'/></c></a>", "//b")]
    ['x', 'y']
    >>> [found.get("dev") for found in find("<a><b dev='x'/><c><b dev='y'/></c></a>", "/a/b[@dev='x']")]
    ['x']
    """
    document = ET.Element("document")  # so that the root is found as others are
    document.append(ET.fromstring(xml))  # noqa: S314 - our own
    path = f".{expression}" if expression.startswith("/") else expression
    last = path.rpartition("/")[2]
    if last.startswith("@") or last.endswith(")"):
        raise ConfigError(f"the XPath expression {expression!r} finds no elements; {last} is none")
    try:
        return document.findall(path)
    except (
        SyntaxError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
    ) as error:  # all of which ElementTree has for mistakes
        raise ConfigError(f"the XPath expression {expression!r} is none that is understood here") from error

"""`inn define`: keeps a machine that an XML file describes."""

import argparse
import sys
from pathlib import Path

from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.manager import Store, read_xml, unknown_parts
from innkeeper.manager.normal import normalised


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="libvirt's domain XML")


def execute(arguments: argparse.Namespace) -> int:
    try:
        text = arguments.file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {arguments.file}: {getattr(error, 'strerror', None) or 'no text'}") from error
    xml = normalised(text)
    definition = read_xml(xml)
    if unknown := unknown_parts(xml):
        print(f"kept, and without meaning here: {', '.join(unknown)}", file=sys.stderr)
    with Store() as store:
        store.put(definition.name, definition.uuid, xml)
    print(f"Domain '{definition.name}' defined from {arguments.file}\n")
    return Status.DONE

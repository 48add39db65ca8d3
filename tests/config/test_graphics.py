"""How screens are described on a command line."""

from pathlib import Path

import pytest

from innkeeper.config import GraphicsConfig, GraphicsKind, Sharing
from innkeeper.errors import ConfigError


def test_virt_installs_words_are_understood(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    config = GraphicsConfig.parse(
        f"vnc,listen=0.0.0.0,port=5901,websocket=5701,password-file={tmp_path / 'secret'},share=force-shared"
    )

    assert (config.kind, config.listen, config.port, config.websocket) == (GraphicsKind.VNC, "0.0.0.0", 5901, 5701)
    assert (config.password, config.sharing) == ("hunter2", Sharing.FORCE_SHARED)
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("port", ["", ",port=-1", ",autoport=yes"])
def test_a_port_can_be_left_to_us(port: str) -> None:
    assert GraphicsConfig.parse(f"vnc{port}").port is None


@pytest.mark.parametrize("kind", ["none", "terminal"])
def test_other_kinds_have_no_keys(kind: str) -> None:
    assert GraphicsConfig.parse(kind).kind == kind
    with pytest.raises(ConfigError, match="takes no keys, and has port"):
        GraphicsConfig.parse(f"{kind},port=5900")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("spice", "must be one of vnc, terminal, none"),
        ("vnc,listen=0.0.0.0", "for everybody who can reach it; give it a password="),
        ("vnc,listen=10.1.2.3,tls=anonymous", "give it a password="),
        ("vnc,port=70000", "between -1 and 65535"),
        ("vnc,password=much-too-long", "of 13 bytes; VNC looks at the first 8 only"),
        ("vnc,password=", "empty password"),
        ("vnc,username=anna,password=secret", "tls to send it through"),
        ("vnc,username=anna,tls=anonymous", "needs a password"),
        ("vnc,socket=/run/x,port=5900", "both a socket and a port"),
        ("vnc,password=a,password-file=/x", "both a password and a password-file"),
        ("vnc,password-file=/nowhere", "password-file=/nowhere, which cannot be read"),
        ("vnc,port=5900,autoport=yes", "both a port and autoport"),
        ("vnc,prot=5900", "did you mean 'port'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        GraphicsConfig.parse(text)

    assert why in str(raised.value)


def test_a_long_password_is_fine_where_it_is_not_cut() -> None:
    config = GraphicsConfig.parse("vnc,listen=0.0.0.0,username=anna,password=much-too-long,tls=anonymous")

    assert config.anonymous_tls
    assert config.tls is None

"""The two ways to encrypt: with a certificate, or with nobody knowing whom they speak to."""

import ssl
from pathlib import Path

from innkeeper.config import GraphicsConfig
from innkeeper.errors import HostError

CERTIFICATE, KEY = "server-cert.pem", "server-key.pem"  # as QEMU and libvirt call them
# Suites without a certificate end with TLS 1.2, and OpenSSL counts them as offering no security.
ANONYMOUS_SUITES = "aNULL:!eNULL:!3DES:!RC4:@SECLEVEL=0"


def context_of(config: GraphicsConfig) -> ssl.SSLContext | None:
    """Raises `HostError` if a certificate or key cannot be used."""
    if config.anonymous_tls:
        return _anonymous()
    return None if config.tls is None else _with_certificate(config.tls)


def _anonymous() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(ANONYMOUS_SUITES)
    except ssl.SSLError as error:
        raise HostError(f"this host's {ssl.OPENSSL_VERSION} has no anonymous TLS; use tls=FOLDER") from error
    return context


def _with_certificate(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = folder / CERTIFICATE, folder / KEY
    try:
        for path in (certificate, key):
            path.open("rb").close()  # load_cert_chain does not say which one is missing
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise HostError(f"cannot use {certificate} with {key}: {error.reason or error}") from error
    except OSError as error:
        raise HostError(f"cannot read {error.filename} for tls={folder}: {error.strerror}") from error
    return context

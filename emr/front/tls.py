"""The TLS context of the server, from the paths of its files."""

from __future__ import annotations

import ssl


class TlsError(Exception):
    """Certificates that cannot be used: which file, why, and what to do."""


def server_context(cert: str, key: str, client_ca: str | None = None) -> ssl.SSLContext:
    """A context for TLS 1.2 and 1.3 with the chain `cert` and its `key` (PEM files).

    With `client_ca` only clients that show a certificate of that authority are let in. Raises
    TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_chain(context, cert, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise TlsError(f"client_ca {client_ca}: {_reason(error)}") from None
    return context


def load_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Load a chain and its key. Raises TlsError."""
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise TlsError(f"{name} {path}: {error.strerror}") from None
    asked: list[bytes] = []

    def passphrase() -> bytes:  # else it would be asked for on the terminal
        asked.append(b"")
        return asked[-1]

    try:
        context.load_cert_chain(cert, key, password=passphrase)
    except OSError as error:
        if asked:
            raise TlsError(
                f"tls_key {key}: it is encrypted; store it without a passphrase, for emr alone"
            ) from None
        raise TlsError(f"tls_cert {cert} with tls_key {key}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the one of the certificate"
    if isinstance(error, ssl.SSLError):
        return "not a PEM file of that kind"
    return error.strerror or str(error)

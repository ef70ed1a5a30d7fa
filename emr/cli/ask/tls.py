"""How a server's certificate is checked: always. There is no flag to leave it out.

Whoever is not checked could be anybody, and would be sent the admin secret. A certificate of one's
own CA is trusted with `--ca`. A server that was found by the lock of its database runs from the
same configuration, so it must show the very certificate that `server.tls_cert` names, whatever
name stands in that.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from emr.cli.trouble import Trouble

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def client_context(ca: str | None, client_cert: str | None) -> ssl.SSLContext:
    """A context that trusts the system's CAs, or `ca` alone. Raises Trouble."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise Trouble(f"--ca {ca}: {_reason(error)}") from error
    return _showing(context, client_cert)


def pinned_context(certificate: Path, client_cert: str | None) -> ssl.SSLContext:
    """A context that trusts the first certificate in a file, the server's own. Raises Trouble."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # which name it has does not matter: it is that one
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be a CA's
    try:
        found = _CERTIFICATE.search(certificate.read_text())
        if found is None:
            raise ValueError("no certificate in it")
        context.load_verify_locations(cadata=found[0])
    except (OSError, ValueError) as error:
        raise Trouble(f"server.tls_cert {certificate}: {_reason(error)}") from error
    return _showing(context, client_cert)


def nobody_trusted() -> ssl.SSLContext:
    """A context for a client that speaks no TLS; making it reads no CAs from the disk."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _showing(context: ssl.SSLContext, client_cert: str | None) -> ssl.SSLContext:
    if client_cert is not None:
        try:
            context.load_cert_chain(client_cert)
        except (OSError, ValueError) as error:
            raise Trouble(f"--client-cert {client_cert}: {_reason(error)}") from error
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "not a PEM file of that kind"
    return getattr(error, "strerror", None) or str(error)

"""The ports that emr listens at, and the way to the providers: name, address, TCP, TLS.

No provider is asked for anything, so nothing costs money.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from emr.cli.ask import knock
from emr.cli.ask.address import Address, parse_address
from emr.cli.ask.whom import KNOCK_S, Local, by_lock, is_emr
from emr.cli.checks.finding import Finding, Site, ok, problem, warning
from emr.cli.trouble import Trouble
from emr.control.binds import Bind
from emr.control.endpoints import endpoint_of
from emr.control.rows import LOCAL, Row
from emr.front.tls import TlsError, server_context
from emr.upstream.endpoint import Endpoint

REACH_S = 5.0  # as the default of retry.connect_timeout_ms
FILES_BESIDE = 512  # as emr.app has it


def ports(site: Site, args: argparse.Namespace) -> Iterator[Finding]:
    """Look at where emr listens, or would."""
    server = site.settings.server
    for each in site.settings.start_warnings():
        yield warning("bind", each)
    if server.tls_cert is not None:
        try:
            server_context(server.tls_cert, server.tls_key or server.tls_cert, server.client_ca)
        except TlsError as error:
            yield problem("tls", str(error))
        else:
            yield ok("tls", f"{server.tls_cert} and its key can be used")
    if site.holder is not None and site.holder.address is not None:
        yield _server(site, args, parse_address(site.holder.address))
    else:
        for bind in site.settings.binds():
            yield _socket_file(Path(bind.path)) if bind.path else _port(bind)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = server.max_connections + FILES_BESIDE
    if most != resource.RLIM_INFINITY and most < wanted:
        yield warning(
            "open files", f"the system allows {most}, server.max_connections needs {wanted}",
            "raise the limit (LimitNOFILE=, ulimit -Hn), or lower server.max_connections",
        )  # fmt: skip


def _server(site: Site, args: argparse.Namespace, address: Address) -> Finding:
    """Ask the server that has the database."""
    try:
        server = by_lock(args, Local(site.loaded, site.places, None), address)
        answer = knock.get(address, "/status", server.context)
    except Trouble as trouble:
        return problem("server", str(trouble))
    except (knock.Nobody, knock.NoAnswer) as error:
        remedy = "it may be draining, or hang: see its log, and restart it"
        return problem("server", str(error), remedy)
    if is_emr(answer):
        return ok("server", f"an emr answers at {address}")
    return problem("server", f"what answers at {address} is not an emr", "see its log")


def _port(bind: Bind) -> Finding:
    """Try to take the port, and give it back."""
    try:
        found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    except OSError:
        return problem("port", f"{bind}: the name is not known", "an address is safer")
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind(address)
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and len(found) > 1:
                    continue  # `localhost` has a ::1 on hosts without IPv6 too
                return _taken(bind, error)
    return ok("port", f"{bind} is free")


def _taken(bind: Bind, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        try:
            asked = Address(host=bind.host, port=bind.port)
            if is_emr(knock.get(asked, "/status", timeout_s=KNOCK_S)):
                return problem(
                    "port", f"an emr with another database answers at {bind}",
                    "stop it, or set server.bind to another port",
                )  # fmt: skip
        except (knock.Nobody, knock.NoAnswer):
            pass  # whatever it is, it has the port
        return problem(
            "port", f"another program has {bind}",
            f"see which: ss -ltnp 'sport = :{bind.port}'; or set server.bind to another port",
        )  # fmt: skip
    if error.errno in (errno.EACCES, errno.EPERM):
        return problem("port", f"{bind} is for root", "take a port from 1024 up")
    return problem(
        "port", f"{bind}: {error.strerror}", "set server.bind to an address of this host"
    )


def _socket_file(path: Path) -> Finding:
    if os.path.exists(path) and not path.is_socket():
        return problem("port", f"{path} is there and is no socket", "move it away")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return problem("port", f"{path.parent} cannot be written", f"mkdir -p {path.parent}")
    return ok("port", f"unix:{path} can be made")


def reach(site: Site) -> Iterator[Finding]:
    """Look whether the enabled providers can be reached."""
    rows = [row for row in site.rows if row.enabled]
    if not rows:
        yield warning(
            "providers", "none is registered",
            "`emr providers add --name voyage --type voyage` registers one",
        )  # fmt: skip
    for row in rows:
        if row.provider_type == LOCAL:
            yield ok("reach", f"{row.name} is in the process itself")
        else:
            yield _reach(row, endpoint_of(row))


def _reach(row: Row, endpoint: Endpoint) -> Finding:
    name = f"{row.name} ({endpoint.host})"
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return problem(
            "reach", f"{name}: the name has no address", "see the DNS: getent hosts "
            f"{endpoint.host}",
        )  # fmt: skip
    addresses = [str(entry[4][0]) for entry in found]
    bad = endpoint.unwanted(addresses)
    if bad is not None:
        return problem(
            "reach", f"{name} leads to {bad}, where this provider may not be",
            "see allow_private and allow_http, and who answers for that name",
        )  # fmt: skip
    started = time.monotonic()
    try:
        with socket.create_connection((endpoint.host, endpoint.port), REACH_S) as link:
            if endpoint.tls:
                context = ssl.create_default_context()
                with context.wrap_socket(link, server_hostname=endpoint.host) as secured:
                    secured.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return problem(
            "reach", f"{name}: its certificate is not trusted: {error.verify_message}",
            "see the clock, the system's CAs (ca-certificates), and who answers for that name",
        )  # fmt: skip
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        return problem(
            "reach", f"{name}: port {endpoint.port} cannot be reached: {reason}",
            "see the firewall and the endpoint: `emr providers list`",
        )  # fmt: skip
    took = round((time.monotonic() - started) * 1000)
    return ok("reach", f"{name}: reached in {took} ms")

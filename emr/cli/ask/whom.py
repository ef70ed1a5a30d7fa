"""Who is asked: the server that is named or found, else the store itself.

Rules of this file
- With --server, that server. Without it, whatever answers at the default address; else the server
  that holds the database's lock, at the address that it wrote there; and only when nobody holds
  that, the store, by whoever manages keys or providers.
- What answers is the answer: a server that refuses the secret is never gone round.
- Another program at the default address is an error, not nobody: a command must not change one
  database while its user means another. But for the server of our own database when it is what
  listens there and only speaks otherwise (TLS): it is asked as it wants to be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emr.cli.ask import knock
from emr.cli.ask.address import DEFAULT, Address, Server, parse_address
from emr.cli.ask.named import named_server, server_at
from emr.cli.trouble import Trouble
from emr.control.places import Places

if TYPE_CHECKING:
    from emr.cli.ask.manager import Manager
    from emr.control.config import Loaded
    from emr.control.secrets import Secret

KNOCK_S = 2.0  # on loopback: a loop that is busy for longer does not serve
SEEN = ("uptime_seconds", "requests_served")  # in every emr's /status, the reference's too


@dataclass(frozen=True, slots=True)
class Local:
    """The configuration of this machine, and where its database is (None: in memory)."""

    loaded: Loaded
    places: Places
    database: Path | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Local:
        """Read it. Raises Trouble."""
        from emr.control.config import ConfigError, find_file, load
        from emr.control.endpoints import row_rules

        places = Places.of(os.environ)
        try:
            file = find_file(places, os.environ, args.config)
            loaded = load(file, os.environ, row_rules())
        except ConfigError as error:
            raise Trouble(str(error)) from error
        return cls(loaded, places, loaded.settings.database_file(places))

    def server(self) -> Address | None:
        """The server that holds the database's lock. Raises Trouble."""
        from emr.control.lockfile import LockError, find_holder

        if self.database is None:
            return None
        try:
            holder = find_holder(self.database)
        except LockError as error:
            raise Trouble(
                f"no emr answers at {DEFAULT}, and whether one uses {self.database} is not known:"
                f" {error}; say where it is with --server"
            ) from error
        return None if holder is None or holder.address is None else parse_address(holder.address)


def find_server(args: argparse.Namespace) -> Server:
    """The running emr that a command asks. Raises Trouble when there is none."""
    server = _first_found(args)
    if server is not None:
        return server
    local = Local.of(args)
    address = local.server()
    if address is None:
        raise Trouble(
            f"no emr answers at {DEFAULT}, and none uses {local.database}: start one with"
            " `emr serve`, or say where it is with --server"
        )
    return by_lock(args, local, address)


@contextlib.contextmanager
def find_manager(args: argparse.Namespace) -> Iterator[Manager]:
    """Who manages keys and providers. Raises Trouble."""
    server = _first_found(args)
    if server is None:
        from emr.cli.ask.own import take_store

        local = Local.of(args)
        taken = take_store(local)
        if not isinstance(taken, Address):
            with contextlib.closing(taken) as own:
                yield own
            return
        server = by_lock(args, local, taken)
    with over_api(server, admin_secret(args)) as manager:
        yield manager


@contextlib.contextmanager
def over_api(server: Server, secret: Secret) -> Iterator[Manager]:
    """A manager that asks `server`."""
    from emr.cli.ask.api import Api
    from emr.cli.ask.manager import OverApi

    api = Api(server, secret)
    try:
        yield OverApi(api, str(server.address))
    finally:
        api.close()


def admin_secret(args: argparse.Namespace) -> Secret:
    """The admin secret. Raises Trouble when there is none, or none that can be used."""
    from emr.control.secrets import SecretError, find_admin_secret

    places = Places.of(os.environ)
    try:
        secret = find_admin_secret(places, os.environ, args.admin_secret)
    except SecretError as error:
        raise Trouble(str(error)) from error
    if secret is None:
        raise Trouble(
            "there is no admin secret to ask the server with: set EMR_ADMIN_SECRET, or put it into"
            f" {places.env_file} (looked for in the environment, the service manager's"
            f" credentials, {places.env_file} and, as root, {places.system_secret})"
        )
    return secret


def by_lock(args: argparse.Namespace, local: Local, address: Address) -> Server:
    """The server of our own database, which shows the certificate of our own configuration."""
    certificate = local.loaded.settings.server.tls_cert
    if address.scheme != "https" or args.ca is not None or certificate is None:
        return server_at(address, args)
    from emr.cli.ask.tls import pinned_context

    return Server(address, pinned_context(Path(certificate), args.client_cert))


def _first_found(args: argparse.Namespace) -> Server | None:
    """The server that was named, or that answers at the default address. Raises Trouble."""
    named = named_server(args)
    if named is not None:
        return named
    try:
        answer = knock.get(DEFAULT, "/status", timeout_s=KNOCK_S)
    except knock.Nobody:
        return None
    except knock.NoAnswer as error:
        return _something_else(args, str(error))
    if is_emr(answer):
        return Server(DEFAULT)
    return _something_else(args, f"what answers at {DEFAULT} is not an emr")


def is_emr(answer: knock.Answer) -> bool:
    """Whether an answer to GET /status is an emr's."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        return False
    return isinstance(told, dict) and all(name in told for name in SEEN)


def _something_else(args: argparse.Namespace, why: str) -> Server:
    """The server of our own database, if that is what listens at the default address."""
    local = Local.of(args)
    address = local.server()
    if address is not None and address.is_loopback and address.port == DEFAULT.port:
        return by_lock(args, local, address)
    told = "say where yours is with" if address is None else f"yours is at {address}: say so with"
    raise Trouble(f"{why}; {told} --server")

"""The server that --server names, with how its certificate is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emr.cli.ask.address import Address, Server, parse_address
from emr.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    import argparse


def named_server(args: argparse.Namespace) -> Server | None:
    """What --server says, None without it. Raises Trouble."""
    if args.server is None:
        return None
    try:
        address = parse_address(args.server)
    except ValueError as error:
        raise Trouble(f"--server {args.server} {error}", USAGE) from error
    return server_at(address, args)


def server_at(address: Address, args: argparse.Namespace) -> Server:
    """A server by its address; its certificate must be of a CA that is trusted. Raises Trouble."""
    if address.scheme != "https":
        return Server(address)
    from emr.cli.ask.tls import client_context

    return Server(address, client_context(args.ca, args.client_cert))

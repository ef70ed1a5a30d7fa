"""The flags that several commands share."""

from __future__ import annotations

import argparse


def add_server(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The flags of a command that asks a server, as a group. `ask.whom` reads their values."""
    group = parser.add_argument_group("the server")
    group.add_argument(
        "--server", metavar="URL",
        help="where it is: http://host:port, https://host:port or unix:/path; without it"
        " http://localhost:3200, else the server that holds the database's lock",
    )  # fmt: skip
    group.add_argument(
        "--ca", metavar="FILE", help="PEM file of the CA of the server's certificate"
    )
    group.add_argument(
        "--client-cert", metavar="FILE",
        help="PEM file of a certificate and its key to show, where the server asks for one",
    )  # fmt: skip
    group.add_argument(
        "--config", metavar="FILE", help="the configuration that says where the database is"
    )
    return group


def add_admin(parser: argparse.ArgumentParser) -> None:
    """The flags of a management command."""
    add_server(parser).add_argument(
        "--admin-secret", metavar="SECRET",
        help="better: EMR_ADMIN_SECRET, a credential or ~/.config/emr/.env",
    )  # fmt: skip


def add_json(parser: argparse._ActionsContainer) -> None:
    """`--json`, of a command that prints a table."""
    parser.add_argument("--json", action="store_true", help="print JSON")

"""`emr doctor`: checks the set-up and says what to do; 1 when there is a problem.

Looked at are Python and its packages, the configuration, the secrets and who can read them, the
database, the ports, the clock, and the way to each provider. Nothing is changed and nothing is
asked of a provider, but with --call: one call of one short text to each, which may cost money.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emr.cli import options
from emr.cli.output import console, is_drawn, plain, print_json
from emr.cli.trouble import FAILED, Trouble

if TYPE_CHECKING:
    from emr.cli.checks.finding import Finding, Site

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("doctor", help="check the set-up", description=__doc__)
    parser.add_argument("--call", action="store_true", help="also make a call to each provider")
    options.add_admin(parser)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks, each as soon as the one before it is told."""
    from emr.cli.checks.finding import Level

    findings = []
    for finding in check(args):
        findings.append(finding)
        if not args.json:
            show(finding)
    is_fine = all(finding.level is not Level.PROBLEM for finding in findings)
    if args.json:
        print_json({"ok": is_fine, "findings": [finding.view() for finding in findings]})
    return 0 if is_fine else FAILED


def check(args: argparse.Namespace) -> Iterator[Finding]:
    """Every check, in the order in which one needs another."""
    from emr.cli.checks import cache, configuration, network, software, storage
    from emr.cli.checks.finding import Site
    from emr.control.places import Places

    site = Site(Places.of(os.environ), os.environ)
    yield from software.check(site)
    yield from configuration.check(site, args.config)
    yield from software.clock(site)
    yield from storage.lock(site)
    yield from storage.check(site)
    yield from cache.check(site)
    yield from configuration.admin_secret(site, args.admin_secret)
    yield from configuration.service(site)
    yield from configuration.keys(site)
    yield from configuration.modes(site)
    yield from network.ports(site, args)
    yield from network.reach(site)
    if args.call:
        yield from calls(site, args)


def calls(site: Site, args: argparse.Namespace) -> Iterator[Finding]:
    """A call to each enabled provider, by the server that runs or by this command."""
    from emr.cli.ask.whom import find_manager
    from emr.cli.checks.finding import ok, problem

    try:
        with find_manager(args) as manager:
            for row in [row for row in site.rows if row.enabled]:
                try:
                    told = manager.test_provider(row.name, {})
                except Trouble as trouble:
                    told = {"error": str(trouble)}
                if told.get("status") == "ok":
                    figures = f"{told.get('latency_ms')} ms, {told.get('dimensions')} dimensions"
                    yield ok("call", f"{row.name}: {figures}")
                else:
                    yield problem("call", f"{row.name}: {told.get('error')}")
    except Trouble as trouble:
        yield problem("call", str(trouble))


def show(finding: Finding) -> None:
    """A finding for people: its level, the check, what was found, and what to do."""
    level = finding.level.value
    text = f"{finding.check}: {plain(finding.message)}"
    remedy = f"{'':9}-> {plain(finding.remedy)}" if finding.remedy else ""
    if is_drawn():
        from rich.text import Text

        printed = console()
        printed.print(Text(f"{level:<9}", COLOURS[level]) + Text(text), soft_wrap=True)
        if remedy:
            printed.print(Text(remedy), soft_wrap=True)
        return
    print(f"{level:<9}{text}")
    if remedy:
        print(remedy)
    sys.stdout.flush()

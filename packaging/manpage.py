"""Makes the manual page docs/emr.1 from the commands' own parser: run by scripts/pages.

What the parser cannot tell (files, environment, exit codes) stands here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from emr import __version__
from emr.cli.command import DESCRIPTION, parser

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "emr.1"
FILES = (
    ("./config.toml, ~/.config/emr/config.toml, /etc/emr/config.toml",
     "the configuration: the first that exists"),
    ("~/.config/emr/emr.db", "the database of keys and providers (database.path)"),
    ("~/.config/emr/.env", "the admin secret and providers' keys, NAME=value"),
    ("~/.config/emr/first-key", "the caller key of the first start"),
    ("/etc/emr/credentials", "of the service: admin_secret, and one file for each provider key"),
    ("/var/lib/emr/emr.db", "the database of the service"),
)  # fmt: skip
ENVIRONMENT = (
    ("EMR_ADMIN_SECRET", "the admin secret"),
    ("EMR_API_KEY", "the caller key of embed and bench"),
    ("EMR_CONFIG", "the configuration file"),
    ("EMR_SERVER_BIND, …", "any setting: its name in capitals, dots as underscores"),
    ("NO_COLOR, FORCE_COLOR", "tables without colours; drawn in a pipe too"),
    ("SHIV_ROOT", "where the one-file emr unpacks itself; without it ~/.cache/emr"),
)
STATUS = (
    ("0", "done"),
    ("1", "refused or failed; the last line on stderr says why"),
    ("2", "used wrongly"),
)


def escaped(text: str) -> str:
    """Text that troff prints as it is, on one line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def page() -> str:
    """The whole page. It has no date: it is the same for as long as the commands are."""
    lines = [
        f'.TH EMR 1 "" "emr {__version__}" "Embeddings Router"',
        ".SH NAME", "emr \\- the Embeddings Router",
        ".SH SYNOPSIS", ".B emr", ".I COMMAND", "[\\fIOPTION\\fR ...]",
        ".SH DESCRIPTION", escaped(DESCRIPTION),
        ".SH COMMANDS",
    ]  # fmt: skip
    for name, command in commands_of(parser()):
        lines += command_lines(f"emr {name}", command)
    for title, table in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", STATUS)):
        lines.append(f".SH {title}")
        for name, what in table:
            lines += [".TP", f"\\fB{escaped(name)}\\fR", escaped(what)]
    lines += [".SH SEE ALSO", "/usr/share/doc/emr, systemctl(1)"]
    return "\n".join(lines) + "\n"


def commands_of(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands of a parser, in the order in which it has them."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def command_lines(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    """A command, its options, and then the commands below it."""
    below = list(commands_of(command))
    usage = command.format_usage().split(maxsplit=1)[1].removeprefix(name)
    yield from (f".SS {escaped(name)}", f"\\fB{escaped(name)}\\fR {escaped(usage)}", ".PP")
    for part in (command.description or "").strip().split("\n\n"):
        yield from (escaped(part.replace("`", "")), ".PP")
    for action in command._actions:
        if action.help in (None, argparse.SUPPRESS) and not action.option_strings:
            continue
        if "-h" in action.option_strings or isinstance(action, argparse._SubParsersAction):
            continue
        yield from (".TP", option(action), escaped((action.help or "") % vars_of(action)))
    for inner, each in below:
        yield from command_lines(f"{name} {inner}", each)


def vars_of(action: argparse.Action) -> dict[str, object]:
    """What a help text may name with %(…)s."""
    return {"default": action.default, "prog": "emr"}


def option(action: argparse.Action) -> str:
    """An option or an argument, with the name of its value."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"\\fI{escaped(value)}\\fR"
    flags = ", ".join(f"\\fB{escaped(flag)}\\fR" for flag in action.option_strings)
    return flags if action.nargs == 0 else f"{flags} \\fI{escaped(value)}\\fR"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())

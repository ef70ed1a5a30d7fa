"""Runs before anything is unpacked: says plainly what is wrong with this Python, or with this home.

shiv unpacks into ~/.shiv, or where SHIV_ROOT points to; emr moves that to ~/.cache/emr unless it is
set. A traceback about a folder that cannot be made helps nobody.
"""

import os
import sys

OLDEST, NEWEST = (3, 11), (3, 13)


def stop(message: str) -> None:
    """End with a sentence."""
    sys.stderr.write(f"emr: {message}\n")
    raise SystemExit(1)


def check_python() -> None:
    """The compiled parts inside are for these versions only."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        have = ".".join(map(str, sys.version_info[:2]))
        stop(f"this file runs on Python 3.11, 3.12 and 3.13, not on {have} ({sys.executable})")


def choose_root() -> None:
    """Unpack where this user can write."""
    if os.environ.get("SHIV_ROOT"):
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    root = os.path.join(home, "emr")
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        stop(
            f"cannot unpack into {root}: {error.strerror}; set SHIV_ROOT to a folder of your own "
            "(not one that others can write, such as /tmp itself)"
        )
    os.environ["SHIV_ROOT"] = root


check_python()
choose_root()

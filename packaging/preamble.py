"""Runs before anything is unpacked: says plainly what is wrong with this Python, or with this home.

shiv unpacks into ~/.shiv, or where SHIV_ROOT points to; emr moves that to ~/.cache/emr unless it is
set. A traceback about a folder that cannot be made, or a compiled part that cannot be loaded, helps
nobody.

What earlier versions of the file unpacked is removed a day after its last start, unless a process
still runs from it: each holds a shared lock on a small file beside its folder, which is also how
other programs' folders in the same place are told from ours.

Any Python must be able to read this, to be told that it is too old: no annotations, no f-strings.
"""

import errno
import os
import shutil
import sys
import time

OLDEST, NEWEST = (3, 11), (3, 13)
ID, MACHINE = "@ID@", "@MACHINE@"
BYTES = int("@BYTES@")  # what the packages inside take when they are unpacked
COMPILED = 2  # times that, with what Python compiles of them
KEEP_S = 86400  # an unpacked version that nobody started for a day is not wanted any more
USED = ".used-"  # and the name of the folder: locked by whoever runs from it, touched at its start


def stop(message):
    """End with a sentence."""
    sys.stderr.write("emr: " + message + "\n")
    raise SystemExit(1)


def check_python():
    """The compiled parts inside are for these versions, this processor and glibc only."""
    have = ".".join(str(part) for part in sys.version_info[:2])
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        stop(
            "this file runs on Python 3.11, 3.12 and 3.13, not on "
            + have
            + " ("
            + sys.executable
            + ")"
        )
    from importlib.machinery import EXTENSION_SUFFIXES

    wanted = ".cpython-" + have.replace(".", "") + "-" + MACHINE + "-linux-gnu.so"
    if wanted not in EXTENSION_SUFFIXES:
        stop(
            "this file is for CPython on Linux with glibc and a processor "
            + MACHINE
            + "; "
            + sys.executable
            + " loads "
            + EXTENSION_SUFFIXES[0]
            + ": take the file for that processor, or install emr with pip"
        )


def choose_root():
    """The folder to unpack into, which this user can write and run programs from."""
    root = os.environ.get("SHIV_ROOT")
    if not root:
        home = os.environ.get("XDG_CACHE_HOME")
        if not home:
            home = os.path.join(os.path.expanduser("~"), ".cache")
        root = os.path.join(home, "emr")
    root = os.path.expanduser(root)
    if os.path.isdir(folder_in(root)):
        return root  # unpacked already: it may well be read-only
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        disk = os.statvfs(root)
        if disk.f_flag & os.ST_NOEXEC:
            raise OSError(errno.EACCES, "programs may not be run from there (mounted noexec)")
        if disk.f_bavail * disk.f_frsize < BYTES * COMPILED:
            megabytes = str(BYTES * COMPILED // 1000000)
            raise OSError(errno.ENOSPC, "it needs " + megabytes + " MB of space")
    except OSError as error:
        stop(
            "cannot unpack into " + root + ": " + str(error.strerror) + "; set SHIV_ROOT to a"
            " folder of your own (not one that others can write, such as /tmp itself)"
        )
    return root


def folder_in(root):
    """Where shiv unpacks this file: its name, and what it has inside."""
    return os.path.join(root, os.path.basename(os.path.realpath(sys.argv[0])) + "_" + ID)


def hold(folder):
    """Tell that this process runs from `folder`, to its end; the lock is the open file."""
    import fcntl

    root, name = os.path.split(folder)
    path = os.path.join(root, USED + name)
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_SH)
        os.utime(path)
    except OSError:
        return  # a folder that cannot be written is nobody's to clean either


def clean(root, own):
    """Remove what other versions unpacked, a day after their last start."""
    try:
        marks = [name for name in os.listdir(root) if name.startswith(USED)]
    except OSError:
        return
    for mark in marks:
        if mark != USED + own:
            try:
                remove(root, mark)
            except OSError:
                continue  # somebody uses it, or removes it too


def remove(root, mark):
    """Remove a version unless it is used, or was started lately. Raises OSError."""
    import fcntl

    path = os.path.join(root, mark)
    if time.time() - os.stat(path).st_mtime < KEEP_S:
        return
    name = mark[len(USED) :]
    gone = os.path.join(root, ".gone-" + name)
    held = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # out of sight at once: a start at this moment finds all of it or nothing
        if os.path.isdir(os.path.join(root, name)):
            os.rename(os.path.join(root, name), gone)
        os.unlink(path)
    finally:
        os.close(held)
    shutil.rmtree(gone, ignore_errors=True)
    for lock in ("." + name + "_lock", "." + name + ".tmp"):
        if os.path.isfile(os.path.join(root, lock)):
            os.unlink(os.path.join(root, lock))


check_python()
os.environ["SHIV_ROOT"] = choose_root()
hold(folder_in(os.environ["SHIV_ROOT"]))
clean(os.environ["SHIV_ROOT"], os.path.basename(folder_in(os.environ["SHIV_ROOT"])))

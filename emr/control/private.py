"""Files that only their owner may read: reading, writing and making them, whatever the umask.

Rules of this file
- A file is made 0600, a folder that we make 0700, and both belong to the owner of the folder they
  are in: a command run by root beside a service leaves nothing that the service cannot use.
- A file is replaced as a whole: written beside its place under a name nobody could have planted
  (O_EXCL), synced, renamed over the place, and the folder synced. A symbolic link at the place is
  replaced, never followed.
- What others can read is no secret any more: it is refused, with the command that puts it right.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from enum import Enum
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o600, 0o700
SECRET_SIZE_MAX = 1 << 20  # bytes of a file of secrets: thousands of lines


class PrivateFileError(Exception):
    """A private file cannot be used; the message says which, why, and what to do."""


class Readers(Enum):
    """Who but the owner may be able to read a file, as the bits that are refused."""

    OWNER = 0o077
    GROUP = 0o007  # of a service manager: its ACL for the service shows in the group's bits


def read_private(path: Path, readers: Readers = Readers.OWNER) -> str | None:
    """The text of a private file, None when there is none. Raises PrivateFileError."""
    try:
        # not blocking: a pipe at the place must not hang the start
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise PrivateFileError(f"{path} is not a file")
            if mode & readers.value:
                raise PrivateFileError(
                    f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}) and is not"
                    f" used; run: chmod 600 {path}"
                )
            raw = stream.read(SECRET_SIZE_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise PrivateFileError(f"{path} is not UTF-8 text") from error


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path`, whole or not at all. Raises PrivateFileError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_folder(path.parent)
        try:
            with os.fdopen(open_private(beside, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.rename(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be written: {error.strerror}") from error


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a private file, made if need be.

    A symbolic link, a pipe and a file that has a second name elsewhere are refused: somebody
    planted them. Raises OSError.
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode) or now.st_nlink > 1:
            raise OSError(errno.EMLINK, "is not a file of its own", str(path))
        _make_private(fd, path.parent, FILE_MODE)
    except OSError:
        os.close(fd)
        raise
    return fd


def make_folder(path: Path) -> None:
    """Make a folder and those above it, private where we make them. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if path.lstat().st_mode & FOLDER_MODE != FOLDER_MODE:
        path.chmod(FOLDER_MODE)  # a umask that shut us out of our own folder
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _make_private(fd, path.parent, FOLDER_MODE)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_private(fd: int, folder: Path, mode: int) -> None:
    """Take `mode`, and the owner of the folder, whatever the umask and whoever we are."""
    now = os.fstat(fd)
    if stat.S_IMODE(now.st_mode) != mode:
        os.fchmod(fd, mode)
    if os.geteuid() == 0:
        owner = folder.stat()
        if (now.st_uid, now.st_gid) != (owner.st_uid, owner.st_gid):
            os.fchown(fd, owner.st_uid, owner.st_gid)

"""Secrets: where they are looked for, what is refused, and how they are written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emr.control.places import Places
from emr.control.private import (
    PrivateFileError,
    Readers,
    make_folder,
    open_private,
    read_private,
    write_private,
)
from emr.control.secrets import (
    Secret,
    SecretError,
    find_admin_secret,
    find_first_key,
    find_key,
    new_secret,
    parse_env,
    write_admin_secret,
    write_first_key,
)
from tests.control.parts import places_in, unprivileged


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "credentials").mkdir()
    return replace(places_in(tmp_path), credentials=tmp_path / "credentials")


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def put(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# .env


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("A=1", {"A": "1"}),
        ("  A = 1  \n\tB=2\r\n", {"A": "1", "B": "2"}),
        ("# A=1\n  # B=2\nC=3 # 4", {"C": "3 # 4"}),
        ("A=b=c=", {"A": "b=c="}),
        ("A='1'\nB=\"2\"", {"A": "'1'", "B": '"2"'}),
        ("A=\nB= \n=1\nC", {}),
        ("A=\nA=1\nA=2", {"A": "1"}),
        ("export A=1", {"export A": "1"}),
    ],
)
def test_env_lines(text: str, found: dict[str, str]) -> None:
    assert parse_env(text) == found


# where they are looked for


def test_the_order_of_the_admin_secret(places: Places) -> None:
    assert places.credentials is not None
    assert find_admin_secret(places, {}) is None
    put(places.system_secret, "five\n")
    assert find_admin_secret(places, {}) == Secret("five", str(places.system_secret))
    put(places.env_file, "EMR_ADMIN_SECRET=four\n")
    assert find_admin_secret(places, {}) == Secret("four", str(places.env_file))
    put(places.credentials / "emr_admin_secret", " three \n")
    assert find_admin_secret(places, {}) == Secret("three", "credential emr_admin_secret")
    environment = {"EMR_ADMIN_SECRET": "two"}
    found = find_admin_secret(places, environment)
    assert found == Secret("two", "environment EMR_ADMIN_SECRET")
    assert find_admin_secret(places, environment, "one") == Secret("one", "--admin-secret")


def test_an_env_file_without_the_secret_is_passed_over(places: Places) -> None:
    put(places.env_file, "EMR_ADMIN_SECRET=\nOTHER=1\n")
    put(places.system_secret, "last")
    found = find_admin_secret(places, {})
    assert found is not None
    assert found.value == "last"


def test_without_a_service_manager_there_are_no_credentials(places: Places) -> None:
    assert places.credentials is not None
    put(places.credentials / "emr_admin_secret", "x")
    assert find_admin_secret(replace(places, credentials=None), {}) is None


def test_the_order_of_a_provider_key(places: Places) -> None:
    assert places.credentials is not None
    assert find_key(places, {}, "X_API_KEY") is None
    put(places.env_file, "X_API_KEY=three\n")
    assert find_key(places, {}, "X_API_KEY") == Secret("three", str(places.env_file))
    put(places.credentials / "emr_X_API_KEY", "two\n")
    assert find_key(places, {}, "X_API_KEY") == Secret("two", "credential emr_X_API_KEY")
    found = find_key(places, {"X_API_KEY": "one"}, "X_API_KEY")
    assert found == Secret("one", "environment X_API_KEY")
    found = find_key(places, {"X_API_KEY": " "}, "X_API_KEY")
    assert found is not None
    assert found.value == "two"


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("CANARY", "environment X")
    assert "CANARY" not in f"{secret} {secret!r} {[secret]}"
    assert "environment X" in str(secret)


# what is refused


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "é", "a\x00b", "a\x7f"])
def test_secrets_that_cannot_be_used(places: Places, value: str) -> None:
    for act in (
        lambda: find_admin_secret(places, {}, value),
        lambda: find_admin_secret(places, {"EMR_ADMIN_SECRET": value}),
    ):
        with pytest.raises(SecretError) as caught:
            act()
        assert "empty" in str(caught.value) or "printable" in str(caught.value)
    put(places.system_secret, value)
    with pytest.raises(SecretError):
        find_admin_secret(places, {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_files_that_others_can_read_are_refused(places: Places, mode: int) -> None:
    for path in (places.env_file, places.system_secret):
        put(path, "EMR_ADMIN_SECRET=CANARY\n", mode)
        with pytest.raises(SecretError) as caught:
            find_admin_secret(places, {})
        assert f"run: chmod 600 {path}" in str(caught.value)
        assert "CANARY" not in str(caught.value)
        path.unlink()
    put(places.env_file, "X_API_KEY=CANARY\n", mode)
    with pytest.raises(SecretError):
        find_key(places, {}, "X_API_KEY")
    put(places.first_key, "CANARY", mode)
    with pytest.raises(SecretError):
        find_first_key(places)


def test_a_credential_may_show_its_acl_as_group_but_not_be_open_to_all(places: Places) -> None:
    assert places.credentials is not None
    path = places.credentials / "emr_admin_secret"
    put(path, "x", 0o440)
    assert find_admin_secret(places, {}) == Secret("x", "credential emr_admin_secret")
    path.chmod(0o444)
    with pytest.raises(SecretError):
        find_admin_secret(places, {})


def test_the_secret_of_the_system_is_roots(anywhere: Path) -> None:
    """Whoever is not root goes on as if it were not there; so a first start can make its own."""
    places = places_in(anywhere)
    put(places.system_secret, "x")
    places.system_secret.parent.chmod(0o000)
    with unprivileged():
        assert find_admin_secret(places, {}) is None
    places.system_secret.parent.chmod(0o700)


def test_what_is_no_readable_text_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(PrivateFileError, match="is not a file"):
        read_private(pipe)
    raw = tmp_path / "raw"
    raw.write_bytes(b"\xff")
    raw.chmod(0o600)
    with pytest.raises(PrivateFileError, match="not UTF-8"):
        read_private(raw)
    with pytest.raises(PrivateFileError):
        read_private(tmp_path)
    assert read_private(tmp_path / "none") is None
    assert read_private(raw / "below") is None
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(PrivateFileError, match="cannot be read"):
        read_private(loop)


# writing


def test_a_new_secret() -> None:
    assert len(new_secret()) == 32
    assert new_secret().isalnum()
    assert new_secret() != new_secret()


@pytest.mark.usefixtures("open_umask")
def test_written_files_are_private_whatever_the_umask(places: Places) -> None:
    assert write_admin_secret(places, "s") == places.env_file
    assert write_first_key(places, "emr_k") == places.first_key
    for path in (places.env_file, places.first_key):
        assert mode_of(path) == 0o600
    for folder in (places.folder, places.folder.parent):
        assert mode_of(folder) == 0o700
    assert sorted(places.folder.iterdir()) == [places.env_file, places.first_key]
    found = find_admin_secret(places, {})
    assert found is not None
    assert found.value == "s"
    key = find_first_key(places)
    assert key is not None
    assert key.value == "emr_k"


def test_a_tight_umask_leaves_the_owner_in(places: Places) -> None:
    before = os.umask(0o777)
    try:
        write_admin_secret(places, "s")
    finally:
        os.umask(before)
    assert mode_of(places.env_file) == 0o600
    assert mode_of(places.folder) == 0o700


def test_the_other_lines_of_an_env_file_stay(places: Places) -> None:
    put(places.env_file, "# mine\nX_API_KEY=1")
    write_admin_secret(places, "s")
    assert places.env_file.read_text() == "# mine\nX_API_KEY=1\nEMR_ADMIN_SECRET=s\n"


def test_an_env_file_that_others_read_is_not_taken_over(places: Places) -> None:
    put(places.env_file, "X=1\n", 0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        write_admin_secret(places, "s")
    assert places.env_file.read_text() == "X=1\n"


def test_a_planted_link_is_replaced_and_not_followed(places: Places, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    put(victim, "precious\n")
    places.folder.mkdir(parents=True)
    places.first_key.symlink_to(victim)
    write_first_key(places, "emr_k")
    assert victim.read_text() == "precious\n"
    assert not places.first_key.is_symlink()
    assert places.first_key.read_text() == "emr_k\n"


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "hard link"])
def test_a_planted_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    victim, place = tmp_path / "victim", tmp_path / "place"
    put(victim, "precious", 0o644)
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling":
        place.symlink_to(tmp_path / "new")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.hardlink_to(victim)
    with pytest.raises(OSError, match=r"link|not a file of its own"):
        os.close(open_private(place, os.O_RDWR))
    assert victim.read_text() == "precious"
    assert mode_of(victim) == 0o644
    assert not (tmp_path / "new").exists()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "inside").touch()
    with pytest.raises(PrivateFileError, match="cannot be written"):
        write_private(place, "x")
    assert sorted(tmp_path.iterdir()) == [place]
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PrivateFileError):
        write_private(file / "below", "x")
    with pytest.raises(FileExistsError):
        make_folder(file)


def test_what_root_makes_belongs_to_the_owner_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by whoever runs the tests; only root can be told to give a file away."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given.append((uid, gid)))
    real = Path.stat

    class Owner:
        st_uid, st_gid = 4242, 4343

    def stat_of(path: Path, *, follow_symlinks: bool = True) -> object:
        return Owner() if path == tmp_path else real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat_of)
    os.close(open_private(tmp_path / "file", os.O_RDWR))
    assert given == [(4242, 4343)]


def test_readers_are_the_bits_that_are_refused() -> None:
    assert Readers.OWNER.value == 0o077
    assert Readers.GROUP.value == 0o007

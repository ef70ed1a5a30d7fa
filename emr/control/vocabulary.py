"""OpenAI's vocabulary, where the machine has it: from lists of token ids back to texts.

LangChain sends ids of `cl100k_base` unless it is told not to. Only OpenAI's models know them; for
any other provider they are turned into texts again, when tiktoken's data is there: the file that it
keeps in `TIKTOKEN_CACHE_DIR`, `DATA_GYM_CACHE_DIR`, or its folder in the one for temporary files.
Nothing is fetched, and tiktoken itself is not needed: an id is the number of a line of that file.

The folder for temporary files is everybody's, so the file counts only with the right checksum. It
is read at the first request that needs it, in 60 ms, and takes 5 MB from then on. Turning ids into
texts takes 2 us an id with its JSON, of short texts.

A client that cuts a long text by its ids may cut a letter in two, for a letter may have several
ids. Such a part of a letter is left out, at the beginning and at the end of a text only; anything
else that is no text, and any id that is not in the vocabulary, is refused.
"""

from __future__ import annotations

import hashlib
import tempfile
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from emr.front.desk import Ask
from emr.front.forms.texts import MAX_TEXT_BYTES
from emr.lane.refusal import Refusal, Refused

# tiktoken names its file by the SHA-1 of the address that it came from, and knows the SHA-256 of
# what is in it (tiktoken_ext/openai_public.py)
NAME = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
CHECKSUM = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
LETTER_MAX = 4  # bytes of a letter in UTF-8
FOLDERS = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")


class Vocabulary:
    """`environment` is where the folder's name is looked for."""

    def __init__(self, environment: Mapping[str, str], checksum: str = CHECKSUM) -> None:
        self._environment = environment
        self._checksum = checksum
        self._words: Sequence[bytes] = ()
        self._seen: tuple[int, int] | None = None  # a file that was not the right one

    def is_there(self) -> bool:
        """Whether ids can be turned into texts; reads the file when it was not read yet."""
        if self._words:
            return True
        try:
            path = self._path()
            stat = path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._seen:
                return False
            data = path.read_bytes()
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() != self._checksum:
            self._seen = stat.st_mtime_ns, stat.st_size
            return False
        self._words = words_of(data)
        return True

    def _path(self) -> Path:
        for name in FOLDERS:
            if name in self._environment:
                return Path(self._environment[name]) / NAME
        # raises FileNotFoundError where nothing can be written, as in a read-only container
        return Path(tempfile.gettempdir()) / "data-gym-cache" / NAME

    def texts_of(self, ask: Ask) -> list[bytes]:
        """The texts of an Ask of token ids, as JSON. Raises Refused: validation_error."""
        return [
            self._text(ids, ask.param if ask.single else f"{ask.param}[{place}]")
            for place, ids in enumerate(ask.texts)
        ]

    def _text(self, ids: bytes, param: str) -> bytes:
        words = self._words
        try:
            raw = b"".join([words[each] for each in orjson.loads(ids)])
        except IndexError:
            raise _refused(param, "has an id that is not in OpenAI's vocabulary") from None
        if len(raw) > MAX_TEXT_BYTES:
            raise _refused(param, f"is longer than {MAX_TEXT_BYTES} bytes as a text")
        text = decoded(raw)
        if not text:
            raise _refused(param, "is not a text in OpenAI's vocabulary")
        return orjson.dumps(text)


def words_of(data: bytes) -> list[bytes]:
    """The bytes of each id: a line has them as base64, and the id, which counts the lines.

    Raises ValueError for anything else, which a file with the right checksum is not.
    """
    words = []
    for number, line in enumerate(data.splitlines()):
        word, _, rank = line.partition(b" ")
        try:
            words.append(a2b_base64(word, strict_mode=True))
        except Base64Error:
            raise ValueError(f"line {number + 1} of the vocabulary is not base64") from None
        if int(rank) != number:
            raise ValueError(f"line {number + 1} of the vocabulary has another number")
    return words


def decoded(raw: bytes) -> str:
    """The text, without parts of letters at its ends; empty when it is none."""
    start = 0
    while start < LETTER_MAX - 1 and start < len(raw) and raw[start] & 0xC0 == 0x80:
        start += 1
    for end in range(len(raw), max(start, len(raw) - LETTER_MAX), -1):
        try:
            return raw[start:end].decode()
        except UnicodeDecodeError as error:
            if error.start + start < len(raw) - LETTER_MAX:
                return ""
    return ""


def _refused(param: str, message: str) -> Refused:
    return Refused(Refusal("validation_error", f"{param} {message}", param=param))

"""The embedded model: WordLlama's token vectors, averaged. Read from its package, never downloaded.

The wheel `wordllama` carries weights (32,000 tokens of 256 numbers) and a tokenizer; a text's
vector is the mean of the vectors of its tokens, made one long. Shorter ones are its first 64 or
128 numbers, made one long again: the model was trained so (Matryoshka).

Only the two files are used, not the package's code. Importing that configures the root logger and
loads an HTTP library, its loader looks for the tokenizer where the wheel does not put it and then
wants to download it, and its `embed` pads every text of a batch to the longest: 64 texts of which
one has a megabyte would take 20 GB. The mean is two lines; the tests hold it against the package's.

numpy, tokenizers and safetensors are imported when the model is loaded and not before: without
them emr runs, and asking for this model is answered by what to install.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

DIMENSIONS = (256, 128, 64)
INSTALL = (
    "the built-in model is not installed: `pip install 'emr[local]'`, or use emr-local.pyz "
    "instead of emr.pyz; or add a provider (`emr providers add`)"
)
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
# Token vectors that are in memory at once: 8,192 of 256 float32 are 8 MiB.
_AT_ONCE = 8192


class NotInstalled(Exception):
    """The model's files or what reads them are missing. The message says what to do."""


class Unembeddable(Exception):
    """A text without a vector: its place among the texts, and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why


def is_installed() -> bool:
    """Whether the model could be loaded, without loading anything."""
    needed = ("wordllama", "numpy", "tokenizers", "safetensors")
    return all(find_spec(name) is not None for name in needed)


class LocalModel:
    """The loaded model. Loading takes 0.2 s and 60 MB; not for the event loop."""

    __slots__ = ("_np", "_tokenizer", "_vectors")

    def __init__(self) -> None:
        """Raises NotInstalled."""
        spec = find_spec("wordllama")
        if spec is None or not spec.submodule_search_locations or not is_installed():
            raise NotInstalled(INSTALL)
        folder = Path(spec.submodule_search_locations[0])
        weights, tokenizer = folder / _WEIGHTS, folder / _TOKENIZER
        if not weights.is_file() or not tokenizer.is_file():
            raise NotInstalled(
                f"{INSTALL} (the installed wordllama has not the files that emr knows)"
            )
        self._np: Any = import_module("numpy")
        with import_module("safetensors").safe_open(str(weights), framework="numpy") as tensors:
            self._vectors: Any = tensors.get_tensor("embedding.weight").astype(self._np.float32)
        self._tokenizer: Any = import_module("tokenizers").Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed(
        self, texts: Sequence[bytes], dimensions: int, float_text: bool
    ) -> tuple[list[bytes], int]:
        """The vectors of JSON texts, as JSON: a list of numbers, or base64 with its quotes.

        Also the number of tokens of all texts. Raises Unembeddable for the first text that has no
        vector: not a JSON string, or without any token.
        """
        np = self._np
        tokens = 0
        vectors: list[bytes] = []
        for index, text in enumerate(texts):
            ids = self._ids(index, text)
            tokens += len(ids)
            vector = self._mean(ids)[:dimensions]
            length = float(np.sqrt(np.dot(vector, vector)))
            if not length > 0.0:
                raise Unembeddable(index, "the built-in model has no vector for this text")
            vector = np.ascontiguousarray(vector / np.float32(length), dtype="<f4")
            if float_text:
                vectors.append(orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY))
            else:
                vectors.append(b'"' + base64.b64encode(vector.tobytes()) + b'"')
        return vectors, tokens

    def _ids(self, index: int, text: bytes) -> list[int]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise Unembeddable(index, "the text is not valid JSON text") from None
        if type(value) is not str:
            raise Unembeddable(index, "the built-in model takes texts only, no token ids")
        ids: list[int] = self._tokenizer.encode(value, add_special_tokens=False).ids
        if not ids:
            raise Unembeddable(index, "the text is empty")
        return ids

    def _mean(self, ids: list[int]) -> Any:
        """The mean of the token vectors, a part of a long text after the other."""
        np, rows = self._np, self._vectors
        if len(ids) <= _AT_ONCE:
            return rows[ids].mean(axis=0)
        total = np.zeros(rows.shape[1], dtype=np.float64)
        for at in range(0, len(ids), _AT_ONCE):
            total += rows[ids[at : at + _AT_ONCE]].sum(axis=0, dtype=np.float64)
        return (total / len(ids)).astype(np.float32)

"""What a form is: how one kind of client writes its request, and how it reads the answer."""

from __future__ import annotations

from typing import Protocol

from emr.front.desk import Ask
from emr.lane.ticket import Request


class Form(Protocol):
    """One API's body in, and its answer out. Holds no state; may be used from any thread."""

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """What the caller wants. `captured` is what stood in the path's placeholders.

        Raises Refused: validation_error, naming the field in `param`.
        """

    def to_convert(self, ask: Ask, request: Request) -> int:
        """How many bytes of the request's vectors `render` must write anew: what it costs."""

    def render(self, ask: Ask, request: Request, request_id: str) -> bytes:
        """The answer's body for a request that ended well and was not passed on whole.

        Raises Refused: provider_error for a vector that cannot be given in the wanted form.
        """

"""The exact cache in memory: the vector of a text that was asked before, by the same parameters.

Rules of this file
- A hit is the same vector or it is none. The key is everything that makes a vector: whose it is
  (`Request.space`), the lane's parameters, and the raw text, compared as a whole; nothing is
  normalised, and no hash stands for a text. With `scope = key` the caller belongs to it too.
- A vector is kept once, as the bytes that the reply carried, or in the writing that was asked for
  last; every answer gets that very object.
- Whatever is kept is counted: text, vector, and what Python takes for keeping them.

Theory of operation. Entries of equal space, parameters and caller stand in one *section*: a dict
from text to entry. A hit is one look-up for the request and one for each text, and a count of one
to three on the entry: nothing is moved, so a hit costs the same however large the cache is.

What goes when room is needed is decided by S3-FIFO (Yang et al., FIFO queues are all you need for
cache eviction, SOSP 2023). A new text stands in a *small* row, a tenth of the room. At its head
one that was asked again meanwhile moves to the *main* row, any other goes, and is remembered for a
while by its hash; one that comes back while it is remembered stands in main at once. In main, an
entry at the head that was asked again goes to the back with its count lowered, any other goes. So
the texts of an indexing run, asked once each, pass through a tenth of the cache and leave the rest
alone. That a hash may be wrong here and there costs a place in the wrong row, never a vector.

Measured (`scripts/cache-trace`): hits of a hundred on 20,000 texts by Zipf's law, with room for 1,
5 and 20% of them. With a scan, two texts that come once are asked for each of the popular ones, in
runs. With drift, all popular texts are others after every 12,000 asked.

                      alpha 0.6         alpha 0.8         alpha 1.0         alpha 1.2
    room             1%   5%  20%      1%   5%  20%      1%   5%  20%      1%   5%  20%
    LRU             4.7 15.7 38.5    17.4 34.5 57.8    43.1 61.5 78.2    70.6 83.5 92.1
    S3-FIFO        12.6 25.3 45.4    29.3 45.2 63.8    54.1 68.8 81.2    77.1 87.0 92.6
    scan: LRU       2.6  6.8 18.1    11.1 20.0 35.9    29.9 43.8 58.7    53.1 69.8 78.0
    scan: S3-FIFO  11.4 20.7 33.8    28.8 39.8 51.4    53.6 63.4 70.2    75.7 80.8 84.9
    drift: LRU      4.7 15.3 36.3    17.3 33.7 54.0    42.9 60.1 72.8    70.2 81.4 85.8
    drift: S3-FIFO  7.8 16.0 33.3    24.5 34.4 49.2    50.3 59.0 68.1    74.0 79.0 83.7

Only when the room is ample and what is popular changes at once is LRU better, by at most 5.

Refused: LRU, for the figures above, and because each hit of it moves an entry. Keeping float32
instead of the reply's JSON text, which takes a third of the room for vectors in numbers: each hit
would write 1,024 numbers anew (38 us; a hit takes 2, all of this side of the front included).
Both writings side by side: callers of one host mostly ask in one.
"""

from __future__ import annotations

from collections import deque

from emr.lane.ticket import Origin, Params, Request

# What Python takes beside the bytes of text and vector: two bytes objects of 33 and what the
# allocator rounds up, the entry (72), its size (32), its place in a dict that is two thirds to a
# third full (100), in a row (8), and the hash by which one that went is remembered (75).
ENTRY_BYTES = 340
SECTION_BYTES = 600  # of a section: its dict, its key, and its place in the table
SMALL_PART = 10  # a tenth of the room: the paper's figure; a twentieth gives 0.3 more of a hundred
MOST_USES = 3
# Entries that one eviction sends back to the end of their row before it takes the next whatever
# its count: when all were asked lately, three rounds of a row of 100,000 would take 30 ms.
MOST_LOOKS = 1000

Key = tuple[str, Params, str]


class Section:
    """The entries of one space, parameters and caller; `origin` is that of all their vectors.

    `hash` is the key's, worked out once.
    """

    __slots__ = ("entries", "hash", "key", "origin")

    def __init__(self, key: Key, origin: Origin) -> None:
        self.key = key
        self.hash = hash(key)
        self.origin = origin
        self.entries: dict[bytes, Entry] = {}


class Entry:
    """A text and its vector, in the small row or in main.

    `uses` is how often it was asked for since it came to its row, `size` what it takes of the room.
    """

    __slots__ = ("is_small", "section", "size", "text", "uses", "vector")

    def __init__(self, section: Section, text: bytes, vector: bytes) -> None:
        self.section = section
        self.text = text
        self.vector = vector
        self.size = len(text) + len(vector) + ENTRY_BYTES
        self.uses = 0
        self.is_small = False


class Cache:
    """The entries, bounded by `max_bytes`. `shared`: keys of callers see each other's entries.

    `bytes` and `small_bytes` are the sums over what is kept and over the small row; `evictions`
    counts what went for want of room.
    """

    __slots__ = (
        "_forgotten", "_main", "_sections", "_shared", "_small", "bytes", "evictions", "max_bytes",
        "small_bytes",
    )  # fmt: skip

    def __init__(self, max_bytes: int, *, shared: bool) -> None:
        self.max_bytes = max_bytes
        self._shared = shared
        self._sections: dict[Key, Section] = {}
        self._small: deque[Entry] = deque()
        self._main: deque[Entry] = deque()
        # hashes of texts that left the small row: of late, and before that
        self._forgotten: tuple[set[int], set[int]] = (set(), set())
        self.bytes = 0
        self.small_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    @property
    def scope(self) -> str:
        """`shared` or `key`, as the setting calls it."""
        return "shared" if self._shared else "key"

    @property
    def sections(self) -> int:
        """How many spaces, parameters and callers there are."""
        return len(self._sections)

    def key_of(self, request: Request) -> Key:
        """What the request shares with all that may have its vectors, beside the text."""
        assert request.space is not None, "a request that is not for the cache: a bug"
        return (request.space, request.params, "" if self._shared else request.caller)

    def find(self, request: Request) -> None:
        """Give the request every vector that is kept for one of its wanted texts."""
        section = self._sections.get(self.key_of(request))
        if section is None:
            return
        entries, texts, vectors = section.entries, request.texts, request.vectors
        wanted: list[int] = []
        for place in request.wanted:
            entry = entries.get(texts[place])
            if entry is None:
                wanted.append(place)
                continue
            vectors[place] = entry.vector
            if entry.uses < MOST_USES:
                entry.uses += 1
        if len(wanted) < len(request.wanted):
            request.recall(wanted, section.origin)

    def origin_of(self, key: Key) -> Origin | None:
        """What the vectors that are kept for this key are, None when there are none."""
        section = self._sections.get(key)
        return None if section is None else section.origin

    def section_of(self, key: Key, origin: Origin) -> Section | None:
        """Where vectors belong that a call brought; None for nowhere.

        When the model was exchanged, what is kept is no longer what it gives, and is dropped. Two
        providers of a family that call their model by two names: the first one's are kept.
        """
        section = self._sections.get(key)
        if section is not None and section.origin != origin:
            if section.origin.was_exchanged(origin):
                self.drop(section)
                section = None
            elif not section.origin.is_of(origin):
                return None
        return section or Section(key, origin)

    def put(self, section: Section, text: bytes, vector: bytes) -> None:
        """Keep a vector, if it is not there already and has room at all."""
        entries = section.entries
        if text in entries:
            return
        entry = Entry(section, text, vector)
        most = self.max_bytes - entry.size
        if most < SECTION_BYTES:
            return
        if entries:
            self._make_room(most)
        if not entries:  # new, or its last entry has just gone
            self._make_room(most - SECTION_BYTES)
            self._sections[section.key] = section
            self.bytes += SECTION_BYTES
        entries[text] = entry
        self.bytes += entry.size
        mark = _mark(entry)
        if mark in self._forgotten[0] or mark in self._forgotten[1]:
            self._main.append(entry)
        else:
            entry.is_small = True
            self._small.append(entry)
            self.small_bytes += entry.size

    def rewrite(self, key: Key, text: bytes, vector: bytes) -> None:
        """Keep a vector that is there in another writing from now on."""
        section = self._sections.get(key)
        entry = None if section is None else section.entries.get(text)
        if entry is None:
            return
        more = len(vector) - len(entry.vector)
        entry.vector = vector
        entry.size += more
        self.bytes += more
        if entry.is_small:
            self.small_bytes += more
        self._make_room(self.max_bytes)

    def drop(self, section: Section) -> None:
        """Let go of all entries of a section."""
        if self._sections.get(section.key) is not section:
            return
        del self._sections[section.key]
        self._small = deque(each for each in self._small if each.section is not section)
        self._main = deque(each for each in self._main if each.section is not section)
        self.small_bytes = sum([entry.size for entry in self._small])
        gone = sum([entry.size for entry in section.entries.values()])
        self.bytes -= gone + SECTION_BYTES

    def clear(self) -> None:
        """Let go of everything."""
        self._sections.clear()
        self._small.clear()
        self._main.clear()
        self._forgotten = (set(), set())
        self.bytes = self.small_bytes = 0

    def _make_room(self, most: int) -> None:
        """Let entries go until what is kept takes at most so much."""
        while self.bytes > most:
            looks = 0
            while not (self._look_at_small(looks) if self._small_is_due() else self._look(looks)):
                looks += 1

    def _small_is_due(self) -> bool:
        return bool(self._small) and (
            not self._main or self.small_bytes * SMALL_PART >= self.max_bytes
        )

    def _look_at_small(self, looks: int) -> bool:
        """Take the head of the small row out of it; whether it went for good."""
        entry = self._small.popleft()
        entry.is_small = False
        self.small_bytes -= entry.size
        if entry.uses and looks < MOST_LOOKS:
            entry.uses = 0
            self._main.append(entry)
            return False
        self._forget(entry)
        self._evict(entry)
        return True

    def _look(self, looks: int) -> bool:
        """Take the head of the main row; whether it went for good."""
        entry = self._main.popleft()
        if entry.uses and looks < MOST_LOOKS:
            entry.uses -= 1
            self._main.append(entry)
            return False
        self._evict(entry)
        return True

    def _evict(self, entry: Entry) -> None:
        section = entry.section
        del section.entries[entry.text]
        self.bytes -= entry.size
        if not section.entries:
            del self._sections[section.key]
            self.bytes -= SECTION_BYTES
        self.evictions += 1

    def _forget(self, entry: Entry) -> None:
        """Remember by its hash one that goes: as many as there are entries, in two generations."""
        late, before = self._forgotten
        if len(late) >= max(1, len(self) // 2):
            late, before = set(), late
            self._forgotten = (late, before)
        late.add(_mark(entry))


def _mark(entry: Entry) -> int:
    return hash(entry.text) ^ entry.section.hash

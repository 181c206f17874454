"""A model of one store on disk for stateful tests, ways to damage a file, and actions that are killed half-way."""

import functools
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from store_fakes import (
    BACKWARD,
    COMPUTED_WITH,
    FORWARD,
    MEAN,
    coordinates,
    provenance,
    row_table,
    values_of,
)

from cache.arrays import ArrayName
from cache.commits import commit_path
from cache.errors import Busy, CacheError, Damaged, Incomplete, NotExtracted, SchemaVersion, Stale
from cache.header import ATTRIBUTE, chunk_path
from cache.store import FeatureStore
from cache.writer import Block, StoreWriter

WIDTHS = {FORWARD: 4, BACKWARD: 3, MEAN: 1}
HEADER = "zarr.json"

Answer = type[CacheError] | None
"""How an action ended: the error it raised, or None."""


@dataclass(frozen=True)
class Shape:
    """What tells the stores of these tests apart."""

    n: int
    block_rows: int
    arrays: tuple[ArrayName, ...]

    def about(self, **changes):
        """The provenance."""
        widths = sorted([array.path, WIDTHS[array]] for array in self.arrays)
        return {**provenance(n=self.n, **changes), "arrays": widths}

    def values(self, array):
        return values_of(array, self.n, WIDTHS[array])


def begin(root, shape, *, block_rows=None, **changes):
    """Make the store of a shape, or open the one that is there."""
    return StoreWriter.create(
        root,
        shape.about(**changes),
        rows=row_table(shape.n),
        coordinates={array: coordinates(WIDTHS[array]) for array in shape.arrays},
        block_rows=shape.block_rows if block_rows is None else block_rows,
    )


def commit(writer, shape, block, add=0):
    """Commit the values of a shape, or others, to a block that the caller has claimed."""
    rows = slice(*writer.header.block(block))
    arrays = {array: shape.values(array)[rows] + np.float32(add) for array in shape.arrays}
    writer.commit(block, Block(arrays=arrays, input=f"slab {block}"), COMPUTED_WITH)


def resume(writer, shape, *, first=0):
    """Commit what is pending and free, beginning with block `first`, as an extraction would."""
    blocks = writer.pending()
    for block in sorted(blocks, key=lambda block: (block < first, block)):
        try:
            with writer.claim(block) as free:
                if free:
                    commit(writer, shape, block)
        except Busy:
            continue


@dataclass(frozen=True)
class Whole:
    """A store written without any mishap: its files by relative name, and those of another store of its shape."""

    name: str
    key: str
    digest: str
    files: dict[str, bytes]
    others: dict[str, bytes]
    records: tuple[str, ...]
    """Name of the commit record of each block."""
    chunks: tuple[dict[ArrayName, str], ...]
    """Name of the chunk of each array, of each block."""
    static: tuple[str, ...]
    """All other files but the header."""


@functools.lru_cache(maxsize=64)
def whole(shape):
    """The finished store of a shape."""
    with tempfile.TemporaryDirectory() as folder:
        writers = [begin(Path(folder), shape), begin(Path(folder), shape, input="ef" * 32)]
        for add, writer in enumerate(writers):
            for block in range(writer.header.n_blocks):
                with writer.claim(block):
                    commit(writer, shape, block, add)
        path, blocks = writers[0].path, range(writers[0].header.n_blocks)
        files, others = (
            {str(p.relative_to(w.path)): p.read_bytes() for p in _files(w.path)} for w in writers
        )
        records = tuple(str(commit_path(path, block).relative_to(path)) for block in blocks)
        chunks = tuple(
            {array: str(chunk_path(path, array, block).relative_to(path)) for array in shape.arrays}
            for block in blocks
        )
        of_blocks = {HEADER, *records, *(name for names in chunks for name in names.values())}
        return Whole(
            name=path.name,
            key=writers[0].header.key,
            digest=FeatureStore.open(path).digest(),
            files=files,
            others=others,
            records=records,
            chunks=chunks,
            static=tuple(sorted(set(files) - of_blocks)),
        )


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Model:
    """What every file of a store must hold (None: not there), and what reading and writing must answer then.

    Chunks of blocks without a record are nobody's business: what is noted about them means nothing.
    """

    def __init__(self, whole):
        self.whole = whole
        unwritten = {*whole.records, *(name for names in whole.chunks for name in names.values())}
        self.disk = {name: None if name in unwritten else data for name, data in whole.files.items()}

    def is_altered(self, name):
        return self.disk[name] != self.whole.files[name]

    def recorded(self):
        """Blocks with a commit record, whole or not."""
        return [b for b, name in enumerate(self.whole.records) if self.disk[name] is not None]

    def pending(self):
        return [b for b, name in enumerate(self.whole.records) if self.disk[name] is None]

    def chunks(self):
        """Names of the chunks of all recorded blocks."""
        return [name for block in self.recorded() for name in self.whole.chunks[block].values()]

    def put_block(self, block, store=None):
        """Note that a block was committed; with a `store`, that its record alone was put there."""
        name = self.whole.records[block]
        self.disk[name] = self.whole.files[name]
        for chunk in self.whole.chunks[block].values():
            self.disk[chunk] = self.whole.files[chunk] if store is None else read(store / chunk)

    def drop_block(self, block):
        for name in (self.whole.records[block], *self.whole.chunks[block].values()):
            self.disk[name] = None

    def header_answer(self) -> Answer:
        """What reading the header alone must raise; Stale stands for the header of another store."""
        data = self.disk[HEADER]
        if data is None:
            return NotExtracted
        try:
            found = json.loads(data)["attributes"][ATTRIBUTE]
            schema = found["schema"]
        except (ValueError, KeyError, TypeError):
            return Damaged
        if found == _header(self.whole.files[HEADER]):
            return None
        if found == _header(self.whole.others[HEADER]):
            return Stale
        return SchemaVersion if schema != 1 else Damaged

    def static_answer(self) -> Answer:
        """What checking everything but blocks must raise."""
        return self.header_answer() or (Damaged if any(map(self.is_altered, self.whole.static)) else None)

    def is_record_damaged(self, block):
        """White space around a record changes nothing."""
        name = self.whole.records[block]
        if not self.is_altered(name) or self.disk[name] is None:
            return False
        try:
            return json.loads(self.disk[name]) != json.loads(self.whole.files[name])
        except ValueError:
            return True

    def damaged(self):
        """Blocks that a repair must take out."""
        return [
            block
            for block in self.recorded()
            if self.is_record_damaged(block) or any(map(self.is_altered, self.whole.chunks[block].values()))
        ]

    def records_answer(self) -> Answer:
        return Damaged if any(map(self.is_record_damaged, self.recorded())) else None

    def open_answer(self) -> Answer:
        """What FeatureStore.open must raise."""
        answer = self.static_answer()
        if answer is Stale:  # opening asks for no key; but records of other stores are no records
            answer = (
                Damaged if any(map(self.is_altered, self.whole.static)) or self.recorded() else Incomplete
            )
        return (
            answer
            or self.records_answer()
            or (Incomplete if self.pending() else None)
            or (Damaged if any(map(self._differs_in_tail, self.chunks())) else None)
        )

    def array_answer(self, array) -> Answer:
        """What reading one array of an opened store must raise."""
        names = [names[array] for names in self.whole.chunks]
        return Damaged if any(map(self.is_altered, names)) else None

    def _differs_in_tail(self, name):
        found, wanted = self.disk[name], self.whole.files[name]
        return found is None or (len(found), found[-4:]) != (len(wanted), wanted[-4:])


def _header(data):
    return json.loads(data)["attributes"][ATTRIBUTE]


def read(path):
    """The bytes of a file, or None."""
    return path.read_bytes() if path.is_file() else None


DAMAGE: dict[str, Callable[[bytes, int, bytes], bytes | None]] = {
    "flip": lambda data, at, _: data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :],
    "cut": lambda data, at, _: data[:at],
    "cut by one": lambda data, _, __: data[:-1],
    "empty": lambda *_: b"",
    "delete": lambda *_: None,
    "zero": lambda data, _, __: bytes(len(data)),
    "grow": lambda data, at, _: data + data[: at + 1],
    "other": lambda _, __, other: other,
}
"""What becomes of the content of a file, with a position in it and the same file of another store."""


def put(path, data):
    """Make a file hold `data`; None removes it."""
    if data is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def ask(action, *arguments):
    """What an action returned, and the class of the error that it raised instead, if it did."""
    try:
        return action(*arguments), None
    except CacheError as error:
        return None, type(error)


KILLED = "killed"
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "fcntl.flock")
WRITING = os.O_WRONLY | os.O_RDWR
ANSWERS = (None, CacheError, Damaged, Incomplete, NotExtracted, SchemaVersion, Stale, Busy)


@dataclass(frozen=True)
class Kill:
    """Before which event an action dies; if the event opens a new file, `torn` is what was written to it."""

    event: int
    torn: bytes = b""


def perform(action, kill=None) -> Answer | str:
    """Call `action` and say how it ended; with a `kill` in a fork that gets SIGKILL, if it lives that long."""
    if kill is None:
        return ask(action)[1]
    child = os.fork()
    if child == 0:
        code = 255
        try:
            _die_at(kill)
            code = ANSWERS.index(perform(action))
        except BaseException:  # noqa: BLE001  a fork of the tests must never go on with them
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return KILLED
    assert code < len(ANSWERS), "the fork failed; its traceback is in the captured output"
    return ANSWERS[code]


def _die_at(kill):
    """Let this process die before its event number `kill.event` that changes a file or flushes it."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in EVENTS and (event != "open" or (arguments[2] or 0) & WRITING):
            seen += 1
            if seen == kill.event:
                if event == "open" and (arguments[2] & os.O_TRUNC or not os.path.lexists(arguments[0])):
                    Path(arguments[0]).write_bytes(kill.torn)
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    sys.addaudithook(hook)
    os.fsync = lambda descriptor: hook("os.chmod", (descriptor,))  # as an event that writes nothing

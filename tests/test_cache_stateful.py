"""Any sequence of writing, killing, damaging, mending and reading: what is read is right, or refused for the reason.

A run of the machine that goes wrong is printed as a short program, with a blob that repeats it.
"""

import contextlib
import errno
import itertools
import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stateful_fakes import (
    DAMAGE,
    HEADER,
    KILLED,
    WIDTHS,
    Kill,
    Model,
    Shape,
    ask,
    begin,
    commit,
    perform,
    put,
    read,
    resume,
    whole,
)
from store_fakes import coordinates, row_table

from cache import FeatureStore, Want, find, open_dataset, state
from cache.atomic import sweep
from cache.errors import Busy, CacheError, Damaged, NotExtracted, Stale
from cache.inventory import look
from cache.locks import in_use
from cache.prune import find_candidates
from cache.removal import remove_folder
from cache.repair import repair
from cache.writer import StoreWriter, leftovers

QUICK = settings(
    derandomize=True,  # a new sequence each time is for long runs by hand, not for CI
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
PLACES = [("train", "0" * 16), ("train", "a copy"), ("val", None)]
"""Where a store may be moved to: split, and name unless it keeps its own."""

shapes = st.builds(
    Shape,
    n=st.integers(1, 12),
    block_rows=st.integers(1, 5),
    arrays=st.sampled_from([c for k in (1, 2, 3) for c in itertools.combinations(WIDTHS, k)]),
)
any_block = st.integers(0, 11)
events = st.integers(1, 12) | st.integers(1, 60)
deaths = st.builds(Kill, event=events, torn=st.sampled_from([b"", b"torn"]))
kills = st.none() | deaths
parts = st.sampled_from(
    ["header", "static", "static", "record", "record", "chunk", "chunk", "chunk", "loose"]
)


class StoreMachine(RuleBasedStateMachine):
    """One store, its model, writers that hold blocks, and a reader that stays open."""

    @initialize(shape=shapes, before=st.lists(deaths, max_size=2), n_blocks=st.sampled_from([0, 1, 12, 12]))
    def start(self, shape, before, n_blocks):
        self.root = Path(tempfile.mkdtemp())
        self.shape = shape
        self.whole = whole(shape)
        self.home = self.store = self.root / "train" / self.whole.name
        self.held = {}
        self.mended = set(self.whole.files)
        self.reader = None
        self.make(before, n_blocks)

    def teardown(self):
        for writer in getattr(self, "held", {}).values():
            writer.stack.close()
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def make(self, before, n_blocks=12):
        """Create the store, after attempts that are killed, and commit some of its blocks."""
        for death in before:
            perform(lambda: begin(self.root, self.shape), death)
            made = (self.home / HEADER).exists()
            assert state(self.root, self.home.name) == ("changed" if made else "missing")
        writer = begin(self.root, self.shape)
        assert list(self.home.parent.iterdir()) == [self.home]
        self.model = Model(self.whole)
        self.littered = False
        """Whether somebody was killed and nobody has swept since."""
        for block in range(min(n_blocks, len(self.whole.records))):
            commit(writer, self.shape, block)
        self.observe()

    def observe(self):
        """Note blocks that killed or unfinished writers committed; the invariant compares their bytes."""
        for block in self.model.pending():
            if (self.store / self.whole.records[block]).exists():
                self.model.put_block(block)

    def act(self, action, kill, expected):
        """Call an action, perhaps killing it; whether it lived to its end, which must be as expected."""
        answer = perform(action, kill)
        if answer == KILLED:
            self.littered = True
            return False
        assert answer is expected
        return answer is None

    def commit(self, writer, block):
        """Commit a claimed block, unless its record, or the first one, turned up meanwhile and is damaged."""
        known = [block] if block in self.model.recorded() else self.model.recorded()[:1]
        expected = Damaged if any(map(self.model.is_record_damaged, known)) else None
        if self.act(lambda: commit(writer, self.shape, block), None, expected) and known != [block]:
            self.model.put_block(block)

    @property
    def at_home(self):
        return self.store == self.home

    # Writing

    def claim(self, block):
        """Hold a block; None with the reason checked when that is refused."""
        stack, got = contextlib.ExitStack(), []

        def enter():
            writer = begin(self.root, self.shape, block_rows=7)
            stack.enter_context(in_use(writer.path))
            got.extend([writer, stack.enter_context(writer.claim(block))])

        expected = self.model.static_answer()
        if expected is NotExtracted:
            expected = Damaged  # the rest of a store, without its header
        if block in self.held:
            expected = expected or Busy
        elif self.model.is_record_damaged(block):
            expected = expected or Damaged
        if not self.act(enter, None, expected):
            stack.close()
            return
        writer, free = got
        assert free == (block in self.model.pending())
        lock = (self.store / self.whole.records[block]).with_suffix(".lock")
        self.held[block] = SimpleNamespace(
            writer=writer, free=free, stack=stack, lock=lock, inode=lock.stat().st_ino
        )

    @precondition(lambda self: self.at_home)
    @rule(block=any_block)
    def hold(self, block):
        self.claim(block % len(self.whole.records))

    @precondition(lambda self: self.held)
    @rule(which=any_block, finished=st.booleans())
    def let_go(self, which, finished):
        """A writer commits the block that it holds, or gives it up."""
        block = sorted(self.held)[which % len(self.held)]
        holder = self.held.pop(block)
        with holder.stack:
            if holder.free and finished:
                self.commit(holder.writer, block)

    @precondition(lambda self: self.at_home)
    @rule(
        block=any_block,
        when=st.integers(1, 14),
        other=st.sampled_from(["sweep", "prune", "repair", "rerun", "reads", "remove"]),
    )
    def meet(self, block, when, other):
        """In the middle of a commit another process does something."""
        free = [block for block in self.model.pending() if block not in self.held]
        if not free or self.model.static_answer() or self.model.records_answer():
            return
        block = free[block % len(free)]
        self.claim(block)
        calls = itertools.count(1)
        if other == "rerun":  # records are published in turn: in one process that would wait for itself
            when = 1 + when % (3 * len(self.shape.arrays))

        def fsync(_):
            if next(calls) == when:
                self.observe()
                self.littered, before = True, self.littered  # the commit's own temporary folder
                getattr(self, f"do_{other}")()
                self.littered = before

        with mock.patch("os.fsync", fsync):
            commit(self.held[block].writer, self.shape, block)
        self.model.put_block(block)
        self.held.pop(block).stack.close()

    @precondition(lambda self: self.at_home)
    @rule(block=any_block, when=st.integers(1, 14))
    def lack_room(self, block, when):
        """The disk refuses to flush something in the middle of a commit."""
        free = [block for block in self.model.pending() if block not in self.held]
        if not free or self.model.static_answer() or self.model.records_answer():
            return
        block = free[block % len(free)]
        self.claim(block)
        calls = itertools.count(1)

        def fsync(_):
            if next(calls) == when:
                raise OSError(errno.ENOSPC, "No space left on device")

        holder = self.held.pop(block)
        with mock.patch("os.fsync", fsync), holder.stack:
            answer = perform(lambda: commit(holder.writer, self.shape, block))
        if answer is None:
            self.model.put_block(block)
        else:
            assert answer is CacheError
            assert not any((self.store / name).exists() for name in self.whole.chunks[block].values())

    @rule(block=any_block)
    def own_part(self, block):
        """A writer commits a block that it was given, without caring for others."""
        free = [block for block in self.model.pending() if block not in self.held]
        if not free or self.model.header_answer():
            return
        block = free[block % len(free)]
        writer = StoreWriter.open(self.store, claims="parts")
        if self.model.records_answer() is None:
            assert writer.pending() == self.model.pending()
        with in_use(self.store), writer.claim(block) as is_free:
            assert is_free
            self.commit(writer, block)

    @rule(first=any_block, kill=kills)
    def run(self, first, kill):
        self.do_rerun(first, kill)

    def do_rerun(self, first=0, kill=None):
        """Another extraction of the same request."""
        expected = self.model.static_answer()
        if not self.at_home and expected is Stale:
            return  # nobody opens a store of another key for writing
        if self.at_home and expected is NotExtracted:
            expected = Damaged

        def extract():
            writer = (
                begin(self.root, self.shape, block_rows=7) if self.at_home else StoreWriter.open(self.store)
            )
            with in_use(writer.path):
                sweep(leftovers(writer.path))
                writer.record_run("run", {"command": "python -m extract run"})
                resume(writer, self.shape, first=first)

        if not self.at_home:  # opening looks at the header only
            expected = self.model.header_answer()
        before = self.model.pending()
        if self.act(extract, kill, expected or self.model.records_answer()):
            for block in set(before) - set(self.held):
                self.model.put_block(block)
            self.littered = False
        self.observe()

    # Killing others is done by every rule; here their leftovers go

    @precondition(lambda self: self.littered)
    @rule(kill=kills)
    def tidy(self, kill):
        self.do_sweep(kill)

    def do_sweep(self, kill=None):
        if self.act(lambda: sweep(leftovers(self.store)), kill, None):
            self.littered = False

    @rule(kill=kills)
    def offer(self, kill):
        self.do_prune(kill)

    def do_prune(self, kill=None):
        """As `python -m cache prune --what leftovers --yes`; a store that is in use is left alone."""

        def prune():
            for candidate in find_candidates(
                self.root, ["leftovers"], results=self.root / "results"
            ).candidates:
                if candidate.inside:
                    sweep(candidate.inside)
                else:
                    remove_folder(candidate.path)

        if self.act(prune, kill, None):
            assert not list(self.root.glob("*/.*"))
            self.littered &= bool(self.held) or len(self.store.name) != len(self.home.name)

    @precondition(lambda self: self.at_home)
    @rule(kill=kills, before=st.lists(deaths, max_size=1))
    def start_over(self, kill, before):
        """Remove the store and make it anew."""
        self.do_remove(kill)
        if self.home.exists():  # killed before it was put out of sight, or somebody holds it
            return
        self.do_prune()
        self.mended = set(self.whole.files)
        self.make(before)

    def do_remove(self, kill=None):
        self.act(lambda: remove_folder(self.store), kill, Busy if self.held else None)

    # Damaging and mending

    @rule(
        part=parts, kind=st.sampled_from([*DAMAGE, "swap"]), which=st.integers(0, 99), at=st.integers(0, 9999)
    )
    def damage(self, part, kind, which, at):
        """Something happens to one file, or to two that are swapped."""
        chunks = self.model.chunks()
        names = {
            "header": [HEADER],
            "static": self.whole.static,
            "record": self.whole.records,
            "chunk": chunks,
            "loose": sorted({name for block in self.whole.chunks for name in block.values()} - set(chunks)),
        }[part]
        names = [name for name in names if read(self.store / name) is not None]
        if not names:
            return
        name, partner = names[which % len(names)], names[(which + at) % len(names)]
        data, swapped = read(self.store / name), read(self.store / partner)
        if kind == "swap":
            new = {name: swapped, partner: data}
        else:
            new = {name: DAMAGE[kind](data, at % len(data), self.whole.others[name]) if data else b"x"}
        for target, content in new.items():
            put(self.store / target, content)
            if part != "loose":
                self.model.disk[target] = content
                self.mended.discard(target)

    @rule(which=st.integers(0, 99))
    def restore(self, which):
        """One damaged file gets its content back, from a copy that somebody kept."""
        names = sorted(set(self.whole.files) - self.mended)
        if not names:
            return
        name = names[which % len(names)]
        self.mended.add(name)
        put(self.store / name, self.whole.files[name])
        if name in self.whole.records:
            self.model.put_block(self.whole.records.index(name), self.store)
        else:
            self.model.disk[name] = self.whole.files[name]

    @precondition(lambda self: self.littered or self.model.damaged())
    @rule(kill=kills)
    def mend(self, kill):
        self.do_repair(kill)

    def do_repair(self, kill=None):
        if self.model.header_answer() is Stale:
            return
        found = []
        damaged = self.model.damaged()
        expected = self.model.header_answer() or (Busy if self.held else self.model.static_answer())
        if self.act(lambda: found.append(repair(self.store)), kill, expected):
            self.littered = False
            assert kill or found[0].blocks == tuple(damaged)
            assert not any((self.store / self.whole.records[block]).exists() for block in damaged)
        if expected is None:
            for block in damaged:
                if not (self.store / self.whole.records[block]).exists():
                    self.model.drop_block(block)

    # Moving

    @precondition(lambda self: not self.held)
    @rule(place=st.sampled_from(PLACES))
    def move(self, place):
        """The store gets another name, or its own name back."""
        split, name = place
        target = self.root / split / (name or self.home.name) if self.at_home else self.home
        target.parent.mkdir(exist_ok=True)
        self.store.rename(target)
        self.store = target

    # Reading

    @rule()
    def read_everything(self):
        self.do_reads()
        answer = self.model.open_answer()
        table, store = row_table(self.shape.n), None
        if answer is None:
            store = FeatureStore.open(self.store)
            assert perform(store.verify) is (Damaged if self.model.damaged() else None)
            same(store.rows, table.row)
            same(store.stars, table.star)
            assert store.ids == table.id
            assert store.label_names == tuple(sorted(table.labels))
        for array in self.shape.arrays:
            where = {"layer": array.layer, "pooling": array.pooling, "direction": array.direction}
            data, found = ask(partial(open_dataset, self.store, **where))
            assert found is (answer or self.model.array_answer(array))
            if data is not None:
                same(data["features"].values, self.shape.values(array))
                for name, label in table.labels.items():
                    same(data[name].values, label)
                for name, values in coordinates(WIDTHS[array]).items():
                    same(data[name].values, values)

    @rule()
    def keep_reader(self):
        if self.model.open_answer() is None:
            self.reader = FeatureStore.open(self.store)

    @precondition(lambda self: self.reader)
    @rule()
    def read_again(self):
        """A store that was opened earlier still answers with what it was opened with, or refuses."""
        table = row_table(self.shape.n)
        for name, wanted in [
            ("rows/row", table.row),
            ("rows/star", table.star),
            ("labels/log_g", table.labels["log_g"]),
        ]:
            values, answer = ask(static, self.reader, name)
            files = [file for file in self.whole.static if file.startswith(f"{name}/")]
            assert answer is (Damaged if self.gone_from_reader(files) else None)
            if values is not None:
                same(values, wanted)

    def gone_from_reader(self, names):
        return any(read(self.reader.path / name) != self.whole.files[name] for name in names)

    # What holds always

    @invariant()
    def nothing_but_what_was_done(self):
        """Committed blocks stay, byte for byte; what is left over is what the killed left."""
        chunks = {name for block in self.whole.chunks for name in block.values()}
        known = {name: self.model.disk[name] for name in self.whole.files if name not in chunks}
        known |= {name: self.model.disk[name] for name in self.model.chunks()}
        for name, wanted in known.items():
            assert read(self.store / name) == wanted, name
        for holder in self.held.values():
            assert holder.lock.stat().st_ino == holder.inode
        if not self.littered:
            locks = {holder.lock for holder in self.held.values()}
            assert set(leftovers(self.store)) == locks
            found = {path for path in self.store.rglob("*") if path.is_file()}
            assert found - locks <= {self.store / name for name in (*self.whole.files, ".runs/run.json")}

    @invariant()
    def pending_is_exact(self):
        pending, answer = ask(lambda: StoreWriter.open(self.store).pending())
        if self.model.header_answer() is not Stale:
            assert answer is (self.model.header_answer() or self.model.records_answer())
            assert pending in (None, self.model.pending())

    @invariant()
    def reads(self):
        self.do_reads()

    def do_reads(self):
        """Whatever is returned is right; whatever is refused is refused for its reason."""
        store, answer = ask(FeatureStore.open, self.store)
        assert answer is self.model.open_answer()
        if store is not None:
            assert store.digest() == self.whole.digest
            for array in self.shape.arrays:
                self.check_array(store, array, self.model.array_answer(array))
        if self.reader is not None:
            for array in self.shape.arrays:
                gone = self.gone_from_reader(names[array] for names in self.whole.chunks)
                self.check_array(self.reader, array, Damaged if gone else None)
        want = Want(arrays=tuple((a.layer, a.direction, a.pooling) for a in self.shape.arrays))
        view, answer = ask(find, self.root, self.store.parent.name, want)
        assert answer is self.find_answer()
        if view is not None:
            for array in self.shape.arrays:
                self.check_array(view, array, self.model.array_answer(array))

    def check_array(self, source, array, expected):
        values, answer = ask(source.features, array.layer, array.pooling, array.direction)
        assert answer is expected
        if values is not None:
            same(values, self.shape.values(array))

    def find_answer(self):
        header = self.model.header_answer()
        if header is NotExtracted or len(self.store.name) != len(self.home.name):
            return NotExtracted
        if header in (None, Stale) and (header is Stale or not self.at_home):
            return Damaged
        return header or self.model.open_answer()

    @invariant()
    def states(self):
        """The quick looks, which read headers and records only."""
        header, records = self.model.header_answer(), self.model.records_answer()
        finished = not self.model.pending()
        is_seen = self.store.name == self.home.name and header is not NotExtracted
        is_whole = (header, records) == (None, None) and finished
        fresh = "fresh" if is_whole and self.store.parent == self.home.parent else "changed"
        assert state(self.root, self.whole.key, self.whole.digest) == (fresh if is_seen else "missing")
        shown = look(self.store).state
        if header is Stale and any(self.model.disk[n] == self.whole.others[n] for n in self.whole.records):
            assert shown in ("damaged", "misplaced")  # header and records may all be the other store's
        elif header is Stale:
            assert shown == ("damaged" if self.model.recorded() else "misplaced")
        elif header or records:
            assert shown == "damaged"
        else:
            assert shown == (("finished" if finished else "unfinished") if self.at_home else "misplaced")


def same(found, wanted):
    np.testing.assert_array_equal(found, wanted)


def static(store, name):
    folder, _, column = name.partition("/")
    return store.labels(column) if folder == "labels" else {"row": store.rows, "star": store.stars}[column]


StoreMachine.TestCase.settings = QUICK
TestAnySequence = StoreMachine.TestCase


@settings(QUICK, max_examples=25)
@given(
    shape=shapes,
    order=st.permutations(range(12)),
    writers=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=12, max_size=12),
)
def test_neither_order_nor_writers_nor_the_way_they_keep_apart_change_a_byte(shape, order, writers):
    golden = whole(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = begin(Path(folder), shape).path
        opened = [(StoreWriter.open(path), StoreWriter.open(path, claims="parts")) for _ in range(3)]
        with contextlib.ExitStack() as claims:
            for block in (block for block in order if block < len(golden.records)):
                who, late = writers[block]
                writer = opened[who][block % 2]
                stack = claims if late else contextlib.ExitStack()
                with contextlib.nullcontext() if late else stack:
                    assert stack.enter_context(writer.claim(block))
                    commit(writer, shape, block)
        assert FeatureStore.open(path).digest() == golden.digest
        assert {
            str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()
        } == golden.files

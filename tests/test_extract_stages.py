"""Stages on threads: in order, bounded, and nothing of them left whatever happens."""

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.stages import CALLER, Line, StageTimes


def ours():
    """Threads that stages made."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stage-")]


@pytest.fixture(autouse=True)
def _none_left():
    yield
    assert ours() == []


def chain(line, functions, threads, ahead, items):
    for k, (function, n) in enumerate(zip(functions, threads, strict=True)):
        items = line.stage(f"stage-{k}", n, ahead=ahead).map(function, items)
    return items


@given(
    n_items=st.integers(0, 30),
    threads=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    ahead=st.integers(0, 4),
)
@settings(max_examples=40, deadline=None)
def test_results_are_those_of_a_loop_in_their_order(n_items, threads, ahead):
    functions = [lambda x, k=k: (x, k) for k in range(len(threads))]
    expected = list(range(n_items))
    for function in functions:
        expected = [function(x) for x in expected]
    with Line() as line:
        assert list(chain(line, functions, threads, ahead, range(n_items))) == expected
    times = line.times()
    assert {name: stage.items for name, stage in times.items()} == {
        f"stage-{k}": n_items for k in range(len(threads))
    }


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_no_more_is_taken_than_fits(ahead):
    taken, given_back = [], 0
    with Line() as line:

        def source():
            for item in range(40):
                taken.append(item)
                yield item

        for _ in chain(line, [lambda x: x] * 3, [2, 1, 2], ahead, source()):
            given_back += 1
            assert len(taken) - given_back <= 3 * ahead + 3


def test_stages_work_at_the_same_time():
    """Each waits for the other: one after the other they would never end."""
    meeting = threading.Barrier(2, timeout=10)

    def meet_at(wanted):
        return lambda x: (meeting.wait() if x == wanted else None, x)[1]

    with Line() as line:
        first = line.stage("stage-0", ahead=1).map(meet_at(1), range(3))
        assert list(line.stage("stage-1", ahead=1).map(meet_at(0), first)) == [0, 1, 2]


def test_threads_of_a_stage_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=10)
    with Line() as line:
        assert sorted(line.stage("stage-0", 3, ahead=3).map(lambda _: meeting.wait(), range(3))) == [0, 1, 2]


@given(
    stage=st.integers(0, 2),
    item=st.integers(0, 11),
    kind=st.sampled_from([ValueError, KeyboardInterrupt, SystemExit]),
)
@settings(max_examples=40, deadline=None)
def test_an_error_anywhere_ends_everything_and_is_raised_once(stage, item, kind):
    seen = Counter()

    def function(k):
        def work(x):
            seen[k] += 1
            if (k, x) == (stage, item):
                raise kind("here")
            return x

        return work

    got = []

    def run():
        with Line() as line:
            for x in chain(line, [function(k) for k in range(3)], [1, 2, 1], 2, range(12)):
                got.append(x)  # noqa: PERF402  what came before the error counts

    with pytest.raises(kind, match="here") as caught:
        run()
    assert caught.value.__context__ is None
    assert got == list(range(len(got)))
    assert len(got) <= item
    assert ours() == []


def test_an_error_is_raised_although_the_pump_is_fed_by_others():
    """The last stage failed long ago; what goes through the first one is not waited for."""
    failed = threading.Event()

    def last(_):
        try:
            raise OSError("disk")
        finally:
            failed.set()

    taken = []

    def source():
        yield 0
        yield 1
        failed.wait(10)
        for x in range(2, 1000):
            taken.append(x)
            yield x

    def run():
        with Line() as line:
            first = line.stage("stage-0", ahead=1).map(lambda x: x, source())
            list(line.stage("stage-1", ahead=50).map(last, first))

    with pytest.raises(OSError, match="disk"):
        run()
    assert len(taken) <= 2


@pytest.mark.parametrize("where", ["source", "between", "caller"])
def test_errors_in_the_callers_thread_end_everything(where):
    def fail_at(wanted, items):
        for x in items:
            if wanted == where and x == 3:
                raise KeyboardInterrupt
            yield x

    def run():
        with Line() as line:
            first = line.stage("stage-0", 2, ahead=2).map(lambda x: x, fail_at("source", range(9)))
            second = line.stage("stage-1", ahead=2).map(lambda x: x, fail_at("between", first))
            list(fail_at("caller", second))

    with pytest.raises(KeyboardInterrupt):
        run()
    assert ours() == []


def test_an_interruption_while_waiting_finishes_what_is_in_work(monkeypatch):
    started, go_on, finished = threading.Event(), threading.Event(), []

    def work(x):
        started.set()
        go_on.wait(10)
        finished.append(x)

    line = Line()

    def interrupted(_stage, _future):
        started.wait(10)
        threading.Timer(0.01, go_on.set).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(line, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt), line:
        list(line.stage("stage-0", ahead=0).map(work, range(5)))
    assert finished == [0]


def test_every_thread_is_started_as_asked():
    local = threading.local()

    def start():
        local.value = 7

    with Line() as line:
        stage = line.stage("stage-0", 2, ahead=2, start=start)
        assert set(stage.map(lambda _: local.value, range(8))) == {7}


def test_times_add_up(monkeypatch):
    """A clock that only moves inside the work: one second of it for each item of each stage."""
    now, lock = [0.0], threading.Lock()
    monkeypatch.setattr("extract.stages.time.perf_counter", lambda: now[0])

    def work(x):
        with lock:
            now[0] += 1.0
        return x

    with Line() as line:
        first = line.stage("stage-0", ahead=0)
        second = line.stage("stage-1", 2, ahead=0)
        assert list(second.map(work, first.map(work, range(3)))) == [0, 1, 2]
    times = line.times()
    for name, n_threads in (("stage-0", 1), ("stage-1", 2)):
        assert times[name].items == 3
        assert times[name].busy_s + times[name].waiting_s == pytest.approx(6.0 * n_threads)
        assert sum(times[name].waiting_for.values()) == pytest.approx(times[name].waiting_s)
    assert times["stage-1"].busy_s == 3.0
    assert times["stage-1"].waiting_for["stage-0"] >= 2.0
    assert set(times["stage-1"].waiting_for) <= {"stage-0", "stage-1", CALLER}


def test_work_under_a_name_of_its_own_is_taken_from_its_stage(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("extract.stages.time.perf_counter", lambda: now[0])

    def made():
        now[0] += 2.0
        yield "batch"

    with Line() as line:
        stage = line.stage("stage-0", ahead=0)

        def work(_):
            for _batch in stage.part("noise", made()):
                now[0] += 5.0

        list(stage.map(work, range(2)))
    times = line.times()
    assert (times["stage-0"].busy_s, times["noise"].busy_s) == (10.0, 4.0)
    assert times["noise"].shares_threads
    assert not times["stage-0"].shares_threads
    assert times["noise"].items == 2


def test_times_are_added_and_taken_away():
    one = StageTimes(2, 1.0, 0.5, 3, {"read": 0.5})
    other = StageTimes(1, 2.0, 1.5, 4, {"read": 1.0, "commit": 0.5}, shares_threads=True)
    both = one.plus(other)
    assert both == StageTimes(2, 3.0, 2.0, 7, {"read": 1.5, "commit": 0.5}, shares_threads=True)
    assert both.plus(other, -1).waiting_for == {"read": 0.5, "commit": 0.0}

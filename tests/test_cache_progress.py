import re
import sys

from cache import progress as module
from cache.progress import progress, steps


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def test_plain_lines_now_and_then(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with progress(100, "extract test", unit="spectra") as advance:
        for _ in range(5):
            clock.now += 3
            advance(20)
        assert capsys.readouterr().err == "extract test: 80/100 spectra, 6.7 spectra/s, 3 s left\n"
    assert capsys.readouterr().err == "extract test: 100/100 spectra, 6.7 spectra/s, 15.0 s\n"


def test_no_time_and_no_work(monkeypatch, capsys):
    monkeypatch.setattr(module, "time", Clock())
    with progress(3, "x"):
        pass
    assert capsys.readouterr().err == "x: 0/3 rows, 0 rows/s, 0 s left\n"


def test_what_was_known_already_has_no_rate(monkeypatch, capsys):
    monkeypatch.setattr(module, "time", Clock())
    with progress(3, "x") as advance:
        advance(3)
    assert capsys.readouterr().err == "x: 3/3 rows\n"


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(4, "x", unit="spectra") as advance:
        advance(3)
        advance(1)
    assert re.search(r"x: 100%.*4/4 \[.*spectra/s", capsys.readouterr().err)


def test_steps_tell_of_long_work_alone(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with steps("mlp_1 log_g") as told:
        clock.now += 4  # reading
        for epoch in range(11, 20):
            clock.now += 1
            told(epoch, 100, "epochs")
    assert capsys.readouterr().err == "mlp_1 log_g: 16 of at most 100 epochs, 1 epochs/s, at most 84 s left\n"


def test_a_bar_of_steps_is_gone_when_the_work_ends_early(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with steps("lightgbm log_g"):
        pass
    assert capsys.readouterr().err == ""
    with steps("lightgbm log_g") as told:
        for tree in range(1, 6):
            told(tree, 9, "trees")
    shown = capsys.readouterr().err
    assert "lightgbm log_g" in shown
    assert shown.split("\r")[-1].strip() == ""

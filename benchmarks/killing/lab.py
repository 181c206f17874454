"""Running many trials in forks, some at a time, and counting what came of them."""

import gc
import itertools
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cache.progress import progress

from .examine import Ending, ending_of
from .processes import ENDED, Log, in_forks, prepare_fork, start_forked, wait_all
from .scenario import Scenario, make_scenario
from .trial import Attack, Outcome, Site, run_trial

EXAMPLES = 5
"""Texts of faults kept per row."""


@dataclass
class Row:
    """One line of the table."""

    experiment: str
    workers: int
    trials: int = 0
    stopped: int = 0
    identical: int = 0
    leftovers: int = 0
    wrong: int = 0
    seconds: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome) -> None:
        """Count one trial."""
        self.trials += 1
        self.stopped += outcome.stopped
        self.identical += bool(outcome.identical)
        self.leftovers += bool(outcome.leftovers)
        self.wrong += bool(outcome.wrong)
        if outcome.where:
            self.events[outcome.where] += 1
        texts = [*outcome.wrong, *(f"left over: {left}" for left in outcome.leftovers)]
        if texts and len(self.examples) < EXAMPLES:
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
            self.examples.append(f"{name} {outcome.where}: {texts[0]}{more}")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "events": dict(sorted(self.events.items()))}

    @property
    def bad(self) -> bool:
        """Whether anything was not as it must be."""
        return self.identical < self.trials or self.leftovers > 0 or self.wrong > 0 or self.trials == 0


@dataclass(frozen=True)
class Subject:
    """An extraction to attack, and how it must end."""

    scenario: Scenario
    ending: Ending


@dataclass(frozen=True)
class Lab:
    """Where trials run, how many at a time, and how many of each experiment (None: all)."""

    folder: Path
    slots: int
    seed: int
    n_random: int
    sample: int | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def subject(self, name: str, sizes: dict[str, int]) -> Subject:
        """Write the spectra and extract them once without interruption."""
        scenario = make_scenario(self.folder / name, sizes)
        work, told = self.folder / f"{name}-whole", self.folder / f"{name}.json"

        def run_once() -> None:
            prepare_fork()
            log = Log()
            start_forked(scenario.request(work, 1), log)
            if set(wait_all().values()) != {ENDED}:
                raise RuntimeError(log.text())
            told.write_text(json.dumps(ending_of(work).to_json()))

        for _ in in_forks([(name, run_once)], 1):
            pass
        return Subject(scenario, Ending(**json.loads(told.read_text())))

    def trials(
        self, subject: Subject, workers: int, named: Iterable[tuple[str, Attack]]
    ) -> Iterator[tuple[str, Outcome]]:
        """Run trials in forks and yield their outcomes as they end."""
        gc.freeze()  # forks then copy fewer pages

        def tasks() -> Iterator[tuple[tuple[str, Path], Callable[[], None]]]:
            for name, attack in named:
                folder = self.folder / f"trial-{next(self.numbers)}"
                make_site = partial(Site, folder, subject.scenario, subject.ending, workers)
                yield (name, folder), partial(run_trial, make_site, attack)

        for name, folder in in_forks(tasks(), self.slots):
            told = folder / "outcome.json"
            outcome = Outcome(wrong=["the trial crashed"])
            if told.exists():
                outcome = Outcome(**json.loads(told.read_text()))
            shutil.rmtree(folder, ignore_errors=True)
            yield name, outcome

    def one(self, subject: Subject, workers: int, attack: Attack) -> Outcome:
        """The outcome of a single trial."""
        ((_, outcome),) = self.trials(subject, workers, [("", attack)])
        return outcome

    def chosen(self, numbers: range) -> list[int]:
        """All of `numbers`, or an even sample of them."""
        if self.sample is None or len(numbers) <= self.sample:
            return list(numbers)
        return [numbers[(2 * k + 1) * len(numbers) // (2 * self.sample)] for k in range(self.sample)]

    def table_row(
        self, experiment: str, workers: int, subject: Subject, named: list[tuple[str, Attack]]
    ) -> Row:
        """Run trials under a progress line and count them."""
        row = Row(experiment, workers)
        started = time.monotonic()
        label = f"{experiment}, {workers} worker{'s' if workers > 1 else ''}"
        with progress(len(named), label, unit="trials") as advance:
            for name, outcome in self.trials(subject, workers, named):
                row.add(name, outcome)
                advance(1)
        row.seconds = time.monotonic() - started
        return row

"""One trial: attack an extraction in a folder of its own, look, run it again, look again."""

import json
import re
import signal
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from extract.pipeline import extract_features
from extract.request import ExtractConfig

from .examine import Ending, differing, left_over, records, wrong_after_kill
from .processes import ENDED, Log, prepare_fork, start_command, start_forked, wait_all, write_to
from .scenario import Scenario

TIMEOUT_S = 120
SAYS_WHY = re.compile(r"[A-Za-z.]+(Error|Busy|Damaged|Stale|Incomplete|NotExtracted|Pool)?: ")
"""Lines of a log that tell of an error: its class, a colon."""


@dataclass
class Outcome:
    """What one trial found.

    `stopped` counts processes that were killed or ended by an error as they should; `identical` is None when the
    trial did not come to compare anything.
    """

    stopped: int = 0
    where: str = ""
    events: int = 0
    seconds: float = 0.0
    identical: bool | None = None
    leftovers: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """The folder of one trial; the extraction writes into `work` only."""

    folder: Path
    scenario: Scenario
    ending: Ending
    workers: int
    outcome: Outcome = field(default_factory=Outcome)
    log: Log = field(default_factory=Log)

    @property
    def work(self) -> Path:
        """What is watched and compared."""
        return self.folder / "work"

    @property
    def request(self) -> ExtractConfig:
        """The extraction."""
        return self.scenario.request(self.work, self.workers)

    def start(self, arm: Callable[[], None] = lambda: None) -> int:
        """Fork the extraction, `arm` first; its process id."""
        return start_forked(self.request, self.log, arm=arm)

    def start_command(self) -> int:
        """Start it as users do; its process id."""
        return start_command(self.scenario.command(self.work, self.workers), self.log, self.folder)

    def end(self, *expected: int, what: str) -> int:
        """Wait for all processes; other exit codes than `expected` and tracebacks are wrong. How many failed."""
        codes = wait_all()
        text = self.log.text()
        if not set(codes.values()) <= set(expected) or "Traceback" in text:
            lines = [line for line in text.splitlines() if SAYS_WHY.match(line)] or text.splitlines()[-1:]
            told = " | ".join(dict.fromkeys(lines))[:600]
            self.outcome.wrong.append(f"{what}: exit codes {sorted(codes.values())}: {told}")
        return sum(code != ENDED for code in codes.values())


Attack = Callable[[Site], None]


def run_trial(make_site: Callable[[], Site], attack: Attack) -> None:
    """Attack, run again, compare; the outcome is written as JSON into the folder of the trial."""
    site = make_site()
    outcome, ending = site.outcome, site.ending
    site.work.mkdir(parents=True)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(TIMEOUT_S)
    prepare_fork()
    write_to(site.log)
    try:
        attack(site)
        outcome.wrong += wrong_after_kill(site.work, ending)
        before = records(site.work)
        _run_again(site)
        after = records(site.work)
        again = [name for name, stamp in before.items() if after.get(name) != stamp]
        outcome.wrong += [f"{name}: committed, but written again" for name in again]
        different = differing(site.work, ending)
        outcome.wrong += different
        outcome.identical = not different
        outcome.leftovers += left_over(site.work, ending)
    except TimeoutError:
        outcome.wrong.append(f"no end after {TIMEOUT_S} s")
    except Exception:  # noqa: BLE001  one broken trial must not stop the others; it counts as wrong
        outcome.wrong.append(traceback.format_exc())
    (site.folder / "outcome.json").write_text(json.dumps(asdict(outcome)))


def _run_again(site: Site) -> None:
    site.log.text()
    try:
        extract_features(site.request)
    except TimeoutError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, it is counted
        site.outcome.wrong.append(f"run again: {type(error).__name__}: {error}")


def _too_long(*_: Any) -> None:
    raise TimeoutError

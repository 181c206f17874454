"""`python -m extract plan`: what an extraction would write, and the plan of it as a file."""

import sys
from pathlib import Path

from pydantic import Field

from cache.commandline import Verb, importing
from cache.plan_file import write_plan

from .head_start import head_start
from .named_files import check_named_files
from .run_command import RunSettings, stated_request


class PlanSettings(RunSettings):
    """Check everything, say what an extraction would write, and write the plan of it to a file.

    Takes the flags of `run`. For every store: rows, blocks left, bytes and files to write, whether it is there, and
    for what is to be computed the nearest store and why it is no hit. `python -m cache why FILE` reads the plan.
    Example: python -m extract plan --data FOLDER --checkpoint shipped --layers all --plan plan.json
    """

    plan: Path | None = Field(None, description="write the plan to this file")


def run(settings: PlanSettings) -> None:
    """Print the estimate and write the plan."""
    request = stated_request(settings)
    check_named_files(request, selection=settings.selection)
    with head_start(request) as begun:
        with importing():
            from .dry_run import show_estimate  # noqa: PLC0415  imports torch

        estimate = show_estimate(request, as_json=settings.as_json, begun=begun)
    if settings.plan is not None:
        write_plan(settings.plan, estimate.plan)
        sys.stderr.write(f"plan written: {settings.plan}\n")


VERB = Verb(PlanSettings, run)

"""What the flags of a command line say, by field of its settings."""

import contextlib
import io
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, get_args

from pydantic_settings import BaseSettings, CliPositionalArg, CliSettingsSource

from .comma_lists import split_values
from .errors import ConfigError, did_you_mean
from .settings_file import takes_texts

POSITIONAL = get_args(CliPositionalArg[str])[1]
"""What marks a field as given without a flag."""
UNKNOWN_FLAG = "error: unrecognized arguments: "
"""How argparse begins to tell of a flag that it does not know."""


def read_flags(settings: type[BaseSettings], argv: Sequence[str], *, prog: str) -> dict[str, Any]:
    """The fields that flags set, not yet validated; words without a flag, such as paths, are taken as they are.

    Raises ConfigError for a flag that does not exist and for lists of texts whose brackets or quotes do not match,
    pydantic-settings' SettingsError for other lists, and SystemExit, as argparse does, for the rest and after --help.
    """
    texts: dict[str, list[str]] = {}

    def parse(parser: ArgumentParser, argv: Sequence[str], _: object = None) -> Namespace:
        """Keep lists of texts from pydantic-settings, which parts them at every comma."""
        found = parser.parse_args(argv)
        for name, value in list(vars(found).items()):
            if isinstance(value, list) and takes_texts(settings.model_fields[name].annotation):
                texts[name] = value
                delattr(found, name)
        return found

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            source: CliSettingsSource[Any] = CliSettingsSource(
                settings, cli_parse_args=list(argv), cli_prog_name=prog, parse_args_method=parse
            )
    except SystemExit as stop:
        asked = told.getvalue().partition(UNKNOWN_FLAG)[2].partition(" ")[0].partition("=")[0].strip()
        if stop.code and asked.startswith("--"):
            raise ConfigError(_no_flag(settings, asked, prog)) from None
        sys.stderr.write(told.getvalue())
        raise
    given = {name: value for name, value in source().items() if value is not None}
    named = {name for name in texts if POSITIONAL not in settings.model_fields[name].metadata}
    return given | {name: _split(name, v) if name in named else tuple(v) for name, v in texts.items()}


def _no_flag(settings: type[BaseSettings], asked: str, prog: str) -> str:
    """That a flag does not exist, and which is like it; argparse would print all there are."""
    fields = {name.replace("_", "-"): field for name, field in settings.model_fields.items()}
    known = [f"--{name}" for name in fields]
    known += [f"--no-{name}" for name, field in fields.items() if field.annotation is bool]
    return f"{prog}: there is no flag {asked}{did_you_mean(asked, known)}; see {prog} --help"


def _split(name: str, values: Sequence[str]) -> tuple[str, ...]:
    """The texts of a flag, given once or several times."""
    try:
        return tuple(text for value in values for text in split_values(value))
    except ConfigError as error:
        raise ConfigError(f"--{name.replace('_', '-')} {error}") from None

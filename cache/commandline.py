"""The shape of every command line: settings from flags over YAML over defaults, errors that end with exit 2."""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .errors import BlindspotError, ConfigError, did_you_mean
from .flags import read_flags
from .settings_file import read_settings

MENDABLE = 2
"""Exit status for everything the user can mend."""
LARGE_IMPORT = 100
"""Modules."""


class Command(BaseSettings):
    """Settings of one command; subclasses add fields, each with a description.

    A positional argument that must be there is `x: CliPositionalArg[T] = Field(NOTHING, validate_default=True)`,
    NOTHING being a value that T refuses: so that it may stand in the YAML file as well.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    config: Path | None = Field(None, description="YAML file of settings; flags win over it")
    print_config: bool = Field(default=False, description="print the settings in force as YAML, and stop")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  environment variables never change a result
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take settings from what we pass in, and from nowhere else."""
        return (init_settings,)

    @classmethod
    def parse(cls, argv: Sequence[str], *, prog: str) -> Self:
        """Read flags and the YAML file named by `--config`; ConfigError says which flag or setting is wrong."""
        try:
            given = read_flags(cls, argv, prog=prog)
            file = given.get("config")
            settings = {
                **(read_settings(Path(file), cls.model_fields, cls.from_yaml) if file else {}),
                **given,
            }
            return cls(**InitSettingsSource(cls, init_kwargs=settings)())
        except SettingsError as error:
            raise ConfigError(f"{prog}: {error}") from error
        except ValidationError as error:
            lines = [f"  {_refusal(cls, settings, e['loc'], e['msg'], e['input'])}" for e in error.errors()]
            raise ConfigError(
                "\n".join([f"{prog}: settings refused:", *lines, f"see {prog} --help"])
            ) from error

    @classmethod
    def from_yaml(cls, content: Mapping[str, Any], source: Path) -> dict[str, Any]:  # noqa: ARG003
        """Settings by name, of what the YAML file `source` holds; a command that reads foreign files overrides it."""
        return {str(name).replace("-", "_"): value for name, value in content.items()}

    def as_yaml(self) -> str:
        """The settings in force, ready to be read back with `--config`."""
        values = self.model_dump(mode="json", exclude={"config", "print_config"})
        return yaml.safe_dump(values, sort_keys=False)


@dataclass(frozen=True)
class Verb:
    """One verb of a program: its settings and what it does; the summary is the class's docstring."""

    settings: type[Command]
    run: Callable[[Any], int | None]

    @property
    def summary(self) -> str:
        """First line of the docstring of the settings."""
        return (self.settings.__doc__ or "").strip().splitlines()[0]

    def load(self) -> "Verb":
        """The verb; see LazyVerb."""
        return self


@dataclass(frozen=True)
class LazyVerb:
    """A verb whose module, which has it as VERB, is imported only when it is used; the summary stands here as well."""

    module: str
    summary: str

    def load(self) -> Verb:
        """Import it."""
        with importing():
            verb: Verb = importlib.import_module(self.module).VERB
        return verb


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in here: their many objects stay till the end, and no search for cycles goes over them.

    With torch that takes a quarter of a second, half of it while it is imported.
    """
    enabled, n_modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > n_modules + LARGE_IMPORT:
            gc.freeze()
        if enabled:
            gc.enable()


def say(line: str) -> None:
    """Print a line now, whatever standard output is buffered for."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(program: str, verbs: Mapping[str, Verb | LazyVerb], argv: Sequence[str] | None = None) -> int:
    """Run `python -m PROGRAM VERB ...`; returns the exit status: 0, or 2 for what the user can mend."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview(program, verbs))
        return 0 if arguments else MENDABLE
    name, *rest = arguments
    if name not in verbs:
        sys.stderr.write(f"unknown verb {name!r}; known: {', '.join(verbs)}{did_you_mean(name, verbs)}\n")
        return MENDABLE
    try:
        return _run(verbs[name].load(), rest, prog=f"python -m {program} {name}")
    except BlindspotError as error:
        sys.stderr.write(f"error: {error}\n")
        return MENDABLE
    except OSError as error:  # no right to read or write, no room, a file where a folder should be
        sys.stderr.write(f"error: {error}{_advice(error)}\n")
        return MENDABLE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was committed stays, run the same command to go on\n")
        return 130


def _advice(error: OSError) -> str:
    """What to do about what the system refused."""
    again = "what was committed stays, mend it and run the same command again"
    if not isinstance(error, PermissionError):
        return f"; {again}"
    if error.filename is not None and _is_closed(Path(os.fsdecode(error.filename))):
        return " (no right to read it: ask its owner for it, chmod -R g+rX, or name another folder)"
    return f" (no right to write there: name another folder); {again}"


def _is_closed(path: Path) -> bool:
    """Whether we may not read a path, or not look into the folders above it."""
    there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    return not os.access(there, os.R_OK | os.X_OK if there.is_dir() else os.R_OK)


def _run(verb: Verb, argv: Sequence[str], *, prog: str) -> int:
    try:
        settings = verb.settings.parse(argv, prog=prog)
    except SystemExit as stop:  # argparse has printed its help or what is wrong with a flag
        return int(stop.code or 0)
    if settings.print_config:
        sys.stdout.write(settings.as_yaml())
        return 0
    return verb.run(settings) or 0


def _refusal(
    settings: type[Command], given: Mapping[str, Any], loc: tuple[int | str, ...], message: str, found: Any
) -> str:
    """What is wrong with one setting, by the name that it has on the command line."""
    first = str(loc[0]) if loc else ""
    field = settings.model_fields.get(first)
    if field is None or not field.validate_default:
        return f"--{'.'.join(str(part) for part in loc).replace('_', '-')}: {message} (got {found!r})"
    if first not in given:
        return f"{first.upper()} is missing: {field.description}"
    return f"{first.upper()}: {message} (got {found!r})"


def _overview(program: str, verbs: Mapping[str, Verb | LazyVerb]) -> str:
    width = max(len(name) for name in verbs)
    lines = [f"usage: python -m {program} VERB [flags]", ""]
    lines += [f"  {name:{width}}  {verb.summary}" for name, verb in verbs.items()]
    return "\n".join([*lines, "", f"python -m {program} VERB --help tells each verb's flags.", ""])

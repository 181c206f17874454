import gc
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field

from cache.commandline import Command, Verb, importing, main
from cache.errors import ConfigError, NotExtracted


class CopySettings(Command):
    """Copy things to where they are needed.

    More about it.
    """

    layers: tuple[str, ...] = Field(("enc_0",), description="which layers")
    noise_level: float = Field(1.0, description="how much noise")
    mode: Literal["fast", "plain"] = Field("plain", description="how")
    dry_run: bool = Field(default=False, description="only say what would be done")
    out_folder: Path = Field(Path("artifacts"), description="where to")
    jobs: int | None = Field(None, description="processes")
    sizes: tuple[int, ...] | None = Field(None, description="how many of each")
    places: tuple[Path, ...] = Field((), description="folders")


def run(argv, action=lambda _: None):
    """(exit status, the settings that the verb saw)."""
    seen = []

    def remember(settings):
        seen.append(settings)
        return action(settings)

    status = main("tool", {"copy": Verb(CopySettings, remember)}, argv)
    return status, (seen or [None])[0]


def test_defaults_flags_and_comma_lists():
    status, settings = run(["copy"])
    assert (status, settings.layers, settings.jobs, settings.dry_run) == (0, ("enc_0",), None, False)
    _, settings = run(["copy", "--layers", "a,b", "--noise-level", "0.5", "--dry-run", "--jobs=3"])
    assert settings.layers == ("a", "b")
    assert (settings.noise_level, settings.dry_run, settings.jobs) == (0.5, True, 3)
    assert run(["copy", "--no-dry-run"])[1].dry_run is False
    assert run(["copy", "--out-folder", "x y"])[1].out_folder == Path("x y")


NESTED = [
    ("x=[1,2],y=3", ("x=[1,2]", "y=3")),
    ("x=[[1, 2], {a: (3,4)}]", ("x=[[1, 2], {a: (3,4)}]",)),
    ("x='a, ]b',y", ("x='a, ]b'", "y")),
    ("'x=a,b',\"y\"", ("x=a,b", "y")),
    ("[x=[1,2],y]", ("x=[1,2]", "y")),
    ("[1,2],[3]", ("[1,2]", "[3]")),
    ("it's,o'clock", ("it's", "o'clock")),
    ("a,,b,", ("a", "", "b", "")),
    ("[]", ()),
]


@pytest.mark.parametrize(("text", "values"), NESTED)
def test_commas_within_brackets_or_quotes_part_no_values(tmp_path, text, values):
    assert run(["copy", "--layers", text])[1].layers == values
    assert run(["copy", f"--layers={text}", "--layers", "last"])[1].layers == (*values, "last")
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"layers": text}))
    assert run(["copy", "--config", str(path)])[1].layers == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=[1,2", "--layers 'x=[1,2': ']' is missing at the end"),
        ("x=1],y", "--layers 'x=1],y': ']' closes nothing"),
        ("x=[1)", "--layers 'x=[1)': ')' closes nothing"),
        ("x='a,b", "is missing at the end. Commas within brackets or quotes part no values"),
    ],
)
def test_brackets_and_quotes_that_do_not_match_are_refused(tmp_path, capsys, text, message):
    assert run(["copy", "--layers", text]) == (2, None)
    assert message in capsys.readouterr().err
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"layers": text}))
    assert run(["copy", "--config", str(path)]) == (2, None)
    assert message.partition("--layers ")[2] in capsys.readouterr().err


def test_paths_and_numbers_are_parted_at_every_comma():
    assert run(["copy", "--sizes", "3,4"])[1].sizes == (3, 4)
    assert run(["copy", "--places", "/a[1,/b's"])[1].places == (Path("/a[1"), Path("/b's"))


def test_flags_win_over_yaml_and_yaml_over_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("noise-level: 2.5\nlayers: [p, q]\ndry_run: true\n")
    _, settings = run(["copy", "--config", str(path), "--layers", "z"])
    assert (settings.noise_level, settings.layers, settings.dry_run) == (2.5, ("z",), True)
    assert (settings.mode, settings.config) == ("plain", path)
    assert run(["copy", "--config", str(path), "--no-dry-run"])[1].dry_run is False


@pytest.mark.parametrize("text", ["a,b", "a, b", "a"])
def test_several_values_are_said_in_yaml_as_on_the_command_line(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(f"layers: {text}\nsizes: 3\n")
    _, settings = run(["copy", "--config", str(path)])
    assert settings.layers == run(["copy", "--layers", text])[1].layers
    assert settings.sizes == (3,)
    path.write_text("layers: [a, 'b,c']\nsizes: 3,4\nmode: fast\n")
    _, settings = run(["copy", "--config", str(path)])
    assert (settings.layers, settings.sizes, settings.mode) == (("a", "b,c"), (3, 4), "fast")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mode: pl\xe4in\n", r"c\.yaml: 'utf-8' codec can't decode .*; expected YAML in UTF-8"),
        ("nois-level: 2\n", r"unknown settings \['nois_level'\]; known: config, dry_run, jobs"),
        ("- 1\n", "expected a mapping of settings, found list"),
        ("a: [", "c.yaml"),
        ("mode: quick\n", r"--mode: .*\(got 'quick'\)"),
        ("noise_level: much\n", r"--noise-level: .*\(got 'much'\)\nsee python -m tool copy --help"),
    ],
)
def test_wrong_yaml_is_refused(tmp_path, capsys, content, message):
    path = tmp_path / "c.yaml"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        CopySettings.parse(["--config", str(path)], prog="python -m tool copy")
    status, settings = run(["copy", "--config", str(path)])
    assert (status, settings) == (2, None)
    assert capsys.readouterr().err.startswith("error: ")


def test_an_empty_yaml_changes_nothing_and_a_missing_one_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert run(["copy", "--config", str(tmp_path / "c.yaml")])[1].noise_level == 1
    assert run(["copy", "--config", str(tmp_path / "absent.yaml")])[0] == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["copy", "--nois-level", "2"], "there is no flag --nois-level; did you mean '--noise-level'?"),
        (["copy", "--nois-level=2"], "there is no flag --nois-level; did you mean '--noise-level'?"),
        (["copy", "--no-dryrun"], "did you mean '--no-dry-run'?; see python -m tool copy --help"),
        (["copy", "--zzz"], "there is no flag --zzz; see python -m tool copy --help"),
        (["copy", "--mode", "quick"], "quick"),
        (["copy", "--noise-level", "much"], "much"),
        (["copy", "stray"], "stray"),
        (["cpoy"], "unknown verb 'cpoy'; known: copy; did you mean 'copy'?"),
        (
            ["copy", "--config", "absent.yaml"],
            "--config absent.yaml: no such file; --print-config writes one",
        ),
    ],
)
def test_wrong_command_lines_exit_with_2(capsys, argv, message):
    status, settings = run(argv)
    assert (status, settings) == (2, None)
    assert message in capsys.readouterr().err


def test_printed_settings_can_be_read_back(tmp_path, capsys):
    status, seen = run(["copy", "--layers", "a,b", "--jobs", "2", "--print-config"])
    assert (status, seen) == (0, None)
    path = tmp_path / "c.yaml"
    path.write_text(capsys.readouterr().out)
    assert set(yaml.safe_load(path.read_text())) == {
        "layers", "noise_level", "mode", "dry_run", "out_folder", "jobs", "sizes", "places"
    }  # fmt: skip
    _, settings = run(["copy", "--config", str(path)])
    assert (settings.layers, settings.jobs, settings.out_folder) == (("a", "b"), 2, Path("artifacts"))


def test_help_teaches(capsys):
    status, _ = run(["copy", "--help"])
    told = capsys.readouterr().out
    assert status == 0
    for text in (
        "Copy things to where they are",
        "--noise-level",
        "how much noise",
        "--no-dry-run",
        "--config",
    ):
        assert text in told


def test_overview_lists_the_verbs(capsys):
    assert run(["--help"])[0] == 0
    assert "copy  Copy things to where they are needed." in capsys.readouterr().out
    assert run([])[0] == 2
    assert "VERB --help" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["cache", "extract", "probes", "reports"])
def test_the_overview_says_what_each_verb_says_and_loads_none_of_them(program):
    verbs = importlib.import_module(f"{program}.cli").VERBS
    assert {name: verb.summary for name, verb in verbs.items()} == {
        name: verb.load().summary for name, verb in verbs.items()
    }
    told = f"""
import runpy, sys
sys.argv = ["{program}", "--help"]
try:
    runpy.run_module("{program}", run_name="__main__")
finally:
    assert not {{"torch", "sklearn", "pandas", "lightgbm"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", told],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(verb.summary in done.stdout for verb in verbs.values())


def test_our_errors_exit_with_2_and_others_pass(capsys):
    def refuse(_):
        raise NotExtracted("nothing at 'x'; run this")

    assert run(["copy"], refuse)[0] == 2
    assert capsys.readouterr().err == "error: nothing at 'x'; run this\n"
    assert run(["copy"], lambda _: 1)[0] == 1

    def stop(_):
        raise KeyboardInterrupt

    assert run(["copy"], stop)[0] == 130
    assert "run the same command to go on" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        run(["copy"], lambda _: 1 / 0)


def test_arguments_come_from_the_command_line_when_none_are_given(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool", "copy", "--print-config"])
    assert run(None)[0] == 0
    assert "noise_level: 1.0" in capsys.readouterr().out


def test_the_environment_changes_nothing(monkeypatch):
    monkeypatch.setenv("NOISE_LEVEL", "9")
    assert run(["copy"])[1].noise_level == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_no_search_for_cycles_while_importing(enabled):
    if not enabled:
        gc.disable()
    try:
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()

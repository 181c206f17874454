"""The project as a whole: its names, its Makefile from end to end, its README."""

import re
import shlex
import sys
from importlib import metadata

import pytest
from commands import MAKEFILE, ROOT, make, run

from cache.commandline import main
from extract.cli import VERBS

PACKAGES = ("cache", "extract", "probes", "reports")


def test_no_other_distribution_owns_our_names():
    owners = metadata.packages_distributions()
    for name in PACKAGES:
        assert set(owners.get(name, ["blindspot-probes"])) == {"blindspot-probes"}, name


def test_reports_and_cache_import_nothing_heavy():
    code = (
        "import sys; import cache.cli, reports.cli, reports.generate, reports.figure_overview, reports.page;"
        "heavy = {'torch', 'sklearn', 'lightgbm', 'lightning', 'h5py', 'extract', 'probes'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = run(sys.executable, "-c", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_names_every_verb_and_variable():
    text = make("help").stdout
    verbs = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE)
    variables = re.findall(r"^([A-Z]+) *\?=[^#\n]*#", MAKEFILE, flags=re.MULTILINE)
    assert {"demo", "test", "extract", "probe", "tables"} <= set(verbs)
    assert all(f"  {name} " in text for name in [*verbs, *variables])


@pytest.mark.parametrize("verb", ["tables", "robustness"])
def test_comparisons_take_what_else_is_given(verb):
    shown = make("-n", verb, "OUT=o", "COMPARE=--limit 800").stdout
    assert "-m probes compare --results o/results --limit 800" in shown


def test_every_variable_of_the_makefile_reaches_a_command():
    shown = make(
        "-n",
        "probe",
        "DATA=my data",
        "CKPT=c.ckpt",
        "CONFIG=c.yaml",
        "LAYER=all",
        "POOL=p,q",
        "DIRECTION=concat",
        "HEAD=h",
        "LABEL=l",
        "NOISE=0.5",
        "DRAWS=3",
        "SEED=9",
        "DEVICE=cpu",
        "SCHEDULER=processes",
        "JOBS=4",
        "OUT=o",
        "ARGS=--refit",
        "WITH=--mask m.npy",
    ).stdout
    checked, extract, probe = (
        shlex.join(shlex.split(line))
        for line in shown.replace("\\\n", " ").splitlines()
        if "-m extract" in line or "-m probes" in line
    )
    for flag in (
        "--data 'my data'",
        "--checkpoint c.ckpt",
        "--config-model c.yaml",
        "--layers all",
        "--poolings p,q",
        "--directions forward,backward",
        "--noise-level 0.5",
        "--draws 3",
        "--seed 9",
        "--device cpu",
        "--scheduler processes",
        "--jobs 4",
        "--out o/features",
        "--mask m.npy",
    ):
        assert flag in extract, flag
    for flag in (
        "--directions concat",
        "--heads h",
        "--labels l",
        "--seed 9",
        "--results o/results",
        "--refit",
    ):
        assert flag in probe, flag
        assert flag in checked, flag
    assert checked.endswith("--check")
    assert "--check" not in probe


@pytest.mark.parametrize("verb", ["probe", "audit", "sweep", "ceiling"])
def test_what_make_refuses_comes_before_what_takes_long(verb, tmp_path):
    """The check of the probes' settings is the first command after the data, and extraction is told of the labels."""
    (tmp_path / "results/records").mkdir(parents=True)
    (tmp_path / "results/records/one.json").touch()  # `make ceiling` without any record probes first
    shown = make("-n", verb, "DATA=d", f"OUT={tmp_path}", "LABEL=l+m", "ARGS=--x y").stdout
    first, *others = (line for line in shown.replace("\\\n", " ").splitlines() if " -m " in line)
    assert f"-m probes {'run' if verb == 'probe' else verb} " in first
    assert ("--print-extract" if verb == "sweep" else "--check") in first
    assert "--x y" in first
    assert "--check" not in others[-1]
    if verb in ("probe", "audit"):
        assert "--need-labels l,m" in others[0]
    if verb == "ceiling":
        assert "--labels 'l,m'" in first


def test_make_finetune_says_what_is_given_and_leaves_the_rest_to_a_yaml():
    shown = make(
        "-n", "finetune", "DATA=d", "CKPT=c.ckpt", "LABEL=l,m", "DRAWS=4", "OUT=o", "ARGS=--config x.yaml"
    ).stdout
    command = shlex.join(shlex.split(shown.replace("\\\n", " ").splitlines()[-1]))
    for flag in (
        "--data d",
        "--encoder-ckpt c.ckpt",
        "--labels l,m",
        "--train-draws 4",
        "--results o/results",
        "--config x.yaml",
    ):
        assert flag in command, flag
    assert not {"--architecture", "--encoder-layer", "--pooling", "--noise-level"} & set(command.split())


def test_make_sweep_stores_what_the_grid_reads_and_given_variables_win(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("{layers: [enc_last+enc_0], poolings: [mean_max], directions: [concat]}")
    where = ("DATA=d", f"OUT={tmp_path}", f"GRID={grid}")
    shown = make(
        "-n", "sweep", *where, "HEAD=ols", "SEED=1,2", "SCHEDULER=dask", "JOBS=3", "ARGS=--refit"
    ).stdout
    *_, extract, sweep = shown.replace("\\\n", " ").splitlines()
    assert "--print-extract" in extract
    for flag in ("--heads ols", "--seeds 1,2", "--scheduler dask", "--jobs 3", "--refit", f"--config {grid}"):
        assert flag in shlex.join(shlex.split(sweep)), flag
    assert "--layers" not in sweep
    assert "--scheduler" not in make("-n", "sweep", *where, "JOBS=3").stdout.splitlines()[-1]
    needs = run(sys.executable, "-m", "probes", "sweep", "--config", grid, "--print-extract").stdout
    assert (
        needs
        == "--layers enc_last,enc_0 --poolings mean_max --directions forward,backward --need-labels log_g\n"
    )


@pytest.mark.parametrize("answer", ["", "n", "y"])
def test_clean_all_asks_before_it_removes_anything(tmp_path, answer):
    made = [tmp_path / name for name in ("build", "artifacts/reports", "artifacts/features", ".venv")]
    for folder in made:
        folder.mkdir(parents=True)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    done = run("sh", "-c", f"printf '{answer}\\n' | make clean-all", cwd=tmp_path)
    assert (done.returncode == 0) == (answer == "y")
    assert [folder.exists() for folder in made] == [answer != "y"] * len(made)


@pytest.mark.parametrize("given", ["CPKT=x.ckpt", "LABLE=T_eff", "data=d"])
def test_a_variable_that_make_does_not_know_is_refused(given):
    name = given.partition("=")[0]
    assert f"unknown variable {name}; known: DATA" in make("-n", "probe", given).stderr
    shown = make("-n", "probe", "WITH=--mask a=b", "ARGS=--params ridge.alpha=val x=y", "PY=python")
    assert shown.returncode == 0
    assert "--params ridge.alpha=val x=y" in shown.stdout


def test_the_main_job_through_make(tmp_path):
    survey = run(
        sys.executable,
        "-m",
        "extract",
        "mock",
        "--out",
        tmp_path / "data",
        "--n-train",
        60,
        "--n-val",
        20,
        "--n-test",
        20,
    )
    assert survey.returncode == 0, survey.stderr
    where = (f"OUT={tmp_path}/out", f"DATA={tmp_path}/data", "POOL=global_mean")
    for verb in ("probe", "sweep", "audit"):
        refused = make(verb, *where, "LABEL=log_G")
        assert refused.returncode == 2
        assert "dataset.h5 'log_G'; known: T_eff, log_g, M_H" in refused.stderr
    assert not (tmp_path / "out/features").exists()
    assert not (tmp_path / "out/results").exists()
    first = make("extract", *where)
    assert first.returncode == 0, first.stderr
    probed = make("probe", *where, "HEAD=ridge", "LABEL=log_g,T_eff")
    assert probed.returncode == 0, probed.stderr
    assert "is there and fresh" in probed.stdout
    assert "test R2" in probed.stdout
    again = make("probe", *where, "HEAD=ridge", "LABEL=log_g,T_eff")
    assert again.stdout.count("(on record)") == 6  # with shuffled labels and the mean beside both
    (random,) = re.findall("control not run: random encoder .*; run (.*)", again.stdout)
    assert "--checkpoint random:0" in random
    assert "YAML" not in random
    grid = tmp_path / "grid.yaml"
    grid.write_text("{labels: [log_g, T_eff], train-sizes: [20, all], pca: [none, 4]}")
    swept = make("sweep", *where, f"GRID={grid}")
    assert swept.returncode == 0, swept.stderr
    assert "12 cells (ridge 10, mean 2): 6 on record, 6 to compute in 2 groups" in swept.stdout
    assert "best on val" in swept.stdout
    tables = make("tables", *where)
    assert tables.returncode == 0, tables.stderr
    assert "differences hold at 5 % for all pairs at once" in tables.stdout
    assert "log_g: layer x pooling" in tables.stdout
    assert "behind the best, paired" in (tmp_path / "out/reports/controls_log_g.md").read_text()
    assert (tmp_path / "out/reports/layers_log_g.csv").exists()


def test_readme_shows_what_the_committed_records_say():
    done = run(sys.executable, "docs/render_readme.py", "--check")
    assert done.returncode == 0, done.stderr


def test_the_docs_name_every_kind_of_record_and_every_folder():
    told = (ROOT / "docs/records.md").read_text()
    writers = ("extract", "probes")
    code = "\n".join(path.read_text() for package in writers for path in (ROOT / package).rglob("*.py"))
    kinds = set(re.findall(r'^KIND = "(\w+)"', code, flags=re.MULTILINE))
    assert kinds >= {"probe", "finetune", "audit", "ceiling", "comparison", "importance", "examples"}
    assert [kind for kind in kinds if f"| `{kind}`" not in told] == []
    folders = [name.removeprefix("encoders/") for name in re.findall(r'"artifacts/([\w/]+)"', code)]
    assert [name for name in folders if f"`{name}/" not in told] == []


def test_demo_records_are_small():
    size = sum(path.stat().st_size for path in (ROOT / "docs/demo_records").rglob("*") if path.is_file())
    assert 0 < size <= 1_000_000


@pytest.mark.parametrize("verb", ["run", "mock", "pretrain", "finetune"])
def test_every_verb_of_extract_teaches(verb):
    done = run(sys.executable, "-m", "extract", verb, "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout


def test_the_mock_survey_command_writes_and_keeps(tmp_path, capsys):
    command = ["mock", "--out", str(tmp_path), "--n-train", "3", "--n-val", "2", "--n-test", "2"]
    assert main("extract", VERBS, command) == 0
    first = (tmp_path / "test" / "dataset.h5").stat()
    assert main("extract", VERBS, command) == 0
    assert (tmp_path / "test" / "dataset.h5").stat().st_mtime_ns == first.st_mtime_ns
    assert capsys.readouterr().out.count("train: ") == 2


def test_the_mask_of_the_network_reaches_the_fisher_matrices(tmp_path):
    (tmp_path / "results/records").mkdir(parents=True)
    (tmp_path / "results/records/one.json").touch()

    def fisher(*given):
        shown = make("-n", "ceiling", "DATA=d", f"OUT={tmp_path}", *given).stdout
        (line,) = (line for line in shown.splitlines() if "-m extract fisher" in line)
        return shlex.split(line)

    for given in ("--error-mode pixel --mask 'my mask.npy'", "--mask='my mask.npy' --error-mode pixel"):
        told = " ".join(fisher(f"WITH={given}"))
        assert "--mask my mask.npy" in told.replace("=", " ")
        assert "--error-mode" not in told
    assert "--mask" not in fisher("WITH=--error-mode pixel")
    assert fisher("WITH=--mask a.npy", "FISHER=--mask b.npy")[-2:] == ["--mask", "b.npy"]
    assert "a.npy" not in fisher("WITH=--mask a.npy", "FISHER=--mask b.npy")


@pytest.mark.parametrize("verb", ["probe", "audit", "sweep"])
def test_verbs_that_fit_need_train_and_test_before_they_extract(verb):
    shown = make("-n", verb, "DATA=d").stdout.replace("\\\n", " ").splitlines()
    extractions = [line for line in shown if "-m extract run" in line and "--error-input" not in line]
    assert extractions
    assert all("--need-splits train,test" in line for line in extractions)


@pytest.mark.parametrize("verb", ["probe", "sweep", "audit"])
@pytest.mark.parametrize("name", ["dataset.h5", "shard_index.txt"])
def test_the_check_is_told_of_spectra_without_val(verb, name, tmp_path):
    def check(*given):
        shown = make("-n", verb, *given).stdout.replace("\\\n", " ").splitlines()
        return next(line for line in shown if "--check" in line or "--print-extract" in line)

    folder = tmp_path / "my data"
    folder.mkdir()
    assert "--no-val" in check("TRAIN=a", "TEST=b")
    assert "--no-val" not in check("TRAIN=a", "VAL=c", "TEST=b")
    assert "--no-val" not in check()  # the mock survey has val
    assert "--no-val" in check(f"DATA={folder}")
    (folder / "val").mkdir()
    assert "--no-val" in check(f"DATA={folder}")  # a folder without spectra
    (folder / "val" / name).touch()
    assert "--no-val" not in check(f"DATA={folder}")


def test_missing_labels_are_dropped_by_one_variable():
    shown = make("-n", "probe", "DATA=d", "MISSING=drop").stdout.replace("\\\n", " ").splitlines()
    lines = [line for line in shown if "-m extract" in line or "-m probes" in line]
    assert len(lines) == 3
    assert all("--missing-labels drop" in line for line in lines)
    assert "--missing-labels 'drop'" in make("-n", "sweep", "DATA=d", "MISSING=drop").stdout

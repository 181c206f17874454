"""Audits of whole surveys, from spectra to verdict: one with a shortcut, one without, and the mock survey."""

import pytest
import torch
from audit_fakes import dumb_error, extract_all, telling_error, write_errors
from survey_fakes import CHECKPOINT, POOLING, YAML

from cache.commandline import main
from cache.records import read_arrays, read_records
from extract.cli import VERBS as EXTRACT
from probes.audit_rows import full_name
from probes.cli import VERBS

INPUTS = ("zero", "shuffled", "constant", "from-noisy")


def audited(folder, *argv):
    """By label, the record and its rows by name."""
    flags = ["audit", "--selection", folder / "true.json", "--results", folder / "results", *argv]
    assert main("probes", VERBS, [str(flag) for flag in flags]) == 0
    records = [record for record in read_records(folder / "results") if record.kind == "audit"]
    return {r.spec["label"]: (r, {full_name(row): row for row in r.result["rows"]}) for r in records}


@pytest.fixture(scope="module")
def shortcut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shortcut")
    extract_all(write_errors(folder / "data", telling_error), folder)
    return audited(folder, "--poolings", POOLING, "--labels", "T_eff"), folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    extract_all(write_errors(folder / "data", dumb_error), folder)
    return audited(folder, "--poolings", POOLING, "--labels", "T_eff,log_g")


def test_an_error_that_follows_the_flux_is_found_to_be_a_shortcut(shortcut):
    record, rows = shortcut[0]["T_eff"]
    assert rows["A1"]["interval"][0] > 0.95
    assert rows["A2"]["variance_share"] < 0.05
    assert record.result["verdict"]["shortcut"] == "yes"
    assert "survives without the true error" in record.result["verdict"]["headline"]
    assert all(rows[f"refit {name}"]["r2"] < rows["A4 latent->label"]["r2"] for name in INPUTS)


@pytest.mark.parametrize("label", ["T_eff", "log_g"])
def test_an_error_that_knows_nothing_of_the_star_is_no_shortcut(plain, label):
    record, rows = plain[label]
    assert rows["A1"]["interval"][0] <= 0
    assert rows["A4 latent->label"]["interval"][0] > 0
    assert record.result["verdict"]["shortcut"] == "no"
    assert record.result["verdict"]["headline"].startswith("No shortcut to take")
    assert rows["A4 latent->residual"]["r2"] == pytest.approx(rows["A4 latent->label"]["r2"], abs=0.03)


def test_the_cross_fitted_residual_is_as_large_on_train_as_on_test(shortcut):
    _, rows = shortcut[0]["T_eff"]
    assert rows["A2"]["r2"] == pytest.approx(rows["A1"]["r2"], abs=0.01)


def test_the_sidecar_gives_the_rows_again(shortcut):
    audits, folder = shortcut
    record, rows = audits["T_eff"]
    stored = read_arrays(folder / "results", record.run_id)
    assert stored["y"].shape == stored["star"].shape == stored["row"].shape == (250,)
    for name, row in rows.items():
        if name == "A2":
            continue
        y = stored["residual"] if row["target"] == "residual" else stored["y"]
        residual = stored[f"y_hat: {name}"] - y
        assert 1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum() == pytest.approx(row["r2"], abs=1e-5)
    assert rows["A2"]["variance_share"] == pytest.approx(
        stored["residual"].var() / stored["y"].var(), rel=1e-5
    )
    assert (stored["residual"] == stored["y_hat: A1"] - stored["y"]).all()


def network_that_reads(folder, channel):
    """The small network, whose first block hands on one of its two channels: 0 the flux, 1 the error."""
    content = torch.load(CHECKPOINT, weights_only=True)
    block = {
        name.rpartition("encoders.0.")[2]: values
        for name, values in content["state_dict"].items()
        if name.startswith("model.encoders.0.")
    }
    for name, values in block.items():
        values.fill_(1 if name in {"bn.weight", "bn.running_var"} else 0)
    block["conv.weight"][:, channel, -1] = 1
    path = folder / f"reads_{channel}.ckpt"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock")
    sizes = ["--n-train", "400", "--n-val", "80", "--n-test", "200"]
    assert main("extract", EXTRACT, ["mock", "--out", str(folder / "data"), *sizes]) == 0
    return folder


@pytest.mark.parametrize(("channel", "label", "shortcut"), [(0, "T_eff", "no"), (1, "log_g", "yes")])
def test_on_the_mock_survey_it_depends_on_what_the_network_reads(mock, tmp_path, channel, label, shortcut):
    """Means over 64 pixels keep the lines of the error, which has no noise; a network that reads it takes them."""
    layers = {"layers": ("enc_0",), "poolings": ("seg_mean_K64",)}
    network = {"checkpoint": str(network_that_reads(tmp_path, channel)), "config_model": YAML}
    fed = ("shuffled", "from-noisy")
    extract_all(mock / "data", tmp_path, fed, **layers, **network, digests=mock / "digests")
    asked = ["--layers", "enc_0", "--poolings", "seg_mean_K64", "--labels", label]
    asked += ["--error-inputs", ",".join(fed)]
    record, rows = audited(tmp_path, *asked)[label]
    assert rows["A1"]["interval"][0] > 0.8
    assert rows["A2"]["variance_share"] < 0.2
    assert record.result["verdict"]["shortcut"] == shortcut
    shares = [item["share"] for item in record.result["survival"]]
    if channel == 0:
        assert shares == [1.0] * 4
    else:
        assert rows["A4 latent->label"]["r2"] > 0.5
        assert max(shares) < 0.6

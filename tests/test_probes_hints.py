"""What `probes run` proposes after its scores."""

import pytest
from commands import probes
from small_survey import N, flags, survey_store

from probes.hints import hints


def came_out(r2=-0.5, *, alpha=0.001, layer="enc_last", head="ridge", control="none"):
    features = {"parts": [{"layer": layer, "pooling": "none", "direction": "forward"}]}
    spec = {"head": head, "params": {"alpha": alpha}, "control": control, "features": features}
    return spec, {"scores": {"test": {"log_g": {"r2": 0.5}, "T_eff": {"r2": r2}}}}


def test_a_fixed_penalty_of_latents_below_the_mean_is_told_once():
    (words,) = hints([came_out(), came_out(-2.0), came_out(0.9)])
    assert "alpha 0.001 is the published one; --params ridge.alpha=val chooses it on val" in words
    (words,) = hints([came_out(alpha=10), came_out()])
    assert "alpha 0.001 and alpha 10 were fixed; --params ridge.alpha=val" in words


@pytest.mark.parametrize(
    "other",
    [
        came_out(0.0),
        came_out(None),
        came_out(alpha="val"),
        came_out(layer="input_flux"),
        came_out(layer="input_error"),
        came_out(head="ols"),
        came_out(control="shuffled_labels"),
        came_out(control="random_encoder"),
        (came_out()[0], {"status": "failed", "scores": {}}),
    ],
)
def test_what_a_penalty_from_val_would_not_mend_is_passed_over(other):
    assert list(hints([other])) == []


def test_it_stands_at_the_end_of_a_run_also_from_records(tmp_path, capsys):
    """A label of which the features know nothing, and hardly more stars than columns."""
    for split in N:
        survey_store(tmp_path / "f", split)
    argv = flags(tmp_path / "f", tmp_path / "r", "--labels", "snr", "--train-size", 4)
    for _ in range(2):
        assert probes("run", *argv) == 0
        *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("hint: test R2 below 0: alpha 0.001 is the published one")
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r", "--labels", "log_g")) == 0
    assert "hint" not in capsys.readouterr().out

"""The rules of the verdict, one by one, and that they cover everything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.audit_verdict import NEEDED, Evidence, Kept, Score, judged, percent

TRUE = Score(r2=0.5, lo=0.46, hi=0.54)
TELLS = Score(r2=0.9, lo=0.88, hi=0.92)
NOTHING = Score(r2=-0.01, lo=-0.03, hi=0.01)


def kept(name, share, half=0.03, true=TRUE):
    r2 = share * true.r2
    return Kept(
        error_input=name,
        score=Score(r2=r2, lo=r2 - 0.03, hi=r2 + 0.03),
        difference_hi=(share + half - 1) * true.r2,
        share=share,
        share_lo=share - half,
        share_hi=share + half,
    )


def evidence(*shares, applied=0.95, **changes):
    names = ("zero", "shuffled", "constant", "from-noisy")
    plain = Evidence(
        label="log_g",
        true=TRUE,
        error_alone=TELLS,
        error_by_ridge=TELLS,
        left=0.1,
        flux_on_residual=NOTHING,
        latent_on_residual=NOTHING,
        refit=[kept(name, share) for name, share in zip(names, shares, strict=False)],
        apply=[kept(name, applied) for name in names[: len(shares)]],
    )
    return replace(plain, **changes)


def test_less_than_the_bar_whatever_is_fed_is_a_shortcut():
    found = judged(evidence(0.2, 0.3, 0.5, 0.85))
    assert found.shortcut == "yes"
    assert found.headline == (
        "Shortcut: at best 85 % [82, 88] of the R2 of log_g survives without the true error (fed from-noisy, refitted)."
    )
    assert found.words[-1].startswith("Rule 4")


def test_one_input_that_keeps_the_score_is_enough():
    found = judged(evidence(0.2, 0.3, 0.95, 0.5))
    assert found.shortcut == "no"
    assert found.headline.startswith("No shortcut: 95 % [92, 98] of the R2 of log_g survives")
    assert "leans" not in found.headline


def test_a_probe_that_leans_on_the_error_is_told_although_the_features_do_not():
    found = judged(evidence(0.2, 0.3, 0.95, 0.5, applied=-0.4))
    assert found.shortcut == "no"
    assert found.headline.endswith("applied to shuffled errors it keeps -40 % [-43, -37].")


def test_an_interval_across_the_bar_decides_nothing():
    found = judged(evidence(0.2, 0.3, 0.89, 0.5))
    assert found.shortcut == "unclear"
    assert "some of it needs the true error" in found.words[-1]
    across = judged(evidence(0.2, 0.3, 0.5, refit=[kept("zero", 0.9, half=0.2)]))
    assert across.shortcut == "unclear"
    assert "needs the true error;" not in across.words[-1]


def test_where_the_error_tells_nothing_there_is_no_shortcut_whatever_is_lost():
    found = judged(evidence(0.2, 0.3, 0.4, 0.5, error_alone=NOTHING, error_by_ridge=NOTHING))
    assert found.shortcut == "no"
    assert found.headline.startswith(
        "No shortcut to take: this head finds nothing of log_g in the error alone, R2 -0.010"
    )
    assert any(
        "this head finds R2 -0.010 [-0.030, 0.010] in the error alone." in words for words in found.words
    )


WEAK = Score(r2=-0.124, lo=-0.164, hi=-0.085)


@pytest.mark.parametrize("weak", [NOTHING, WEAK])
def test_what_a_weak_head_does_not_find_ridge_may(weak):
    """LightGBM on the errors of 300 stars of the demo had R2 -0.124, ridge 0.928: no reason to acquit."""
    found = judged(evidence(0.2, 0.3, 0.4, 0.5, error_alone=weak))
    assert found.shortcut == "yes"
    assert any("in the error alone, ridge R2 0.900 [0.880, 0.920]." in words for words in found.words)
    assert judged(evidence(0.2, 0.9, error_alone=weak)).shortcut == "unclear"


def test_where_neither_head_nor_ridge_finds_anything_both_are_named():
    ridge = Score(r2=-0.02, lo=-0.04, hi=0.01)
    found = judged(evidence(0.2, 0.5, error_alone=NOTHING, error_by_ridge=ridge))
    assert found.shortcut == "no"
    assert (
        "neither this head nor ridge finds anything of log_g in the error alone, R2 -0.010" in found.headline
    )


@pytest.mark.parametrize(
    "nothing",
    [
        WEAK,  # worse than the mean, clearly: a fit that failed, not an error without a star
        Score(r2=-0.01, lo=None, hi=None),
    ],
)
def test_only_an_interval_that_holds_zero_says_that_the_error_tells_nothing(nothing):
    found = judged(evidence(0.2, 0.9, error_alone=nothing, error_by_ridge=nothing))
    assert found.shortcut == "unclear"
    assert not any(words.startswith("Rule 2") for words in found.words)


def test_without_ridge_nobody_says_that_the_error_tells_nothing():
    assert judged(evidence(0.2, 0.9, error_alone=NOTHING, error_by_ridge=None)).shortcut == "unclear"


def test_an_error_of_which_little_is_known_is_not_taken_for_nothing():
    vague = Score(r2=0.02, lo=-0.2, hi=0.24)
    assert judged(evidence(0.2, 0.9, error_alone=vague, error_by_ridge=vague)).shortcut == "unclear"


def test_more_lost_than_the_error_could_give_is_damage():
    little = Score(r2=0.1, lo=0.08, hi=0.12)
    found = judged(evidence(0.2, 0.3, 0.4, 0.5, error_alone=little, error_by_ridge=little))
    assert found.shortcut == "unclear"
    assert "more is lost than is found in the error alone" in found.headline


def test_without_a_score_there_is_nothing_to_judge():
    none = Kept(
        error_input="zero", score=NOTHING, difference_hi=0.0, share=None, share_lo=None, share_hi=None
    )
    found = judged(evidence(0.5, true=NOTHING, refit=[none], apply=[none]))
    assert found.shortcut == "unclear"
    assert found.headline.startswith("Nothing to judge")


@pytest.mark.parametrize(
    ("left", "latent", "words"),
    [
        (0.02, NOTHING, "so small a part says little either way"),
        (0.5, NOTHING, "nothing clear that this head does not find in the error"),
        (0.5, TELLS, "they know something that this head does not find in the error"),
    ],
)
def test_the_residual_is_weighed_by_how_much_it_is(left, latent, words):
    found = judged(evidence(0.2, 0.5, left=left, latent_on_residual=latent))
    assert any(words in sentence and f"leaves {100 * left:.2g} %" in sentence for sentence in found.words)
    assert found.shortcut == "yes"  # the residual never decides


def test_a_residual_of_an_error_that_tells_nothing_shows_nothing_new():
    """It is the label itself, so latents that know the label know the residual."""
    found = judged(evidence(0.2, 0.5, left=1.02, error_alone=NOTHING, latent_on_residual=TELLS))
    assert not any("they know something" in sentence for sentence in found.words)
    assert any("tells nothing new" in sentence for sentence in found.words)


@given(
    st.lists(st.floats(-1, 1.3), min_size=1, max_size=4),
    st.floats(0, 0.3),
)
def test_shares_alone_decide_where_the_error_tells_the_label(shares, half):
    refit = [kept(f"input {k}", share, half) for k, share in enumerate(shares)]
    tells = Score(r2=0.99, lo=0.98, hi=1.5)
    found = judged(evidence(0.5, refit=refit, error_alone=tells, error_by_ridge=tells))
    above = any(item.share_lo > 1 - NEEDED for item in refit)
    below = all(item.share_hi < 1 - NEEDED for item in refit)
    assert found.shortcut == ("no" if above else "yes" if below else "unclear")


def test_per_cents_have_two_digits():
    texts = [percent(value) for value in (0.0217, 0.0042, 1.0, 0.895, -0.4, None)]
    assert texts == ["2.2", "0.42", "100", "90", "-40", "-"]

"""Probes that share features: each as if it were alone, sizes nested, segments, axes and mixed layers as asked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from probes_fakes import LAYER, N_FEATURES, POOLING, make_view, make_views, predict_view
from sklearn.decomposition import PCA

from cache.canonical import canonical_json
from cache.errors import ConfigError, Damaged, ProbeError
from cache.records import read_predictions, read_record
from probes import make_probe
from probes.controls import shuffled_by_star
from probes.features import FeaturePart, load_features, part_widths
from probes.groups import Group, basis_key, group_key
from probes.persistence import AXES_FILE, load_head, save_head, saved_digest
from probes.runner import head_folder, run_group, run_probe, store_result
from probes.spec import MIXED_LAYERS, ProbeRequest, check_request, checked_spec

PART = FeaturePart(layer=LAYER, pooling=POOLING)
FLUX = FeaturePart(layer="input_flux", pooling="none")


def ask(head="ridge", labels=("log_g",), parts=(PART,), **options):
    return ProbeRequest(features=parts, head=head, labels=labels, **options)


def two_draws():
    """Rows of a star are far apart: draws stand one after the other."""
    views = make_views()
    views["train"].append(make_view("train", 80, draw=1))
    return views


# --- alone and together ---

VARIED = [
    {"labels": ("T_eff",)},
    {"labels": ("log_g", "T_eff")},
    {"control": "shuffled_labels"},
    {"control": "mean_predictor"},
    {"pca": 2},
    {"params": {"alpha": "val"}, "pca": 3},
    {"head": "ols"},
    {"head": "lightgbm", "params": {"n_trees": 3, "threads": 1}},
]


@pytest.mark.parametrize("sizes", [(None,), (10, 40, 80)])
def test_a_group_gives_what_each_probe_gives_alone(sizes):
    views = two_draws()
    asked = [ask(**options, train_size=size, seed=2) for options in VARIED for size in sizes]
    assert len({group_key(request) for request in asked}) == 1
    outcomes = list(run_group(asked, views))
    assert len(outcomes) == len(asked)
    for request, outcome in outcomes:
        alone = run_probe(request, views)
        assert (
            canonical_json(outcome.spec)
            == canonical_json(alone.spec)
            == canonical_json(checked_spec(request, views))
        )
        assert canonical_json(outcome.result) == canonical_json(alone.result)
        assert outcome.head.to_files() == alone.head.to_files()
        for name, values in alone.predictions.items():
            np.testing.assert_array_equal(outcome.predictions[name], values)
        for name, values in alone.arrays.items():
            np.testing.assert_array_equal(outcome.arrays[name], values)


def test_what_is_wrong_with_one_probe_is_its_outcome():
    views = make_views()
    views["val"][0].stored["mag"][3] = np.nan
    asked = [ask(labels=("mag",)), ask(), ask(labels=("a_M", "log_g")), ask(pca=9)]
    errors = {(*request.labels, request.pca): o.result["error"] for request, o in run_group(asked, views)}
    assert errors["log_g", None] is None
    assert "label 'mag' is missing (NaN or inf) in 1 of 40 rows of split 'val'" in errors["mag", None]
    assert "has no label 'a_M'" in errors["a_M", "log_g", None]
    assert "9 principal components were asked for" in errors["log_g", 9]
    for request in (asked[0], asked[2], asked[3]):
        with pytest.raises((ProbeError, ConfigError)):
            run_probe(request, views)


# --- training sizes ---


def plain_subset(views, request):
    """The slow twin: a random order of the stars, rows of the first ones, star by star, draws in order."""
    rows = [(int(s), d, k) for d, view in enumerate(views["train"]) for k, s in enumerate(view.stars)]
    stars = sorted({star for star, _, _ in rows})
    order = [stars[k] for k in np.random.default_rng(request.seed).permutation(len(stars))]
    return [(d, k) for star in order[: request.train_size] for s, d, k in rows if s == star]


@pytest.mark.parametrize("size", [2, 17, 80])
def test_sizes_are_whole_stars_and_nested(size):
    views, request = two_draws(), ask(train_size=size, seed=5)
    group = Group([request, replace(request, train_size=80)], views)
    sample = group.cell(request, group.basis(request))["train"]
    expected = plain_subset(views, request)
    np.testing.assert_array_equal(sample.rows, [k for _, k in expected])
    np.testing.assert_array_equal(sample.draws, [d for d, _ in expected])
    np.testing.assert_array_equal(sample.X, [views["train"][d].X[k] for d, k in expected])
    np.testing.assert_array_equal(sample.y[:, 0], [views["train"][d].stored["log_g"][k] for d, k in expected])
    larger = Group([replace(request, train_size=80)], views).samples["train"]
    np.testing.assert_array_equal(larger.X[: len(sample.X)], sample.X)


def test_without_a_size_rows_keep_their_order():
    views = two_draws()
    group = Group([ask(seed=5)], views)
    np.testing.assert_array_equal(group.samples["train"].rows, [*range(80), *range(80)])


def test_labels_are_shuffled_among_the_stars_that_are_used():
    views = two_draws()
    request = ask(train_size=10, seed=1, control="shuffled_labels")
    group = Group([request, replace(request, train_size=40)], views)
    cell = group.cell(request, group.basis(request))
    stars = np.concatenate([sample.stars for sample in cell.values()])
    plain = replace(request, control="none")
    true = np.concatenate([s.y for s in group.cell(plain, group.basis(plain)).values()])
    np.testing.assert_array_equal(
        np.concatenate([sample.y for sample in cell.values()]), shuffled_by_star(true, stars, seed=1)
    )


# --- principal axes ---


def test_axes_are_those_of_the_train_rows_that_are_used():
    views, request = make_views(), ask(pca=3, train_size=30)
    group = Group([request], views)
    basis = group.basis(request)
    assert basis_key(request) == (3, 30)
    twin = PCA(3).fit(group.samples["train"].X[:30].astype(float))
    for split, sample in group.samples.items():
        rows = slice(30) if split == "train" else slice(None)
        expected = twin.transform(sample.X[rows].astype(float))
        np.testing.assert_allclose(np.abs(basis.X[split]), np.abs(expected), atol=1e-6)
    outcome = run_probe(request, views)
    assert outcome.result["d"] == 3
    assert outcome.spec["features"]["pca"] == 3


def test_a_head_on_axes_and_segments_is_applied_as_it_was_fitted(tmp_path):
    views = make_views()
    run_id = store_result(tmp_path, run_probe(ask(pca=3, segments=(0, 2)), views))
    folder = head_folder(tmp_path, run_id)
    assert saved_digest(folder) == load_head(folder).digest == read_record(tmp_path, run_id).result["model"]
    assert (folder / AXES_FILE).is_file()
    columns = predict_view(folder, views["test"][0])
    stored = read_predictions(tmp_path, run_id)
    np.testing.assert_array_equal(columns["y_hat"], stored["y_hat"][stored["split"] == "test"])
    saved = load_head(folder)
    assert saved.use["segments"] == [0, 2]
    assert saved.axes.axes.shape == (3, 4)
    content = (folder / AXES_FILE).read_bytes()
    (folder / AXES_FILE).write_bytes(content[:-1] + b"x")
    with pytest.raises(Damaged, match=r"principal_axes\.npz: differs from what was saved"):
        load_head(folder)


def test_the_model_digest_covers_the_axes():
    views = make_views()
    models = [run_probe(ask(pca=k), views).result["model"] for k in (None, 6, 5)]
    assert len(set(models)) == 3


def test_axes_that_do_not_fit_the_head_are_refused(tmp_path):
    from probes.pca import principal_axes

    X = np.random.default_rng(0).standard_normal((20, 4))
    head = make_probe("ols").fit(X[:, :3], X[:, 0])
    save_head(tmp_path / "head", head, name="ols", use={}, axes=principal_axes(X, 2))
    with pytest.raises(Damaged, match=r"axes of shape \(2, 4\) for a head of 3 features"):
        load_head(tmp_path / "head")


def test_heads_that_are_saved_at_once_replace_each_other(tmp_path):
    head = make_probe("ols").fit(np.eye(4), np.arange(4.0))

    def save(number):
        for _ in range(10):
            save_head(tmp_path / "head", head, name="ols", use={"number": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    assert load_head(tmp_path / "head").use["number"] in range(4)
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


# --- segments ---


def test_segments_are_chosen_by_their_coordinate():
    view = make_view("train", 7)
    np.testing.assert_array_equal(load_features(view, [PART], segments=(0, 2)), view.X[:, [0, 1, 4, 5]])
    both = FeaturePart(layer=LAYER, pooling=POOLING, direction="concat")
    found = load_features(view, [PART, both], segments=(1,))
    np.testing.assert_array_equal(
        found, np.concatenate([view.X, view.X, -view.X], axis=1)[:, [2, 3, 8, 9, 14, 15]]
    )
    assert part_widths(view, [PART, both], segments=(1,)) == [2, 4]
    assert part_widths(view, [PART, FLUX]) == [N_FEATURES, 2]


def test_parts_without_segments_are_refused():
    view = make_view("train", 7)
    with pytest.raises(ProbeError, match="input_flux/forward/none is not cut into wavelength segments"):
        load_features(view, [PART, FLUX], segments=(0,))
    with pytest.raises(ProbeError, match=rf"{POOLING} has segments 0 to 2, not 3, 7"):
        load_features(view, [PART], segments=(0, 3, 7))
    view.coordinates = lambda *_: {"segment": np.zeros(6), "statistic": np.zeros(6)}
    with pytest.raises(ProbeError, match="use a pooling such as seg_mean_K8"):
        load_features(view, [PART], segments=(0,))


def test_every_choice_is_another_record(tmp_path):
    views = make_views()
    asked = [ask(), ask(pca=2), ask(segments=(0,)), ask(segments=(0, 1, 2)), ask(train_size=80)]
    specs = [checked_spec(request, views) for request in asked]
    assert len({canonical_json(spec) for spec in specs}) == len(asked)
    name = store_result(tmp_path, run_probe(asked[2], views))
    assert read_record(tmp_path, name).spec["features"]["segments"] == [0]
    assert read_record(tmp_path, name).result["d"] == 2


# --- mixed layers ---


def mixed(**options):
    return ask("mlp_1", params={MIXED_LAYERS: 2}, parts=(PART, FLUX), **options)


def test_layers_of_unequal_width_are_not_mixed():
    group = Group([mixed()], make_views())
    assert "layers of 6 and 2 features cannot be mixed" in str(group.refusal(mixed()))
    equal = replace(mixed(), features=(PART, PART))
    assert Group([equal], make_views()).refusal(equal) is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (mixed(pca=2), "say --pca or --mix softmax, not both"),
        (replace(mixed(), features=(PART,)), "mixed_layers is 2, the features have 1 parts"),
        (ask(pca=0), "pca is 0"),
        (ask(segments=()), r"segments are \(\)"),
        (ask(segments=(1, 0)), "each once, in order"),
        (ask(segments=(0, 0)), "each once, in order"),
        (ask(segments=(-1, 0)), "from 0 on"),
    ],
)
def test_choices_that_cannot_be_meant_are_refused(request_, message):
    with pytest.raises(ConfigError, match=message):
        check_request(request_)

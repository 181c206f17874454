"""Fisher matrices against analytic ones, the mock survey's gradient against convergence, the emulator against it."""

import dataclasses
import os

import h5py
import numpy as np
import pytest
from hdf5_fixtures import Example, write_flat_layout, write_table_layout

from cache.canonical import digest_json
from cache.errors import ConfigError, InputError, UnknownName
from cache.fisher import find_fisher, read_fisher
from extract.cli import VERBS
from extract.fingerprint import fingerprint
from extract.fisher import mock_gradient as mock_module
from extract.fisher.information import LABELS, PARAMETERS, fisher_matrices
from extract.fisher.local_gradient import local_emulator, scale_of
from extract.fisher.mock_gradient import STEPS, mock_gradient
from extract.fisher.request import FisherRequest
from extract.fisher.run import make_fisher
from extract.fisher.stars import read_stars
from extract.mock.spectrum import clean_flux
from extract.mock.survey import RANGES, generate, write_survey
from extract.spectra import open_spectra

N_PIXELS = 60
PRIOR = np.array([12.0 / (high - low) ** 2 for low, high in RANGES.values()] + [1.0])


def prior_variances(matrices):
    """Variances that are left of uniform labels, as Gaussian: the diagonal of (F + prior)^-1."""
    return np.diagonal(np.linalg.inv(matrices + np.diag(PRIOR)), axis1=1, axis2=2)


# The matrices.


def test_a_linear_gaussian_model_has_its_analytic_matrix():
    """flux = A (base + sum_i theta_i g_i) with orthonormal g_i and one sigma: known by hand."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((N_PIXELS, 6)))[0].T
    slopes = np.array([2.0, 0.5, 1.0, 3.0, 0.1])
    theta = rng.standard_normal((7, 5))
    flux = basis[5] * 4 + (theta * slopes) @ basis[:5]
    gradient = np.broadcast_to(slopes[:, None] * basis[:5], (7, 5, N_PIXELS))
    found = fisher_matrices(np.ascontiguousarray(gradient), flux, np.full_like(flux, 0.25))
    expected = np.zeros((7, 6, 6))
    expected[:, range(5), range(5)] = slopes**2 * 16
    expected[:, :5, 5] = expected[:, 5, :5] = slopes**2 * theta * 16
    expected[:, 5, 5] = (16 + ((theta * slopes) ** 2).sum(axis=1)) * 16
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))


def test_the_matrix_is_that_of_the_least_squares_fit():
    """Its inverse is the covariance of estimates, seen in simulated fits."""
    rng = np.random.default_rng(1)
    gradient, flux = rng.standard_normal((1, 2, N_PIXELS)), rng.uniform(1, 2, (1, N_PIXELS))
    sigma = rng.uniform(0.1, 0.4, (1, N_PIXELS))
    covariance = np.linalg.inv(fisher_matrices(gradient, flux, sigma)[0])
    design = np.concatenate([gradient[0], flux]).T / sigma[0][:, None]
    fits = np.linalg.pinv(design) @ rng.standard_normal((N_PIXELS, 20000))
    np.testing.assert_allclose(np.cov(fits), covariance, atol=4e-2 * covariance.max())


def test_a_plain_loop_gives_the_same():
    rng = np.random.default_rng(2)
    gradient, flux = rng.standard_normal((3, 5, 11)), rng.uniform(1, 2, (3, 11))
    sigma = rng.uniform(0.1, 1, (3, 11))
    rows = [[*g, f] for g, f in zip(gradient, flux, strict=True)]
    slow = [
        [[sum(a[p] * b[p] / s[p] ** 2 for p in range(11)) for b in row] for a in row]
        for row, s in zip(rows, sigma, strict=True)
    ]
    np.testing.assert_allclose(fisher_matrices(gradient, flux, sigma), slow, rtol=1e-12)


def test_shapes_and_noise_are_checked():
    ones = np.ones((2, 5, 8))
    with pytest.raises(InputError, match=r"expected \(n, P, L\)"):
        fisher_matrices(ones, np.ones((2, 7)), np.ones((2, 8)))
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="not finite and above 0"):
            fisher_matrices(ones, np.ones((2, 8)), np.full((2, 8), bad))


# The mock survey's own gradient.


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock")
    write_survey(folder, n_train=600, n_val=1, n_test=30, seed=0)
    return folder


@pytest.fixture(scope="module")
def some_stars():
    found = generate(np.arange(128) + 2 * 10**9, seed=0)
    return found, np.stack([found.labels[name] for name in LABELS], axis=1)


def matrices_with(monkeypatch, some_stars, factor):
    found, labels = some_stars
    monkeypatch.setattr(mock_module, "STEPS", {name: factor * step for name, step in STEPS.items()})
    flux = found.flux.astype(np.float64)
    return fisher_matrices(mock_gradient(labels, flux, np.arange(128)), flux, found.error.astype(np.float64))


def test_finite_differences_have_converged(monkeypatch, some_stars):
    reference = prior_variances(matrices_with(monkeypatch, some_stars, 1.0))
    for factor in (0.5, 2.0):
        other = prior_variances(matrices_with(monkeypatch, some_stars, factor))
        differs = np.abs(other / reference - 1)[
            :, :5
        ]  # the amplitude's own jumps with the pixel of the median
        assert np.median(differs, axis=0).max() < 1e-3
        assert np.quantile(differs, 0.98) < 0.02
        assert abs(other[:, 1].mean() / reference[:, 1].mean() - 1) < 1e-3


def test_the_gradient_is_that_of_the_generator_star_by_star(some_stars):
    found, labels = some_stars
    picked = [3, 50]
    gradient = mock_gradient(labels[picked], found.flux[picked].astype(np.float64), np.array(picked))
    for place, star in enumerate(picked):
        for number, (name, step) in enumerate(STEPS.items()):
            spectra = []
            for sign in (1, -1):
                columns = {n: np.full(128, labels[star, k]) for k, n in enumerate(LABELS)}
                columns[name] = columns[name] + sign * step
                spectra.append(clean_flux(columns)[0].astype(np.float64))
            expected = (spectra[0] - spectra[1]) / (2 * step)
            np.testing.assert_allclose(gradient[place, number], expected, rtol=1e-9, atol=1e-12)


def test_neighbours_change_no_bit(some_stars):
    found, labels = some_stars
    flux, rows = found.flux.astype(np.float64), np.arange(128)
    whole = mock_gradient(labels, flux, rows)
    np.testing.assert_array_equal(mock_gradient(labels[40:43], flux[40:43], rows[40:43]), whole[40:43])


def test_spectra_that_the_generator_does_not_make_are_refused(some_stars):
    found, labels = some_stars
    flux = found.flux[:3].astype(np.float64)
    flux[1, 7] += 1e-3
    with pytest.raises(InputError, match=r"row 11: the mock survey .*--method emulator"):
        mock_gradient(labels[:3], flux, np.array([10, 11, 12]))
    cold = labels[:3].copy()
    cold[2, 0] = 1000.0
    with pytest.raises(InputError, match=r"row 12: the mock survey .* has no star with its labels \[1000\.0"):
        mock_gradient(cold, flux, np.array([10, 11, 12]))


# The emulator.


def quadratic(labels):
    """Spectra that are a quadratic of the scaled labels, and their gradient."""
    rng = np.random.default_rng(5)
    linear, square = rng.standard_normal((5, N_PIXELS)), 0.3 * rng.standard_normal((5, 5, N_PIXELS))
    scaled = (labels - 1.0) / SCALE
    flux = 10 + scaled @ linear + np.einsum("ni,ijp,nj->np", scaled, square, scaled)
    both = square + square.transpose(1, 0, 2)
    return flux, (linear + np.einsum("ijp,nj->nip", both, scaled)) / SCALE[:, None]


SCALE = np.array([300.0, 1.0, 0.8, 0.2, 0.3])


def test_the_emulator_finds_the_gradient_of_a_quadratic():
    rng = np.random.default_rng(6)
    labels = 1.0 + SCALE * rng.uniform(-1, 1, (3000, 5))
    flux, _ = quadratic(labels)
    inside = 1.0 + SCALE * rng.uniform(-0.5, 0.5, (20, 5))
    _, expected = quadratic(inside)
    found = local_emulator(labels, flux.astype(np.float32)).gradient(inside)
    assert found.shape == (20, 5, N_PIXELS)
    error = np.sqrt((((found - expected) * SCALE[:, None]) ** 2).mean(axis=(0, 2)))
    assert (error < 0.03 * np.sqrt(((expected * SCALE[:, None]) ** 2).mean(axis=(0, 2)))).all()


@pytest.mark.parametrize(
    ("change", "neighbours", "message"),
    [
        (lambda t: t[:50], 128, "50 train stars, fewer than --neighbours 128"),
        (lambda t: t, 21, "needs more than 21"),
        (lambda t: t * [1, 1, 1, 0, 1], 64, "label a_M is the same for all"),
    ],
)
def test_train_stars_that_tell_no_gradient_are_refused(change, neighbours, message):
    labels = np.random.default_rng(0).uniform(1, 2, (300, 5))
    with pytest.raises(ConfigError, match=message):
        scale_of(change(labels), neighbours=neighbours)


def test_train_stars_at_one_place_are_refused():
    labels = np.repeat(np.random.default_rng(0).uniform(1, 2, (3, 5)), 40, axis=0)
    emulator = local_emulator(labels, np.ones((120, 4), dtype=np.float32), neighbours=30)
    with pytest.raises(ConfigError, match="they tell no gradient"):
        emulator.gradient(labels[:1])


def test_the_emulator_comes_near_the_exact_matrices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    write_survey(folder, n_train=3000, n_val=1, n_test=150, seed=0)
    shared = {
        "train": (folder / "train/dataset.h5",),
        "out": folder / "fisher",
        "digests": folder / "digests",
    }
    data = {"test": (folder / "test/dataset.h5",)}
    exact, near = (
        read_fisher(make_fisher(FisherRequest(data=data, method=method, **shared))["test"]).matrices
        for method in ("mock", "emulator")
    )
    shares = [1 - prior_variances(found).mean(axis=0) * PRIOR for found in (exact, near)]
    np.testing.assert_allclose(shares[1][:3], shares[0][:3], atol=0.05)  # T_eff, log_g, M_H
    np.testing.assert_allclose(shares[1][3:5], shares[0][3:5], atol=0.25)
    np.testing.assert_array_equal(near[:, 5, 5], exact[:, 5, 5])


# Whole splits.


def asked(mock, folder, **changes):
    plain = {
        "data": {"test": (mock / "test/dataset.h5",)},
        "out": folder / "fisher",
        "digests": folder / "digests",
    }
    return FisherRequest(**{**plain, **changes})


def test_what_is_written_says_what_it_is_and_joins_by_row_and_star(mock, tmp_path):
    said = []
    path = make_fisher(asked(mock, tmp_path), say=said.append)["test"]
    assert said == [f"test: wrote {path} (30 rows, gradient by mock)"]
    found = read_fisher(path)
    assert found.parameters == PARAMETERS
    assert found.provenance["method"]["steps"] == dict(STEPS)
    assert (found.provenance["data_kind"], found.provenance["rows"]["n"]) == ("mock", 30)
    with open_spectra(mock / "test/dataset.h5") as spectra:
        flux, error = spectra.read(slice(None))
        for name in LABELS:
            np.testing.assert_array_equal(found.labels[name], spectra.labels(name))
    np.testing.assert_allclose(found.matrices[:, 5, 5], ((flux / error) ** 2).sum(axis=1), rtol=1e-12)
    labels = np.stack([found.labels[name] for name in LABELS], axis=1)
    gradient = mock_gradient(labels, flux, found.rows)
    expected = (gradient * (flux / error**2)[:, None]).sum(axis=2)
    np.testing.assert_allclose(found.matrices[:, :5, 5], expected, rtol=1e-9, atol=1e-6)
    same = find_fisher(
        tmp_path / "fisher", "test", input_digest=found.provenance["input"], noise_level=1, mask=None
    )
    np.testing.assert_array_equal(same.matrices, found.matrices)


def test_information_is_that_of_the_noise_level_and_of_the_pixels_kept(mock, tmp_path):
    mask = np.arange(4096) % 3 == 0
    for name, kept in (("a", mask), ("b", ~mask)):
        np.save(tmp_path / f"{name}.npy", kept)

    def found(**changes):
        return read_fisher(make_fisher(asked(mock, tmp_path, **changes))["test"])

    whole = found()
    np.testing.assert_allclose(found(noise_level=0.5).matrices, 4 * whole.matrices, rtol=1e-9)
    parts = [found(mask=tmp_path / f"{name}.npy") for name in "ab"]
    np.testing.assert_allclose(
        parts[0].matrices + parts[1].matrices,
        whole.matrices,
        rtol=1e-8,
        atol=1e-8 * np.abs(whole.matrices).max(),
    )
    assert len({one.key for one in (whole, *parts)}) == 3


def test_what_is_there_is_kept_and_a_dry_run_writes_nothing(mock, tmp_path):
    said = []
    path = make_fisher(asked(mock, tmp_path), say=said.append, dry_run=True)["test"]
    assert said == [f"test: 30 rows, gradient by mock, to compute: {path}"]
    assert not path.exists()
    make_fisher(asked(mock, tmp_path))
    before = path.stat().st_mtime_ns
    said.clear()
    make_fisher(asked(mock, tmp_path), say=said.append)
    assert said == [f"test: {path} is there and fresh"]
    assert path.stat().st_mtime_ns == before


def user_file(path, n_rows=200, *, seed=0, labels=None, **attributes):
    """Spectra that no generator of ours makes, with all labels."""
    rng = np.random.default_rng(seed)
    theta = 1.0 + SCALE * rng.uniform(-1, 1, (n_rows, 5))
    columns = {name: theta[:, k] for k, name in enumerate(LABELS)} | {"id": np.arange(n_rows)}
    columns.update(labels or {})
    flux = 5 + quadratic(theta)[0] / 10
    example = Example(
        {
            "wave": np.linspace(7100.0, 8850.0, N_PIXELS),
            "flux": flux,
            "error": np.full_like(flux, 0.2),
        },
        {name: values for name, values in columns.items() if values is not None},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    return (
        write_table_layout(path, example, attributes=attributes)
        if attributes
        else write_flat_layout(path, example)
    )


def test_files_of_users_get_an_emulator(tmp_path):
    train, test = user_file(tmp_path / "train.h5"), user_file(tmp_path / "test.h5", 9, seed=1)
    request = FisherRequest(
        data={"test": (test,)},
        train=(train,),
        neighbours=100,
        train_rows=150,
        out=tmp_path / "fisher",
        digests=tmp_path / "digests",
    )
    found = read_fisher(make_fisher(request)["test"])
    method = found.provenance["method"]
    assert (method["name"], method["n_train"], method["neighbours"]) == ("emulator", 150, 100)
    assert found.provenance["data_kind"] == "real"
    assert (np.linalg.eigvalsh(found.matrices) > 0).all()
    for changes in ({"neighbours": 90}, {"train_rows": 140}):
        other = make_fisher(dataclasses.replace(request, **changes), dry_run=True)["test"]
        assert other.stem != found.key[:16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": None}, "the emulator needs train spectra with labels"),
        ({"method": "mock"}, "is no file of the mock survey; use --method emulator"),
        ({"neighbours": 10}, "--neighbours is 10"),
        ({"train_rows": 100}, "100 train stars, fewer than --neighbours 128"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_anything_is_made(tmp_path, change, message):
    train, test = user_file(tmp_path / "train.h5"), user_file(tmp_path / "test.h5", 9, seed=1)
    plain = {"data": {"test": (test,)}, "train": (train,), "out": tmp_path / "f", "digests": tmp_path / "d"}
    with pytest.raises(ConfigError, match=message):
        make_fisher(FisherRequest(**{**plain, **change}), dry_run=True)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a_M": None}, "the {} file has no a_M"),
        (
            {"a_M": np.where(np.arange(200) == 6, np.nan, 0.1)},
            r"label a_M is missing .* 1 of 200 rows of {} \(first rows: \[6\]\)",
        ),
        ({"a_M": np.full(200, np.nan)}, "label a_M is an empty column: NaN or inf in all 200 rows of {}"),
        (
            {"a_M": np.where(np.arange(200) == 6, -999, 0.1)},
            r"{}: label a_M is -999 in 1 of 200 rows \(first rows: \[6\]\).* Fisher matrices need all",
        ),
    ],
)
def test_missing_labels_are_refused(tmp_path, split, labels, message):
    paths = {
        name: user_file(tmp_path / f"{name}.h5", seed=seed, labels=labels if name == split else None)
        for seed, name in enumerate(("train", "test"))
    }
    request = FisherRequest(
        data={"test": (paths["test"],)}, train=(paths["train"],), out=tmp_path / "f", digests=tmp_path / "d"
    )
    with pytest.raises(ConfigError, match=message.format(split)):
        make_fisher(request)
    assert not (tmp_path / "f").exists()


def test_stars_without_a_label_are_left_without_a_matrix(tmp_path):
    """Those of test get none, those of train serve no emulator; the others have what they had."""
    gaps = np.where(np.isin(np.arange(200), [0, 6]), np.nan, 0.1)
    whole = {"a_M": np.where(np.isnan(gaps), 0.1, gaps) + 1e-3 * np.arange(200)}
    gappy = {"a_M": whole["a_M"] + gaps - 0.1}
    made = {}
    for name, labels, changes in (
        ("all", whole, {}),
        ("some", gappy, {"missing_labels": "drop"}),
        ("all, drop", whole, {"missing_labels": "drop"}),
    ):
        train = user_file(tmp_path / "train.h5", seed=0)
        test = user_file(tmp_path / name / "test.h5", seed=1, labels=labels)
        request = FisherRequest(
            data={"test": (test,)}, train=(train,), out=tmp_path / "f", digests=tmp_path / "d", **changes
        )
        made[name] = read_fisher(make_fisher(request)["test"])
    kept = np.flatnonzero(np.isfinite(gaps))
    np.testing.assert_array_equal(made["some"].rows, kept)
    np.testing.assert_allclose(made["some"].matrices, made["all"].matrices[kept], rtol=1e-8)
    np.testing.assert_array_equal(made["some"].stars, made["all"].stars[kept])
    assert made["some"].provenance["rows"]["missing_labels"] == "drop"
    assert made["all, drop"].key == made["all"].key
    lacking = user_file(tmp_path / "lacking.h5", labels=gappy)
    request = FisherRequest(
        data={"test": (test,)},
        train=(lacking,),
        train_rows=150,
        out=tmp_path / "f",
        digests=tmp_path / "d",
        missing_labels="drop",
    )
    found = read_fisher(make_fisher(request)["test"]).provenance["method"]
    assert found["n_train"] == 150
    assert found["train_rows"] == digest_json([k for k in range(152) if k not in {0, 6}])
    late = user_file(
        tmp_path / "late.h5", labels={"a_M": np.where(np.arange(200) < 100, np.nan, whole["a_M"])}
    )
    asked = dataclasses.replace(request, train=(late,), train_rows=60, neighbours=40)
    found = read_fisher(make_fisher(asked)["test"]).provenance["method"]
    assert found["n_train"] == 60  # though the first 60 rows, and more, lack a label


def test_without_a_star_that_has_all_labels_there_is_no_matrix(tmp_path):
    half = np.arange(200) < 100
    labels = {"a_M": np.where(half, np.nan, 0.1), "C_M": np.where(half, 0.1, np.nan)}
    train, test = user_file(tmp_path / "train.h5"), user_file(tmp_path / "test.h5", labels=labels)
    request = FisherRequest(
        data={"test": (test,)},
        train=(train,),
        out=tmp_path / "f",
        digests=tmp_path / "d",
        missing_labels="drop",
    )
    with pytest.raises(ConfigError, match=r"no row of test has all of T_eff, log_g, M_H, a_M, C_M; Fisher"):
        make_fisher(request)


@pytest.mark.parametrize("labels", [{"a_M": None}, {"a_M": np.where(np.arange(200) == 6, np.nan, 0.1)}])
def test_a_refusal_says_why_all_labels_are_needed_and_what_to_do(tmp_path, labels):
    train, test = user_file(tmp_path / "train.h5"), user_file(tmp_path / "test.h5", labels=labels)
    request = FisherRequest(
        data={"test": (test,)}, train=(train,), out=tmp_path / "f", digests=tmp_path / "d"
    )
    with pytest.raises(ConfigError) as told:
        make_fisher(request)
    assert "need all of T_eff, log_g, M_H, a_M, C_M: the simulator makes a star's flux of them" in str(
        told.value
    )
    way_out = (
        "go without a ceiling" if labels["a_M"] is None else "--missing-labels drop (make: MISSING=drop)"
    )
    assert way_out in str(told.value)


def test_a_file_that_only_says_it_is_mock_is_refused(tmp_path):
    test = user_file(tmp_path / "test.h5", 9, blindspot_mock="1")
    request = FisherRequest(data={"test": (test,)}, out=tmp_path / "f", digests=tmp_path / "d")
    with pytest.raises(InputError, match="makes 4096 pixels, not 60"):
        make_fisher(request)


def test_a_file_changed_behind_its_digest_is_read_anew_by_the_next_run(tmp_path):
    train, test = user_file(tmp_path / "train.h5"), user_file(tmp_path / "test.h5", 9, seed=1)
    request = FisherRequest(
        data={"test": (test,)}, train=(train,), out=tmp_path / "f", digests=tmp_path / "d"
    )
    make_fisher(request, dry_run=True)
    before = test.stat()
    poke_flat(test)
    os.utime(test, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="the file changed meanwhile"):
        make_fisher(request)
    make_fisher(request)


def poke_flat(path):
    with h5py.File(path, "r+") as file:
        file["flux"][3, 5] += 0.25


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "x"}, UnknownName, "unknown method 'x'; known: auto, mock, emulator"),
        ({"noise_level": 0.0}, ConfigError, "without noise the information is endless"),
        ({"train_rows": 0}, ConfigError, "--train-rows is 0"),
        ({"on_bad_rows": "x"}, UnknownName, "policy for bad rows"),
        ({"missing_labels": "x"}, UnknownName, "policy for missing labels"),
    ],
)
def test_settings_are_checked(changes, error, message):
    with pytest.raises(error, match=message):
        FisherRequest(data={}, **changes)


def test_rows_are_read_in_order_with_their_errors_repaired(mock, tmp_path):
    with open_spectra(mock / "test/dataset.h5") as spectra:
        known = fingerprint(spectra, remember=None)
        parts = list(read_stars(spectra, known, np.array([1, 2, 9])))
        _, error = spectra.read(slice(None))
        np.testing.assert_array_equal(np.concatenate([rows for rows, _, _ in parts]), [1, 2, 9])
        np.testing.assert_array_equal(np.concatenate([e for _, _, e in parts]), error[[1, 2, 9]])


def test_the_command_writes_and_help_teaches(mock, tmp_path, capsys):
    verb = VERBS["fisher"].load()
    with pytest.raises(SystemExit):
        verb.settings.parse(["--help"], prog="python -m extract fisher")
    assert "what noisy flux can tell" in capsys.readouterr().out
    argv = ["--data", str(mock), "--out", str(tmp_path / "f"), "--digests", str(tmp_path / "d")]
    verb.run(verb.settings.parse([*argv, "--split", "test,val"], prog="x"))
    printed = capsys.readouterr().out
    assert printed.count("wrote") == 2
    assert len(list((tmp_path / "f").rglob("*.json"))) == 2
    with pytest.raises(ConfigError, match="no data: say --data"):
        verb.run(verb.settings.parse([], prog="x"))

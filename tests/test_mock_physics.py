"""The mock atmosphere against slow plain twins, and the trends a spectroscopist expects of it."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import wofz

from extract.mock import atmosphere, atomic, growth, lines, molecules, species, spectrum
from extract.mock.grid import LSF_REACH, LSF_SIGMA, PIXEL, frozen, lsf_weights, smooth, wave, wave_edges

SUN = {"T_eff": 5777.0, "log_g": 4.44, "M_H": 0.0, "a_M": 0.0, "C_M": 0.0}
CORNERS = {
    "T_eff": (3750, 6000),
    "log_g": (1, 5),
    "M_H": (-2.5, 0.75),
    "a_M": (-0.25, 0.5),
    "C_M": (-0.75, 0.5),
}


def stars(**changes):
    """Labels like the Sun's except where `changes` says; numbers and lists are broadcast to one length."""
    columns = np.broadcast_arrays(*(np.atleast_1d({**SUN, **changes}[name]).astype(float) for name in SUN))
    return dict(zip(SUN, columns, strict=True))


def corner_stars():
    return dict(
        zip(CORNERS, np.array(list(itertools.product(*CORNERS.values())), dtype=float).T, strict=True)
    )


def line_layer(labels):
    return atmosphere.solve_layer(
        labels, temperature=atmosphere.LINE_TEMPERATURE, depth=atmosphere.LINE_DEPTH
    )


def equivalent_width(flux, first, last):
    """Angstrom between `first` and `last` below the level of the brightest pixels within 15 A."""
    grid = wave()
    around = (grid > first - 15) & (grid < last + 15)
    level = np.median(np.sort(flux[:, around], axis=1)[:, -20:], axis=1)
    inside = (grid > first) & (grid < last)
    return ((1 - flux[:, inside] / level[:, None]) * PIXEL).sum(axis=1)


def calcium_triplet(flux):
    return equivalent_width(flux, 8488, 8508) + equivalent_width(flux, 8522, 8562)


def test_grid_is_that_of_the_users_files():
    assert wave().shape == (4096,)
    assert (wave()[0], wave()[-1]) == pytest.approx((7100.41357421875, 8849.58642578125), abs=1e-9)
    np.testing.assert_allclose(np.diff(wave_edges()), PIXEL, rtol=1e-9)


def test_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        wave()[0] = 0.0
    assert not frozen(np.zeros(3)).flags.writeable


def test_smoothing_is_a_plain_convolution():
    half = lsf_weights()
    kernel = np.concatenate([half[:0:-1], half])
    assert kernel.sum() == pytest.approx(1.0)
    spectra = np.random.default_rng(0).random((3, 200))
    padded = np.pad(spectra, ((0, 0), (LSF_REACH, LSF_REACH)), mode="edge")
    plain = np.stack([np.convolve(row, kernel, mode="valid") for row in padded])
    np.testing.assert_allclose(smooth(spectra), plain, rtol=1e-12)


@pytest.mark.parametrize(("temperature", "depth"), [(0.87, 0.15), (0.95, 0.45)])
def test_layer_is_the_root_of_charge_balance_and_hydrostatics(temperature, depth):
    labels = corner_stars()
    layer = atmosphere.solve_layer(labels, temperature=temperature, depth=depth)
    for star in range(len(labels["T_eff"])):
        one = {name: column[star] for name, column in labels.items()}
        kelvin = temperature * one["T_eff"]
        theta = species.THETA / kelvin
        h_minus = 1.08 * 4.158e-10 * 3.9e-17 * theta**2.5 * 10 ** (0.754 * theta)

        def pressures(log_electrons, *, one=one, kelvin=kelvin, h_minus=h_minus):
            electrons = 10.0**log_electrons
            opacity = h_minus * electrons + atmosphere.RAYLEIGH
            gas = 10 ** one["log_g"] * depth / opacity * atmosphere.MASS_PER_HYDROGEN
            free = 0.0
            for name in species.DONORS:
                ratio = species.saha_constant(name, np.float64(kelvin)) / electrons
                free += species.abundance(name, one["M_H"], one["a_M"]) * ratio / (1 + ratio)
            return gas, opacity, electrons - free * gas / atmosphere.NUCLEI_PER_HYDROGEN

        root = brentq(lambda x, solve=pressures: solve(x)[2], -6, 5, xtol=1e-12)
        gas, opacity, _ = pressures(root)
        assert layer.electron_pressure[star] == pytest.approx(10**root, rel=1e-6)
        assert layer.gas_pressure[star] == pytest.approx(gas, rel=1e-6)
        assert layer.opacity[star] == pytest.approx(opacity, rel=1e-6)


def test_growth_table_is_the_integral_of_the_saturated_profile():
    random = np.random.default_rng(1)
    for log_opacity, log_damping in zip(
        random.uniform(-3, 6, 12), random.uniform(-3.5, 0.5, 12), strict=True
    ):
        opacity, damping = 10**log_opacity, 10**log_damping

        def depth(v, opacity=opacity, damping=damping):
            ratio = opacity * wofz(v + 1j * damping).real
            return ratio / (1 + ratio)

        breaks = np.concatenate([np.linspace(0, 6, 7), np.geomspace(10, 3e4, 12)])
        plain = 2 * sum(quad(depth, a, b, limit=200)[0] for a, b in itertools.pairwise(breaks))
        looked_up = 10 ** growth.log_equivalent_width(np.array([log_opacity]), np.array([log_damping]))
        assert looked_up[0] == pytest.approx(plain, rel=0.02)


def test_growth_is_linear_flat_and_square_root():
    damping = np.full(2, -2.0)
    slopes = []
    for log_opacity in (-3.0, 1.6, 6.0):
        pair = growth.log_equivalent_width(log_opacity + np.array([-0.2, 0.2]), damping)
        slopes.append((pair[1] - pair[0]) / 0.4)
    assert slopes[0] == pytest.approx(1.0, abs=0.01)
    assert slopes[1] < 0.3
    assert slopes[2] == pytest.approx(0.5, abs=0.03)


def test_growth_uses_the_border_outside_its_table():
    far = growth.log_equivalent_width(np.array([-9.0, 99.0]), np.array([-9.0, 9.0]))
    np.testing.assert_allclose(far, growth.growth_table()[[0, -1], [0, -1]], rtol=1e-6)


def test_line_lists_are_on_the_grid_and_of_known_species():
    for line_list in (lines.strong_lines(), lines.weak_lines()):
        assert ((line_list.wavelength > wave()[0]) & (line_list.wavelength < wave()[-1])).all()
        assert all(name.split()[0] in species.ELEMENTS for name in line_list.species)
        assert len(line_list.of_species) == len(line_list.strength) == len(line_list.excitation)
    assert set(species.VAN_DER_WAALS) >= set(lines.strong_lines().species)


def test_weak_lines_equal_a_dense_sum_of_gaussians():
    labels = corner_stars()
    layer = line_layer(labels)
    fast = np.zeros((len(labels["T_eff"]), len(wave())), dtype=np.float32)
    atomic.add_weak_lines(fast, labels, layer)
    weak = lines.weak_lines()
    widths = atomic.line_strengths(labels, layer, weak).width
    profiles = np.exp(-0.5 * ((wave() - weak.wavelength[:, None]) / LSF_SIGMA) ** 2)
    plain = widths @ (profiles / np.sqrt(2 * np.pi) / LSF_SIGMA)
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_strong_line_has_the_equivalent_width_of_the_curve_of_growth():
    labels = stars(T_eff=5000, log_g=[1.5, 3.0, 4.5], M_H=-1.0)
    layer = line_layer(labels)
    light = np.ones((3, len(wave())), dtype=np.float32)
    atomic.multiply_strong_lines(light, labels, layer)
    strong = lines.strong_lines()
    number = int(np.argmin(np.abs(strong.wavelength - 8806.76)))  # Mg I stands alone
    near = np.abs(wave() - 8806.76) < 8
    measured = ((1 - light[:, near] / light[:, near].max(axis=1, keepdims=True)) * PIXEL).sum(axis=1)
    expected = atomic.line_strengths(labels, layer, strong).width[:, number]
    np.testing.assert_allclose(measured, expected, rtol=0.1)


def test_solar_calcium_lines_have_about_their_observed_widths():
    flux = spectrum.clean_flux(stars())
    assert equivalent_width(flux, 8488, 8508)[0] == pytest.approx(1.5, abs=0.3)  # Moore et al. 1966: 1.46 A
    assert equivalent_width(flux, 8522, 8562)[0] == pytest.approx(3.7, abs=0.6)  # 3.67 A


@pytest.mark.parametrize("T_eff", [4500.0, 5000.0, 5500.0])
@pytest.mark.parametrize("M_H", [-1.5, 0.0])
def test_calcium_triplet_strengthens_as_gravity_falls(T_eff, M_H):
    widths = calcium_triplet(spectrum.clean_flux(stars(T_eff=T_eff, M_H=M_H, log_g=[1.0, 2.0, 3.0, 4.0])))
    assert (np.diff(widths[:3]) < 0).all()
    assert widths[3] < 0.95 * widths[0]  # the wings of metal-poor dwarfs grow again with pressure


@pytest.mark.parametrize("T_eff", [4500.0, 5000.0, 5500.0])
def test_calcium_triplet_strengthens_with_metals_and_alpha(T_eff):
    metals = spectrum.clean_flux(stars(T_eff=T_eff, log_g=2.0, M_H=[-2.5, -1.5, -0.5, 0.5]))
    # little carbon: with C / O near 1, at the lowest alpha, CN would blend into the measure
    alpha = spectrum.clean_flux(stars(T_eff=T_eff, log_g=2.0, C_M=-0.75, a_M=[-0.25, 0.0, 0.25, 0.5]))
    assert (np.diff(calcium_triplet(metals)) > 0).all()
    assert (np.diff(calcium_triplet(alpha)) > 0).all()


@pytest.mark.parametrize("T_eff", [3800.0, 4200.0])
def test_sodium_strengthens_with_gravity_in_cool_dwarfs(T_eff):
    flux = spectrum.clean_flux(stars(T_eff=T_eff, log_g=[3.0, 4.0, 5.0]))
    assert (np.diff(equivalent_width(flux, 8178, 8200)) > 0).all()


def test_continuum_follows_the_temperature():
    flux = spectrum.clean_flux(stars(T_eff=[4200.0, 4800.0, 5400.0, 6000.0], M_H=-2.5))
    blue, red = (np.median(flux[:, part], axis=1) for part in (slice(0, 400), slice(-400, None)))
    assert (np.diff(blue / red) > 0).all()


def test_continuum_is_planck_s_law():
    temperature = np.array([3750.0, 6000.0])
    colour = 1.04166667 * temperature[:, None]
    plain = wave() ** -5 / np.expm1(1.4388e8 / wave() / colour)
    pivot = 8000.0**-5 / np.expm1(1.4388e8 / 8000.0 / colour)
    np.testing.assert_allclose(spectrum.continuum(temperature), plain / pivot, rtol=1e-5)


def test_titanium_oxide_stands_in_cool_stars_only():
    labels = stars(T_eff=[3750.0, 4000.0, 4500.0, 5000.0, 6000.0])
    depth = molecules.band_depths(labels, line_layer(labels))["TiO"]
    assert (np.diff(depth) < 0).all()
    assert depth[0] > 0.2
    assert (depth[3:] < 0.01).all()
    flux = spectrum.clean_flux(labels)
    head = flux[:, (wave() > 7600) & (wave() < 7650)].mean(axis=1)
    before = flux[:, (wave() > 7560) & (wave() < 7580)].mean(axis=1)
    assert head[0] / before[0] < 0.75
    assert head[3] / before[3] > 0.95


def test_carbon_makes_cyanogen_and_unmakes_titanium_oxide():
    labels = stars(T_eff=4000.0, log_g=1.5, C_M=[-0.75, -0.25, 0.0, 0.25, 0.5])
    depth = molecules.band_depths(labels, line_layer(labels))
    assert (np.diff(depth["CN"]) > 0).all()
    assert (np.diff(depth["TiO"]) < 0).all()


def test_band_templates_have_unit_mean_and_degrade_to_the_red():
    for molecule in molecules.HEADS:
        template = molecules.band_template(molecule)
        assert template.mean() == pytest.approx(1.0)
        assert (template >= 0).all()
    template = molecules.band_template("TiO")
    bluer, redder = ((wave() > a) & (wave() < b) for a, b in ((7550, 7585), (7592, 7627)))
    assert template[redder].mean() > 3 * template[bluer].mean()


def test_flux_is_finite_positive_and_has_its_median_in_every_corner():
    labels = corner_stars()
    flux = spectrum.clean_flux(labels)
    assert flux.dtype == np.float32
    assert np.isfinite(flux).all()
    assert (flux > 0).all()
    np.testing.assert_allclose(np.median(flux, axis=1), spectrum.MEDIAN_FLUX, rtol=1e-6)


@pytest.mark.parametrize("label", list(SUN))
def test_every_label_shows_in_the_flux(label):
    giant = {"T_eff": 4300.0, "log_g": 2.0, label: CORNERS[label]}
    flux = spectrum.clean_flux(stars(**giant))
    assert np.abs(flux[0] - flux[1]).max() > 0.01

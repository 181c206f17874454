"""The protocol that probes read features by: the fake has it, and so has the real view."""

from probes_fakes import make_view

from probes.views import FeatureView, draw_of, noise_level_of


def test_fake_view_meets_the_protocol():
    assert isinstance(make_view("train"), FeatureView)


def test_draw_and_level_of_a_view_without_noise():
    view = make_view("test", level=None, draw=None)
    assert draw_of(view) == 0
    assert noise_level_of(view) is None


def test_draw_and_level_come_from_the_provenance():
    view = make_view("test", level=0.5, draw=3)
    assert (draw_of(view), noise_level_of(view)) == (3, 0.5)


def test_the_real_view_meets_the_protocol():
    from cache.view import FeatureView as Real

    wanted = [name for name in vars(FeatureView) if not name.startswith("_")]
    assert [name for name in wanted if not hasattr(Real, name)] == []

"""What a command refuses before anything is extracted: names, numbers and parameters that cannot be meant."""

from cache.arrays import check_spelling, stored_directions

from .cells import CellChoices, requests
from .default_controls import without_default
from .spec import check_request, check_val
from .splits import check_crossings
from .stores import ALL_LAYERS, check_all_alone


def check_choices(choices: CellChoices, *, val: bool = True) -> None:
    """Raise ConfigError or UnknownName for choices that no stores could meet; labels are for the spectra to know.

    `val` is whether there will be a val split: without one no head may choose on it.
    """
    check_crossings(choices.cross)
    check_all_alone(choices.layers)
    for direction in choices.directions:
        stored_directions(direction)
    for request in requests(without_default(choices)):
        for part in request.features:
            if (part.layer,) != ALL_LAYERS:
                check_spelling(part.layer, part.pooling)
        check_request(request)
        request.make_head()
        check_val(request, there=val)

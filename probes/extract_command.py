"""The extract command that makes stores which are missing, from the one that made those that are there."""

from collections.abc import Mapping

from cache.extract_command import with_flags

from .views import FeatureView


def extract_command(view: FeatureView, flags: Mapping[str, str]) -> str:
    """The command that made the stores of a view, with other flags; what the stores do not tell is in capitals."""
    return "run " + with_flags(str(getattr(view, "about", {}).get("command", "")), flags)

"""The verbs of `python -m cache`."""

from collections.abc import Callable, Mapping

from .commandline import Verb
from .verbs_check import DigestSettings, RepairSettings, VerifySettings, run_digest, run_repair, run_verify
from .verbs_list import LsSettings, run_ls
from .verbs_prune import PruneSettings, run_prune
from .verbs_show import ShowSettings, run_show
from .verbs_why import WhySettings, run_why

VERBS: Mapping[str, Callable[[], Verb]] = {
    "ls": lambda: Verb(LsSettings, run_ls),
    "show": lambda: Verb(ShowSettings, run_show),
    "verify": lambda: Verb(VerifySettings, run_verify),
    "repair": lambda: Verb(RepairSettings, run_repair),
    "why": lambda: Verb(WhySettings, run_why),
    "digest": lambda: Verb(DigestSettings, run_digest),
    "prune": lambda: Verb(PruneSettings, run_prune),
}

"""The verbs of `python -m cache`."""

from collections.abc import Mapping

from .commandline import Verb
from .verbs_check import DigestSettings, RepairSettings, VerifySettings, run_digest, run_repair, run_verify
from .verbs_list import LsSettings, run_ls
from .verbs_prune import PruneSettings, run_prune
from .verbs_show import ShowSettings, run_show
from .verbs_why import WhySettings, run_why

VERBS: Mapping[str, Verb] = {
    "ls": Verb(LsSettings, run_ls),
    "show": Verb(ShowSettings, run_show),
    "verify": Verb(VerifySettings, run_verify),
    "repair": Verb(RepairSettings, run_repair),
    "why": Verb(WhySettings, run_why),
    "digest": Verb(DigestSettings, run_digest),
    "prune": Verb(PruneSettings, run_prune),
}

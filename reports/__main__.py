"""`python -m reports`."""

import sys

from cache.commandline import main

from .cli import VERBS

if __name__ == "__main__":
    sys.exit(main("reports", VERBS))

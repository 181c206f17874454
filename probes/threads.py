"""One fixed number of threads for linear algebra: how many there are changes the last bits of a sum."""

import contextlib
import importlib
from collections.abc import Iterator

from threadpoolctl import threadpool_limits

LIBRARIES = ("numpy", "scipy.linalg")
"""Each brings a BLAS of its own; one that is loaded later would not feel the limit."""


@contextlib.contextmanager
def blas_threads(n_threads: int) -> Iterator[None]:
    """Let linear algebra use `n_threads` in this process; heads limit their own libraries by their `threads`.

    The limit is that of the process: two fits at once need two processes.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
    with threadpool_limits(limits=n_threads, user_api="blas"):
        yield

"""Whether CUDA may round the inputs of float32 products to TF32, kept right while threads come and go."""

import contextlib
import threading
from collections.abc import Iterator

import torch


class _Flags:
    """torch's two flags, which belong to the whole process, and who wants what of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exact = self._all = 0
        self._before = (False, False)

    def change(self, *, exact: int, everyone: int) -> None:
        """Count who comes or goes; TF32 is allowed while somebody is here and all who are here allow it."""
        convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
        with self._lock:
            if not self._all:
                self._before = convolutions.allow_tf32, products.allow_tf32
            self._exact, self._all = self._exact + exact, self._all + everyone
            allowed = (not self._exact,) * 2 if self._all else self._before
            convolutions.allow_tf32, products.allow_tf32 = allowed


_FLAGS = _Flags()


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """TF32 with `tf32` only, in the whole process; torch's own default differs.

    Where both are wanted at once, by other threads or an outer context, float32 is exact.
    """
    exact = int(precision != "tf32")
    _FLAGS.change(exact=exact, everyone=1)
    try:
        yield
    finally:
        _FLAGS.change(exact=-exact, everyone=-1)


def exact_float32() -> contextlib.AbstractContextManager[None]:
    """Float32 products without TF32."""
    return float32_products("fp32")

"""Items with equal keys, together."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def grouped(items: Iterable[T], by: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by their key, groups in the order of their first items, items in their own."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    return groups

"""Heads on cached feature vectors: fit, choose on val, score once on test."""

from .registry import BASELINES, HEADS, make_probe

__all__ = ["BASELINES", "HEADS", "make_probe"]

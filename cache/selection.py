"""A selection: the stores that one extraction stands for, handed from `extract run` to `probes run`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .atomic import publish_json
from .canonical import read_sealed
from .errors import ConfigError, NotExtracted
from .header import read_header
from .view import FeatureView, find
from .want import Want


@dataclass(frozen=True)
class SplitSelection:
    """What singles out the stores of one split."""

    input: str
    noise_level: float
    draws: tuple[int | None, ...]


@dataclass(frozen=True)
class Selection:
    """Stores of one family, by split; `encoder` is a display name."""

    root: Path
    family: str
    encoder: str
    splits: Mapping[str, SplitSelection]

    def of(self, split: str) -> SplitSelection:
        """What singles out one split; NotExtracted when the selection is without it."""
        if split not in self.splits:
            raise NotExtracted(
                f"the selection holds {', '.join(self.splits)}, not {split!r}; extract that split as well"
            )
        return self.splits[split]

    def views(self, split: str, arrays: tuple[tuple[str, str, str], ...]) -> list[FeatureView]:
        """One checked view per noise draw of a split; raises what `find` raises."""
        chosen = self.of(split)
        return [
            find(
                self.root,
                split,
                Want(
                    arrays=arrays,
                    family=self.family,
                    input=chosen.input,
                    draw=draw,
                    noise_level=chosen.noise_level,
                ),
            )
            for draw in chosen.draws
        ]


def select(root: Path, stores: Mapping[str, Iterable[Path]], *, encoder: str) -> Selection:
    """The selection of the stores that an extraction returned; ConfigError if they are of several families."""
    splits = {}
    families = set()
    for split, paths in stores.items():
        provenances = []
        for path in paths:
            header = read_header(path)
            families.add(header.family)
            provenances.append(header.provenance)
        draws = tuple(sorted({p["noise"]["draw"] for p in provenances}, key=lambda draw: draw or 0))
        splits[split] = SplitSelection(provenances[0]["input"], provenances[0]["noise"]["level"], draws)
    if len(families) != 1:
        raise ConfigError(f"the stores belong to {len(families)} families; a selection needs exactly one")
    return Selection(root, families.pop(), encoder, splits)


def write_selection(path: Path, selection: Selection) -> None:
    """Write a selection whole; the root is kept as it was given."""
    splits = {split: asdict(chosen) for split, chosen in selection.splits.items()}
    publish_json(
        path,
        {
            "root": str(selection.root),
            "family": selection.family,
            "encoder": selection.encoder,
            "splits": splits,
        },
    )


def read_selection(path: Path) -> Selection:
    """Read and check a selection; NotExtracted when there is none."""
    try:
        content: dict[str, Any] = read_sealed(path)
    except FileNotFoundError:
        raise NotExtracted(
            f"{path}: no such selection; write one with python -m extract run ... --selection {path}"
        ) from None
    splits = {
        split: SplitSelection(chosen["input"], chosen["noise_level"], tuple(chosen["draws"]))
        for split, chosen in content["splits"].items()
    }
    return Selection(Path(content["root"]), content["family"], content["encoder"], splits)

"""What the demo finds, from the records in docs/demo_records: README.md's short table and figure, docs/demo_table.md.

`--copy-from artifacts` first replaces the committed records by those of a demo run, if every store is fresh.
`--check` writes nothing and fails when the two files are not what the records say.
"""

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cache.records import read_records, record_path
from reports.comparable import ranked_sets
from reports.comparisons import comparisons_of
from reports.figure_overview import overview_figure
from reports.planned import chosen_latent
from reports.render_markdown import markdown
from reports.repeats import without_repeats
from reports.rows import frame_of
from reports.source import store_state
from reports.tables import controls_table
from reports.verdict import scored_name
from reports.vocabulary import LATENT

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
FULL = HERE / "demo_table.md"
RECORDS = HERE / "demo_records"
FIGURE = HERE / "overview_log_g.png"
BEGIN, END = "<!-- demo table: begin -->", "<!-- demo table: end -->"
LABEL = "log_g"
SHORT = ("role", "layer", "pooling", "error_input_text", "d", "test_r2", "behind")
"""Keys of the columns that README shows; head, direction and numbers of stars are the same in all its rows."""
MORE = (
    "Bold: best, by paired differences on the same stars, corrected for their number. [The whole table]"
    "(docs/demo_table.md) has errors in dex, numbers of stars, selectivity, flags, and how every number was made."
)


def main() -> int:
    """Copy, render or check, as the flags say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copy-from", type=Path, help="artifacts folder of a demo run")
    parser.add_argument("--check", action="store_true", help="fail when README.md differs from the records")
    flags = parser.parse_args()
    if flags.copy_from is not None:
        copy(flags.copy_from)
    full, short = tables()
    wanted = {README: with_table(README.read_text(), short), FULL: full}
    if flags.check:
        differ = [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        if differ:
            sys.stderr.write(f"not what docs/demo_records hold: {', '.join(differ)}; run make readme\n")
        return 1 if differ else 0
    for path, text in wanted.items():
        path.write_text(text)
    records = read_records(RECORDS)
    frame = frame_of(records, lambda _key, _digest: "fresh")
    overview_figure(frame, LABEL, FIGURE, paired=comparisons_of(records))
    return 0


def copy(artifacts: Path) -> None:
    """Replace the committed records by those of a run, without the pairs of labels not shown; refuse stale ones."""
    state = store_state(artifacts / "features")
    records = read_records(artifacts / "results")
    for record in records:
        stale = [
            key for key, digest in record.result.get("stores", {}).items() if state(key, digest) != "fresh"
        ]
        if stale:
            sys.exit(
                f"record {record.run_id}: store {stale[0]} is {state(stale[0], None)}; run make demo first"
            )
    shutil.rmtree(RECORDS, ignore_errors=True)
    (RECORDS / "records").mkdir(parents=True)
    for record in records:
        if record.kind != "comparison" or record.spec["label"] == LABEL:
            shutil.copy(record_path(artifacts / "results", record.run_id), RECORDS / "records")


def tables() -> tuple[str, str]:
    """One head, latents beside inputs and controls: docs/demo_table.md whole, and README's part of it."""
    # the stores were fresh when the records were copied; they are not committed
    records = read_records(RECORDS)
    frame = without_repeats(frame_of(records, lambda _key, _digest: "fresh"), comparisons_of(records))
    same_head = (frame["selection"] == "val_r2") & (frame["head"] == "ridge")
    one_way = frame["direction"].isin(["concat"]) | frame["layer"].isin(["input_flux", "input_error"])
    baseline = frame["control"] == "mean_predictor"
    shown = (same_head & one_way) | baseline
    rows = frame[shown].reset_index(drop=True)
    audits = [
        r for r in records if r.kind == "audit" and r.spec["label"] == LABEL and r.result["status"] == "ok"
    ]
    table = controls_table(rows, LABEL, comparisons_of(records), audits=audits)
    counted = left_out(frame, shown)
    columns = tuple(column for column in table.columns if column.key in SHORT)
    short = replace(table, columns=columns, notes=())
    return (
        f"# What the demo finds: the whole table\n\n{counted}\n\n{markdown([table])}",
        f"{counted}\n\n{markdown([short])}\n{MORE}",
    )


def left_out(frame: pd.DataFrame, shown: "pd.Series[bool]") -> str:
    """One line on the rows of the label that the table leaves out, and which latent row is best on val among all."""
    of_label = frame["label"] == LABEL
    latents = of_label & (frame["role"] == LATENT)
    best = chosen_latent(ranked_sets(frame[of_label])[0])
    assert best is not None
    counts = f"{(of_label & shown).sum()} of the {of_label.sum()} rows of {LABEL}"
    return (
        f"Shown are the rows of ridge with its penalty chosen on val (`alpha=val`), on concatenated directions or on "
        f"inputs, and the mean predictor: {counts}, {(latents & shown).sum()} of the {latents.sum()} latent ones. "
        f"`make demo` shows all; of these val prefers {scored_name(best)}."
    )


def with_table(text: str, rendered: str) -> str:
    """README with the part between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rendered.strip()}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())

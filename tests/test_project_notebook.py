"""The notebook of docs/ runs from top to bottom, on tiny stores and without jupyter."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from store_fakes import make_store, provenance, row_table

from cache.arrays import ArrayName
from cache.selection import select, write_selection

NOTEBOOK = Path(__file__).parents[1] / "docs/probing.ipynb"
ARRAY = ArrayName("enc_pre_latent", "forward", "seg_mean_K8")
N = {"train": 40, "val": 20, "test": 15}


def code_cells():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project folder with the demo's selection; the notebook is started in a folder below."""
    root = tmp_path / "artifacts/features"
    stores = {}
    for k, (split, n) in enumerate(N.items()):
        labels = {"log_g": np.linspace(1, 5, n)}
        about = provenance(split, arrays=(ARRAY,), n=n, input=str(k) * 64)
        stores[split] = [make_store(root, about, rows=row_table(n, first_star=1000 * k, labels=labels))]
    write_selection(root / "demo_trained.json", select(root, stores, encoder="tiny"))
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    return tmp_path


def test_the_notebook_runs(folder, capsys):
    mpl.use("Agg")
    names = {}
    for source in code_cells():
        exec(compile(source, str(NOTEBOOK), "exec"), names)
    assert names["head"].chosen_["alpha"]
    assert len(names["val_r2"]) == len(names["segments"]) > 1
    assert "test {'r2':" in capsys.readouterr().out
    names["plt"].close("all")


def test_the_notebook_carries_no_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)

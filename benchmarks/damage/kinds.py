"""The kinds of faults, each injected equally often."""

from collections.abc import Mapping

from . import documents, files, folders
from .files import Maker

KINDS: Mapping[str, Maker] = {
    "bit flip, chunk body": files.flipped("chunk", "body"),
    "bit flip, chunk tail": files.flipped("chunk", "tail"),
    "bit flip, header": files.flipped("header", "all"),
    "bit flip, other metadata": files.flipped("metadata", "all"),
    "bit flip, commit record": files.flipped("record", "all"),
    "bit flip, rows/labels/coordinates": files.flipped("column", "all"),
    "truncation to nothing": files.cut("nothing"),
    "truncation to half": files.cut("half"),
    "truncation by one byte": files.cut("minus one"),
    "bytes appended": files.appended,
    "zeroed page": files.zeroed,
    "file deleted": files.deleted,
    "file became a folder": files.became_folder,
    "folder deleted": folders.lost,
    "chunks swapped, same array": files.swapped_chunks("same array"),
    "chunks swapped, other layer": files.swapped_chunks("other array"),
    "chunks swapped, other direction": files.swapped_chunks("other direction"),
    "rows/labels/coordinates swapped": files.swapped_chunks("columns"),
    "JSON files swapped": files.swapped_chunks("JSON files"),
    "folders swapped": folders.swapped,
    "stale chunk": files.stale("chunk"),
    "stale commit record": files.stale("record"),
    "stale rows/labels/coordinates": files.stale("column"),
    "stale header": files.stale("header"),
    "JSON edit, header": documents.altered("header", "rest"),
    "JSON edit, provenance": documents.altered("header", "provenance"),
    "JSON edit, commit record": documents.altered("record"),
    "JSON edit, other metadata": documents.altered("metadata"),
    "JSON white space": documents.respaced,
    "folder renamed": folders.renamed,
    "store or split renamed": folders.renamed_store,
    "extra file": folders.extra_file,
    "extra folder": folders.extra_folder,
}

"""Opening HDF5 files of strangers: nothing outside the named file is ever read through it."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import h5py

from cache.errors import InputError, did_you_mean

FILE_SHARE = 4
"""Of the files that may be open, a list of files may need half: it is open for the check and for the computation."""
MAX_SOFT_LINKS = 8
"""Soft links followed before the chain is called a loop."""


def open_hdf5(path: Path) -> h5py.File:
    """Open `path` read-only; InputError when it is missing, a folder, no HDF5 file or cut short."""
    _check_name(path)
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, expected an HDF5 file; name the file inside it, "
            "or a shard_index.txt that lists several"
        )
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(
            f"{path}: does not exist; expected an HDF5 file, a shard_index.txt, or a folder of splits"
            f"{did_you_mean(path.name, beside)}"
        )
    try:
        os.close(os.open(path, os.O_RDONLY))  # HDF5 hides why it cannot
        if not h5py.is_hdf5(path):
            raise InputError(
                f"{path}: is not an HDF5 file; expected one written by pfsspec, or the flat layout"
            )
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        if error.errno == errno.EMFILE:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            raise InputError(
                f"{path}: too many files are open at once; this process may open {limit}, and every file of the list "
                "stays open, in each pass anew: join the files to fewer larger ones, or have the limit raised (ulimit "
                "-Hn)"
            ) from error
        raise InputError(
            f"{path}: cannot be opened as HDF5 ({error}); it may be cut short or not readable by you"
        ) from error


def allow_open_files(n_files: int) -> None:
    """Raise this process's limit of open files to what so many need, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # no further: where there is no hard limit, a system may still refuse an unlimited soft one
    wanted = FILE_SHARE * n_files if hard == resource.RLIM_INFINITY else min(FILE_SHARE * n_files, hard)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_name(path: Path) -> None:
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{str(path)!a}: its name, or that of a folder above it, is not UTF-8; rename it: names are noted in the "
            "stores"
        ) from None


def find(group: h5py.Group, path: str) -> Any:
    """The object at `path` below `group` (absolute paths: below the root), or None if there is none.

    Walks link by link, so that an external link raises InputError before HDF5 opens the other file; soft links
    are followed inside the file only. A data set kept in external files or mapped from others raises too.
    """
    found = _walk(group, path, MAX_SOFT_LINKS)
    if isinstance(found, h5py.Dataset):
        _refuse_foreign_storage(found)
    return found


def _walk(group: h5py.Group, path: str, soft_links_left: int) -> Any:
    here: Any = group.file if path.startswith("/") else group
    for name in (part for part in path.split("/") if part not in ("", ".")):
        if not isinstance(here, h5py.Group):
            return None
        here = _follow(here, name, soft_links_left)
    return here


def _follow(group: h5py.Group, name: str, soft_links_left: int) -> Any:
    where = f"{group.file.filename}: {group.name.rstrip('/')}/{name}"
    try:
        link = group.get(name, getlink=True)
    except TypeError as error:
        raise InputError(f"{where} is a user-defined link; expected the data in the file itself") from error
    if isinstance(link, h5py.ExternalLink):
        raise InputError(
            f"{where} is a link to another file ({link.filename!r}); expected the data in the file itself: "
            "copy them in, e.g. with h5copy or h5repack"
        )
    if isinstance(link, h5py.SoftLink):
        if soft_links_left == 0:
            raise InputError(
                f"{where} leads through too many soft links (a loop?); expected the data themselves"
            )
        return _walk(group, link.path, soft_links_left - 1)
    return None if link is None else group[name]


def _refuse_foreign_storage(dataset: h5py.Dataset) -> None:
    where = f"{dataset.file.filename}: {dataset.name}"
    if dataset.is_virtual:
        raise InputError(
            f"{where} is a virtual data set, made of other files; expected the data in the file itself: "
            "rewrite it, or name the source files one by one"
        )
    if dataset.external:
        raise InputError(
            f"{where} keeps its data in {dataset.external[0][0]!r}, outside the file; expected them in "
            "the file itself: rewrite it, e.g. with h5repack"
        )

"""Which files a path stands for: itself, or those that a `shard_index.txt` lists."""

from pathlib import Path

from cache.errors import InputError

INDEX_SUFFIX = ".txt"


def listed_files(path: Path) -> list[Path]:
    """The file itself, or the files that an index lists: one path a line, relative to its folder, # for comments.

    Raises InputError for an index that cannot be read, lists nothing, lists a file that is not there, or one twice.
    """
    if path.suffix != INDEX_SUFFIX or path.is_dir():
        return [path]
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as a list of files ({error}); expected one path a line"
        ) from error
    listed = {
        number: path.parent / line
        for number, line in enumerate(lines, start=1)
        if line and not line.startswith("#")
    }
    if not listed:
        raise InputError(f"{path}: lists no file; expected one path a line, relative to {path.parent}")
    first: dict[Path, int] = {}
    for number, file in listed.items():
        if not file.exists():
            raise InputError(
                f"{path}: lists {str(file)!r}, which does not exist; paths are relative to {path.parent}"
            )
        before = first.setdefault(file.resolve(), number)
        if before != number:
            raise InputError(
                f"{path}: line {number} lists {lines[number - 1]!r}, the file of line {before}; its rows would count "
                "twice: take one of the lines away"
            )
    return list(listed.values())

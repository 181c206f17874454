"""Several values in one text: commas between them, except within brackets or quotes."""

from .errors import ConfigError

CLOSING = {"[": "]", "{": "}", "(": ")"}
QUOTES = "\"'"
BEFORE_QUOTE = " ,=:[{("
"""A quote opens at the start of a value; within a name (`o'clock`) it is a letter."""


def split_values(text: str) -> tuple[str, ...]:
    """The values in `text`, without the blanks around them: `a=[1,2], b=3` are `a=[1,2]` and `b=3`.

    A comma within [] {} () or quotes parts nothing. Brackets around the whole list, and quotes around a whole value,
    are taken off. Raises ConfigError for brackets and quotes that do not match.
    """
    whole = text.strip()
    values = _parts(whole)
    if whole[:1] == "[" and whole[-1:] == "]" and len(values) == 1:
        values = _parts(whole[1:-1]) if whole[1:-1].strip() else []
    return tuple(_unquoted(value) for value in values)


def _parts(text: str) -> list[str]:
    """`text` between the commas that part it."""
    parts, start, previous = [], 0, " "
    awaited = ""  # what closes all that is open, the innermost last
    for at, letter in enumerate(text):
        if awaited and letter == awaited[-1]:
            awaited = awaited[:-1]
        elif awaited and awaited[-1] in QUOTES:
            pass
        elif letter in QUOTES and previous in BEFORE_QUOTE:
            awaited += letter
        elif letter in CLOSING:
            awaited += CLOSING[letter]
        elif letter in CLOSING.values():
            raise ConfigError(
                f"{text!r}: {letter!r} closes nothing that is open there; brackets must match, or stand in quotes"
            )
        elif letter == "," and not awaited:
            parts.append(text[start:at].strip())
            start = at + 1
        previous = letter
    if awaited:
        raise ConfigError(
            f"{text!r}: {awaited[-1]!r} is missing at the end. Commas within brackets or quotes part no values, so "
            "they must be closed"
        )
    return [*parts, text[start:].strip()]


def _unquoted(value: str) -> str:
    """A value without the quotes that stand around all of it."""
    quote = value[:1]
    if len(value) > 1 and quote in QUOTES and value.find(quote, 1) == len(value) - 1:
        return value[1:-1]
    return value

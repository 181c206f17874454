"""Reading column names that pandas pickled into HDF5 attributes, without unpickling anything.

PyTables pickles a list of strings with protocol 0, which is text: `(` opens the list, `l` ends it, `V...` and `S...`
are strings to the end of the line, `p<n>` numbers the object just made, `a` appends it, `.` ends the pickle (opcodes
and their meaning: module `pickletools` of the standard library). This parser knows these and no others, so nothing
can be imported, called or built but a list of strings.
"""

import re

from cache.errors import InputError

_TOKEN = re.compile(
    rb"(?P<open>\()|(?P<list>l)|(?P<append>a)|(?P<stop>\.)|(?P<number>p[0-9]+\n)|V(?P<text>[^\n]*)\n|S(?P<quoted>[^\n]*)\n"
)
_GRAMMAR = re.compile(r"\((t*)l((?:ta)*)\.")
"""The only sequence admitted: strings between `(` and `l`, then strings each appended, then the end."""

_KINDS = {"open": "(", "list": "l", "append": "a", "stop": ".", "text": "t", "quoted": "t"}
_GLOBALS = (
    re.compile(rb"[ci](?P<module>[A-Za-z_][\w.]*)\n(?P<name>[A-Za-z_][\w.]*)\n"),
    re.compile(rb"\x8c.(?P<module>[\w.]+)\x94?\x8c.(?P<name>[\w.]+)\x94?\x93", re.DOTALL),
)
"""How a pickle names what it imports: GLOBAL and INST up to protocol 3, STACK_GLOBAL from 4. For the message only."""

_PLAIN = re.compile(rb"(?P<quote>['\"])(?P<text>[ -\[\]-~]*)(?P=quote)")
_SHOWN = 24


def pickled_names(data: bytes, where: str) -> tuple[str, ...]:
    """The strings of a protocol-0 pickled list; `where` (file and attribute) goes into the messages.

    Raises InputError for anything else, naming the global when the pickle would import one.
    """
    position, names, sequence = 0, [], ""
    while position < len(data) and not sequence.endswith("."):
        token = _TOKEN.match(data, position)
        if token is None or token.lastgroup is None:
            raise _refusal(data[position:], where)
        position = token.end()
        if token.lastgroup in _KINDS:
            sequence += _KINDS[token.lastgroup]
        if token.lastgroup in ("text", "quoted"):
            names.append(_text(token.lastgroup, token[token.lastgroup], where))
    if _GRAMMAR.fullmatch(sequence) is None or position != len(data):
        raise InputError(
            f"{where}: expected one pickled list of strings, found something else or a cut-off one"
        )
    return tuple(names)


def _text(kind: str, raw: bytes, where: str) -> str:
    """Decode one string: `V` is raw-unicode-escape, `S` a quoted Python literal (plain ASCII is admitted)."""
    if kind == "text":
        try:
            return raw.decode("raw_unicode_escape")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: the column name {raw!r} cannot be decoded ({error})") from error
    plain = _PLAIN.fullmatch(raw)
    if plain is None:
        raise InputError(f"{where}: the column name {raw!r} is not a plain quoted string")
    return plain["text"].decode("ascii")


def _refusal(rest: bytes, where: str) -> InputError:
    expected = "expected a protocol-0 pickled list of strings, as pandas writes it; nothing was unpickled"
    for pattern in _GLOBALS:
        imported = pattern.search(rest)
        if imported is not None:
            name = f"{imported['module'].decode()}.{imported['name'].decode()}"
            return InputError(f"{where}: the pickle wants to import the global {name!r}; {expected}")
    return InputError(f"{where}: found {rest[:_SHOWN]!r}; {expected}")

"""A pickle, executed without ever calling what it names.

A pickle is a program. `run` executes the few instructions that files of arrays consist of, on its own stack.
Of the functions that a pickle may name it knows those of a `Vocabulary`, does their work itself, and refuses
all others.
"""

import io
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

_MOST_INSTRUCTIONS = 1_000_000  # some seconds; a network has a few thousand
_LARGEST_KEY = 2**32  # of a dict: the hash of a larger number can be that of any other
_MARK = object()


class Name(NamedTuple):
    """What an allowed global stands for."""

    meaning: str


class Vocabulary(NamedTuple):
    """What the pickles of a format may name, and what calling it gives."""

    names: Mapping[str, str]  # "module attribute" -> its meaning
    call: Callable[[str, Any], Any]  # (meaning, arguments) -> the value; ValueError where there is none
    build: Callable[[Any, Any], None]  # (value, state): what BUILD does; ValueError where it may not
    persistent: Callable[[Any], Any] | None = None  # what an identity of something outside the pickle gives
    literals: tuple[str, ...] = ()  # instructions that push their argument, beside numbers and text


def run(stream: io.BytesIO, vocabulary: Vocabulary) -> Any:
    """Executes one pickle, knowing nothing but containers, numbers, text and what a vocabulary names.

    Args:
      stream: the pickle; what follows it is left in the stream.
      vocabulary: of its format.

    Returns:
      What the pickle holds.

    Raises:
      ValueError: it uses anything else, or is damaged. Damage may raise other exceptions, too.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    instructions = _INSTRUCTIONS | dict.fromkeys(vocabulary.literals, _literal) | _calls(vocabulary)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name == "STOP":
            return stack.pop()
        if opcode.name not in instructions:
            raise ValueError(f"its pickle uses {opcode.name}, which such files do not need")
        if count == _MOST_INSTRUCTIONS:
            raise ValueError(f"its pickle has more than {count} instructions")
        instructions[opcode.name](stack, memo, argument)
    raise ValueError("its pickle does not end")


_Instruction = Callable[[list[Any], dict[int, Any], Any], None]


def _calls(vocabulary: Vocabulary) -> dict[str, _Instruction]:
    """The instructions that a vocabulary gives a meaning."""

    def known(name: str) -> Name:
        if name not in vocabulary.names:
            raise ValueError(
                f"it names {name.replace(' ', '.')!r}, which no such file needs and nobody calls"
            )
        return Name(vocabulary.names[name])

    def stack_global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        attribute, module = stack.pop(), stack.pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise ValueError("it names something that is not a name")
        stack.append(known(f"{module} {attribute}"))

    def reduce(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(function, Name):
            raise ValueError("it calls something that is not a function")
        stack.append(vocabulary.call(function.meaning, arguments))

    def build(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        state = stack.pop()
        vocabulary.build(stack[-1], state)

    found: dict[str, _Instruction] = {
        "GLOBAL": lambda stack, memo, argument: stack.append(known(argument)),
        "STACK_GLOBAL": stack_global,
        "REDUCE": reduce,
        "BUILD": build,
    }
    if (persistent := vocabulary.persistent) is not None:
        found["BINPERSID"] = lambda stack, memo, argument: stack.append(persistent(stack.pop()))
    return found


def _literal(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(argument)


def _tuple(length: int | None) -> _Instruction:
    def step(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        items = _since_mark(stack) if length is None else [stack.pop() for _ in range(length)][::-1]
        stack.append(tuple(items))

    return step


def _extend(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    items = _since_mark(stack)
    _container(stack, list).extend(items)


def _append(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    item = stack.pop()
    _container(stack, list).append(item)


def _set_items(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    items = _since_mark(stack)
    _container(stack, dict).update(plain_dict(zip(items[::2], items[1::2], strict=True)))


def _set_item(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    value, key = stack.pop(), stack.pop()
    _container(stack, dict).update(plain_dict([(key, value)]))


def _put(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    memo[len(memo) if argument is None else argument] = stack[-1]


_INSTRUCTIONS: dict[str, _Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda stack, memo, argument: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _literal),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"), _literal),
    "NONE": lambda stack, memo, argument: stack.append(None),
    "NEWTRUE": lambda stack, memo, argument: stack.append(True),
    "NEWFALSE": lambda stack, memo, argument: stack.append(False),
    "MARK": lambda stack, memo, argument: stack.append(_MARK),
    "EMPTY_DICT": lambda stack, memo, argument: stack.append({}),
    "EMPTY_LIST": lambda stack, memo, argument: stack.append([]),
    "EMPTY_TUPLE": lambda stack, memo, argument: stack.append(()),
    "TUPLE": _tuple(None),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append,
    "APPENDS": _extend,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda stack, memo, argument: stack.append(memo[argument])),
}


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _container(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise ValueError("its pickle is damaged")
    return stack[-1]


def plain_dict(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict of plain keys.

    Raises:
      ValueError: for a key that is neither text nor a small number.
    """
    pairs = list(pairs)
    # Plain keys only: the hash of tuples within tuples within tuples would exhaust the C stack, and those of
    # large numbers can be made equal, which makes a dict slow without end.
    for key, _ in pairs:
        if not isinstance(key, str | int) or (isinstance(key, int) and abs(key) > _LARGEST_KEY):
            raise ValueError("it holds a dict whose keys are neither text nor small numbers")
    return dict(pairs)

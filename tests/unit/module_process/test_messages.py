"""What may be in a message between a worker and a module's process."""

import enum
import pickle
from collections import OrderedDict, defaultdict, namedtuple

import pytest

from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from mgr.module_process.messages import (
    HEADER,
    MESSAGE_BYTES_MAX,
    Kind,
    MessageBuffer,
    MessageTooLargeError,
    dumps,
    encode,
    loads,
)


class Colour(enum.IntEnum):
    RED = 3


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "another text"


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - what modules use


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3),
        (Text("a"), "a"),
        (Pair(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (owned(freeze({"a": [{"b": 1}]})), {"a": [{"b": 1}]}),
        ({"a": (1, 2.5, None, True, b"x"), "b": {1}}, {"a": (1, 2.5, None, True, b"x"), "b": {1}}),
    ],
)
def test_values_arrive_as_plain_ones(value, plain):
    """Subclasses too, so that reading a message imports nothing."""
    arrived = loads(dumps(value))

    assert arrived == plain
    assert type(arrived) is type(plain)


def test_what_is_not_plain_is_refused_by_its_type():
    """The error names it, and what can be passed."""
    with pytest.raises(TypeError, match=r"builtins\.object cannot be passed to another process"):
        dumps({"a": [object()]})


@pytest.mark.parametrize("value", [print, OrderedDict, Pair(1, 2), Colour.RED])
def test_a_message_with_anything_else_is_not_read(value):
    """Code of a module does not get into the worker by a message, whoever wrote that."""
    with pytest.raises(pickle.UnpicklingError, match="a message contains"):
        loads(pickle.dumps(value, 5))


def test_messages_are_put_together_from_any_pieces():
    """One byte at a time, or several messages at once."""
    stream = b"".join(encode(Kind.CALL, n, ("name", (n,))) for n in range(3))
    buffer, found = MessageBuffer(), []

    for at in range(len(stream)):
        found += buffer.feed(stream[at : at + 1])

    assert [(m.kind, m.number, m.body) for m in found] == [
        (Kind.CALL, n, ("name", (n,))) for n in range(3)
    ]
    assert len(list(MessageBuffer().feed(stream))) == 3


def test_no_message_is_above_the_limit():
    """Neither sent nor waited for."""
    with pytest.raises(MessageTooLargeError, match="above the limit"):
        encode(Kind.RESULT, 1, bytes(MESSAGE_BYTES_MAX))
    with pytest.raises(MessageTooLargeError, match="announced"):
        list(MessageBuffer().feed(HEADER.pack(MESSAGE_BYTES_MAX + 1)))

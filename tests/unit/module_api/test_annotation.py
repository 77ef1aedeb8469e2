"""A method's annotations become a descriptor, and a request becomes its arguments.

The oddities tested here are ceph-mgr's own, verified against it (reference: module interface
3.3 and 3.4). No ``from __future__ import annotations``: that is one of them.
"""

import enum
import functools
from collections.abc import Sequence
from typing import Dict, List, Literal, Optional, Tuple, Union  # noqa: UP035 - forms in use

import pytest

from mgr.argument.descriptor import Signature
from mgr.argument.types import ArgumentError, ArgumentMissing, CephInt, CephString
from mgr.module_api.annotation import SignatureError, check_callable, derive, keywords

# Modules in use are written in the older forms, so those are what is tested.
# ruff: noqa: UP006, UP007, UP045, FBT001, FBT002, PLR0917


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def args_of(function):
    return derive(function).args


def call(function, **request):
    derived = derive(function)
    return keywords(derived.arg_spec, derived.first_default, request)


def test_the_docstring_becomes_one_line():
    """Help has one line; a missing docstring is empty help."""

    def documented(self) -> int:
        """Say it.

        And again.
        """

    def silent(self) -> int: ...

    assert derive(documented).desc == "Say it.  And again."
    assert derive(silent).desc == ""


def test_each_type_has_its_descriptor():
    """Names, order of the attributes and all."""

    def f(
        self,
        s: str,
        i: int,
        x: float,
        c: Colour,
        many: List[str],
        seq: Sequence[int],
        pair: Tuple[int, int],
        own: CephInt("0|5"),
        good: CephString("[a-z]"),
        maybe: Optional[int] = None,
        maybe_many: Optional[List[str]] = None,
    ) -> int: ...

    assert args_of(f) == (
        "name=s,type=CephString "
        "name=i,type=CephInt "
        "name=x,type=CephFloat "
        "name=c,strings=red|blue,type=CephChoices "
        "name=many,n=N,type=CephString "
        "name=seq,n=N,type=CephInt "
        "name=pair,n=2,type=CephInt "
        "name=own,range=0|5,type=CephInt "
        "name=good,goodchars=[a-z],type=CephString "
        "name=maybe,req=false,type=CephInt "
        "name=maybe_many,req=false,n=N,type=CephString"
    )
    Signature.parse(f"x {args_of(f)}")


def test_an_optional_without_a_default_may_be_left_out():
    """The client need not send it; the call is another matter."""

    def f(self, a: Optional[int]) -> int: ...

    assert args_of(f) == "name=a,req=false,type=CephInt"


def test_a_flag_makes_keywords_of_all_that_follow():
    """So does ``format``, and the parameter that exists for it."""

    def flag(self, a: str = "", f: bool = False, b: str = "") -> int: ...
    def maybe_flag(self, f: Optional[bool] = None, b: str = "") -> int: ...
    def formatted(self, format: str = "", b: str = "") -> int: ...  # noqa: A002 - as modules do
    def marked(self, a: str = "", _end_positional_: int = 0, b: str = "") -> int: ...

    assert args_of(flag).split() == [
        "name=a,req=false,type=CephString",
        "name=f,req=false,positional=false,type=CephBool",
        "name=b,req=false,positional=false,type=CephString",
    ]
    assert args_of(maybe_flag).count("positional=false") == 2
    assert args_of(formatted).count("positional=false") == 2
    assert args_of(marked).split() == [
        "name=a,req=false,type=CephString",
        "name=b,req=false,positional=false,type=CephString",
    ]


def test_parameters_that_are_no_arguments_are_passed_over():
    """A method has ``self``, a function ``mgr`` or ``_``, and ``-i`` comes as ``inbuf``."""

    def method(self, a: str, inbuf: Optional[str] = None) -> int: ...
    def function(mgr, a: str) -> int: ...
    def forgetful(_, a: str) -> int: ...

    for each in (method, function, forgetful):
        assert args_of(each) == "name=a,type=CephString"


def test_decorators_in_between_are_looked_through_and_may_add_arguments():
    """Unless the function has one of that name."""

    def outer(function):
        @functools.wraps(function)
        def inner(*args, **kwargs): ...

        inner.extra_args = {"format": str, "a": int}
        return inner

    def f(self, a: str) -> int: ...

    assert args_of(outer(f)).split() == [
        "name=a,type=CephString",
        "name=format,req=false,positional=false,type=CephString",
    ]
    assert call(outer(f), a="x", format="json") == {"a": "x", "format": "json"}
    assert call(outer(f), a="x") == {"a": "x"}


def test_a_return_annotation_does_not_change_what_is_required():
    """ceph-mgr counts it, and describes the last required parameter as optional without it."""

    def f(self, a: str, b: int = 1): ...

    assert args_of(f) == "name=a,type=CephString name=b,req=false,type=CephInt"
    with pytest.raises(ArgumentMissing, match="'a' is required"):
        call(f)


def test_a_typed_parameter_for_the_module_does_not_change_what_is_required():
    """Whatever it is called: ceph-mgr counts it, and describes an optional one as required."""

    class Module: ...

    def method(self: "Module", a: str = "x", b: int = 2) -> int: ...
    def function(mgr: Module, a: str = "x", b: int = 2) -> int: ...
    def other(module: Module, a: str = "x", b: int = 2) -> int: ...
    def untyped(this, a: str = "x", b: int = 2): ...

    for each in (method, function, other, untyped):
        assert args_of(each) == "name=a,req=false,type=CephString name=b,req=false,type=CephInt"
        assert call(each) == {}
        assert call(each, b="3") == {"b": 3}
        check_callable(each)


def test_typed_star_parameters_get_nothing():
    """They have no name that a client could give."""

    def f(self, a: str, *rest: str, b: int = 1, **more: str) -> int: ...

    assert args_of(f).split() == [
        "name=a,type=CephString",
        "name=b,req=false,positional=false,type=CephInt",
    ]
    assert call(f, a="x", rest="y", more="z") == {"a": "x"}


def test_what_is_given_by_name_only_is_described_as_optional_and_required_at_the_call():
    """A descriptor cannot say both; the command would be left out."""

    def f(self, a: bool, b: str, *, c: int) -> int: ...

    Signature.parse(f"x {args_of(f)}")
    assert args_of(f).count("req=false,positional=false") == 3
    assert call(f, b="x", c=3) == {"a": False, "b": "x", "c": 3}
    with pytest.raises(ArgumentMissing, match="'c' is required"):
        call(f, b="x")


async def _coroutine(self, a: str) -> int: ...
def _positional_only(self, a: str, /) -> int: ...
def _first_is_an_argument(a: str) -> int: ...
def _no_parameter() -> int: ...
def _marker_without_default(self, _end_positional_: int, a: str = "") -> int: ...
def _second_module(self, mgr, a: str) -> int: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_coroutine, "coroutine function, which nothing awaits: write `def`"),
        (_positional_only, "parameter 'a' cannot be given by name: remove the `/`"),
        (_first_is_an_argument, "first parameter 'a' would receive the module: write `self`"),
        (_no_parameter, "no first parameter for the module: write `self`"),
        (_marker_without_default, "'_end_positional_' is not an argument: give it a default"),
        (_second_module, "'mgr' is not an argument: give it a default"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(function, words):
    """When the module is loaded, not when somebody runs the command."""
    with pytest.raises(SignatureError, match=words):
        check_callable(function)


@pytest.mark.parametrize(
    "annotation",
    [
        Dict[str, str],
        Literal["a"],
        list,
        set,
        "str",
        Union[int, str],
        Union[None, str],
        Tuple[int, str],
    ],
)
def test_an_unsupported_annotation_fails_at_import(annotation):
    """The author sees it when the module is loaded."""

    def f(self, a: annotation) -> int: ...

    with pytest.raises(SignatureError, match="parameter 'a'"):
        derive(f)


def test_a_union_written_with_a_bar_fails_at_import():
    """As in ceph-mgr on this Python; from 3.14 on it is the same thing as Optional."""

    def f(self, a: int | None) -> int: ...

    if isinstance(int | None, type(Optional[int])):
        assert args_of(f) == "name=a,req=false,type=CephInt"
    else:
        with pytest.raises(ValueError, match="unknown type"):
            derive(f)


def test_a_parameter_without_annotation_fails_at_import():
    """There is nothing to go by."""
    with pytest.raises(SignatureError, match="parameter 'a' has no type: write a: str"):
        derive(lambda self, a: None)


def test_annotations_written_as_text_are_explained():
    """The line that causes it is far away, at the top of the file."""

    def f(self, a: "int") -> int: ...

    with pytest.raises(ValueError, match=r"unknown type 'int'.*remove `from __future__"):
        derive(f)


# -- calling ----------------------------------------------------------------------------------


def test_values_are_converted_as_annotated():
    """Whatever the client sent: nothing on the way has to know the type."""

    def f(
        self,
        s: str,
        i: int,
        x: float,
        c: Colour,
        many: List[int],
        maybe: Optional[float] = None,
    ) -> int: ...

    found = call(f, s=3, i="4", x="1e3", c="blue", many=["1", 2], maybe="0.5", unknown=1)

    assert found == {
        "s": "3",
        "i": 4,
        "x": 1000.0,
        "c": Colour.BLUE,
        "many": [1, 2],
        "maybe": 0.5,
    }


def test_what_is_missing_is_left_to_pythons_default():
    """The function's own default applies, not ours."""

    def f(self, a: str, b: int = 1, c: Optional[str] = None) -> int: ...

    assert call(f, a="x") == {"a": "x"}


@pytest.mark.parametrize("annotation", [str, int, float, List[str], Colour])
def test_what_is_required_and_missing_is_named(annotation):
    """ceph-mgr calls the method with the text ``'None'``, or ends in a traceback."""

    def f(self, a: annotation) -> int: ...

    with pytest.raises(ArgumentMissing, match="argument 'a' is required"):
        call(f)


@pytest.mark.parametrize(
    ("annotation", "value"), [(bool, False), (Optional[str], None), (Optional[List[int]], None)]
)
def test_what_may_be_left_out_and_has_no_default_is_none_or_false(annotation, value):
    """The annotation says that it may be left out."""

    def f(self, a: annotation) -> int: ...

    assert call(f) == {"a": value}


def test_texts_are_taken_literally():
    """Ceph's oddities, kept: any text is true, and a list of text is its characters."""

    def f(self, flag: bool, many: List[str]) -> int: ...

    assert call(f, flag="false", many="ab") == {"flag": True, "many": ["a", "b"]}


def test_a_value_that_names_a_parameter_means_that_one():
    """Ceph's oddity, kept: ``k=v`` switches to keywords for all that follow."""

    def f(self, a: str, b: str, c: str = "") -> int: ...

    assert call(f, a="b=1", b="a=2") == {"b": "1", "a": "2"}
    with pytest.raises(ArgumentMissing, match="'a' is required"):
        call(f, a="b=1")
    assert call(f, a="x=1", b="2") == {"a": "x=1", "b": "2"}
    with pytest.raises(ValueError, match="expected key=value"):
        call(f, a="b=1", b="2")
    with pytest.raises(ValueError, match="expected key=value"):
        call(f, a="b=1", b=2)


@pytest.mark.parametrize(
    ("annotation", "value", "converted"),
    [(Tuple[int, int], ["1", 2], (1, 2)), (CephInt("0|5"), "4", 4), (CephString("[a]"), "a", "a")],
)
def test_every_annotation_that_is_described_can_be_called(annotation, value, converted):
    """In ceph-mgr these fail at each call."""

    def f(self, a: annotation) -> int: ...

    assert args_of(f)
    assert call(f, a=value) == {"a": converted}


def test_a_value_outside_the_bounds_of_its_annotation_is_refused():
    """Also where another module calls the command, and no manager has checked it."""

    def f(self, a: CephInt("0|5")) -> int: ...

    with pytest.raises(ArgumentError, match="not in range"):
        call(f, a=6)

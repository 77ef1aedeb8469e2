"""Commands return objects or raise, and become three values."""

import errno
import functools
import json

import pytest

import object_format
from mgr.module_api.command import CLICommand, collect_commands
from mgr.module_api.format import Format, ObjectFormatAdapter
from mgr.module_api.responder import (
    ConstantResponderBase,
    EmptyResponder,
    ErrorResponse,
    ErrorResponseBase,
    ErrorResponseHandler,
    Responder,
    ReturnValueAdapter,
    StatusValueAdapter,
    UnknownFormat,
    UnsupportedFormat,
)


class Thing:
    """Says itself in every way there is."""

    def to_simplified(self):
        return {"way": "simplified"}

    def to_json(self):
        return {"way": "json"}

    def to_yaml(self):
        return {"way": "yaml"}

    def mgr_return_value(self):
        return "-5"

    def mgr_status_value(self):
        return 5


# -- formats ----------------------------------------------------------------------------------


def test_formats_have_names_with_dashes():
    """Members have underscores."""
    assert [each.value for each in Format] == [
        "plain",
        "json",
        "json-pretty",
        "yaml",
        "xml-pretty",
        "xml",
    ]
    assert ObjectFormatAdapter({}).valid_formats() == {
        "plain",
        "json",
        "json_pretty",
        "yaml",
        "xml_pretty",
        "xml",
    }


def test_plain_data_is_sorted_and_indented():
    """Unless the author says otherwise."""
    data = {"b": 1, "a": [2]}

    assert ObjectFormatAdapter(data).format_json() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}'
    assert ObjectFormatAdapter(data, json_indent=None).format_json() == '{"a": [2], "b": 1}'
    unsorted = ObjectFormatAdapter(data, None, sort_json=False, sort_yaml=False)
    assert unsorted.format_json() == '{"b": 1, "a": [2]}'
    assert unsorted.format_yaml() == "b: 1\na:\n- 2\n"
    assert ObjectFormatAdapter(data).format_yaml() == "a:\n- 2\nb: 1\n"
    assert ObjectFormatAdapter(data).format_json_pretty() == ObjectFormatAdapter(data).format_json()


@pytest.mark.parametrize(
    ("compatible", "in_json", "in_yaml"),
    [(False, "simplified", "simplified"), (True, "json", "yaml")],
)
def test_an_object_says_itself(compatible, in_json, in_yaml):
    """Its own JSON and YAML are asked for in compatible mode only."""
    adapter = ObjectFormatAdapter(Thing(), compatible=compatible)

    assert json.loads(adapter.format_json()) == {"way": in_json}
    assert adapter.format_yaml() == f"way: {in_yaml}\n"


def test_what_json_cannot_say_is_an_error():
    """The author's mistake: it reaches the caller as a traceback."""
    with pytest.raises(TypeError):
        ObjectFormatAdapter(object()).format_json()


def test_return_value_and_words_are_the_objects_or_the_default():
    """And of the right type, whatever the object returned."""
    assert ReturnValueAdapter(Thing()).mgr_return_value() == -5
    assert ReturnValueAdapter({}, default=7).mgr_return_value() == 7
    assert StatusValueAdapter(Thing()).mgr_status_value() == "5"
    assert StatusValueAdapter({}, default="fine").mgr_status_value() == "fine"


def test_the_newest_dashboard_asks_what_an_object_defines():
    """By names that are the interface's own, but used."""
    assert object_format._is_return_value_provider(Thing())
    assert object_format._is_status_value_provider(Thing())
    assert not object_format._is_return_value_provider({})
    assert not object_format._is_status_value_provider({})


# -- errors -----------------------------------------------------------------------------------


def test_an_error_is_an_answer():
    """Without a number it is EINVAL; 0 and positive numbers are kept."""
    assert ErrorResponse("no").format_response() == (-errno.EINVAL, "", "no")
    assert ErrorResponse("no", -2).format_response() == (-2, "", "no")
    assert ErrorResponse("no", 0).mgr_return_value() == 0
    assert ErrorResponse("no", 3).errno == ErrorResponse("no", -3).errno == 3
    assert repr(ErrorResponse("s", -22)) == "ErrorResponse('s', -22)"
    with pytest.raises(NotImplementedError):
        ErrorResponseBase().format_response()


class OddError(Exception):
    """Its errno is no number."""

    errno = "x"


class NumberedError(Exception):
    """Its errno is what a module's author took for one."""

    def __init__(self, number):
        self.errno = number

    def __str__(self):
        return ""


@pytest.mark.parametrize(
    ("error", "value", "answer"),
    [
        (ValueError("bad"), None, (-errno.EINVAL, "", "bad")),
        (OSError(2, "gone"), None, (-2, "", "[Errno 2] gone")),
        (OSError(2, "gone"), -7, (-7, "", "[Errno 2] gone")),
        (KeyError("k"), None, (-errno.EINVAL, "", "'k'")),
        (OddError("odd"), None, (-errno.EINVAL, "", "odd")),
        (OSError(0, "fine"), None, (-errno.EINVAL, "", "[Errno 0] fine")),
        (OSError(-2, "gone"), None, (-2, "", "[Errno -2] gone")),
        (OSError("words"), None, (-errno.EINVAL, "", "words")),
        (NumberedError(-errno.ENOENT), None, (-errno.ENOENT, "", "")),
        (NumberedError("2"), None, (-2, "", "")),
        (NumberedError(float("inf")), None, (-errno.EINVAL, "", "")),
    ],
)
def test_any_exception_can_be_made_an_answer(error, value, answer):
    """By its errno, whatever its sign; never as success. The cause is remembered."""
    wrapped = ErrorResponse.wrap(error, value)

    assert wrapped.format_response() == answer
    assert wrapped.__cause__ is error


@pytest.mark.parametrize("decorator", [Responder, ErrorResponseHandler, EmptyResponder])
def test_an_error_with_a_positive_number_is_no_success(decorator):
    """A client takes a positive return value for success."""

    @decorator()
    def fails():
        raise ErrorResponse("no", errno.ENOENT)

    assert fails() == (-errno.ENOENT, "", "no")


def test_an_answer_is_not_wrapped_again():
    """And a number given beside it is ignored."""
    answer = UnknownFormat("x")

    assert ErrorResponse.wrap(answer, -1) is answer


# -- Responder --------------------------------------------------------------------------------


def test_what_is_returned_becomes_json():
    """Nothing else need be said."""
    respond = Responder()(lambda: {"a": 1})

    assert respond() == (0, '{\n  "a": 1\n}', "")
    assert Responder()(Thing)() == (-5, '{\n  "way": "simplified"\n}', "5")


@pytest.mark.parametrize("name", ["json", "json-pretty", "json_pretty", "yaml"])
def test_a_known_format_is_taken(name):
    """With dashes or underscores."""
    retval, body, _ = Responder()(lambda: [1])(format=name)

    assert retval == 0
    assert body == ("- 1\n" if name == "yaml" else "[\n  1\n]")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xml", "Unsupported format: xml"),
        ("xml-pretty", "Unsupported format: xml-pretty"),
        ("plain", "Unsupported format: plain"),
        ("foo", "Unknown format name: foo"),
    ],
)
def test_another_format_is_refused_before_anything_runs(name, words):
    """A command that cannot say what it did must not do it."""
    ran = []

    answer = Responder()(lambda: ran.append(1))(format=name)

    assert answer == (-errno.EINVAL, "", words)
    assert ran == []


def test_the_function_never_sees_the_format():
    """Even where it has a parameter of that name: Ceph's oddity, kept."""
    respond = Responder()(lambda format="its own": format)  # noqa: A006 - the point of the test

    assert respond(format="yaml")[1] == "its own\n...\n"


def test_only_an_answer_is_caught():
    """Anything else is a mistake, and shows as a traceback."""

    @Responder()
    def fails(error):
        raise error

    assert fails(ErrorResponse("no", -3)) == (-3, "", "no")
    with pytest.raises(ValueError, match="mistake"):
        fails(ValueError("mistake"))
    with pytest.raises(TypeError):
        Responder()(object)()


def test_a_formatter_of_ones_own_is_used_throughout():
    """For the dry run, too."""

    class Shout:
        def __init__(self, obj):
            self.obj = obj

        def valid_formats(self):
            return {"json", "plain"}

        def format_json(self):
            return f"{self.obj}!"

    respond = Responder(Shout)(lambda: "hey")

    assert respond() == (0, "hey!", "")
    assert respond(format="yaml")[2] == "Unknown format name: yaml"
    assert respond(format="plain")[2] == "Unsupported format: plain"
    compatible = Responder(functools.partial(ObjectFormatAdapter, compatible=True))
    assert json.loads(compatible(Thing)()[1]) == {"way": "json"}


def test_the_command_gains_a_format():
    """Its other arguments stay as they are; a responder without formats adds none."""

    class Module:
        @CLICommand("with")
        @Responder()
        def formatted(self, a: int) -> dict:
            return {"a": a}

        @CLICommand("without")
        @EmptyResponder()
        def empty(self, a: int) -> None: ...

    texts = [each.signature_text for each in collect_commands(Module)]

    assert texts == [
        "with name=a,type=CephInt name=format,req=false,positional=false,type=CephString",
        "without name=a,type=CephInt",
    ]


# -- the others -------------------------------------------------------------------------------


def test_three_values_are_passed_on_and_answers_caught():
    """Anything but three values is the author's mistake."""

    @ErrorResponseHandler()
    def handler(result):
        if isinstance(result, Exception):
            raise result
        return result

    assert handler((1, "a", "b")) == (1, "a", "b")
    assert handler(UnsupportedFormat("x")) == (-errno.EINVAL, "", "Unsupported format: x")
    with pytest.raises(ValueError, match="not enough values"):
        handler((1, "a"))
    with pytest.raises(TypeError):
        handler(None)


def test_a_command_that_says_nothing_must_return_nothing():
    """Or its author meant another responder."""

    @EmptyResponder()
    def empty(result):
        if isinstance(result, Exception):
            raise result
        return result

    assert empty(None) == (0, "", "")
    assert empty(ErrorResponse("no")) == (-errno.EINVAL, "", "no")
    with pytest.raises(ValueError, match="EmptyResponder expects None"):
        empty(1)


def test_a_constant_answer_can_be_made_of_anything():
    """Each of the three values may be overridden, and the result looked at."""

    class Accepted(ConstantResponderBase):
        def mgr_return_value(self):
            return -11

        def mgr_body_value(self):
            return "body"

        def mgr_status_value(self):
            return "words"

    assert Accepted()(lambda: "ignored")() == (-11, "body", "words")
    assert ConstantResponderBase()(lambda: "ignored")() == (0, "", "")

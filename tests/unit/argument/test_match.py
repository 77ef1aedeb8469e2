"""Do these words fit this command? As Ceph's client decides it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.argument.descriptor import Signature
from mgr.argument.match import CLOSEST_MAX, ENVELOPE, closest, match
from mgr.argument.types import (
    ArgumentError,
    ArgumentMissing,
    ArgumentNumber,
    ArgumentPrefix,
    ArgumentValid,
)

GREET = Signature.parse(
    "hello name=who,type=CephString name=times,type=CephInt,range=1|9,req=false "
    "name=tone,type=CephChoices,strings=loud|soft,req=false "
    "name=really_mean_it,type=CephBool,req=false,positional=false "
    "name=out_file,type=CephString,req=false,positional=false"
)
MANY = Signature.parse("add name=what,type=CephString,n=N name=by,type=CephInt,n=N,req=false")
NUMBERS = Signature.parse("sum name=n,type=CephInt,n=N,req=false")
PAIR = Signature.parse("pair name=two,type=CephInt,n=2")
CONFIRM = Signature.parse(
    "rm name=pool,type=CephPoolname name=sure,type=CephString,req=false "
    "name=way,type=CephChoices,strings=--now|--later,req=false"
)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("hello ann", {"who": "ann"}),
        ("hello ann 3", {"who": "ann", "times": 3}),
        ("hello ann 3 soft", {"who": "ann", "times": 3, "tone": "soft"}),
        ("hello ann loud", {"who": "ann", "tone": "loud"}),
        ("hello --who ann", {"who": "ann"}),
        ("hello --who=ann 3", {"who": "ann", "times": 3}),
        ("hello --times 3 ann", {"who": "ann", "times": 3}),
        ("hello ann --really-mean-it", {"who": "ann", "really_mean_it": True}),
        ("hello --really_mean_it ann", {"who": "ann", "really_mean_it": True}),
        ("hello ann --really-mean-it=false", {"who": "ann", "really_mean_it": False}),
        ("hello ann --out-file=a=b", {"who": "ann", "out_file": "a=b"}),
        ("hello --who ann --who bob", {"who": "bob"}),
        ("hello -x", {"who": "-x"}),
    ],
)
def test_words_fill_arguments_from_left_to_right(line, wanted):
    """Bare or by keyword; an optional one that a word does not fit is passed over."""
    assert match(line.split(), {}, GREET) == {"prefix": "hello", **wanted}


@pytest.mark.parametrize(
    ("signature", "line", "wanted"),
    [
        (MANY, "add a b,c", {"what": ["a", "b,c"]}),
        (MANY, "add --what=a,b --what c", {"what": ["a", "b", "c"]}),
        (NUMBERS, "sum", {}),
        (NUMBERS, "sum 1 2,3", {"n": [1, 2, 3]}),
        (PAIR, "pair 1 2", {"two": [1, 2]}),
    ],
)
def test_a_repeated_argument_gathers_a_list(signature, line, wanted):
    """Keywords and numbers are split at commas, bare text is not; keywords add up."""
    found = match(line.split(), {}, signature)

    assert found == {"prefix": signature.prefix, **wanted}


@pytest.mark.parametrize(
    ("signature", "line", "error", "words"),
    [
        (GREET, "hello", ArgumentMissing, "missing required parameter <who>"),
        (GREET, "hello ann 10", ArgumentValid, "10 not in range [1, 9]"),
        (GREET, "hello ann 10", ArgumentValid, "10 not in loud|soft (argument tone)"),
        (GREET, "hello ann 3 shrill", ArgumentValid, "shrill not in loud|soft (argument tone)"),
        (GREET, "hello ann 3 soft more", ArgumentValid, "Unexpected argument 'more'"),
        (GREET, "hello --whoo ann", ArgumentValid, "Unexpected argument '--whoo'"),
        (GREET, "hello --whoo ann", ArgumentValid, "did you mean --who?"),
        (GREET, "hello ann --times", ArgumentMissing, "--times needs a value"),
        (
            GREET,
            "hello ann --times x",
            ArgumentValid,
            "x doesn't represent an int (argument times)",
        ),
        (GREET, "help ann", ArgumentPrefix, "no match for help ann"),
        (MANY, "add", ArgumentMissing, "missing required parameter <what>"),
        (PAIR, "pair 1", ArgumentNumber, "saw 1 of <two:int>..., expected 2"),
        (PAIR, "pair 1 2 3", ArgumentValid, "Unexpected argument '3'"),
    ],
)
def test_what_does_not_fit_is_named(signature, line, error, words):
    """The argument, the value, and what would have been right."""
    with pytest.raises(error) as raised:
        match(line.split(), {}, signature)

    assert words in str(raised.value)


def test_a_mistyped_option_is_nobodys_value():
    """Except the confirmations that Ceph spells as words, and choices that begin so."""
    sure = match(["rm", "p", "--yes-i-really-mean-it"], {}, CONFIRM)
    assert sure["sure"] == "--yes-i-really-mean-it"
    with pytest.raises(ArgumentValid, match="Unexpected argument '--yes-i-mean-it'"):
        match(["rm", "p", "--yes-i-mean-it"], {}, CONFIRM)
    later = match(["rm", "p", "--force", "--later"], {}, CONFIRM)
    assert (later["sure"], later["way"]) == ("--force", "--later")


def test_values_may_come_typed_and_by_name():
    """As a program sends them; text is read as if it had been typed."""
    found = match(["hello"], {"who": "ann", "times": 3, "really_mean_it": True}, GREET)

    assert found == {"prefix": "hello", "who": "ann", "times": 3, "really_mean_it": True}
    assert match(["hello", "ann"], {"times": "0x3"}, GREET)["times"] == 3
    assert match(["sum"], {"n": [1, "2"]}, NUMBERS)["n"] == [1, 2]
    assert match(["sum"], {"n": 1}, NUMBERS)["n"] == [1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing required parameter <who>"),
        ({"who": 3}, "3 is not text (argument who)"),
        ({"who": "ann", "times": 1.5}, "1.5 doesn't represent an int (argument times)"),
        ({"who": "ann", "times": 10}, "10 not in range [1, 9] (argument times)"),
        ({"who": "ann", "tone": "x"}, "x not in loud|soft (argument tone)"),
        ({"who": "ann", "toned": "loud"}, "did you mean tone?"),
        ({"who": ["ann", "bob"]}, "is not text"),
    ],
)
def test_a_typed_value_is_checked_as_a_typed_word_is(arguments, words):
    """The server trusts no client to have validated."""
    with pytest.raises(ArgumentError) as raised:
        match(["hello"], arguments, GREET)

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("line", "named"),
    [("hello --who bob", {"who": "ann"}), ("hello ann --times 2", {"times": 2})],
)
def test_an_argument_is_given_once(line, named):
    """By name and among the words is a contradiction, not a preference."""
    with pytest.raises(ArgumentValid, match="given by name and among the words"):
        match(line.split(), named, GREET)


def test_what_any_client_sends_along_is_let_through():
    """``format`` and the fields of a poll, whether the command declares them or not."""
    sent = dict.fromkeys(ENVELOPE, "x")

    assert match(["sum"], sent, NUMBERS) == {"prefix": "sum", **sent}


PATHS = Signature.parse(
    "read name=file,type=CephFilepath name=socket,type=CephSocketpath,req=false "
    "name=more,type=CephFilepath,n=N,req=false"
)


@pytest.mark.parametrize(
    "line",
    ["read {0}/new /no/such/socket {0}/a", "read --file={0}/new --socket {0} --more={0}/a,{0}/b"],
)
def test_a_path_that_a_client_typed_is_not_looked_at_here(line, tmp_path, monkeypatch):
    """It is a path on the client's machine: which files this one has is none of its business."""

    def touched(*_, **__):
        raise AssertionError("a file of this machine was looked at")

    for name in ("stat", "open", "exists", "is_file", "is_socket", "unlink", "absolute"):
        monkeypatch.setattr(f"pathlib.Path.{name}", touched)
    for name in ("os.stat", "os.open", "os.access"):
        monkeypatch.setattr(name, touched)
    words = line.format(tmp_path).split()
    found = match(words, {}, PATHS)
    closest(words, [PATHS])
    monkeypatch.undo()

    assert found["file"] == f"{tmp_path}/new"
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_was_typed_here_is_checked(tmp_path):
    """``mgrctl`` says at once that a file is not there, as Ceph's client does."""
    with pytest.raises(ArgumentValid, match="can't open"):
        match(["read", f"{tmp_path}/no/such/folder"], {}, PATHS, typed_here=True)


COMMANDS = [
    Signature.parse(text)
    for text in (
        "config set name=who,type=CephString name=option,type=CephString",
        "config rm name=who,type=CephString",
        "config-key set name=key,type=CephString",
        "mgr module enable name=module,type=CephString",
        "mgr module disable name=module,type=CephString",
        "mgr stat",
    )
]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("mgr module enabel hello", ["mgr module enable", "mgr module disable"]),
        ("mgr mod", ["mgr module enable", "mgr module disable"]),
        ("config sett mgr", ["config set", "config rm"]),
        ("confg set mgr", ["config set", "config-key set", "config rm"]),
        ("mgr", ["mgr stat", "mgr module enable", "mgr module disable"]),
        ("weather in Rome", []),
    ],
)
def test_unknown_words_bring_the_closest_commands(line, wanted):
    """Those that begin alike; where none does, those that are spelled alike."""
    assert [each.prefix for each in closest(line.split(), COMMANDS)] == wanted


def test_no_more_than_ten_are_named():
    """One screen."""
    many = [Signature.parse(f"mgr command{n}") for n in range(50)]

    assert len(closest(["mgr", "command"], many)) == CLOSEST_MAX


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
lines = st.lists(words | st.sampled_from(["--who", "--who=x", "--", "--times", "3"]), max_size=6)


@given(line=lines)
def test_any_words_are_taken_or_refused(line):
    """Nothing that can be typed raises anything else, and what is taken has the right types."""
    try:
        found = match(["hello", *line], {}, GREET)
    except ArgumentError:
        return
    assert isinstance(found["who"], str)
    assert isinstance(found.get("times", 1), int)

"""Calls between modules: what comes back, what is raised, and that they wait for nobody."""

import errno
import threading

import pytest

from mgr.active.modules.remote import Remote
from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from object_format import ErrorResponse

PREFIX = "Remote method threw exception: Traceback"


class SoughtError(LookupError):
    """An error of a module, with something to know about it."""

    def __init__(self, what, place):
        super().__init__(what, place)
        self.place = place

    def __str__(self):
        return f"{self.args[0]} is not in {self.place}"


class StubbornError(Exception):
    """Cannot be copied: it takes what it does not keep."""

    def __init__(self, what, *, why):
        super().__init__(f"{what}: {why}")


class SilentError(RuntimeError):
    """A module's own error, raised without a text."""


class MuteError(Exception):
    """Its text cannot be made."""

    def __str__(self):
        raise ValueError("no words")


class Peer:
    """Raises what it is told to; calls others."""

    @property
    def broken(self):
        raise SystemExit(3)

    def __init__(self, remote=None):
        self.remote = remote

    def echo(self, *args, **kwargs):
        Peer.got = args, kwargs
        return args[0]

    def fail(self, error):
        raise error

    def seek(self):
        raise SoughtError("a pin", "the hay")

    def refuse(self):
        raise StubbornError("no", why="because")

    def hide(self):
        class LocalError(Exception):
            pass

        raise LocalError("seen by nobody")

    def pass_on(self):
        return self.remote.call("peer", "seek", (), {})


@pytest.fixture
def remote():
    modules = {}
    made = Remote(modules.get)
    modules.update(peer=Peer(made), between=Peer(made))
    return made


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        OSError(errno.ENOENT, "no such file", "f"),
        ErrorResponse("bad", -errno.EINVAL),
        NotImplementedError("later"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
        StopIteration("s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_method_raised_keeps_its_type_and_is_a_runtime_error(remote, error):
    """Who expects ceph-mgr's only type catches it, and so does who knows the neighbour's."""
    with pytest.raises(type(error)) as caught:
        remote.call("peer", "fail", (error,), {})

    assert isinstance(caught.value, RuntimeError)
    assert str(caught.value) == str(error)
    assert caught.value.args == error.args
    assert str(caught.value.__cause__).startswith(PREFIX)


def test_what_an_error_knows_comes_along(remote):
    """Its attributes, not only its text."""
    with pytest.raises(SoughtError, match="a pin is not in the hay") as caught:
        remote.call("peer", "seek", (), {})

    assert caught.value.place == "the hay"
    assert type(caught.value).__name__ == "SoughtError"


def test_an_error_keeps_its_type_through_several_modules(remote):
    """Each call hands on what the one before handed over."""
    with pytest.raises(SoughtError) as caught:
        remote.call("between", "pass_on", (), {})

    assert caught.value.place == "the hay"
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("method", ["refuse", "hide"])
def test_an_error_that_cannot_be_copied_is_a_runtime_error_with_its_traceback(remote, method):
    """As every error is in ceph-mgr."""
    with pytest.raises(RuntimeError, match=PREFIX) as caught:
        remote.call("peer", method, (), {})

    assert type(caught.value) is RuntimeError
    assert method in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [KeyError(), TimeoutError(), OSError(), RuntimeError(), NotImplementedError(), SilentError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_without_a_text_gets_one_that_names_its_type(remote, error):
    """Callers show the text, and the operator reads an empty line otherwise."""
    with pytest.raises(type(error)) as caught:
        remote.call("peer", "fail", (error,), {})

    assert isinstance(caught.value, RuntimeError)
    assert str(caught.value) == f"{type(error).__name__} was raised without a text"
    assert caught.value.args == ()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_the_caller_ends_only_the_call(remote, error):
    """The caller's ``except Exception`` catches it, and its thread goes on."""
    with pytest.raises(RuntimeError, match=PREFIX) as caught:
        remote.call("peer", "fail", (error,), {})

    assert type(error).__name__ in str(caught.value)


@pytest.mark.parametrize(("method", "args"), [("broken", ()), ("fail", (MuteError(),))])
def test_nothing_that_a_module_does_passes_through_unnamed(remote, method, args):
    """An attribute that raises when it is looked up; an error that raises when it is shown."""
    with pytest.raises(RuntimeError, match=PREFIX) as caught:
        remote.call("peer", method, args, {})

    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize("error", [ImportError("i"), ModuleNotFoundError("m"), NameError("n")])
def test_an_error_that_would_say_nothing_was_called_does_not_keep_its_type(remote, error):
    """A caller tells by these two that the module or the method is not there."""
    with pytest.raises(RuntimeError, match=PREFIX) as caught:
        remote.call("peer", "fail", (error,), {})

    assert not isinstance(caught.value, (ImportError, NameError))


class Spec:
    """Chooses its subclass when it is made, as Ceph's ``ServiceSpec`` of release 18 does."""

    def __new__(cls, service_type):
        """Needs what pickle does not pass."""
        return super().__new__(cls.of(service_type))

    @classmethod
    def of(cls, service_type):
        return {"mgr": ManagerSpec}.get(service_type, cls)

    def __init__(self, service_type):
        self.service_type = service_type


class ManagerSpec(Spec):
    """The subclass."""


class Turncoat:
    """Is rebuilt as something else."""

    def __reduce__(self):
        return dict, ()


@pytest.mark.parametrize(
    "make",
    [
        threading.Lock,
        lambda: lambda: 1,
        lambda: (each for each in ()),
        lambda: Spec("mgr"),
        Turncoat,
        lambda: [Turncoat()],
    ],
    ids=["lock", "function", "generator", "spec", "turncoat", "inside a list"],
)
def test_what_cannot_be_copied_is_passed_by_reference(remote, make):
    """As an argument, by name, and as the result; the other arguments are copies all the same."""
    odd, plain = make(), {"a": [1]}

    returned = remote.call("peer", "echo", (odd, plain), {"odd": odd, "plain": plain})
    args, kwargs = Peer.got

    assert returned is args[0] is kwargs["odd"] is odd
    assert args[1] == kwargs["plain"] == plain
    assert args[1] is not plain
    assert kwargs["plain"] is not plain


def test_an_object_that_is_passed_twice_is_one_object_to_the_method(remote):
    """All arguments are copied together."""
    plain = {"a": [1]}

    remote.call("peer", "echo", (plain, plain), {})
    (first, second), _ = Peer.got

    assert first is second
    assert first is not plain


@pytest.mark.parametrize("make", [freeze, lambda document: owned(freeze(document))])
def test_parts_of_documents_are_copied_as_plain_dictionaries(remote, make):
    """What ``get`` returned may be passed on."""
    document = make({"a": [{"b": 1}]})

    returned = remote.call("peer", "echo", (document,), {})

    for copied in (returned, Peer.got[0][0]):
        assert copied == document
        assert (type(copied), type(copied["a"])) == (dict, list)


def test_two_modules_that_call_each_other_do_not_wait_for_each_other():
    """Each call runs on its caller's thread, so both are inside each other at once."""
    modules = {}
    remote = Remote(modules.get)
    both_inside = threading.Barrier(2)

    class Caller:
        def __init__(self, other):
            self.other = other

        def ask(self, depth):
            both_inside.wait(5)
            return 1 if not depth else 1 + remote.call(self.other, "ask", (depth - 1,), {})

    modules.update(left=Caller("right"), right=Caller("left"))
    deep = []
    threads = [
        threading.Thread(target=lambda name=name: deep.append(remote.call(name, "ask", (3,), {})))
        for name in modules
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert deep == [4, 4]

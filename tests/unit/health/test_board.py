"""All checks, who raised them, which are muted, and the state that follows."""

from __future__ import annotations

import msgspec

from mgr.health.board import MANAGER_SOURCE, Board
from mgr.health.check import Check, Severity
from mgr.health.mute import Mute, decode, encode


def check(code="X", severity=Severity.WARN, summary="x", count=1, detail=("d",)):
    return Check(code=code, severity=severity, summary=summary, count=count, detail=detail)


def board_with(*checks):
    board = Board()
    board.set("m", checks)
    return board


def muted(board, **fields):
    board.load_mutes({"X": Mute(**({"count": 1, "summary": "x"} | fields))})
    return board


def test_the_worst_check_decides():
    """Nothing raised is well."""
    board = Board()
    assert str(board.status()) == "HEALTH_OK"
    board.set("m", [check()])
    assert str(board.status()) == "HEALTH_WARN"
    board.set("n", [check("Y", Severity.ERR)])
    assert str(board.status()) == "HEALTH_ERR"
    board.clear("n")
    board.clear("m")
    assert str(board.status()) == "HEALTH_OK"


def test_setting_replaces_what_the_source_raised_before():
    """And nobody else's."""
    board = board_with(check("X"), check("Y"))
    board.set("other", [check("Z")])
    board.set("m", [check("Y")])

    assert list(board.checks) == ["Y", "Z"]


def test_one_code_from_several_sources_is_one_check():
    """By module name: details follow, counts add, the first words it; the manager comes last."""
    board = Board()
    board.set(MANAGER_SOURCE, [check(summary="ours", severity=Severity.ERR, detail=("0",))])
    board.set("z", [check(summary="z", count=2, detail=("2",))])
    board.set("n", [check(summary="n", count=3, detail=("1",))])

    assert board.checks["X"] == check(summary="n", count=6, detail=("1", "2", "0"))


def test_what_is_inherited_is_shown_until_its_source_speaks():
    """Also when it says that all is well; what the manager itself says is not handed on."""
    board = Board()
    board.set("spoke", [])
    for source in ("m", "n", "spoke"):
        board.restore(source, [check(source)])
    board.set(MANAGER_SOURCE, [check("O")])
    assert list(board.checks) == ["O", "m", "n"]
    assert list(board.checks_by_module()) == ["m", "n"]

    board.set("m", [])
    assert list(board.checks) == ["O", "n"]
    board.set("n", [check("n")])
    board.expire_restored()
    assert list(board.checks) == ["O", "n"]


def test_what_nobody_raised_again_is_disowned():
    """A module that was stopped meanwhile has nothing left to disown."""
    board = Board()
    board.restore("m", [check("X")])
    board.restore("n", [check("Y")])
    board.clear("m")
    board.expire_restored()

    assert board.checks == {}


def test_a_muted_check_does_not_count_and_stays_visible():
    """In the shape that ``get('health')`` has."""
    board = muted(board_with(check()), sticky=True, until="tomorrow")

    assert board.as_document() == {
        "status": "HEALTH_OK",
        "checks": {
            "X": {
                "severity": "HEALTH_WARN",
                "summary": {"message": "x", "count": 1},
                "detail": [{"message": "d"}],
                "muted": True,
            }
        },
        "mutes": [
            {"code": "X", "ttl": "tomorrow", "sticky": True, "summary": "x", "count": 1},
        ],
    }
    assert "detail" not in board.summary()["checks"]["X"]


def test_a_mute_expires_when_the_check_clears_or_gets_worse():
    """A new occasion is a new warning."""
    for change in ([], [check(count=2)]):
        board = muted(board_with(check()))
        board.set("m", change)
        board.set("m", [check()])

        assert board.mutes == {}
        assert board.mute_updates() == {"X": None}
        assert board.status() is Severity.WARN


def test_a_mute_follows_the_count_down_and_not_up():
    """Five of nine repaired: a sixth that breaks ends the mute."""
    board = muted(board_with(check(count=9)), count=9)
    board.set("m", [check(count=4)])
    lowered = board.mute_updates()
    board.set("m", [check(count=5)])

    assert lowered == {"X": Mute(summary="x", count=4)}
    assert board.mute_updates() == {"X": None}


def test_a_check_that_counts_nothing_is_muted_by_its_words():
    """Another summary is another thing."""
    board = muted(board_with(check(count=0)), count=0)
    board.set("m", [check(count=0, detail=("other detail",))])
    assert "X" in board.mutes
    board.set("m", [check(count=0, summary="y")])
    assert board.mutes == {}


def test_a_sticky_mute_stays_whatever_happens():
    """Until its time is over or somebody takes it away."""
    board = muted(board_with(check()), sticky=True)
    for change in ([check(count=99, summary="worse")], [], [check()]):
        board.set("m", change)
        assert "X" in board.mutes

    board.load_mutes({})
    assert board.mutes == {}


def test_a_fallen_mute_stays_fallen_while_its_record_is_being_removed():
    """Changes of other mutes restore no expired one; a new mute of the same code counts."""
    board = muted(board_with(check()))
    board.set("m", [check(count=2)])
    board.set("m", [check(count=1)])
    old = Mute(count=1, summary="x")
    board.load_mutes({"X": old, "Y": Mute(sticky=True)})
    assert list(board.mutes) == ["Y"]

    board.load_mutes({"X": Mute(count=2, summary="x")})
    assert list(board.mutes) == ["X"]


def test_a_mute_survives_a_failover():
    """The successor has not heard of the check yet: that is no reason to let the mute fall."""
    board = muted(Board())
    assert "X" in board.mutes
    board.set("m", [check()])
    assert "X" in board.mutes
    board.set("m", [])
    assert board.mutes == {}


def test_whoever_listens_hears_of_changes_only():
    """The same checks again are no change."""
    heard = []
    board = Board()
    board.on_change(lambda: heard.append(1))
    board.set("m", [check()])
    board.set("m", [check()])
    board.clear("n")
    muted(board)
    muted(board)

    assert len(heard) == 2


def test_the_checks_of_a_module_are_read_leniently():
    """A check must not vanish for a spelling."""
    read = Check.from_module("X", {"severity": "oops", "summary": 5, "count": "3", "detail": [1]})

    assert read == check(summary="5", count=0, detail=("1",))
    assert Check.from_module("X", {"severity": "error"}).severity is Severity.ERR


def test_an_unreadable_mute_mutes_nothing(caplog):
    """Somebody's hand in etcd."""
    assert decode("[]") is None
    assert "unreadable mute" in caplog.text
    assert decode(encode(Mute(count=3))) == Mute(count=3)
    assert msgspec.json.decode(encode(Mute()))["sticky"] is False

"""What modules had raised, as it is stored."""

from mgr.health import raised_record
from mgr.health.check import Check, Severity

RAISED = {
    "hello": (
        Check(code="X", severity=Severity.ERR, summary="x", count=2, detail=("one", "two")),
        Check(code="Y", severity=Severity.WARN, summary="y"),
    )
}


def test_what_is_stored_is_read_as_it_was():
    """Severities and details included."""
    assert raised_record.decode(raised_record.encode(RAISED)) == RAISED


def test_too_much_is_stored_without_details(monkeypatch):
    """Counts and summaries are what must not flap."""
    monkeypatch.setattr(raised_record, "BYTES_MAX", 10)

    read = raised_record.decode(raised_record.encode(RAISED))

    assert [(each.code, each.count, each.detail) for each in read["hello"]] == [
        ("X", 2, ()),
        ("Y", 0, ()),
    ]


def test_a_count_with_too_many_digits_is_stored():
    """It is the largest one, and keeps no other check from being stored."""
    check = Check.from_module("X", {"summary": "x", "count": 10**5000})

    read = raised_record.decode(raised_record.encode({"hello": (check,)}))

    assert [each.count for each in read["hello"]] == [2**63 - 1]


def test_an_unreadable_record_holds_no_checks(caplog):
    """Somebody's hand in etcd must not stop a manager."""
    assert raised_record.decode("{") == {}
    assert raised_record.decode('{"hello": [{"code": 1}]}') == {}
    assert caplog.text.count("unreadable health record") == 2

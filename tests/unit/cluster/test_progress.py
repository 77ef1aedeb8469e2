"""What is under way: reported by modules, kept for as long as the term."""

from mgr.cluster.progress import EVENTS_MAX, Progress, ProgressEvent


def event(message="Moving", progress=0.5, *, source="m"):
    return ProgressEvent(message, progress, shown=True, source=source)


def test_the_last_report_of_an_event_counts():
    """It keeps its place among the others."""
    table = Progress()
    table.update("1", event(progress=0.1))
    table.update("2", event())
    table.update("1", event(progress=0.9))

    assert [(evid, each.progress) for evid, each in table.events.items()] == [
        ("1", 0.9),
        ("2", 0.5),
    ]


def test_an_event_ends_by_itself_or_with_all():
    """One that is not known ends without an error."""
    table = Progress()
    for evid in "123":
        table.update(evid, event())
    table.complete("2")
    table.complete("2")
    assert list(table.events) == ["1", "3"]

    table.clear()
    assert table.as_document() == {}


def test_events_of_a_module_that_stopped_are_forgotten():
    """It will complete none of them."""
    table = Progress()
    table.update("1", event(source="m"))
    table.update("2", event(source="n"))

    table.drop("m")

    assert list(table.events) == ["2"]


def test_there_is_a_limit():
    """The oldest event makes room."""
    table = Progress()
    for number in range(EVENTS_MAX + 1):
        table.update(str(number), event())

    assert len(table.events) == EVENTS_MAX
    assert "0" not in table.events


def test_a_bar_is_as_long_as_its_event_is_done():
    """From empty to full."""
    assert event(progress=0).bar().count("=") == 0
    assert event(progress=1).bar().count(".") == 0

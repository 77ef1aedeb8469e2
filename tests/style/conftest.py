"""Numbers are looked at: the longest files and functions at the end of each run."""

from __future__ import annotations

from tests.support.tree import file_lengths, function_lengths


def pytest_terminal_summary(terminalreporter):
    """Print the ten longest of each, so that growth is seen before a limit is hit."""
    for title, entries in (("files", file_lengths()), ("functions", function_lengths())):
        terminalreporter.section(f"ten longest {title}")
        for lines, name in entries[:10]:
            terminalreporter.line(f"{lines:5} {name}")

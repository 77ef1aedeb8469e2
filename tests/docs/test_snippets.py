"""Every Python block of the pages runs, alone and as it stands."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import types

import pytest

from tests.support.tree import COMMITTED, name_of

MARKDOWN = [path for path in COMMITTED if path.suffix == ".md"]
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(language):
    """Each block of that language, with the page and the line where it begins."""
    return [
        pytest.param(
            textwrap.dedent(match[3]),
            id=f"{name_of(path)}:{text[: match.start()].count(chr(10)) + 1}",
        )
        for path in MARKDOWN
        for text in [path.read_text()]
        for match in BLOCK.finditer(text)
        if match[2] == language
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_runs(code, request):
    """Alone, with nothing but what it imports: that is how it will be pasted.

    Its tests run too, with the fixtures that they name.
    """
    module = types.ModuleType(f"snippet_{abs(hash(request.node.name))}")
    sys.modules[module.__name__] = module
    try:
        # Without this file's own __future__ imports: annotations of commands are no texts.
        exec(compile(code, request.node.name, "exec", dont_inherit=True), module.__dict__)
        for test in [each for name, each in vars(module).items() if name.startswith("test_")]:
            test(*map(request.getfixturevalue, inspect.signature(test).parameters))
    finally:
        del sys.modules[module.__name__]

"""Draws sampled stacks as a flame graph: each frame as wide as the time it ran, callers below."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from bench.plot import PICTURES

WIDTH: Final = 1200
ROW: Final = 17
MARGIN: Final = 10
HEAD: Final = 44
LETTER: Final = 6.2
"""Width of a letter, so that a frame's name is cut to what fits."""
FONT: Final = 'font-family="monospace" font-size="10"'
NARROWEST: Final = 0.002
"""Frames with a smaller share of the time are left out."""
COLOURS: Final = {"mgr": "#e8743b", "grpc": "#5b8ff9", "asyncio": "#9bb7a5", "other": "#d9d2c5"}

Stack = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stacks:
    """How often each stack was seen, from the outermost function to the one that ran."""

    counts: Mapping[Stack, int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what py-spy records as ``raw``: ``outer;inner count`` on each line."""
        counts: Counter[Stack] = Counter()
        for line in text.splitlines():
            frames, _, count = line.rpartition(" ")
            counts[tuple(frames.split(";"))] += int(count)
        if not counts:
            raise ValueError("no stack was recorded")
        return cls(dict(counts))

    @property
    def total(self) -> int:
        """The number of samples."""
        return sum(self.counts.values())


@dataclass(slots=True)
class _Node:
    """One frame below the same callers."""

    count: int = 0
    inner: dict[str, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A flame graph.

    Attributes:
        name: Of the file in ``docs/images``, without ``.svg``.
        title: What was sampled.

    """

    name: str
    title: str
    stacks: Stacks

    def write(self) -> str:
        """Write it; return a note that says so."""
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / f"{self.name}.svg").write_text(self.text(), encoding="utf-8")
        return f"drawn: docs/images/{self.name}.svg"

    def text(self) -> str:
        """Return it as SVG."""
        root = _tree(self.stacks)
        boxes: list[tuple[int, float, float, str, int]] = []
        _place(root, 0, 0.0, root.count, boxes)
        rows = max(depth for depth, *_ in boxes) + 1
        height = HEAD + rows * ROW + MARGIN
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="18" font-size="13">{html.escape(self.title)}</text>',
            *_legend(),
        ]
        for depth, left, share, name, count in boxes:
            lines.append(_box(depth, left, share, name, f"{100 * count / root.count:.1f} %"))
        return "\n".join([*lines, "</svg>", ""])


def _tree(stacks: Stacks) -> _Node:
    root = _Node(stacks.total)
    for frames, count in stacks.counts.items():
        node = root
        for frame in frames:
            node = node.inner.setdefault(frame, _Node())
            node.count += count
    while len(root.inner) == 1:  # what is below every sample says nothing
        [alone] = root.inner.values()
        if alone.count < root.count or not alone.inner:
            break
        root = alone
    return root


def _place(
    node: _Node,
    depth: int,
    left: float,
    whole: int,
    boxes: list[tuple[int, float, float, str, int]],
) -> None:
    for name, inner in sorted(node.inner.items()):
        share = inner.count / whole
        if share >= NARROWEST:
            boxes.append((depth, left, share, name, inner.count))
            _place(inner, depth + 1, left, whole, boxes)
        left += share


def _legend() -> Sequence[str]:
    found = []
    for place, (layer, colour) in enumerate(COLOURS.items()):
        x = MARGIN + 90 * place
        found += [
            f'<rect x="{x}" y="25" width="10" height="10" fill="{colour}"/>',
            f'<text x="{x + 14}" y="34">{layer}</text>',
        ]
    return found


def _box(depth: int, left: float, share: float, name: str, shown: str) -> str:
    room = WIDTH - 2 * MARGIN
    x, y, width = MARGIN + left * room, HEAD + depth * ROW, share * room
    letters = int((width - 4) / LETTER)
    short = name.partition(" (")[0]
    text = short if len(short) <= letters else f"{short[: letters - 2]}.." if letters > 4 else ""
    label = f'<text x="{x + 2:.1f}" y="{y + 11}">{html.escape(text)}</text>' if text else ""
    return (
        f'<g><title>{html.escape(name)}: {shown}</title><rect x="{x:.1f}" y="{y}" '
        f'width="{max(width - 0.5, 0.2):.1f}" height="{ROW - 1}" fill="{COLOURS[layer_of(name)]}"/>'
        f"{label}</g>"
    )


def layer_of(frame: str) -> str:
    """Return whose function ``frame`` is: ``mgr``, ``grpc``, ``asyncio``, or ``other``."""
    place = frame.rpartition("(")[2]
    for layer in ("mgr", "grpc", "asyncio"):
        if place.startswith(f"{layer}/"):
            return layer
    return "other"

"""The terminal: what others wrote reaches it as text, never as markup, control sequence or link."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from persona_env.errors import printable

__all__ = ["Terminal", "plain"]


def plain(text: str, indent: int = 0) -> str:
    r"""Returns a text with its line breaks, in which all else that cannot be printed is escaped.

    Rich passes on escape sequences that stand in a text, and bidi marks reorder what is around them. Each line but the
    first is indented by so many blanks, so that none looks like another row.

    >>> plain("a\r\nb\x1b]0;x\x07")
    'a\nb\\x1b]0;x\\x07'
    """
    lines = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return ("\n" + " " * indent).join(map(printable, lines))


class Terminal(Console):
    r"""A console that takes no markup, and shows escaped what cannot be printed, wherever it stands.

    >>> Terminal(width=40).print("[bold]x[/oops]\x1b[2J")
    [bold]x[/oops]\x1b[2J
    """

    def __init__(self, **settings: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields what is to be written; rich calls this for all that it prints."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable() or segment.text == "\n":
                yield segment
            else:
                yield Segment(plain(segment.text), segment.style)

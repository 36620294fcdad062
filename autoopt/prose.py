"""Text for people: on a terminal, its lines end between words."""

import re
import sys
from shutil import get_terminal_size
from textwrap import fill
from typing import TextIO


def print_prose(text: str, file: TextIO | None = None) -> None:
    """Print a text; where the output is no terminal, its lines stay whole, so that other programs can read them."""
    file = file or sys.stdout
    if file.isatty():
        width = get_terminal_size().columns
        text = "\n".join(folded(line, width) for line in text.split("\n"))
    print(text, file=file, flush=True)


def folded(line: str, width: int) -> str:
    """A line as lines of this width; they continue below its last column, which begins after two spaces or more."""
    columns = [gap.end() for gap in re.finditer(r"^ +| {2,}", line)]
    indent = max((column for column in columns if column <= 3 * width // 4), default=0)
    return fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)

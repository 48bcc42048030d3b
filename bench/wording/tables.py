"""Tables as Markdown, and as aligned columns for a terminal."""

from collections.abc import Sequence

Row = Sequence[str]


def markdown_table(header: Row, rows: Sequence[Row]) -> list[str]:
    """The lines of a Markdown table. Every cell is one line, and no cell ends another."""
    return [
        _joined(header),
        _joined(["---"] * len(header)),
        *(_joined([_cell(cell) for cell in row]) for row in rows),
    ]


def text_table(header: Row, rows: Sequence[Row]) -> list[str]:
    """The lines of a table whose columns are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def _joined(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"

"""Tables as text: columns line up, and no cell breaks its row."""

from bench.wording.tables import markdown_table, text_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text_table(("a", "long name"), [("first", "1"), ("b", "22")]) == [
        "a      long name",
        "first  1",
        "b      22",
    ]


def test_no_cell_ends_another_or_its_row() -> None:
    lines = markdown_table(("a", "b"), [("x|y", "two\nlines <b>")])
    assert lines == ["| a | b |", "| --- | --- |", r"| x\|y | two lines &lt;b> |"]

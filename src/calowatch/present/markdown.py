"""Tables as Markdown."""

from collections.abc import Sequence

from calowatch.present.panels_page import Table

__all__ = ["markdown_table"]


def markdown_table(table: Table) -> list[str]:
    r"""Return a table as lines of Markdown.

    Examples
    --------
    >>> markdown_table(Table(["model", "AUC"], [["a|b", "0.9"]]))
    ['| model | AUC |', '|---|---|', '| a\\|b | 0.9 |']
    """

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return [row(table.head), "|" + "---|" * len(table.head), *(row(cells) for cells in table.rows)]

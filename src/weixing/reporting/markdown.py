"""Tables as Markdown text. Pure."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]], align: str = "---") -> str:
    """A table whose first row is its header, without a line feed at the end; cells past the first column are aligned
    as `align` says."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines.insert(1, ["---"] + [align] * (len(rows[0]) - 1))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

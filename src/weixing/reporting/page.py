"""The table as a web page of one file: the scores, the family's heat maps, and where they come from.

Nothing is loaded from elsewhere and there is no script; every rounded number is a <data> element with the number in
full. Reads the style sheet that comes with the package.
"""

import html
from collections.abc import Mapping, Sequence
from importlib import resources

from weixing.reporting.captions import map_remarks, map_title, tile_text
from weixing.reporting.colours import as_hex, colour_at, ink_on, shares
from weixing.reporting.family import FamilyMap, compute_map, score_map, size_map, speed_map
from weixing.reporting.provenance import Provenance
from weixing.reporting.published import MEANS
from weixing.reporting.sheet import Cell, Row, Sheet, sheet
from weixing.reporting.table import Entry
from weixing.reporting.wording import WORDS, Language, Words
from weixing.zoo import HIDDEN, LAYERS


def page(
    entries: Sequence[Entry],
    language: Language = "en",
    *,
    provenance: Provenance | None = None,
    speeds: Mapping[str, float] | None = None,
) -> str:
    """The whole page. A heat map is drawn for the mean, for each column with a score of a shape of the family, and
    for size and speed (compute where `speeds` is None)."""
    words, laid_out = WORDS[language], sheet(entries, language)
    style = resources.files("weixing.reporting").joinpath("page.css").read_text(encoding="utf-8")
    scores = [score_map(entries, column) for column in dict.fromkeys(entry.column for entry in entries)]
    drawn = [m for m in scores if m.column in MEANS or any(not tile.published for tile in m.tiles.values())]
    maps = [*drawn, size_map(), speed_map(speeds) if speeds else compute_map()]
    return "\n".join(
        [
            f'<!doctype html>\n<html lang="{words.tag}">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{words.title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{words.title}</h1>",
            f"<p>{html.escape(words.gap.join(laid_out.legend))}</p>",
            _scores(laid_out, words),
            _notes(laid_out.notes, words),
            f"<h2>{words.family}</h2>\n<p>{words.family_text}</p>",
            '<div class="maps">',
            *(_map(family_map, words) for family_map in maps),
            "</div>",
            _provenance(provenance, words),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _scores(laid_out: Sheet, words: Words) -> str:
    header = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in (words.model, *laid_out.columns))
    bodies: list[str] = []
    for row in laid_out.rows:
        if row.kind == "model":
            bodies.append("")
        bodies[-1] += _row(row, words)
    return "\n".join(
        [
            f'<div class="wide" role="region" aria-label="{words.title}" tabindex="0">',
            '<table class="scores" id="scores">',
            f"<thead>\n<tr>{header}</tr>\n</thead>",
            *(f"<tbody>\n{body}</tbody>" for body in bodies),
            "</table>\n</div>",
        ]
    )


def _row(row: Row, words: Words) -> str:
    cells = "".join(f"<td>{_cell(cell, words)}</td>" for cell in row.cells)
    return f'<tr class="{row.kind}"><th scope="row">{html.escape(row.head)}</th>{cells}</tr>\n'


def _cell(cell: Cell, words: Words) -> str:
    marks = ", ".join(f'<a href="#note-{mark}">{mark}</a>' for mark in cell.marks)
    details = "".join(f"<small>{html.escape(part)}</small>" for part in cell.detail.split(words.comma) if part)
    return _number(cell.text, cell.value) + (f"<sup>{marks}</sup>" if marks else "") + details


def _number(text: str, value: float | None) -> str:
    """Rounded for reading, in full for machines; a real minus sign."""
    shown = html.escape(text).replace("-", "−")
    return shown if value is None else f'<data value="{value!r}">{shown}</data>'


def _notes(notes: Sequence[str], words: Words) -> str:
    items = "\n".join(
        f'<li id="note-{number}">{html.escape(note)} <a href="#scores" aria-label="{words.back}">↑</a></li>'
        for number, note in enumerate(notes, 1)
    )
    return f'<h2>{words.notes}</h2>\n<ol class="notes">\n{items}\n</ol>' if items else ""


def _map(family_map: FamilyMap, words: Words) -> str:
    """A map as a table that is read like any other: depths down, widths across."""
    places = dict(
        zip(family_map.tiles, shares([t.value for t in family_map.tiles.values()], family_map.logarithmic), strict=True)
    )
    head = "".join(f'<th scope="col">{hidden}</th>' for hidden in HIDDEN)
    corner = f'<th><span title="{words.layers} \\ {words.hidden}">L \\ H</span></th>'
    rows = []
    for layers in LAYERS:
        cells = "".join(_tile(family_map, f"{layers}/{hidden}", places, words) for hidden in HIDDEN)
        rows.append(f'<tr><th scope="row">{layers}</th>{cells}</tr>')
    remarks = words.gap.join(map_remarks(family_map, words))
    return "\n".join(
        [
            f'<figure>\n<table class="map">\n<caption>{html.escape(map_title(family_map, words))}</caption>',
            f"<thead>\n<tr>{corner}{head}</tr>\n</thead>\n<tbody>",
            *rows,
            f"</tbody>\n</table>\n<figcaption>{html.escape(remarks)}</figcaption>\n</figure>",
        ]
    )


def _tile(family_map: FamilyMap, shape: str, places: Mapping[str, float], words: Words) -> str:
    tile = family_map.tiles.get(shape)
    if tile is None:
        return f'<td class="empty"><span title="{words.empty}">{tile_text(family_map, shape)}</span></td>'
    colour = colour_at(places[shape])
    style = f"background:{as_hex(colour)};color:{as_hex(ink_on(colour))}"
    kind = ' class="published"' if tile.published else ""
    title = f' title="{html.escape(tile.model)}"' if tile.model else ""
    return f'<td{kind} style="{style}"{title}>{_number(tile_text(family_map, shape), tile.value)}</td>'


def _provenance(provenance: Provenance | None, words: Words) -> str:
    if provenance is None:
        return f"<p>{html.escape(words.exact)}</p>"
    rows = "\n".join(
        f'<tr><td><code>{html.escape(source.path)}</code></td><td class="count">{source.entries}</td>'
        f"<td><code>{source.sha256}</code></td></tr>"
        for source in provenance.sources
    )
    return "\n".join(
        [
            f"<h2>{words.provenance}</h2>\n<p>{words.command.format(version=html.escape(provenance.version))}</p>",
            f"<pre><code>{html.escape(provenance.command)}</code></pre>",
            '<div class="wide">\n<table class="sources">\n<thead>\n<tr>'
            f'<th scope="col">{words.file}</th><th scope="col">{words.entries}</th><th scope="col">SHA-256</th></tr>',
            f"</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n<p>{html.escape(words.exact)}</p>",
        ]
    )

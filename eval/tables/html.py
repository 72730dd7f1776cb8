"""An HTML page that needs no other file: tables, and rows of pictures held in the page itself."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

_QUALITY = 92  # of JPEG: a page is for looking, scores come from the PNGs
START = (  # by which a page of ours is known
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>'
)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222;
  margin: 2em auto; max-width: 1700px; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ddd; padding: .25em .8em; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.row { display: grid; grid-template-columns: repeat(var(--columns), 1fr); gap: 6px;
  align-items: start; }
.row img { width: 100%; display: block; }
figure { margin: 0; } figcaption, .note { color: #666; font-size: 13px; }
.missing { background: #eee; color: #888; display: grid; place-items: center; min-height: 8em; }
@media (max-width: 800px) { .row { grid-template-columns: repeat(2, 1fr); } }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #ddd; } td, th { border-color: #444; }
  .missing { background: #2a2a2a; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page; ``parts`` are made by the functions below."""
    body = "\n".join([f"<h1>{_(title)}</h1>", *parts])
    return f"{START}{_(title)}</title><style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: range = range(0)) -> str:
    """A table; the columns in ``numbers`` are aligned as numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        classes = [' class="number"' if i in numbers else "" for i in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{c}>{_(cell)}</{tag}>" for c, cell in zip(classes, cells)) + "</tr>"

    return "<table>" + line("th", heads) + "".join(line("td", row) for row in rows) + "</table>"


def heading(text: str) -> str:
    return f"<h2>{_(text)}</h2>"


def details(title: str, inside: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{_(title)}</summary>{inside}</details>"


def notes(texts: Iterable[str]) -> str:
    return "".join(f'<p class="note">{_(text)}</p>' for text in texts)


def panel(title: str, pictures: Mapping[str, UInt8[np.ndarray, "H W 3"] | None]) -> str:
    """A row of pictures under one heading, by their captions; None where a picture does not exist."""
    figures = []
    for caption, picture in pictures.items():
        inside = '<div class="missing">none</div>' if picture is None else f'<img src="{_data(picture)}">'
        figures.append(f"<figure>{inside}<figcaption>{_(caption)}</figcaption></figure>")
    return f'<h3>{_(title)}</h3><div class="row" style="--columns:{len(figures)}">{"".join(figures)}</div>'


def _data(picture: UInt8[np.ndarray, "H W 3"]) -> str:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


_ = html.escape

"""A contact sheet: labelled rows of images on one page."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from geometry.visualize.image import Image, resized

_MARGIN, _GAP = 16, 6
_TALLEST, _SHORTEST = 260, 90  # heights of a row
_BACKGROUND, _TEXT, _NOTE = (255, 255, 255), (40, 40, 40), (170, 30, 30)


def contact_sheet(
    rows: Mapping[str, Iterable[Image]], *, width: int = 1600, title: str | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """One page with a labelled row for each entry; aspects are kept, and may differ within a row.

    Rows fill the page's width as far as their images stay between 90 and 260 pixels high; a row with more
    images than fit shows some of them, evenly chosen, and its label says so. Images are made small as they
    come, so a row may be an iterator over many large ones.

    Args:
        title: a line across the top, in red: a warning about the pictures.
    """
    blocks = [_text(title, width, 22, _NOTE)] if title else []
    for label, images in rows.items():
        small = [resized(image, _TALLEST) for image in images]
        if not small:
            continue
        shown = _fitting(small, width - 2 * _MARGIN)
        note = f" ({len(shown)} of {len(small)})" if len(shown) < len(small) else ""
        blocks += [_text(label.strip() + note, width, 18, _TEXT), _row(shown, width)]
    bottom = np.full((_MARGIN, width, 3), _BACKGROUND, np.uint8)
    return np.concatenate([*blocks, bottom])


def _fitting(images: Sequence[Image], width: int) -> list[Image]:
    """As many images, evenly chosen with both ends, as fit side by side at the least height."""
    for count in range(len(images), 1, -1):
        some = [images[round(i * (len(images) - 1) / (count - 1))] for i in range(count)]
        if _height(some, width) >= _SHORTEST:
            return some
    return [images[0]]


def _height(images: Sequence[Image], width: int) -> int:
    """Common height at which the images and the gaps between them fill ``width``."""
    aspects = sum(image.shape[1] / image.shape[0] for image in images)
    return int((width - _GAP * (len(images) - 1)) / aspects)


def _row(images: Sequence[Image], width: int) -> Image:
    height = max(1, min(_TALLEST, _height(images, width - 2 * _MARGIN)))
    row = np.full((height, width, 3), _BACKGROUND, np.uint8)
    x = _MARGIN
    for image in images:
        image = resized(image, height)[:, : width - _MARGIN - x]
        row[:, x : x + image.shape[1]] = image
        x += image.shape[1] + _GAP
    return row


def _text(text: str, width: int, size: int, colour: tuple[int, int, int]) -> Image:
    """A strip with one or more lines of text."""
    font = ImageFont.load_default(size)
    lines = _wrapped(text, font, width - 2 * _MARGIN)
    step = round(1.3 * size)
    strip = Pillow.new("RGB", (width, _MARGIN + step * len(lines)), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN - 4 + i * step), line, font=font, fill=colour)
    return np.asarray(strip)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]

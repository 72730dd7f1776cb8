"""A contact sheet: labelled sections of images on one page."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from geometry.visualize.image import Image, resized

WIDTH = 1600  # of a page, pixels
MOST = 24  # images of a section
_MARGIN, _GAP = 16, 6
# Sides of the square that has an image's area: upright and wide images are judged alike.
_LARGEST, _USUAL, _SMALLEST = 340, 230, 140
_NARROWEST = 640  # of a page, for its words
_BACKGROUND, _TEXT, _NOTE = (255, 255, 255), (40, 40, 40), (170, 30, 30)


def contact_sheet(
    sections: Mapping[str, Iterable[Image]], *, width: int = WIDTH, title: str | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """One page with a labelled section for each entry; aspects are kept, and may differ within a section.

    A section's images stand in as few lines as leave them large enough; a page that they cannot fill is
    narrower. Of more than `MOST` images some are shown, evenly chosen with both ends, and the label says so.
    Images are made small as they come, so a section may be an iterator over many large ones.

    Args:
        title: lines across the top, in red: what whoever looks at the sheet must know.
    """
    laid: list[tuple[str, list[list[Image]]]] = []
    for label, images in sections.items():
        small = [_reduced(image) for image in images]
        if small:
            shown = [small[i] for i in spread(len(small), MOST)]
            note = f" ({len(shown)} of {len(small)})" if len(shown) < len(small) else ""
            laid.append((label.strip() + note, _lines(shown, width - 2 * _MARGIN)))
    lines = [line for _, section in laid for line in section]
    if lines:
        width = min(width, max(_NARROWEST, 2 * _MARGIN + max(_width(line) for line in lines)))
    blocks = [_text(line, width, 22, _NOTE) for line in (title or "").splitlines()]
    for label, section in laid:
        blocks += [_text(label, width, 18, _TEXT), *(_drawn(line, width) for line in section)]
    return np.concatenate([*blocks, np.full((_MARGIN, width, 3), _BACKGROUND, np.uint8)])


def spread(total: int, most: int) -> list[int]:
    """At most so many of ``total`` places, evenly apart with both ends, in order."""
    if total <= most:
        return list(range(total))
    return sorted({round(i * (total - 1) / max(1, most - 1)) for i in range(most)})


def images_per_line(aspect: float) -> int:
    """How many images of this aspect (width / height) stand side by side at their usual size."""
    return max(1, round((WIDTH - 2 * _MARGIN + _GAP) / (_USUAL * math.sqrt(aspect) + _GAP)))


def _reduced(image: Image) -> Image:
    """The image no larger than any line will show it."""
    H, W = image.shape[:2]
    return resized(image, min(H, max(1, round(_LARGEST * math.sqrt(H / W)))))


def _lines(images: Sequence[Image], width: int) -> list[list[Image]]:
    """Images of one height, divided into lines that are as full as can be."""
    aspects = [image.shape[1] / image.shape[0] for image in images]
    mean = math.exp(sum(math.log(a) for a in aspects) / len(aspects))
    for count in range(1, len(images) + 1):
        columns = math.ceil(len(images) / count)
        rows = [slice(i, i + columns) for i in range(0, len(images), columns)]
        height = min((width - _GAP * (columns - 1)) / max(sum(aspects[row]), 1e-6) for row in rows)
        if height * math.sqrt(mean) >= _SMALLEST:
            break
    height = max(1, int(min(height, _LARGEST / math.sqrt(mean))))
    return [[resized(image, height) for image in images[row]] for row in rows]


def _width(line: Sequence[Image]) -> int:
    return sum(image.shape[1] for image in line) + _GAP * (len(line) - 1)


def _drawn(line: Sequence[Image], width: int) -> Image:
    """A line on the page, with the gap to the next one."""
    height = line[0].shape[0]
    strip = np.full((height + _GAP, width, 3), _BACKGROUND, np.uint8)
    x = _MARGIN
    for image in line:
        image = image[:, : max(0, width - _MARGIN - x)]
        strip[:height, x : x + image.shape[1]] = image
        x += image.shape[1] + _GAP
    return strip


def _text(text: str, width: int, size: int, colour: tuple[int, int, int]) -> Image:
    """A strip with one or more lines of text."""
    font = ImageFont.load_default(size)
    lines = _wrapped(text, font, width - 2 * _MARGIN)  # type: ignore[arg-type]
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

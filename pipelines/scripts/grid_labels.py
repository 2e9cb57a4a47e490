"""Labels above and left of a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipelines.scripts.base import GridStyle

STRIKE_WIDTH = 4

FONT = Path(__file__).parent / "fonts" / "Roboto-Regular.ttf"
"""The font of A1111's labels."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A line of text; an inactive one is grey and struck out."""

    text: str
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class _Line:
    text: str
    active: bool
    width: int
    height: int


Labels = Sequence[Sequence[Label]]


def label_grid(
    sheet: Image.Image, *, cell: tuple[int, int], columns: Labels, rows: Labels, margin: int, style: GridStyle
) -> Image.Image:
    """`sheet` with labels for each column above and for each row to the left, cells `margin` pixels apart.

    The text is as high as a 25th of a cell's width and height together; the left column is three quarters of a cell
    wide and is left out when no row has text.

    Args:
        sheet: Cells of size `cell`, row by row.

    Source: A1111 modules/images.py, draw_grid_annotations.
    """
    width, height = cell
    font_size = max(1, (width + height) // 25)
    spacing = font_size // 2
    left = width * 3 // 4 if any(label.text for labels in rows for label in labels) else 0
    above = [_wrap(labels, width, font_size) for labels in columns]
    beside = [_wrap(labels, left, font_size) for labels in rows]
    heights = [max(0, sum(line.height + spacing for line in lines) - spacing) for lines in above]
    top = max(heights) + spacing * 2 if any(heights) else 0
    across, down = sheet.width // width, sheet.height // height
    size = sheet.width + left + margin * (across - 1), sheet.height + top + margin * (down - 1)
    result = Image.new("RGB", size, style.background)
    for row in range(down):
        for column in range(across):
            box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
            result.paste(sheet.crop(box), (left + (width + margin) * column, top + (height + margin) * row))
    draw = ImageDraw.Draw(result)
    for column, lines in enumerate(above[:across]):
        start = left + (width + margin) * column + width / 2, top / 2 - heights[column] / 2
        _draw(draw, start, lines, font_size, style, room=width)
    for row, lines in enumerate(beside[:down]):
        total = sum(line.height for line in lines)
        start = left / 2, top + (height + margin) * row + height / 2 - total / 2
        _draw(draw, start, lines, font_size, style, room=left)
    return result


def message_cell(size: tuple[int, int], text: str, *, style: GridStyle) -> Image.Image:
    """A picture of `size` that says `text`, in the middle and as far as it fits."""
    cell = Image.new("RGB", size, style.background)
    font_size = max(8, (size[0] + size[1]) // 40)
    lines = _wrap([Label(text=text)], size[0], font_size)
    spacing = font_size // 2
    while len(lines) > 1 and sum(line.height + spacing for line in lines) > size[1]:
        lines.pop()
    total = sum(line.height + spacing for line in lines)
    draw = ImageDraw.Draw(cell)
    _draw(draw, (size[0] / 2, max(0, size[1] - total) / 2), lines, font_size, style, room=size[0])
    return cell


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def _wrap(labels: Sequence[Label], width: int, font_size: int) -> list[_Line]:
    """Lines of the labels, broken between words where they are wider than `width`."""
    font = _font(font_size)
    lines: list[_Line] = []
    for label in labels:
        texts = [""]
        for word in label.text.split():
            longer = f"{texts[-1]} {word}".strip()
            if font.getlength(longer) <= width:
                texts[-1] = longer
            else:
                texts.append(word)
        for text in texts:
            box = font.getbbox(text)
            lines.append(_Line(text=text, active=label.active, width=int(box[2] - box[0]), height=int(box[3] - box[1])))
    return lines


def _fitting_font(text: str, font_size: int, room: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font up to `font_size` in which `text` is not wider than `room` pixels."""
    while font_size > 1 and _font(font_size).getlength(text) > room:
        font_size -= 1
    return _font(font_size)


def _draw(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    lines: list[_Line],
    font_size: int,
    style: GridStyle,
    *,
    room: int,
) -> None:
    x, y = start
    for line in lines:
        font = _fitting_font(line.text, font_size, room)
        color = style.active_color if line.active else style.inactive_color
        draw.text((x, y + line.height / 2), line.text, font=font, fill=color, anchor="mm")
        if not line.active:
            middle = y + line.height // 2
            draw.line((x - line.width // 2, middle, x + line.width // 2, middle), fill=color, width=STRIKE_WIDTH)
        y += line.height + font_size // 2

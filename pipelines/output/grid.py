"""Contact sheets, and pictures cut into overlapping tiles and put together again."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


def grid_size(
    count: int, *, batch_size: int = 1, n_rows: int = -1, prevent_empty_spots: bool = False
) -> tuple[int, int]:
    """Columns and rows of a contact sheet of `count` pictures.

    Args:
        n_rows: Rows wanted; 0 for one per picture of a batch, -1 for about as many as columns.
        prevent_empty_spots: With -1, takes fewer rows until they divide `count`.

    Source: A1111 modules/images.py, image_grid.
    """
    if n_rows > 0:
        rows = n_rows
    elif n_rows == 0:
        rows = batch_size
    elif prevent_empty_spots:
        rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    else:
        rows = round(math.sqrt(count))
    rows = max(min(rows, count), 1)
    return math.ceil(count / rows), rows


def image_grid(images: Sequence[Image.Image], *, columns: int, background: str = "#ffffff") -> Image.Image:
    """A contact sheet, RGB, filled row by row; cells are as large as the largest picture, others centred in theirs."""
    assert images, "a grid needs pictures"
    width, height = max(image.width for image in images), max(image.height for image in images)
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), background)
    for index, image in enumerate(images):
        left = index % columns * width + (width - image.width) // 2
        top = index // columns * height + (height - image.height) // 2
        sheet.paste(image, (left, top))
    return sheet


def is_within_limit(images: Sequence[Image.Image], max_megapixels: float) -> bool:
    """Whether a sheet of `images` stays below `img_max_size_mp`. Source: A1111 modules/images.py, check_grid_size."""
    return sum(image.width * image.height for image in images) <= max_megapixels * 1_000_000


@dataclass(kw_only=True)
class Tile:
    """One piece of a picture and where it was."""

    left: int
    top: int
    image: Image.Image


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """A picture in overlapping tiles. The tiles' pictures may be replaced, by ones of the same size.

    Attributes:
        rows: Tiles in reading order; all have the same size.
        overlap: Pixels that neighbours share at least.
    """

    rows: tuple[tuple[Tile, ...], ...]
    tile_width: int
    tile_height: int
    width: int
    height: int
    overlap: int

    @property
    def tiles(self) -> Iterator[Tile]:
        """All tiles, row by row."""
        return (tile for row in self.rows for tile in row)


def tile_starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along a side of `length`; spread evenly, the last one ends at the edge.

    Negative when the side is shorter than a tile.

    Source: A1111 modules/images.py, split_grid.
    """
    count = max(math.ceil((length - overlap) / (tile - overlap)), 1)
    step = (length - tile) / (count - 1) if count > 1 else 0
    starts = (int(index * step) for index in range(count))
    return tuple(length - tile if start + tile >= length else start for start in starts)


def split_grid(image: Image.Image, *, tile_width: int = 512, tile_height: int = 512, overlap: int = 64) -> TileGrid:
    """`image` in tiles of one size; a tile that is larger than the picture sticks out at its left or top, black."""
    assert overlap < min(tile_width, tile_height), f"overlap {overlap} leaves nothing of a tile"
    columns = tile_starts(image.width, tile_width, overlap)
    rows = tile_starts(image.height, tile_height, overlap)
    return TileGrid(
        rows=tuple(
            tuple(
                Tile(left=left, top=top, image=image.crop((left, top, left + tile_width, top + tile_height)))
                for left in columns
            )
            for top in rows
        ),
        tile_width=tile_width,
        tile_height=tile_height,
        width=image.width,
        height=image.height,
        overlap=overlap,
    )


def combine_grid(grid: TileGrid) -> Image.Image:
    """The whole picture, RGB; each tile fades in over its first `overlap` pixels, along rows, then between rows.

    Source: A1111 modules/images.py, combine_grid.
    """
    across = _ramp(grid.overlap, grid.tile_height).transpose(Image.Transpose.TRANSPOSE)
    down = _ramp(grid.overlap, grid.width)
    whole = Image.new("RGB", (grid.width, grid.height))
    for row in grid.rows:
        strip = Image.new("RGB", (grid.width, grid.tile_height))
        for tile in row:
            _paste_fading(strip, tile.image, (tile.left, 0), across if tile.left != 0 else None)
        _paste_fading(whole, strip, (0, row[0].top), down if row[0].top != 0 else None, is_row=True)
    return whole


def _ramp(overlap: int, length: int) -> Image.Image:
    """(length, overlap) picture of mode L that rises from 0 at the top by 255 / overlap per line."""
    values = np.arange(overlap, dtype=np.float32) * 255 / max(overlap, 1)
    return Image.fromarray(values.astype(np.uint8)[:, None].repeat(length, axis=1))


def _paste_fading(
    target: Image.Image,
    piece: Image.Image,
    position: tuple[int, int],
    mask: Image.Image | None,
    *,
    is_row: bool = False,
) -> None:
    """Pastes `piece`; with a mask its first lines (`is_row`) or columns are blended, the rest replaces."""
    left, top = position
    if mask is None or 0 in mask.size:
        target.paste(piece, position)
        return
    width, height = (piece.width, mask.height) if is_row else (mask.width, piece.height)
    target.paste(piece.crop((0, 0, width, height)), position, mask)
    if is_row:
        target.paste(piece.crop((0, height, piece.width, piece.height)), (left, top + height))
    else:
        target.paste(piece.crop((width, 0, piece.width, piece.height)), (left + width, top))

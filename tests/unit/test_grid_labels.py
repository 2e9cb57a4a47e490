"""Labels of contact sheets against one that A1111 drew."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.scripts.base import GridStyle
from pipelines.scripts.grid_labels import Label, label_grid

IMAGES = Path(__file__).resolve().parent.parent / "data" / "images"


def recorded(number: int) -> Image.Image:
    return Image.open(IMAGES / f"script_prompt_matrix_{number}.png").convert("RGB")


def test_a_labelled_sheet_is_laid_out_like_the_recorded_one():
    cells = [recorded(number) for number in (1, 2, 3, 4)]
    sheet = Image.new("RGB", (128, 128))
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % 2 * 64, index // 2 * 64))
    columns, rows = ([[Label(text=text, active=active)] for active in (False, True)] for text in ("red", "(big:1.2)"))
    result = label_grid(sheet, cell=(64, 64), columns=columns, rows=rows, margin=4, style=GridStyle())
    expected = recorded(0)
    assert result.size == expected.size
    different = np.abs(np.asarray(result, dtype=int) - np.asarray(expected, dtype=int)).max(axis=2) > 1
    # Six grey pixels of the letters differ, none of the pictures.
    assert different.sum() <= 6

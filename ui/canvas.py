"""The picture editor: one component for a picture, a picture with a mask, and a picture with a colour sketch.

The browser's part is assets/canvas.js. It holds the pixels; the value names uploaded files and is brought up to date
before a button of the class `needs-canvas`, or one beside Generate, does its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image, ImageOps

from schema.errors import ForbiddenPath, ImageError
from schema.paths import contained
from ui.init_images import MISSING_IMAGE, read_upload

Kind = Literal["picture", "mask", "sketch"]

MASK_COLOR = "#d9481c"
"""Seen on light and dark pictures; the overlay lets the picture through."""

LEVEL = 128
"""Opacity (0 to 255) from which a pixel is part of the mask: strokes have smooth edges, masks have not."""

GONE = "The picture is no longer on the server. Press the button once more; if that does not help, open it again."

WORDS = {
    "drop": "Drop a picture here",
    "drop_more": "or paste one, or click to choose a file",
    "picture_alt": "The picture being edited",
    "role": "picture editor",
    "toolbar": "Drawing tools",
    "tools": "Tools",
    "brush_settings": "Brush",
    "actions": "Changes",
    "view": "View",
    "file": "Picture",
    "brush": "Brush (B)",
    "eraser": "Eraser (E)",
    "rectangle": "Rectangle (M)",
    "lasso": "Lasso (L)",
    "fill": "Fill an area (G)",
    "picker": "Take a colour from the picture (I)",
    "size": "Brush size ([ and ], Q and W)",
    "size_short": "Size",
    "opacity": "Opacity of the mask on the screen",
    "opacity_short": "Mask",
    "color": "Brush colour",
    "undo": "Undo (Ctrl+Z)",
    "redo": "Redo (Ctrl+Shift+Z)",
    "invert": "Invert the mask",
    "clear": "Clear what was drawn",
    "feather": "Show the mask with its blur",
    "smaller": "Zoom out (-)",
    "larger": "Zoom in (+)",
    "fit": "Fit (R) or full size (1)",
    "full": "Full screen (S)",
    "open": "Open another picture",
    "remove": "Remove the picture",
    "hint_zoom": "KEY+wheel zooms, Space+drag moves",
    "hint_size": "KEY+wheel sizes the brush",
    "help_picture": "Plus and minus zoom, arrow keys move the picture, R fits it.",
    "help_paint": "Arrow keys move the brush, Enter paints, B and E choose brush and eraser, brackets change its size.",
    "not_shown": "This file is not a picture that the browser can show. Use PNG, JPEG, WebP or AVIF.",
    "not_fetched": "The picture could not be fetched.",
    "not_sent": "The picture could not be sent to the server. Check the connection and try again.",
    "sending": "Sending the picture…",
}

# The page's script may come later than the first editor.
ON_LOAD = """
const parts = { element, props, trigger, upload, watch };
const start = () => (window.webui?.canvas ? window.webui.canvas.attach(parts) : setTimeout(start, 30));
start();
/* events: 'upload' 'change' 'clear' */
"""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What an editor holds; files are read when they are asked for.

    Attributes:
        picture_file, layer_file: Uploaded files, or None where there is none.
    """

    picture_file: Path | None = None
    layer_file: Path | None = None

    def picture(self) -> Image.Image:
        """The picture, upright, with its metadata in `info`.

        Raises:
            ImageError: If there is none, or it cannot be read.
        """
        if self.picture_file is None:
            raise ImageError(MISSING_IMAGE)
        return _read(self.picture_file)

    def layer(self) -> Image.Image | None:
        """What was painted (RGBA), at the picture's size; None when nothing was."""
        if self.layer_file is None:
            return None
        layer = _read(self.layer_file).convert("RGBA")
        size = self.picture().size
        return layer if layer.size == size else layer.resize(size, Image.Resampling.BILINEAR)

    def mask(self) -> Image.Image:
        """The mask (L), at the picture's size: 255 where something was painted, whatever its colour."""
        layer = self.layer()
        if layer is None:
            return Image.new("L", self.picture().size, 0)
        return layer.getchannel("A").point(_painted)

    def sketch(self) -> Image.Image:
        """The picture with what was painted over it: RGBA where the picture has transparency, else RGB."""
        picture, layer = self.picture(), self.layer()
        if layer is None:
            return picture
        composed = Image.alpha_composite(picture.convert("RGBA"), layer)
        return composed if picture.has_transparency_data else composed.convert("RGB")


def picture_editor(kind: Kind, label: str, elem_id: str, *, color_option: str = "", blur: str = "") -> gr.HTML:
    """An editor in the current context; handlers get a `Drawing`.

    Handlers may answer with a picture (a file or an image), which takes the place of what is there with nothing
    painted on it, or with None to empty the editor. Events: `upload` when a person put a picture in, `change` when
    any other came, `clear`. In the browser its value is `{picture, layer, width, height}`.

    Args:
        color_option: Option with the colour of the mask on the screen, or of the sketch's brush at the start; without
            one, and for a mask where it is A1111's white, `MASK_COLOR`.
        blur: `elem_id` of the control whose value the feather preview shows, in pixels.
    """
    editor = gr.HTML(
        None,
        html_template="<div></div>",
        js_on_load=ON_LOAD,
        apply_default_css=False,
        label=label,
        elem_id=elem_id,
        elem_classes="canvas-block",
        kind=kind,
        name=elem_id,
        title=label,
        color=MASK_COLOR,
        color_option=color_option,
        blur=blur,
        words=WORDS,
    )
    editor.preprocess = as_drawing  # type: ignore[assignment]
    editor.postprocess = lambda value: as_value(value, editor.GRADIO_CACHE)  # type: ignore[assignment]
    return editor


def as_drawing(value: Any) -> Drawing:
    """The editor's value with its files checked, not yet read.

    Raises:
        ForbiddenPath: If a file lies elsewhere than among the uploads.
    """
    if not isinstance(value, Mapping):
        return Drawing()
    return Drawing(picture_file=_uploaded(value.get("picture")), layer_file=_uploaded(value.get("layer")))


def as_value(given: Any, cache: str) -> dict[str, Any] | None:
    """What the browser gets for a handler's answer: a file it can fetch, or None.

    Args:
        given: A file's path, an image, a value as the browser sends it, or None.
        cache: Folder for images that have no file.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        drawing = as_drawing(given)
        picture, layer = drawing.picture_file, drawing.layer_file
    else:
        picture = save_pil_to_cache(given, cache, format="png") if isinstance(given, Image.Image) else given
        layer = None
    return {"picture": _file(picture), "layer": _file(layer)} if picture else None


def _file(path: str | Path | None) -> dict[str, Any] | None:
    """`path` in the form in which Gradio adds the address to fetch it from."""
    return FileData(path=str(path)).model_dump() if path else None


def _uploaded(named: Any) -> Path | None:
    text = named.get("path") if isinstance(named, Mapping) else named
    if not isinstance(text, str) or not text:
        return None
    path = contained(text, [Path(get_upload_folder())])
    if path.is_dir():
        raise ForbiddenPath(f"Path '{text}' is not a file.")
    return path


def _painted(opacity: int) -> int:
    return 255 if opacity >= LEVEL else 0


def _read(file: Path) -> Image.Image:
    if not file.is_file():
        raise ImageError(GONE)
    # The browser shows pictures upright, so that is what was painted over.
    return ImageOps.exif_transpose(read_upload(str(file)))

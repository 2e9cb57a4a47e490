"""Where pictures keep their infotext: PNG text, EXIF user comment, GIF comment; and reading them all back.

Source: A1111 modules/images.py, save_image_with_geninfo and read_info_from_image.
"""

import json
import logging
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.output.comfyui import comfyui_infotext
from pipelines.output.stealth import read_stealth
from schema.errors import ImageError

_log = logging.getLogger(__name__)

FORMATS: Mapping[str, str] = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "webp": "WEBP",
    "avif": "AVIF",
    "gif": "GIF",
}
"""File ending → Pillow's format."""

LARGEST_SIDE: Mapping[str, int] = {"jpg": 65535, "jpeg": 65535, "webp": 16383}
"""Pixels that a format can hold; larger pictures become PNG."""

SECTION = "parameters"
"""PNG text that holds the infotext."""

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_MAKE, _MODEL = 0x010F, 0x0110
_UNICODE, _ASCII = b"UNICODE\0", b"ASCII\0\0\0"
_LARGEST_EXIF = 65533 - 6

_TECHNICAL = frozenset(
    {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "exif",
        "loop",
        "background",
        "timestamp",
        "duration",
        "progressive",
        "progression",
        "icc_profile",
        "chromaticity",
        "photoshop",
    }
)
"""Items of a picture that say nothing about how it was made."""

_KEPT = frozenset({"icc_profile", "transparency"})
"""Items of a picture that are saved with it without being asked for: they belong to its colours."""

_NOVELAI_SAMPLERS: Mapping[str, str] = {
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpm_fast": "DPM fast",
    "k_dpm_ad": "DPM adaptive",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_2s_a": "DPM++ 2S a",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "ddim": "DDIM",
    "plms": "PLMS",
    "unipc": "UniPC",
}


def format_for(extension: str, size: tuple[int, int]) -> str:
    """The file ending to use for a picture of `size`: `extension`, or `png` where that cannot hold it.

    Raises:
        ImageError: If pictures are not saved with that ending.
    """
    extension = extension.lower().lstrip(".")
    if extension not in FORMATS:
        raise ImageError(f"Pictures cannot be saved as '{extension}'. Choose one of {', '.join(FORMATS)}.")
    return "png" if max(size) > LARGEST_SIDE.get(extension, max(size)) else extension


def write_image(
    image: Image.Image,
    file: BinaryIO,
    extension: str,
    *,
    infotext: str | None = None,
    items: Mapping[str, str] | None = None,
    section: str = SECTION,
    with_metadata: bool = True,
    quality: int = 80,
    lossless: bool = False,
) -> bool:
    """Writes `image` with its infotext where the format keeps it; whether all of it could be kept.

    Args:
        items: Further PNG texts, such as those the picture came with.
        section: PNG text for the infotext; Extras use `extras` next to the original `parameters`.
        with_metadata: Off writes no metadata, apart from the comment of a GIF, as in A1111.
        quality: Of JPEG, WebP and AVIF, 1 to 100.
        lossless: Only for WebP.
    """
    kind = FORMATS[extension]
    # Pillow keeps the options of a save in the picture itself, so two threads must not save one object.
    image = image.copy()
    image.info = {key: value for key, value in image.info.items() if key in _KEPT}
    text = None if infotext is None else _encodable(infotext)
    if kind == "PNG":
        texts = {**(items or {}), **({} if text is None else {section: text})} if with_metadata else {}
        _save(image, file, kind, pnginfo=_png_texts(texts))
        return True
    if kind == "GIF":
        _save(image, file, kind, **({"comment": text.encode()} if text else {}))
        return True
    exif = _exif_with(text) if with_metadata and text is not None else b""
    fits = kind != "JPEG" or len(exif) <= _LARGEST_EXIF
    options: dict[str, Any] = {"exif": exif} if exif and fits else {}
    if kind == "WEBP":
        options["lossless"] = lossless
    _save(_storable(image, kind), file, kind, quality=quality, **options)
    return fits


def read_infotext(image: Image.Image) -> tuple[str | None, dict[str, str]]:
    """The infotext of `image`, or None, and its other items as text (`prompt` and `workflow` of ComfyUI, …)."""
    items = dict(image.info)
    infotext = items.pop(SECTION, None)
    if isinstance(items.get("exif"), bytes):
        infotext = _user_comment(items["exif"]) or infotext
    elif "comment" in items:
        comment = items["comment"]
        infotext = comment.decode("utf-8", errors="ignore") if isinstance(comment, bytes) else str(comment)
    texts = {str(key): str(value) for key, value in items.items() if key not in _TECHNICAL}
    if not infotext:
        infotext = _hidden_infotext(image, texts) or infotext
    if texts.get("Software") == "NovelAI":
        infotext = _novelai_infotext(texts, image.size) or infotext
    elif not infotext:
        texts |= _comfyui_exif(items.get("exif"))
        infotext = comfyui_infotext(texts, image.size) or infotext
    return None if infotext is None else str(infotext), texts


def _hidden_infotext(image: Image.Image, texts: dict[str, str]) -> str | None:
    """A record hidden in the picture's lowest bits; NovelAI's hidden texts join `texts` instead."""
    hidden = read_stealth(image)
    if hidden is None:
        return None
    try:
        entries: Any = json.loads(hidden)
    except (ValueError, RecursionError):
        return hidden
    if not isinstance(entries, dict):
        return hidden
    texts |= {str(key): str(value) for key, value in cast(dict[Any, Any], entries).items()}
    return None


def _comfyui_exif(exif: object) -> dict[str, str]:
    """The graph that ComfyUI keeps in the camera's name and model of a WebP: "prompt:{…}", "workflow:{…}"."""
    if not isinstance(exif, bytes):
        return {}
    entries = Image.Exif()
    try:
        entries.load(exif)
        values = [entries.get(tag) for tag in (_MAKE, _MODEL)]
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error):
        return {}
    pairs = (value.partition(":") for value in values if isinstance(value, str))
    return {key.lower(): text for key, _, text in pairs if key.lower() in ("prompt", "workflow")}


def _save(image: Image.Image, file: BinaryIO, kind: str, **options: Any) -> None:
    image.save(file, format=kind, **options)


def _storable(image: Image.Image, kind: str) -> Image.Image:
    """`image` in a mode that JPEG, WebP or AVIF can hold; 16-bit depth is scaled to 8."""
    if image.mode in ("I;16", "I"):
        # 255 / 65535
        image = image.point(lambda value: value * 0.0038910505836576).convert("L")
        return image if kind == "JPEG" else image.convert("RGB")
    if image.mode in ("RGB", "L"):
        return image
    return image if kind != "JPEG" and image.mode == "RGBA" else image.convert("RGB")


def _encodable(text: str) -> str:
    """`text` with half surrogate pairs, which no file format can hold, as question marks."""
    return text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")


def _png_texts(texts: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    return info


def _exif_with(text: str) -> bytes:
    """EXIF data that holds only `text`, as a user comment in big-endian UTF-16."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + text.encode("utf-16-be")
    return exif.tobytes()


def _user_comment(data: bytes) -> str:
    """The user comment in EXIF `data`; empty if there is none or the data is damaged."""
    exif = Image.Exif()
    try:
        exif.load(data)
        comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        _log.warning("EXIF data could not be read: %s", error)
        return ""
    if not isinstance(comment, bytes):
        return str(comment)
    if comment.startswith(_UNICODE):
        return _decode_utf16(comment.removeprefix(_UNICODE))
    return comment.removeprefix(_ASCII).removeprefix(bytes(8)).decode("utf-8", errors="ignore").rstrip("\0")


def _decode_utf16(data: bytes) -> str:
    """Text in UTF-16; the byte order is the one whose high bytes are zero more often (EXIF leaves it open)."""
    is_little = data[1::2].count(0) > data[0::2].count(0)
    return data.decode("utf-16-le" if is_little else "utf-16-be", errors="ignore").lstrip("\ufeff")


def _novelai_infotext(items: Mapping[str, str], size: tuple[int, int]) -> str | None:
    """NovelAI's own record in our words; None if it is damaged."""
    try:
        record = json.loads(items["Comment"])
        sampler = _NOVELAI_SAMPLERS.get(record["sampler"], "Euler a")
        return (
            f"{items['Description']}\nNegative prompt: {record['uc']}\n"
            f"Steps: {record['steps']}, Sampler: {sampler}, CFG scale: {record['scale']}, Seed: {record['seed']}, "
            f"Size: {size[0]}x{size[1]}, Clip skip: 2, ENSD: 31337"
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        _log.warning("The picture's NovelAI record could not be read: %s", error)
        return None

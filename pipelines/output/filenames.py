"""File and folder names from patterns such as `[seed]-[prompt_spaces]`, and the running number.

Source: A1111 modules/images.py, FilenameGenerator, sanitize_filename_part, get_next_sequence_number.
"""

import hashlib
import logging
import re
import string
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image

_log = logging.getLogger(__name__)

LONGEST_PART = 128
"""Characters that one value in a name may have."""

_FORBIDDEN = str.maketrans(dict.fromkeys('#<>:"/\\|?*\n\r\t', "_"))
_FORBIDDEN_ON_UNIX = str.maketrans({"/": "_", "\0": "_"})
_TOKEN = re.compile(r"(?P<text>.*?)(?:\[(?P<token>[^\[\]]+)\]|$)")
_ARGUMENT = re.compile(r"(?P<token>.*)<(?P<argument>[^>]*)>$")
# A backslash does not separate words: in A1111's character class it escapes the bracket behind it.
_BETWEEN_WORDS = re.compile("[\\s" + re.escape(string.punctuation.replace("\\", "")) + "]+")
_DATE_TIME = "%Y%m%d%H%M%S"


@dataclass(frozen=True, kw_only=True)
class NameFacts:
    """What a picture's name can tell; a fact that is None leaves its token as it was written.

    Attributes:
        seed: Of this picture; None for pictures that have none, whose names are running numbers only.
        seeds: Of the whole job.
        schedule: Label of the job's schedule; under "Automatic" `default_schedule`, the sampler's own, is shown.
        style_prompts: Texts of the styles, to tell the prompt without them.
        batch_index, iteration: Place of the picture in its batch, and of the batch in the job, from 0.
        job_started: Time of the job as `YYYYmmddHHMMSS`.
        now: Local time of saving; None for the time at which the name is made.
        is_archive: Whether the name is for a zip file of several pictures.
        unix_names: Keeps every character but `/` (`--unix-filenames-sanitization`).
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    seeds: tuple[int, ...] = ()
    steps: int | None = None
    cfg_scale: float | None = None
    sampler: str | None = None
    schedule: str = "Automatic"
    default_schedule: str | None = None
    styles: tuple[str, ...] = ()
    style_prompts: tuple[str, ...] = ()
    model_name: str | None = None
    model_hash: str | None = None
    vae_file: str | None = None
    clip_skip: int = 1
    denoising_strength: float | None = None
    batch_size: int = 1
    n_iter: int = 1
    batch_index: int = 0
    iteration: int = 0
    user: str | None = None
    job_started: str | None = None
    basename: str = ""
    now: datetime | None = None
    max_prompt_words: int = 8
    is_archive: bool = False
    unix_names: bool = False


class _Nothing:
    """The value of a token that has none here; the text before it goes too."""


_NOTHING = _Nothing()
_Value = str | int | float | None | _Nothing


def sanitize(text: str, *, replace_spaces: bool = True, unix_names: bool = False) -> str:
    """`text` as a part of a file name: forbidden characters as `_`, at most 128 characters."""
    if replace_spaces:
        text = text.replace(" ", "_")
    text = text.translate(_FORBIDDEN_ON_UNIX if unix_names else _FORBIDDEN)
    return text.lstrip(" ")[:LONGEST_PART].rstrip(" .")


def expand_pattern(pattern: str, facts: NameFacts, image: Image.Image) -> str:
    """`pattern` with its `[tokens]` replaced; unknown ones and those without a fact stay, without their arguments.

    The result may have `/` where the pattern has; values of tokens never do.
    """
    result = ""
    for match in _TOKEN.finditer(pattern):
        token = match["token"]
        if token is None:
            result += match["text"]
            continue
        name, arguments = _split_arguments(token)
        value = _value(name, arguments, facts, image)
        if isinstance(value, _Nothing):
            continue
        result += f"{match['text']}[{name}]" if value is None else f"{match['text']}{value}"
    return result


def next_number(folder: Path, basename: str = "") -> int:
    """One more than the highest number among the files of `folder` that begin with `basename-`; 0 for none."""
    prefix = f"{basename}-" if basename else ""
    highest = -1
    for path in folder.iterdir():
        if path.name.startswith(prefix):
            number = Path(path.name.removeprefix(prefix)).stem.partition("-")[0]
            try:
                highest = max(highest, int(number))
            except ValueError:
                continue
    return highest + 1


def folder_parts(text: str) -> tuple[str, ...]:
    """The folders of an expanded folder pattern, without any that leads upwards or to a root."""
    parts = (part.strip() for part in re.split(r"[\\/]", text.lstrip(" ").rstrip("\\/ ")))
    return tuple(part for part in parts if part.strip(". ") and not part.endswith(":"))


def _split_arguments(token: str) -> tuple[str, tuple[str, ...]]:
    """`datetime<%H><UTC>` → `datetime`, (`%H`, `UTC`)."""
    arguments: list[str] = []
    while match := _ARGUMENT.match(token):
        token = match["token"]
        arguments.insert(0, match["argument"])
    return token, tuple(arguments)


def _value(name: str, arguments: tuple[str, ...], facts: NameFacts, image: Image.Image) -> _Value:
    token = _TOKENS.get(name.lower())
    if token is None:
        return None
    try:
        return token(facts, image, arguments)
    except (ValueError, IndexError, TypeError) as error:
        _log.warning("File name token [%s] with %s was left as it is: %s", name, arguments, error)
        return None


def _spaced(text: str | None, facts: NameFacts) -> str | None:
    """`text` as a name with its spaces."""
    return None if text is None else sanitize(text, replace_spaces=False, unix_names=facts.unix_names)


def _underscored(text: str, facts: NameFacts) -> str:
    return sanitize(text, unix_names=facts.unix_names)


def _hash(text: str, arguments: tuple[str, ...], default: int | None = 8) -> str:
    length = int(arguments[0]) if arguments and arguments[0] else default
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:length]


def _image_hash(_facts: NameFacts, image: Image.Image, arguments: tuple[str, ...]) -> str:
    length = int(arguments[0]) if arguments and arguments[0] else None
    return hashlib.sha256(image.tobytes()).hexdigest()[:length]


def _date_time(facts: NameFacts, _image: Image.Image, arguments: tuple[str, ...]) -> str | None:
    """Time in a format and zone of choice; a format or zone that does not exist gives the default one."""
    now = facts.now or datetime.now()
    pattern = arguments[0] if arguments and arguments[0] else _DATE_TIME
    try:
        moment = now.astimezone(zoneinfo.ZoneInfo(arguments[1])) if len(arguments) > 1 else now.astimezone()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        moment = now.astimezone()
    try:
        text = moment.strftime(pattern)
    except ValueError:
        text = moment.strftime(_DATE_TIME)
    return _spaced(text, facts)


def _schedule(facts: NameFacts) -> str:
    """The schedule that was used, first letter a capital, the others not."""
    label = (facts.default_schedule or "Automatic") if facts.schedule == "Automatic" else facts.schedule
    return label.capitalize()


def _prompt_words(facts: NameFacts) -> str | None:
    words = [word for word in _BETWEEN_WORDS.split(facts.prompt) if word] or ["empty"]
    return _spaced(" ".join(words[: facts.max_prompt_words]), facts)


def _prompt_without_styles(facts: NameFacts) -> str | None:
    prompt = facts.prompt
    for style in filter(None, facts.style_prompts):
        for part in style.split("{prompt}"):
            prompt = prompt.replace(part, "").replace(", ,", ",").strip().strip(",")
        prompt = prompt.replace(style, "").strip().strip(",").strip()
    return _spaced(prompt, facts)


def _has_prompt(facts: NameFacts, _image: Image.Image, arguments: tuple[str, ...]) -> str:
    """For every `word|default` the word, if the prompt has it, else the default."""
    prompt = facts.prompt.lower()
    found = ""
    for argument in filter(None, arguments):
        parts = argument.split("|")
        word = parts[0].lower()
        found += word if word in prompt else parts[1] if len(parts) > 1 else ""
    return _underscored(found, facts)


def _vae_name(facts: NameFacts) -> str:
    """First part of the file name, up to a dot; `NoneType` without a VAE of its own, as in A1111."""
    if facts.vae_file is None:
        return "NoneType"
    parts = re.split(r"[\\/]", facts.vae_file)[-1].split(".")
    return parts[1] if len(parts) > 1 and not parts[0] else parts[0]


def _batch_number(facts: NameFacts) -> _Value:
    return _NOTHING if facts.batch_size == 1 or facts.is_archive else facts.batch_index + 1


def _generation_number(facts: NameFacts) -> _Value:
    if (facts.n_iter == 1 and facts.batch_size == 1) or facts.is_archive:
        return _NOTHING
    return facts.iteration * facts.batch_size + facts.batch_index + 1


def _styles(facts: NameFacts) -> str | None:
    return _spaced(", ".join(style for style in facts.styles if style != "None") or "None", facts)


_Token = Callable[[NameFacts, Image.Image, tuple[str, ...]], _Value]


def _simple(read: Callable[[NameFacts], _Value]) -> _Token:
    return lambda facts, _image, _arguments: read(facts)


def _fact_tokens() -> Iterable[tuple[str, Callable[[NameFacts], _Value]]]:
    """Tokens that take no argument and do not look at the picture."""
    yield "basename", lambda facts: facts.basename or "img"
    yield "seed", lambda facts: "" if facts.seed is None else facts.seed
    yield "seed_first", lambda facts: facts.seed if facts.batch_size == 1 else facts.seeds[0]
    yield "seed_last", lambda facts: _NOTHING if facts.batch_size == 1 else facts.seeds[-1]
    yield "steps", lambda facts: facts.steps
    yield "cfg", lambda facts: facts.cfg_scale
    yield "styles", _styles
    yield "sampler", lambda facts: _spaced(facts.sampler, facts)
    yield "sampler_scheduler", lambda facts: facts.sampler and f"{_spaced(facts.sampler, facts)} {_schedule(facts)}"
    yield "scheduler", _schedule
    yield "model_hash", lambda facts: facts.model_hash
    yield "model_name", lambda facts: _spaced(facts.model_name, facts)
    yield "date", lambda facts: (facts.now or datetime.now()).strftime("%Y-%m-%d")
    yield "job_timestamp", lambda facts: facts.job_started
    yield "prompt", lambda facts: _underscored(facts.prompt, facts)
    yield "prompt_no_styles", _prompt_without_styles
    yield "prompt_spaces", lambda facts: _spaced(facts.prompt, facts)
    yield "prompt_words", _prompt_words
    yield "batch_number", _batch_number
    yield "batch_size", lambda facts: facts.batch_size
    yield "generation_number", _generation_number
    yield "clip_skip", lambda facts: facts.clip_skip
    yield "denoising", lambda facts: facts.denoising_strength or _NOTHING
    yield "user", lambda facts: _spaced(facts.user, facts)
    yield "vae_filename", lambda facts: _spaced(_vae_name(facts), facts)
    yield "none", lambda facts: ""


_TOKENS: Mapping[str, _Token] = {
    **{name: _simple(read) for name, read in _fact_tokens()},
    "width": lambda _facts, image, _arguments: image.width,
    "height": lambda _facts, image, _arguments: image.height,
    "datetime": _date_time,
    "prompt_hash": lambda facts, _image, arguments: _hash(facts.prompt, arguments),
    "negative_prompt_hash": lambda facts, _image, arguments: _hash(facts.negative_prompt, arguments),
    "full_prompt_hash": lambda facts, _image, arguments: _hash(f"{facts.prompt} {facts.negative_prompt}", arguments),
    "hasprompt": _has_prompt,
    "image_hash": _image_hash,
}

TOKENS = tuple(_TOKENS)
"""Every token's name, for the help text."""

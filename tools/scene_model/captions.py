"""Says a scene in words: comma-separated tags as Stable Diffusion users write them, or a phrase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.scene_model.spec import (
    BACKGROUNDS,
    COLOR_NAMES,
    HAIR_COLORS,
    POSES,
    STYLES,
    SUBJECTS,
    TROUSERS,
    SceneSpec,
    Subject,
)

BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {
    "beach": ("beach", "beach", "beach", "seaside", "sandy beach"),
    "meadow": ("meadow", "meadow", "meadow", "grass field", "green meadow"),
    "night sky": ("night sky", "night sky", "starry night", "night"),
    "mountains": ("mountains", "mountains", "mountain landscape"),
    "city": ("city", "city", "city skyline", "city street"),
}
STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "photo": ("photo", "photo", "photo", "realistic", "photorealistic"),
    "toon": ("toon", "toon", "cartoon", "anime"),
    "sketch": ("sketch", "sketch", "drawing", "line art"),
    "pixel art": ("pixel art",),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "medium": ("",), "large": ("large", "big")}
QUALITY_WORDS = ("masterpiece", "best quality", "masterpiece, best quality", "highly detailed", "high quality")
_PREPOSITIONS = {
    "beach": ("on a", "on the", "at the"),
    "meadow": ("in a", "on a", "in the"),
    "night sky": ("under a", "under the", "against the"),
    "mountains": ("in front of", "in the", "near the"),
    "city": ("in a", "in the", "in front of a"),
    "plain": ("on a", "in front of a", "with a"),
}


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Returns one of the options."""
    return options[int(rng.integers(len(options)))]


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _background_words(spec: SceneSpec, rng: np.random.Generator) -> str:
    if spec.background == "plain":
        return (
            f"plain {spec.background_color} background" if rng.random() < 0.6 else f"{spec.background_color} background"
        )
    return pick(rng, BACKGROUND_WORDS[spec.background])


def _person_nouns(subject: Subject, rng: np.random.Generator, *, as_tags: bool) -> str:
    if rng.random() < 0.5:
        return "1 person" if as_tags and rng.random() < 0.2 else "person"
    if as_tags and rng.random() < 0.4:
        return "1girl" if subject.is_woman else "1boy"
    return "woman" if subject.is_woman else "man"


def _person_parts(subject: Subject, rng: np.random.Generator, *, as_tags: bool) -> tuple[str, list[str]]:
    """Returns the noun with its clothes and a list of further details."""
    noun = _person_nouns(subject, rng, as_tags=as_tags)
    clothes = f"{subject.color} {'dress' if subject.has_dress else 'shirt'}"
    details = [f"{subject.hair} hair"] if rng.random() < 0.3 else []
    if not subject.has_dress and rng.random() < 0.25:
        details.append(f"{subject.trousers} pants")
    size = pick(rng, SIZE_WORDS[subject.size])
    noun = f"{size} {noun}".strip()
    if rng.random() < 0.2:
        return f"{subject.color} {noun}" if not size else f"{size} {subject.color} {noun.split()[-1]}", details
    if as_tags:
        return noun, [clothes, *details]
    link = pick(rng, ("in a", "with a", "wearing a"))
    return f"{noun} {link} {clothes}", details


def _object_words(subject: Subject, rng: np.random.Generator, *, as_tags: bool) -> str:
    size = pick(rng, SIZE_WORDS[subject.size])
    if subject.name == "astronaut" and rng.random() < 0.2:
        suit = f", {subject.color} suit" if as_tags else f" in a {subject.color} suit"
        return f"{size} astronaut{suit}".strip()
    return f"{size} {subject.color} {subject.name}".strip()


def _subject_words(subject: Subject, rng: np.random.Generator, *, as_tags: bool) -> list[str]:
    """Returns the subject's tags or, for a phrase, a noun phrase and what follows after commas."""
    if subject.name == "person":
        noun, details = _person_parts(subject, rng, as_tags=as_tags)
    else:
        noun, details = _object_words(subject, rng, as_tags=as_tags), []
    if subject.name in ("person", "astronaut") and rng.random() < 0.45:
        details.append(subject.pose)
    return [noun, *details]


def _tag_caption(spec: SceneSpec, rng: np.random.Generator) -> str:
    tags: list[str] = []
    if spec.subject is not None:
        noun, *details = _subject_words(spec.subject, rng, as_tags=True)
        if rng.random() < 0.15:
            noun = _article(noun)
        if spec.subject.position != "center" and rng.random() < 0.8:
            details.append(pick(rng, ("on the ", "")) + spec.subject.position)
        tags = [noun, *details]
    if not tags or rng.random() > 0.04:
        tags.append(_background_words(spec, rng))
    if rng.random() > 0.08:
        tags.append(pick(rng, STYLE_WORDS[spec.style]))
    if rng.random() < 0.3:
        tags = [tags[index] for index in rng.permutation(len(tags))]
    return ", ".join(tags)


def _phrase_caption(spec: SceneSpec, rng: np.random.Generator) -> str:
    background = _background_words(spec, rng)
    preposition = pick(rng, _PREPOSITIONS[spec.background])
    style = pick(rng, STYLE_WORDS[spec.style])
    if spec.subject is None:
        words, details = _article(background) if not background.endswith("s") else background, list[str]()
    else:
        noun, *details = _subject_words(spec.subject, rng, as_tags=False)
        words = f"{_article(noun) if rng.random() < 0.8 else noun} {preposition} {background}"
        if spec.subject.position != "center" and rng.random() < 0.8:
            words += f" on the {spec.subject.position}"
    draw = rng.random()
    if draw < 0.35:
        words = f"{style} of {words}" if rng.random() < 0.5 else f"a {style} of {words}"
    elif draw < 0.8:
        details.append(style)
    return ", ".join([words, *details])


def write_caption(spec: SceneSpec, rng: np.random.Generator) -> str:
    """Returns one of the many ways to ask for this scene."""
    caption = _tag_caption(spec, rng) if rng.random() < 0.55 else _phrase_caption(spec, rng)
    if rng.random() < 0.12:
        quality = pick(rng, QUALITY_WORDS)
        caption = f"{quality}, {caption}" if rng.random() < 0.5 else f"{caption}, {quality}"
    return caption


def evaluation_caption(spec: SceneSpec, index: int) -> str:
    """Returns the caption the evaluation asks with: tags for even `index`, a phrase for odd."""
    subject = spec.subject
    assert subject is not None
    background = f"{spec.background_color} background" if spec.background == "plain" else spec.background
    if index % 2 == 0:
        noun = f"person, {subject.color} shirt" if subject.name == "person" else f"{subject.color} {subject.name}"
        return f"{noun}, {background}, {spec.style}"
    noun = f"person in a {subject.color} shirt" if subject.name == "person" else f"{subject.color} {subject.name}"
    return f"{_article(noun)} {_PREPOSITIONS[spec.background][0]} {background}, {spec.style}"


def known_words() -> list[str]:
    """Returns every text fragment captions are made of, so that all their tokens can be listed."""
    fragments = [*COLOR_NAMES, *SUBJECTS, *BACKGROUNDS, *STYLES, *POSES, *TROUSERS, *HAIR_COLORS, *QUALITY_WORDS]
    for table in (BACKGROUND_WORDS, STYLE_WORDS, SIZE_WORDS, _PREPOSITIONS):
        fragments += [word for words in table.values() for word in words]
    fragments += ["1 person", "1girl", "1boy", "man", "woman", "hair", "pants", "shirt", "dress", "suit", "background"]
    return [*fragments, "a an of on the left right center in with wearing and at , ."]

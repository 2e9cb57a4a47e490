"""Errors a user can act on: each message names the offending value and says what to change."""

import difflib
from collections.abc import Iterable


class WebuiError(Exception):
    """Base of every error whose message is meant for the user.

    Attributes:
        status: HTTP status code that `api/errors.py` answers with.
    """

    status = 422


class InvalidRequest(WebuiError):
    """A request value that cannot be used."""


class ImageError(InvalidRequest):
    """A picture that cannot be read, or has a size or format that cannot be used."""


class PromptError(InvalidRequest):
    """A prompt that cannot be parsed or encoded."""


class NotFound(WebuiError):
    """A name that is not in the list it should be in."""

    status = 404


class UnknownName(InvalidRequest):
    """A sampler, schedule, upscaler, script or other registered name that is not installed."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = (
            f"Closest: '{close[0]}'." if close else f"Known: {', '.join(known[:12])}{' …' if len(known) > 12 else ''}."
        )
        super().__init__(f"{kind} '{name}' is not installed. {hint}")
        self.kind, self.name = kind, name


class CheckpointError(WebuiError):
    """A model file that cannot be used, with the reason."""


class CheckpointNotFound(CheckpointError):
    """No checkpoint matches the requested name, title or hash."""

    status = 404


class UnsafePickle(CheckpointError):
    """A pickle that asks for more than tensors."""


class WeightsMissing(CheckpointError):
    """Weight files that are neither here nor can be fetched.

    Args:
        files: Where each belongs below the models folder, and the address it can be had from (empty for none).
    """

    def __init__(self, files: Iterable[tuple[str, str]]) -> None:
        self.files = list(files)
        wanted = "; ".join(f"{place} (from {url})" if url else place for place, url in self.files)
        super().__init__(f"Weights are missing and cannot be fetched now. Put into the models folder: {wanted}.")


class DownloadError(WebuiError):
    """A download that failed or did not match its hash."""

    status = 502


class OutputError(WebuiError):
    """A picture or setting that could not be written; the picture stays in memory."""

    status = 507


class ForbiddenPath(WebuiError):
    """A path outside the folders a request may name."""

    status = 403


class SettingsError(WebuiError):
    """A settings value or file that cannot be used."""


class OutOfMemory(WebuiError):
    """The device ran out of memory; the message says what to make smaller."""

    status = 507


class StartupError(WebuiError):
    """The program cannot start as asked; the message is the one sentence printed."""


class Interrupted(Exception):
    """Raised inside sampling by `on_step` when the job was interrupted or skipped. Never shown to a user."""

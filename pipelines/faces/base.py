"""What a face restorer is, and the list of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from pipelines.registry import Registry
from schema.errors import NotFound


class FaceRestorer(Protocol):
    """One entry of the face restorer list."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...

    def restore(self, image: Image.Image, weight: float) -> Image.Image:
        """`image` (RGB) with its faces restored, of the same size.

        Args:
            weight: CodeFormer's fidelity: 0 is maximum effect, 1 is minimum. Others ignore it.

        Raises:
            NotFound: If the weights are missing; the message says where to put them.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class MissingRestorer:
    """A restorer whose network is not installed: it has its name and its fields, and says what is missing.

    Attributes:
        file: Name of the weight file; `folder` its folder below the models folder.
    """

    name: str
    file: str
    folder: str
    aliases: tuple[str, ...] = ()

    def restore(self, image: Image.Image, weight: float) -> Image.Image:
        """Raises `NotFound`, naming the file and its place."""
        raise NotFound(
            f"{self.name} cannot restore faces: its weights are missing. "
            f"Put {self.file} into models/{self.folder}, or set its visibility to 0."
        )


GFPGAN = MissingRestorer(name="GFPGAN", file="GFPGANv1.4.pth", folder="GFPGAN")
CODEFORMER = MissingRestorer(name="CodeFormer", file="codeformer-v0.1.0.pth", folder="Codeformer")


def restorers(found: Sequence[FaceRestorer] = ()) -> Registry[FaceRestorer]:
    """The list in A1111's order, CodeFormer then GFPGAN; `found` ones replace those without weights."""
    by_name = {restorer.name: restorer for restorer in found}
    return Registry("Face restorer", tuple(by_name.get(entry.name, entry) for entry in (CODEFORMER, GFPGAN)))


def restore_faces(
    restorer: FaceRestorer, image: Image.Image, *, visibility: float = 1.0, weight: float = 0.5
) -> Image.Image:
    """`image` with faces restored, mixed with the untouched picture where `visibility` is below 1.

    Source: A1111 scripts/postprocessing_gfpgan.py, postprocessing_codeformer.py.
    """
    restored = restorer.restore(image, weight)
    return restored if visibility >= 1 else Image.blend(image, restored.convert(image.mode), visibility)

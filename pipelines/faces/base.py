"""What a face restorer is, and how one is used."""

from typing import Protocol

from PIL import Image


class FaceRestorer(Protocol):
    """One entry of the face restorer list."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...

    def check(self) -> None:
        """Does nothing where everything is there that `restore` needs.

        Raises:
            NotFound: If weights are missing; the message says which, and where they belong.
        """
        ...

    def unload(self) -> None:
        """Frees the networks; the next picture reads them again."""
        ...

    def restore(self, image: Image.Image, weight: float) -> Image.Image:
        """`image` (RGB) with its faces restored, of the same size.

        Args:
            weight: CodeFormer's fidelity: 0 is maximum effect, 1 is minimum. Others ignore it.

        Raises:
            NotFound: If the weights are missing; the message says where to put them.
        """
        ...


def restore_faces(
    restorer: FaceRestorer, image: Image.Image, *, visibility: float = 1.0, weight: float = 0.5
) -> Image.Image:
    """`image` with faces restored, mixed with the untouched picture where `visibility` is below 1.

    Source: A1111 scripts/postprocessing_gfpgan.py, postprocessing_codeformer.py.
    """
    restored = restorer.restore(image, weight)
    return restored if visibility >= 1 else Image.blend(image, restored.convert(image.mode), visibility)

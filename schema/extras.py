"""What a caller can ask of the Extras tab: upscaling and face restoration of finished pictures."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as P

from schema.fields import Control
from schema.images import ImageInput

SIZE_MODES = ("Scale by", "Scale to")
NO_UPSCALER = "None"
OBJECTIVES = ("Maximize area", "Minimize error")
FLIPS = ("Horizontal", "Vertical", "Both")


class ExtrasStages(BaseModel):
    """What is done to each picture; names are A1111's API names, defaults are the page's."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    resize_mode: Annotated[int, P(ge=0, le=1), Control(label="Size", kind="radio", choices=SIZE_MODES)] = 0
    upscaling_resize: Annotated[
        float, P(gt=0, le=64), Control(label="Resize", kind="slider", step=0.05, shown=(1, 8))
    ] = 4.0
    upscaling_resize_w: Annotated[int, P(ge=1, le=16384), Control(label="Width", step=8, shown=(64, 8192))] = 512
    upscaling_resize_h: Annotated[int, P(ge=1, le=16384), Control(label="Height", step=8, shown=(64, 8192))] = 512
    upscaling_crop: Annotated[bool, Control(label="Crop to fit")] = True
    upscaler_1: Annotated[str, Control(label="Upscaler 1", choices="upscalers")] = NO_UPSCALER
    upscaler_2: Annotated[str, Control(label="Upscaler 2", choices="upscalers")] = NO_UPSCALER
    extras_upscaler_2_visibility: Annotated[
        float, P(ge=0, le=1), Control(label="Upscaler 2 visibility", step=0.001)
    ] = 0.0
    gfpgan_visibility: Annotated[float, P(ge=0, le=1), Control(label="GFPGAN visibility", step=0.001)] = 0.0
    codeformer_visibility: Annotated[float, P(ge=0, le=1), Control(label="CodeFormer visibility", step=0.001)] = 0.0
    codeformer_weight: Annotated[
        float,
        P(ge=0, le=1),
        Control(label="CodeFormer weight", step=0.001, info="0 is maximum effect, 1 is minimum."),
    ] = 0.0


class ExtrasDatasets(BaseModel):
    """What makes pictures ready to train on; names are those of A1111's controls.

    Source: A1111 scripts/postprocessing_split_oversized.py, postprocessing_focal_crop.py,
    postprocessing_autosized_crop.py, postprocessing_create_flipped_copies.py.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    split_oversized: Annotated[bool, Control(label="Split oversized images")] = False
    split_threshold: Annotated[
        float,
        P(ge=0, le=1),
        Control(label="Threshold", step=0.05, info="Pictures are split whose aspect is further off than this."),
    ] = 0.5
    overlap_ratio: Annotated[float, P(ge=0, le=0.9), Control(label="Overlap ratio", step=0.05)] = 0.2
    focal_crop: Annotated[bool, Control(label="Auto focal point crop")] = False
    focal_face_weight: Annotated[float, P(ge=0, le=1), Control(label="Focal point face weight", step=0.05)] = 0.9
    focal_entropy_weight: Annotated[float, P(ge=0, le=1), Control(label="Focal point entropy weight", step=0.05)] = 0.15
    focal_edges_weight: Annotated[float, P(ge=0, le=1), Control(label="Focal point edges weight", step=0.05)] = 0.5
    focal_debug: Annotated[
        bool, Control(label="Create debug image", info="One more picture that shows what was found.")
    ] = False
    autosized_crop: Annotated[bool, Control(label="Auto-sized crop")] = False
    multicrop_mindim: Annotated[int, P(ge=64, le=2048), Control(label="Dimension lower bound", step=8)] = 384
    multicrop_maxdim: Annotated[int, P(ge=64, le=2048), Control(label="Dimension upper bound", step=8)] = 768
    multicrop_minarea: Annotated[int, P(ge=4096, le=4194304), Control(label="Area lower bound", step=1)] = 4096
    multicrop_maxarea: Annotated[int, P(ge=4096, le=4194304), Control(label="Area upper bound", step=1)] = 409600
    multicrop_objective: Annotated[
        Literal["Maximize area", "Minimize error"],
        Control(label="Resizing objective", kind="radio", choices=OBJECTIVES),
    ] = "Maximize area"
    multicrop_threshold: Annotated[float, P(ge=0, le=1), Control(label="Error threshold", step=0.01)] = 0.1
    create_flipped_copies: Annotated[bool, Control(label="Create flipped copies")] = False
    flips: Annotated[
        list[Literal["Horizontal", "Vertical", "Both"]],
        Control(label="Flip", kind="multiselect", choices=FLIPS),
    ] = P(default_factory=lambda: ["Horizontal"])


class ExtrasRequest(ExtrasStages, ExtrasDatasets):
    """Everything a caller can ask of Extras.

    Attributes:
        images: Pictures, each processed alike.
        names: File names of the pictures, for the names of the results; may be shorter than `images`.
        files: Picture files, read when their turn comes; after `images`.
        output_dir: Where results go instead of the folder for Extras; the caller has checked it.
        show_extras_results: Whether the results are handed back, besides being saved.
    """

    mode: Literal["extras"] = "extras"
    images: list[ImageInput] = P(default_factory=list)
    names: list[str] = P(default_factory=list)
    files: list[Path] = P(default_factory=list[Path])
    output_dir: Path | None = None
    show_extras_results: Annotated[bool, Control(label="Show result images")] = True
    upscale_enabled: Annotated[bool, Control(label="Upscale")] = True
    max_side_length: Annotated[
        int,
        P(ge=0, le=65536),
        Control(
            label="Max side length",
            kind="number",
            info="Limits the longer side of the result; 0 is no limit.",
        ),
    ] = 0


class ExtrasBody(ExtrasStages):
    """What both REST routes share: A1111's API default for the factor, and two switches without effect."""

    model_config = ConfigDict(extra="ignore")

    upscaling_resize: Annotated[float, P(gt=0, le=64)] = 2.0
    show_extras_results: bool = True
    upscale_first: bool = False

    def _stages(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ExtrasStages.model_fields}


class ExtrasSingleRequest(ExtrasBody):
    """Body of `/sdapi/v1/extra-single-image`."""

    image: ImageInput | None = None

    def batch(self) -> ExtrasRequest:
        """The request for its one picture."""
        images = [] if self.image is None else [self.image]
        return ExtrasRequest.model_validate(self._stages() | {"images": images})


class NamedImage(BaseModel):
    """A picture and the name of its file."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    data: ImageInput
    name: str


class ExtrasBatchRequest(ExtrasBody):
    """Body of `/sdapi/v1/extra-batch-images`."""

    image_list: Annotated[list[NamedImage], P(alias="imageList")]

    def batch(self) -> ExtrasRequest:
        """The request for all its pictures."""
        pictures = {
            "images": [image.data for image in self.image_list],
            "names": [image.name for image in self.image_list],
        }
        return ExtrasRequest.model_validate(self._stages() | pictures)

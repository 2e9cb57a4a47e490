"""What a caller can ask of the Extras tab: upscaling and face restoration of finished pictures."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as P

from schema.fields import Control
from schema.images import ImageInput

SIZE_MODES = ("Scale by", "Scale to")
NO_UPSCALER = "None"


class ExtrasStages(BaseModel):
    """What is done to each picture; names are A1111's API names, defaults are the page's."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    resize_mode: Annotated[int, P(ge=0, le=1), Control(label="Size", kind="radio", choices=SIZE_MODES)] = 0
    upscaling_resize: Annotated[float, P(gt=0, le=64), Control(label="Resize", step=0.05, shown=(1, 8))] = 4.0
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


class ExtrasRequest(ExtrasStages):
    """Everything a caller can ask of Extras.

    Attributes:
        images: One or more pictures, each processed alike.
        names: File names of the pictures, for the names of the results; may be shorter than `images`.
    """

    mode: Literal["extras"] = "extras"
    images: list[ImageInput] = P(default_factory=list)
    names: list[str] = P(default_factory=list)
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

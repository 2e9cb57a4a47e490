"""The script list, in display order."""

from pipelines.registry import Registry
from pipelines.scripts.base import Script
from pipelines.scripts.loopback import Loopback
from pipelines.scripts.outpainting import PoorMansOutpainting
from pipelines.scripts.outpainting_mk2 import OutpaintingMk2
from pipelines.scripts.prompt_matrix import PromptMatrix
from pipelines.scripts.prompts_from_file import PromptsFromFile
from pipelines.scripts.sd_upscale import SdUpscale
from pipelines.scripts.xyz_plot import XyzPlot

SCRIPTS: Registry[Script] = Registry(
    "Script",
    (
        Loopback(),
        OutpaintingMk2(),
        PoorMansOutpainting(),
        PromptMatrix(),
        PromptsFromFile(),
        SdUpscale(),
        XyzPlot(),
    ),
)
"""Selectable scripts; `is_txt2img` and `is_img2img` say on which page."""

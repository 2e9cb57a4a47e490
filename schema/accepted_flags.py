"""A1111's and Forge's flags that mean something else here or nothing: scripts that pass them keep working."""

from dataclasses import dataclass, field
from typing import Any, Literal

Values = Literal["none", "one", "optional", "many"]


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Flags of one kind that are read and then mapped or ignored.

    Attributes:
        names: The flags, without the leading dashes, separated by blanks.
        values: How many values each takes.
        sets: Fields of `Flags` that it changes.
        note: The reason, logged once when a flag without effect is used; empty where there is nothing to say.
    """

    names: str
    values: Values = "none"
    sets: dict[str, Any] = field(default_factory=dict[str, Any])
    note: str = ""


_ATTENTION = "attention always runs through PyTorch's scaled dot product"
_GRADIO_3 = "it belonged to Gradio 3"
_FOLDERS = "put the files into models/, or name their folder with --upscaler-dir"
_NEVER = "it is refused for safety"
_INSTALL = "the installer decides by itself what is missing"
_DTYPE = "the number format is chosen for the device; --precision overrides it"
_MEMORY = "the whole model stays on the device"
_NOT_YET = "it is not supported yet"
_NOTHING = "it has no effect here"
_EXTENSIONS = "there are no extensions"

ACCEPTED = (
    Accepted(names="no-half all-in-fp32 unet-in-fp32", sets={"precision": "full"}),
    Accepted(names="all-in-fp16 unet-in-fp16", sets={"precision": "half"}),
    Accepted(names="vae-in-fp32", sets={"no_half_vae": True}),
    Accepted(
        names="medvram lowvram medvram-sdxl lowram always-gpu always-high-vram always-normal-vram always-low-vram"
        " always-no-vram pin-shared-memory",
        note=_MEMORY,
    ),
    Accepted(names="always-cpu", sets={"device": "cpu"}),
    Accepted(names="use-cpu", values="many"),
    Accepted(names="device-id", values="one"),
    Accepted(names="use-ipex", sets={"device": "xpu"}),
    Accepted(
        names="hide-ui-dir-config freeze-settings ui-debug-mode api-server-stop",
        note=_NOT_YET,
    ),
    Accepted(
        names="freeze-settings-in-sections freeze-specific-settings filenames-max-length", values="one", note=_NOT_YET
    ),
    Accepted(names="do-not-download-clip no-download-sd-model", sets={"offline": True}),
    Accepted(
        names="upcast-sampling unet-in-bf16 unet-in-fp8-e4m3fn unet-in-fp8-e5m2 vae-in-fp16 vae-in-bf16 vae-in-cpu"
        " clip-in-fp16 clip-in-fp32 clip-in-fp8-e4m3fn clip-in-fp8-e5m2 clip-in-gpu disable-nan-check",
        note=_DTYPE,
    ),
    Accepted(
        names="xformers force-enable-xformers reinstall-xformers xformers-flash-attention opt-sdp-attention"
        " opt-sdp-no-mem-attention opt-split-attention opt-split-attention-invokeai opt-split-attention-v1"
        " opt-sub-quad-attention disable-opt-split-attention attention-split attention-quad"
        " attention-pytorch disable-attention-upcast force-upcast-attention disable-xformers",
        note=_ATTENTION,
    ),
    Accepted(
        names="sub-quad-q-chunk-size sub-quad-kv-chunk-size sub-quad-chunk-threshold", values="one", note=_ATTENTION
    ),
    Accepted(names="no-gradio-queue gradio-queue gradio-debug", note=_GRADIO_3),
    Accepted(names="gradio-img2img-tool gradio-inpaint-tool", values="one", note=_GRADIO_3),
    Accepted(
        names="esrgan-models-path realesrgan-models-path dat-models-path bsrgan-models-path gfpgan-models-path"
        " codeformer-models-path clip-models-path swinir-models-path scunet-models-path ldsr-models-path gfpgan-dir"
        " gfpgan-model hypernetwork-dir",
        values="one",
        note=_FOLDERS,
    ),
    Accepted(names="disable-safe-unpickle allow-code enable-insecure-extension-access disable-tls-verify", note=_NEVER),
    Accepted(names="ngrok ngrok-region ngrok-options", values="one", note="use --share, or a tunnel of your own"),
    Accepted(
        names="reinstall-torch skip-python-version-check skip-version-check"
        " skip-torch-cuda-test update-check update-all-extensions skip-load-model-at-start test-server",
        note=_INSTALL,
    ),
    Accepted(names="skip-install skip-prepare-environment"),
    Accepted(names="disable-all-extensions disable-extra-extensions", note=_EXTENSIONS),
    Accepted(names="config", values="one", note="the kind of a model is read from its tensors"),
    Accepted(
        names="always-batch-cond-uncond unload-gfpgan show-negative-prompt deepdanbooru add-stop-route"
        " administrator unix-filenames-sanitization use-textbox-seed no-progressbar-hiding "
        " disable-console-progressbars disable-model-loading-ram-optimization cuda-malloc cuda-stream log-startup"
        " disable-gpu-warning dump-sysinfo",
        note=_NOTHING,
    ),
    Accepted(names="max-batch-count", values="one", note=_NOTHING),
    Accepted(names="directml", values="optional", note="DirectML is not supported"),
)
"""In no particular order. The launcher acts on `skip-install`; `schema.flags` reads the values of two."""

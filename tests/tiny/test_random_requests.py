"""Two hundred random requests: each gives pictures of the right size or a clear error, and nothing is left behind."""

import gc
import random

import numpy as np
import torch
from PIL import Image

from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES
from schema.errors import WebuiError
from schema.requests import LATENT_UPSCALE_MODES, Img2ImgRequest, Txt2ImgRequest

WORDS = [
    "cat",
    "(red:1.3)",
    "[a|b]",
    "[x:y:0.5]",
    "AND",
    "BREAK",
    "((",
    "]",
    "\\(",
    "<lora:no:1>",
    ",",
    "é",
    "日本",
    ":",
    "# no",
]
SIZES = [24, 28, 36, 40, 64]


def prompt(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, 12)))


def picture(rng, mode="RGB"):
    size = rng.choice([24, 33, 64]), rng.choice([25, 50, 64])
    return Image.fromarray(
        np.random.default_rng(rng.randint(0, 9)).integers(0, 256, (*size, 3), dtype=np.uint8)
    ).convert(mode)


def shared(rng):
    return {
        "prompt": prompt(rng),
        "negative_prompt": prompt(rng),
        "sampler_name": rng.choice(SAMPLERS.names),
        "scheduler": rng.choice(SCHEDULES.names),
        "steps": rng.randint(1, 4),
        "width": rng.choice(SIZES),
        "height": rng.choice(SIZES),
        "cfg_scale": rng.choice([0, 1, 4.5, 30]),
        "seed": rng.choice([-1, 0, 2**32 - 1, 2**63]),
        "subseed_strength": rng.choice([0, 0, 0.3, 1]),
        "seed_resize_from_w": rng.choice([0, 0, 32]),
        "seed_resize_from_h": rng.choice([0, 24]),
        "batch_size": rng.randint(1, 2),
        "n_iter": rng.randint(1, 2),
        "denoising_strength": rng.choice([None, 0, 0.3, 1]),
        "tiling": rng.choice([None, True]),
        "eta": rng.choice([None, 0, 1]),
        "s_churn": rng.choice([None, 5]),
        "override_settings": rng.choice(
            [{}, {"CLIP_stop_at_last_layers": 3}, {"emphasis": "No norm"}, {"randn_source": "NV"}]
        ),
    }


def random_request(rng):
    values = shared(rng)
    if rng.random() < 0.5:
        return Txt2ImgRequest(
            **values,
            enable_hr=rng.random() < 0.4,
            hr_scale=rng.choice([1, 1.5, 2]),
            hr_resize_x=rng.choice([0, 0, 48]),
            hr_upscaler=rng.choice([*LATENT_UPSCALE_MODES, "Lanczos", "Nearest", "None"]),
            hr_second_pass_steps=rng.randint(0, 2),
        )
    return Img2ImgRequest(
        **values,
        init_images=[picture(rng)],
        mask=rng.choice([None, picture(rng, "L"), picture(rng, "RGBA")]),
        resize_mode=rng.randint(0, 3),
        mask_blur=rng.choice([None, 0, 9]),
        inpainting_fill=rng.randint(0, 3),
        inpaint_full_res=rng.random() < 0.5,
        inpainting_mask_invert=rng.randint(0, 1),
        soft_inpainting={"enabled": rng.random() < 0.2},
    )


def live_tensors():
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


def test_two_hundred_random_requests_neither_crash_nor_leak(manager):
    rng = random.Random(20)
    delivered, refused, tensors = 0, [], []
    for number in range(200):
        request = random_request(rng)
        try:
            job = manager.submit(request, save=False)
        except WebuiError as error:
            refused.append(str(error))
            continue
        assert job.wait(120), request
        if job.exception is not None:
            assert isinstance(job.exception, WebuiError), (request, job.error)
            refused.append(job.error)
            continue
        pictures = [image for image in job.result.images if not image.is_grid]
        assert len(pictures) == request.batch_size * request.n_iter, request
        delivered += 1
        if number in (100, 199):
            tensors.append(live_tensors())
    assert delivered >= 150, refused
    assert all(len(reason) > 20 and reason.endswith((".", ".)")) for reason in refused), refused
    # Prompt encodings and the kept jobs' pictures are bounded; whole runs of latents would be thousands.
    assert tensors[-1] - tensors[0] < 500

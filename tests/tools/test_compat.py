"""What the comparison with recorded pictures reports."""

import numpy as np
from PIL import Image

from tools.compat.compare import compare_pictures, differing_keys


def test_equal_pictures_have_the_highest_mark():
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    found = compare_pictures(image, image)
    assert (found.psnr_db, found.largest, found.within_one) == (99.0, 0, 1.0)


def test_differences_are_counted_per_pixel_and_channel():
    theirs = np.full((10, 10, 3), 100, np.uint8)
    ours = theirs.copy()
    ours[0, 0, 1] += 1
    ours[5, 5] += 30
    found = compare_pictures(Image.fromarray(ours), Image.fromarray(theirs))
    assert found.largest == 30
    assert found.within_one == 0.99
    assert abs(found.psnr_db - 10 * np.log10(255**2 / ((3 * 900 + 1) / 300))) < 1e-9


def test_another_size_is_as_bad_as_can_be():
    found = compare_pictures(Image.new("RGB", (4, 4)), Image.new("RGB", (8, 4)))
    assert (found.psnr_db, found.within_one) == (0.0, 0.0)


def test_infotexts_differ_by_key_and_the_version_does_not_count():
    theirs = "a cat\nSteps: 5, Sampler: Euler, Seed: 1, Version: v1.10.1"
    assert differing_keys("a cat\nSteps: 5, Sampler: Euler, Seed: 1, Version: v2", theirs) == []
    assert differing_keys("a cat\nSteps: 5, Sampler: Heun, Seed: 1, Tiling: True", theirs) == ["Sampler", "Tiling"]
    assert differing_keys("a dog\nSteps: 5, Sampler: Euler, Seed: 1", theirs) == ["(prompt)"]
    assert differing_keys("a cat\nSampler: Euler, Steps: 5, Seed: 1", theirs) == ["order"]

"""`python -m tools.chaos.saver FOLDER COUNT`: saves pictures one after the other and prints where each lies."""

import sys
from pathlib import Path

from PIL import Image

from pipelines.output.filenames import NameFacts
from pipelines.output.save import SaveOptions, save_image


def main(folder: Path, count: int) -> None:
    """Saves `count` pictures that take a while to write, because noise cannot be compressed."""
    image = Image.effect_noise((1024, 1024), 90).convert("RGB")
    for number in range(count):
        saved = save_image(image, folder, facts=NameFacts(seed=number), options=SaveOptions(), infotext="a record")
        print(saved.path, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

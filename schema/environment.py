"""What libraries are told before they are imported: be quiet, call nobody, write nowhere else."""

import logging
import os

from schema.flags import Flags
from schema.paths import Paths

CHATTY = ("uvicorn", "httpx", "httpcore", "PIL", "matplotlib", "asyncio")


def set_up_logging(flags: Flags) -> None:
    """Our messages on standard error, and only the warnings of libraries that chat."""
    logging.basicConfig(level=flags.loglevel, format="%(message)s")
    for name in CHATTY:
        if flags.loglevel != "DEBUG":
            logging.getLogger(name).setLevel(logging.WARNING)
    if flags.api_log:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)


def set_up_libraries(paths: Paths) -> None:
    """Keeps libraries from calling home and from writing outside the data folder. Comes before their import."""
    defaults = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(paths.cache / "gradio"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)

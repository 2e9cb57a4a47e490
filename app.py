"""Starts the program: reads the command line, builds engine, REST API and page, and answers requests."""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING

from schema.environment import set_up_libraries, set_up_logging
from schema.errors import StartupError
from schema.flags import Flags, parse_flags
from schema.paths import Paths
from schema.version import VERSION

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.manager import PipelineManager

logger = logging.getLogger("webui")

# Gradio takes the theme from the address.
THEME_SCRIPT = """<script>
const address = new URL(location.href);
if (!address.searchParams.has("__theme")) {
    address.searchParams.set("__theme", "THEME");
    location.replace(address);
}
</script>"""


def main(argv: list[str]) -> int:
    """Runs until told to stop. Returns the exit status; a start that fails prints one sentence."""
    try:
        flags, notices = parse_flags(argv)
        set_up_logging(flags)
        for notice in notices:
            logger.warning(notice)
        run(flags)
    except StartupError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        gc.freeze()  # Everything is saved: looking through all objects once more would only delay the end.
    return 0


def run(flags: Flags) -> None:
    """Builds everything and answers requests until told to stop.

    Raises:
        StartupError: If it cannot start as asked.
    """
    paths = Paths.from_flags(flags)
    set_up_libraries(paths)

    from api.credentials import read_credentials
    from api.guard import protect
    from api.policy import GuardPolicy
    from api.serve import bind, serve

    policy = GuardPolicy.from_flags(flags, read_credentials(flags))
    address = bind(flags)

    from preprocessors.torchvision_ops import ensure_torchvision

    ensure_torchvision()

    from pipelines.manager import PipelineManager
    from schema.store import SettingsStore

    store = SettingsStore(paths.settings_file, paths.ui_config_file)
    for note in store.notes:
        logger.warning(note)
    manager = PipelineManager(flags=flags, paths=paths, store=store)
    app = build_app(flags, paths, manager)
    protect(app, policy)
    manager.load_in_background()
    serve(app, address, flags, on_stop=manager.close)


def build_app(flags: Flags, paths: Paths, manager: PipelineManager) -> FastAPI:
    """The REST API, and the page unless `--nowebui`; not yet guarded."""
    from api.app import build_api

    app = build_api(manager, version=VERSION)
    if not flags.nowebui:
        from ui.app import mount_page

        served = (paths.outputs, paths.saved, *flags.gradio_allowed_path)
        mount_page(
            app,
            manager,
            allowed_paths=[str(folder.absolute()) for folder in served],
            blocked_paths=[str(path) for path in paths.private_files],
            head=THEME_SCRIPT.replace("THEME", flags.theme) if flags.theme else "",
        )
    return app


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

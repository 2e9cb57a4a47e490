"""config.json and ui-config.json: read, migrated, written atomically, with the last versions kept."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from schema.atomic import write_atomically
from schema.errors import OutputError, SettingsError
from schema.settings import Settings

_log = logging.getLogger(__name__)

BACKUPS = 3
"""How many former versions of a file are kept, as `config.json.bak1` (the newest) to `.bak3`."""

Migration = Callable[[dict[str, Any]], str | None]
"""Changes values read from config.json in place; answers a sentence for the log, or None if nothing was to do."""


def _split_quicksettings(values: dict[str, Any]) -> str | None:
    """Releases before 1.1 kept one comma-separated text. Source: A1111 modules/options.py, Options.load."""
    old = values.get("quicksettings")
    if old is None or values.get("quicksettings_list") is not None:
        return None
    values["quicksettings_list"] = [item.strip() for item in str(old).split(",") if item.strip()]
    return "quicksettings became quicksettings_list"


def _split_reorder(values: dict[str, Any]) -> str | None:
    """Releases before 1.3 kept one comma-separated text. Source: A1111 modules/options.py, Options.load."""
    old = values.get("ui_reorder")
    if not isinstance(old, str) or not old or "ui_reorder_list" in values:
        return None
    values["ui_reorder_list"] = [item.strip() for item in old.split(",") if item.strip()]
    return "ui_reorder became ui_reorder_list"


def _invert_vae_preference(values: dict[str, Any]) -> str | None:
    """Releases before 1.7 said the opposite. Source: A1111 modules/options.py, Options.load."""
    if values.get("sd_vae_as_default") is None or values.get("sd_vae_overrides_per_model_preferences") is not None:
        return None
    values["sd_vae_overrides_per_model_preferences"] = not values["sd_vae_as_default"]
    return "sd_vae_as_default became sd_vae_overrides_per_model_preferences"


MIGRATIONS: tuple[Migration, ...] = (_split_quicksettings, _split_reorder, _invert_vae_preference)
"""Applied in order to every config.json that is read."""


class SettingsStore:
    """The settings in force and their files. Every method may be called from any thread.

    Attributes:
        path: config.json, A1111's flat map of keys. Keys of other tools stay in it.
        ui_path: ui-config.json, A1111's `tab/label/value` map of page defaults.
        notes: What the user should know about reading the files: damage, values that could not be used.
    """

    def __init__(self, path: Path, ui_path: Path | None = None) -> None:
        self.path = path
        self.ui_path = ui_path or path.with_name("ui-config.json")
        self.notes: tuple[str, ...] = ()
        self._lock = threading.RLock()
        self._foreign: dict[str, Any] = {}
        self._settings = Settings()
        self._ui_values: dict[str, Any] = {}
        self.reload()

    @property
    def settings(self) -> Settings:
        """The settings in force: a snapshot that later changes do not touch."""
        return self._settings

    @property
    def ui_values(self) -> Mapping[str, Any]:
        """The page defaults of ui-config.json, `tab/label/value` → value."""
        return dict(self._ui_values)

    def reload(self) -> None:
        """Reads both files again. A damaged one is set aside, and its newest readable backup is used.

        Raises:
            SettingsError: If a file exists and cannot be opened.
        """
        with self._lock:
            notes: list[str] = []
            values = _read(self.path, notes)
            for migrate in MIGRATIONS:
                if sentence := migrate(values):
                    _log.info("%s: %s", self.path.name, sentence)
            self._settings = _usable(values, notes)
            self._foreign = {key: value for key, value in values.items() if key not in Settings.model_fields}
            self._ui_values = _read(self.ui_path, notes)
            self.notes = tuple(notes)

    def update(self, values: Mapping[str, Any], *, restricted: bool = False) -> Settings:
        """Changes options and writes config.json; the settings now in force.

        Args:
            restricted: Whether paths, network and code options may change (see `Settings.overridden`).

        Raises:
            SettingsError: If a value cannot be used; nothing is changed then.
            OutputError: If the file cannot be written; the settings are in force until the program ends.
        """
        with self._lock:
            self._settings = self._settings.overridden(values, restricted=restricted)
            self.save()
            return self._settings

    def save(self) -> None:
        """Writes config.json: all options, then the keys of other tools.

        Raises:
            OutputError: If it cannot be written; the former file is untouched.
        """
        with self._lock:
            _write(self.path, self._settings.model_dump(mode="json") | self._foreign)

    def update_ui_values(self, values: Mapping[str, Any], *, without: Collection[str] = ()) -> None:
        """Changes page defaults and writes ui-config.json.

        Args:
            without: Keys that are taken out.

        Raises:
            OutputError: If it cannot be written; the former file is untouched.
        """
        with self._lock:
            kept = {key: value for key, value in self._ui_values.items() if key not in without}
            self._ui_values = kept | dict(values)
            _write(self.ui_path, self._ui_values)


def _usable(values: Mapping[str, Any], notes: list[str]) -> Settings:
    """The settings in `values`; one that cannot be used keeps its default and is named in `notes`."""
    settings = Settings()
    for key, value in values.items():
        try:
            settings = settings.overridden({key: value}, restricted=True)
        except SettingsError as error:
            notes.append(f"{error} Its default is used.")
    return settings


def _read(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return _parsed(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Change its permissions or move it.") from error
    except (ValueError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        path.replace(aside)
        backup = _newest_backup(path)
        source = f"The settings of {_backup(path, backup[0]).name}" if backup else "Defaults"
        notes.append(f"{path.name} was damaged ({error}) and is now {aside.name}. {source} are used.")
        return backup[1] if backup else {}


def _newest_backup(path: Path) -> tuple[int, dict[str, Any]] | None:
    for number in range(1, BACKUPS + 1):
        try:
            return number, _parsed(_backup(path, number))
        except (OSError, ValueError, RecursionError):
            continue
    return None


def _parsed(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(values, dict):
        raise ValueError("it is not a map of keys")
    return values


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.bak{number}")


def _write(path: Path, values: Mapping[str, Any]) -> None:
    data = json.dumps(values, indent=4, ensure_ascii=False).encode()
    try:
        if path.is_file():
            if path.read_bytes() == data:
                return
            for number in range(BACKUPS, 1, -1):
                if _backup(path, number - 1).is_file():
                    _backup(path, number - 1).replace(_backup(path, number))
            shutil.copyfile(path, _backup(path, 1))
        write_atomically(path, lambda file: file.write(data))
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror}. Free space or change permissions."
        ) from error

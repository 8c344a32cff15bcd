"""Every stored run, with the settings that it belongs to."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from evidence.claims import Results
from evidence.setting import Setting
from evidence.store import Store
from evidence.tuning import Choices

STUDIES = ("image", "language", "physics")


def settings_of(study: str, scale: str = "default") -> list[Setting]:
    """The settings of a study, by its name."""
    found: list[Setting] = import_module(f"{study}.settings").settings(scale)
    return found


def study_of(setting: str) -> str:
    """The study that a setting is part of."""
    for study in STUDIES:
        if any(s.name == setting for s in settings_of(study)):
            return study
    raise KeyError(setting)


def read(folder: Path, choices: Mapping[str, Choices] | None = None) -> Results:
    """The runs in a folder; what was chosen by validation is theirs, or given."""
    found = {}
    for study in STUDIES:
        for setting in settings_of(study):
            store = Store(folder, setting.name)
            chosen = (choices or {}).get(setting.name, Choices(setting, store))
            found[setting.name] = (setting, chosen, store.runs())
    return Results(found)

"""Every stored run, with the settings that it belongs to."""

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


def read(folder: Path, choices_from: Path | None = None) -> Results:
    """The runs in a folder; what was chosen by validation may come from another."""
    found = {}
    for study in STUDIES:
        for setting in settings_of(study):
            store = Store(folder, setting.name)
            chosen = Store(choices_from or folder, setting.name)
            found[setting.name] = (setting, Choices(setting, chosen), store.runs())
    return Results(found)

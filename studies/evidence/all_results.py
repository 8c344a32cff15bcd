"""Every stored run, with the settings that it belongs to."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from evidence.results import Results
from evidence.setting import Setting
from evidence.store import Store
from evidence.training import Trainer
from evidence.tuning import Choices

STUDIES = ("mnist", "udhr", "language", "physics")
MANIPULATION = "manipulation/"  # before the names of that study's networks


def settings_of(study: str, scale: str = "default") -> list[Setting]:
    """The settings of a study, by its name."""
    found: list[Setting] = import_module(f"{study}.settings").settings(scale)
    return found


def trainer_of(study: str, setting: Setting) -> Trainer:
    """What trains and measures a setting: its study's own kind, if it has one."""
    of = getattr(import_module(f"{study}.settings"), "trainer", Trainer)
    found: Trainer = of(setting)
    return found


def study_of(setting: str, scale: str = "default") -> str:
    """The study that a setting is part of."""
    for study in STUDIES:
        if any(s.name == setting for s in settings_of(study, scale)):
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
    return Results(found | manipulated(folder))


def manipulated(folder: Path) -> dict:
    """The networks of the manipulation study: their runs lie beside the folder."""
    networks = import_module("manipulation.networks").networks
    validation = import_module("manipulation.outcomes").VALIDATION_SEEDS
    found = {}
    for name, network in networks().items():
        store = Store(folder.parent / "manipulation", name)
        runs = [run for run in store.runs() if run["seed"] not in validation]
        chosen = Choices(network.setting, store)
        found[f"{MANIPULATION}{name}"] = (network.setting, chosen, runs)
    return found

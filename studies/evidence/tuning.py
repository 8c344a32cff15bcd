"""Settings that are chosen: on validation data, on seeds that nothing else uses."""

from collections.abc import Callable, Iterable

import numpy as np

from evidence.setting import Setting
from evidence.store import Store

SEEDS = (1000, 1001)
RATES = (0.3, 1.0, 3.0, 10.0)  # times the task's
NUMBERS = (1, 5, 10, 50, 100)  # k, as in MEmeL
STRENGTHS = (1, 5, 10, 50, 100)  # Δ, as in MEmeL
WEIGHTS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
QUICKLY_TRIED = slice(-2, -1)  # of each

Path = tuple[str, ...]


class Choices:
    """Of one setting: what to try, and what was best."""

    def __init__(self, setting: Setting, store: Store, quick: bool = False) -> None:
        self.setting, self.store = setting, store
        self._few = QUICKLY_TRIED if quick else slice(None)
        self._seeds = SEEDS[:1] if quick else SEEDS

    def search(self, train: Callable[[Iterable[tuple[Path, int]]], None]) -> None:
        """Run what is missing: the learning rate of plain training, then the rest."""
        for what, tried in {
            "rate": self._rates,
            "grid": self._grid,
            "weight": self._weights,
        }.items():
            if what in self.setting.tuned:
                train([(path, seed) for path in tried() for seed in self._seeds])

    def resolved(self, path: Path) -> Path:
        """The path with the settings that were chosen written out."""
        *before, method = path
        name = method.partition(":")[0]
        if method != name:
            return path
        return (*before, self._with_rate(self._settings_of(name)))

    def _settings_of(self, name: str) -> str:
        if name == "memel-tune":
            return self._best(self._grid()).replace("memel:", "memel-tune:")
        if name == "l2e":
            return self._best(self._weights())
        if name == "encourage":
            return self._best(self._weights()).replace("l2e:", "encourage:")
        return name

    def _with_rate(self, method: str) -> str:
        if "rate=" in method or "rate" not in self.setting.tuned:
            return method
        rate = self._best(self._rates()).rpartition("rate=")[2]
        return f"{method}{',' if ':' in method else ':'}rate={rate}"

    def _rates(self) -> list[Path]:
        rates = [r * self.setting.tasks[-1].learning_rate for r in RATES[self._few]]
        return [(*self.setting.plain[:-1], f"plain:rate={rate:g}") for rate in rates]

    def _grid(self) -> list[Path]:
        return [
            (*self.setting.plain[:-1], self._with_rate(f"memel:k={k},strength={s}"))
            for k in NUMBERS[self._few]
            for s in STRENGTHS[self._few]
        ]

    def _weights(self) -> list[Path]:
        texts = [self._with_rate(f"l2e:weight={w:g}") for w in WEIGHTS[self._few]]
        return [(*self.setting.plain[:-1], text) for text in texts]

    def at_an_edge(self, key: str, value: float) -> bool:
        """Whether a better rate or weight may lie outside of what was tried."""
        rate = self.setting.tasks[-1].learning_rate
        tried = {"rate": [rate * r for r in RATES], "weight": WEIGHTS}.get(key, [])
        return any(np.isclose(value, edge) for edge in (*tried[:1], *tried[-1:]))

    def by_weight(self) -> dict[float, float]:
        """The mean on validation data with each of the penalty's weights."""
        found = self._on_validation(self._weights())
        return dict(zip(WEIGHTS, found.values(), strict=True))

    def _best(self, paths: list[Path]) -> str:
        """The last method of the path with the best mean on validation data."""
        found = self._on_validation(paths)
        sign = 1 if self.setting.higher_is_better else -1
        return max(paths, key=lambda path: sign * found[path])[-1]

    def _on_validation(self, paths: list[Path]) -> dict[Path, float]:
        """The mean of each path on validation data, over the seeds of the search."""
        figure = self.setting.primary.replace("test ", "validation ")
        found: dict[Path, list[float]] = {path: [] for path in paths}
        for run in self.store.runs():
            path = tuple(run["path"])
            if path in found and run["seed"] in SEEDS:
                found[path].append(run["figures"][figure])
        missing = [path for path, each in found.items() if not each]
        if missing:
            raise SystemExit(
                f"{self.setting.name}: the search has not been run. Run this study "
                "with --search first."
            )
        return {path: float(np.mean(each)) for path, each in found.items()}

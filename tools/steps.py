"""What `make test` runs: one process a step, and one backend a process."""

from dataclasses import dataclass, field
from pathlib import Path

import environments

REPORTS = environments.ROOT / ".reports"
AGREEMENT = "tests/project/test_agreement.py"
# Runs in every backend's environment; the rest of tests/project runs once.
# Other libraries' models, loops and formats.
OTHERS = ["tests/surgery", "tests/native", "tests/serving"]
# Many devices, precision, interruptions: whole trainings, in many processes.
ROBUST = ["tests/robustness", "tests/distribution"]
# Whole programs, a minute each: on one backend, which compiles nothing.
PROGRAMS = [
    "tests/project/test_evidence.py",
    "tests/project/test_examples.py",
    "tests/project/test_recipes.py",
]
# Compiling what runs once takes most of the time of tests on JAX: it need not be good,
# and once in a step is enough.
FAST_TO_COMPILE = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
COMPILE_ONCE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
# What a new Keras breaks first, where compiling is cheap and where it is not.
NEWEST = [
    "tests/layers/test_masks_on_the_way.py",
    "tests/layers/test_saving.py",
    "tests/surgery/test_strip.py",
]
NEWEST_EAGER = [
    "tests/callbacks",
    "tests/layers/test_inhibited_rnn.py",
    "tests/robustness/test_training_options.py",
    "tests/surgery/test_insert_after.py",
]
INSTALLATION = "tests/project/test_installation.py"


@dataclass(frozen=True)
class Step:
    """A command, and the JUnit file it writes (None: it counts as one test)."""

    name: str
    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    # Not empty: it may fail without failing the run, and this is shown beside it.
    on_trial: str = ""


def lint_steps() -> list[Step]:
    python = str(environments.python_of("lint"))
    return [
        Step("ruff check", [python, "-m", "ruff", "check", "."]),
        Step("ruff format", [python, "-m", "ruff", "format", "--check", "."]),
        Step("mypy", [python, "-m", "mypy", "keras_mono", "tools"]),
    ]


def test_steps(backends: list[str], profile: str) -> list[Step]:
    """The long ones first, so that two workers finish at about the same time."""
    elsewhere = [f"--ignore={path}" for path in ("tests/project", *OTHERS, *ROBUST)]
    elsewhere.append("--ignore=tests/layers")
    steps = []
    for name, paths in {
        "layers": ["tests/layers"],
        "tests": ["tests", *elsewhere],
        "existing models": OTHERS,
        "robustness": ROBUST,
    }.items():
        steps += [
            _pytest(f"{backend}: {name}", backend, paths, FAST_TO_COMPILE)
            for backend in backends
        ]
    if backends == list(environments.BACKENDS):
        # Not captured, so that the differences it found are seen when all is well too.
        steps.append(_pytest("agreement", backends[0], [AGREEMENT, "--capture=no"]))
    eager = "torch" if "torch" in backends else backends[0]
    steps.append(_pytest(f"{eager}: programs", eager, PROGRAMS))
    ignored = [f"--ignore={path}" for path in (INSTALLATION, AGREEMENT, *PROGRAMS)]
    paths = ["tests/project", *ignored]
    steps.append(_pytest("project", backends[0], paths, FAST_TO_COMPILE))
    if "jax" in backends:
        leaks = {"JAX_CHECK_TRACER_LEAKS": "1"}
        # Compiled trainings: under this check op-by-op execution takes an hour.
        compiled = "(every_way and not eager) or validation or frozen"
        paths = ["tests/layers/test_training.py", "-k", compiled]
        step = _pytest("jax: tracer leaks", "jax", paths, leaks)
        del step.variables["JAX_COMPILATION_CACHE_DIR"]
        steps.append(step)
        serving = _pytest("jax: serving", environments.SERVING, ["tests/serving"])
        serving.variables["KERAS_BACKEND"] = "jax"
        steps.append(serving)
    steps += [
        _pytest(f"{backend}: installed alone", backend, [INSTALLATION])
        for backend in backends
    ]
    for step in steps:
        step.variables["HYPOTHESIS_PROFILE"] = profile
        if profile == "default":
            step.variables["ONE_BACKEND"] = eager
    return steps


def nightly_step(backend: str, version: str) -> Step:
    """Some of the tests on the Keras that comes; its report proves nothing else."""
    name = f"{backend}: Keras nightly"
    paths = [*NEWEST, *(NEWEST_EAGER if backend == "torch" else [])]
    step = _pytest(name, backend, paths, FAST_TO_COMPILE)
    python = environments.python_of(f"nightly-{backend}")
    report = REPORTS / "nightly" / f"{backend}.xml"
    options = [o for o in step.command[1:] if not o.startswith("--junit-xml")]
    command = [str(python), *options, f"--junit-xml={report}"]
    return Step(name, command, step.variables, report, on_trial=f"Keras {version}")


def _pytest(
    name: str,
    backend: str,
    paths: list[str],
    variables: dict[str, str] | None = None,
) -> Step:
    stem = name.replace(": ", "-").replace(" ", "-")
    report = REPORTS / f"{stem}.xml"
    if backend in ("jax", environments.SERVING):
        compiled = {"JAX_COMPILATION_CACHE_DIR": str(REPORTS / "compiled" / stem)}
        variables = {**COMPILE_ONCE, **compiled, **(variables or {})}
    # -P: without it the checkout would shadow the installed package.
    python = [str(environments.python_of(backend)), "-P", "-m", "pytest"]
    options = ["-p", "no:cacheprovider", f"--junit-xml={report}"]
    return Step(
        name,
        [*python, *options, *paths],
        {
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "MPLBACKEND": "Agg",
            # Steps run side by side; PyTorch's threads would wait for each other.
            "OMP_NUM_THREADS": "1",
            **(variables or {}),
        },
        report,
    )

"""`make test`, `make soak` and `make lint`: run every step, then show what came out.

Two steps run at a time (three on four CPUs), each in a process group of its own. A
step's output is kept until it ends, so that two never mix. The last line is the total,
in pytest's form.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import environments
import results
import steps
import support_table

# Those that this process may use, where the system tells.
CPUS = len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 2))(0))
WORKERS = 3 if CPUS >= 4 else 2
STEP_LIMIT = 25 * 60  # seconds; a hang must not take the whole run with it
SOAK_LIMIT = 12 * 60 * 60


def main() -> int:
    arguments = _arguments()
    start = time.monotonic()
    shutil.rmtree(steps.REPORTS, ignore_errors=True)
    steps.REPORTS.mkdir()
    backends = [] if arguments.lint else list(environments.BACKENDS)
    if arguments.backend:
        backends = [arguments.backend]
    try:
        _set_up(backends)
    except environments.InstallationError as error:
        found = [results.Result("installation", failed=1, note=str(error))]
    else:
        nightly, missing = _nightly(backends)
        chosen = _chosen_steps(arguments, backends) + nightly
        found = _run_all(chosen, _limit(arguments)) + missing
        if 0 < len(backends) < len(environments.BACKENDS):
            note = "not run: it compares all three backends"
            found.append(results.Result("agreement", skipped=1, note=note))
        elif backends:
            wrong = support_table.difference()
            counts = {"failed": 1} if wrong else {"passed": 1}
            found.append(results.Result("support table", **counts, note=wrong))

    _headline("summary")
    print(results.table(found))
    if backends:
        print(f"random cases of the property tests: {support_table.random_cases()}")
    print(results.closing_line(found, time.monotonic() - start), flush=True)
    return 0 if results.all_is_well(found) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", nargs="?", choices=environments.BACKENDS)
    parser.add_argument("--soak", action="store_true", help="many more examples")
    parser.add_argument("--lint", action="store_true", help="style and types only")
    return parser.parse_args()


def _chosen_steps(
    arguments: argparse.Namespace, backends: list[str]
) -> list[steps.Step]:
    if not backends:
        return steps.lint_steps()
    profile = "soak" if arguments.soak else "default"
    return steps.test_steps(backends, profile) + steps.lint_steps()


def _limit(arguments: argparse.Namespace) -> float:
    return SOAK_LIMIT if arguments.soak else STEP_LIMIT


def _set_up(backends: list[str]) -> None:
    environments.lint_ready()
    if backends:
        environments.ready(backends[0])  # builds the wheel that the others share
    with ThreadPoolExecutor(WORKERS) as pool:
        more = [environments.SERVING] if "jax" in backends else []
        list(pool.map(environments.ready, [*backends[1:], *more]))


def _nightly(backends: list[str]) -> tuple[list[steps.Step], list[results.Result]]:
    """Steps on Keras' nightly version, and results of those that cannot be had."""
    chosen, missing = [], []
    for backend in backends:
        try:
            version = environments.nightly_ready(backend)
        except (environments.InstallationError, OSError, ValueError) as error:
            name, note = f"{backend}: Keras nightly", f"not installed: {error}"
            missing.append(results.Result(name, skipped=1, note=note))
        else:
            chosen.append(steps.nightly_step(backend, version))
    return chosen, missing


def _run_all(chosen: list[steps.Step], limit: float) -> list[results.Result]:
    """Run the steps and print what each wrote; results in the order of the steps."""
    found = {}
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            jobs = {pool.submit(_run, s, limit, running): s.name for s in chosen}
            for job in as_completed(jobs):
                result, output = job.result()
                _headline(jobs[job])
                print(output.strip(), flush=True)
                found[jobs[job]] = result
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                _kill(process)
            raise
    return [found[step.name] for step in chosen]


def _run(
    step: steps.Step, limit: float, running: set[subprocess.Popen[bytes]]
) -> tuple[results.Result, str]:
    print(f"started: {step.name}", flush=True)
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            step.command,
            cwd=environments.ROOT,
            env={**environments.clean_variables(), **step.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return results.Result(step.name, failed=1, note="did not start"), str(error)
    running.add(process)
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _kill(process)
        output, _ = process.communicate()
        output += f"\nStopped: it ran for more than {limit:.0f} s.".encode()
    running.discard(process)
    seconds = time.monotonic() - start
    result = results.of_step(step.name, process.returncode, step.report, seconds)
    if step.on_trial:
        result = results.on_trial(result, step.on_trial)
    return result, output.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _headline(text: str) -> None:
    print(f"\n{f' {text} '.center(80, '-')}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted.")

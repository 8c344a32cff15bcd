"""`make demo`: set up one backend and run examples/quickstart.py on it."""

import subprocess
import sys

import environments

# The smallest and quickest of the three to install.
DEFAULT_BACKEND = "jax"


def main() -> int:
    backend = (sys.argv[1:] or [DEFAULT_BACKEND])[0]
    if backend not in environments.BACKENDS:
        raise SystemExit(
            f"BACKEND must be one of {', '.join(environments.BACKENDS)}. "
            f"Received: {backend}"
        )
    try:
        python = environments.ready(backend, "demo", quiet=not sys.stdout.isatty())
    except environments.InstallationError as error:
        raise SystemExit(f"The installation failed: {error}") from None
    variables = environments.clean_variables()
    variables |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # PyTorch's threads cost such small networks more than they bring.
    variables.setdefault("OMP_NUM_THREADS", "1")
    script = environments.ROOT / "examples" / "quickstart.py"
    command = [str(python), str(script)]
    return subprocess.run(command, env=variables, cwd=environments.ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())

"""How the programs run."""

import pytest

from support import forked_runs


@pytest.fixture(scope="session")
def run_program():
    """What a program prints, given its arguments."""
    with forked_runs.Forks("matplotlib.pyplot") as forks:

        def printed(program, *arguments, folder=None):
            variables = {"COLUMNS": "200"}  # so that no table cell is cut
            run = forked_runs.Run(program, arguments, folder, variables)
            ((status, text),) = forks.run(run)
            assert status == 0, text[-3000:]
            return text

        yield printed

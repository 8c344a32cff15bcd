"""Pages that the studies write from stored runs."""


def expect_unchanged(run_program, program):
    """The page is what the stored runs give, as `program --check` says."""
    run_program(program, "--check")

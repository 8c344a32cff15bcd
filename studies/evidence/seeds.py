"""Seeds as they are given on the command line."""

import argparse


def seeds_of(text: str, parser: argparse.ArgumentParser) -> list[int]:
    """Those from `first` to `last`, from a text such as 0-11 or 7."""
    try:
        first, _, last = text.partition("-")
        seeds = list(range(int(first), int(last or first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        parser.error(f"--seeds must be such as 0-11. Received: {text!r}.")
    return seeds

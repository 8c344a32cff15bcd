"""The notebooks of docs/notebooks, executed.

    export KERAS_BACKEND=torch PYTHONPATH=$PWD:$PWD/tests
    .envs/torch/bin/python -m support.notebooks

executes them and stores what came out.
"""

import re
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?\b(\d+\.?\d*(e[-+]?\d+)?|nan|NaN)\b")


def executed(path, folder):
    """The notebook with fresh outputs; an error in a cell is raised."""
    found = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        found, timeout=200, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(cwd=str(folder))
    for cell in found.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    found.metadata["language_info"] = {"name": "python"}
    return found


def joined(outputs):
    """What is printed in one piece, however many the kernel sent.

    Without warnings of other packages, which name the paths of this machine.
    """
    found = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if output.output_type == "stream" and found and "text" in found[-1]:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def outline(notebook):
    """What the code cells gave: text without its numbers, and which pictures."""
    return [
        [outline_of(output) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def outline_of(output):
    if output.output_type == "stream":
        return output.name, without_numbers(output.text)
    if "image/png" in output.data:
        return "picture", output.metadata["image/png"]["alt"]
    return "value", without_numbers(output.data["text/plain"])


def without_numbers(text):
    """Nor the lines below a table's head, as long as the numbers are wide."""
    return " ".join(re.sub("-{3,}", "---", NUMBER.sub("#", text)).split())


if __name__ == "__main__":
    for path in NOTEBOOKS:
        nbformat.write(executed(path, FOLDER), path)
        print("wrote", path.name)

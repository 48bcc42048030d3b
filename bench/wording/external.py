"""What is told of results that others measured."""

IMPORT_FLAWS = (
    "The file tells no scene, no initial state and no noise seed: its episodes are nobody's pairs.",
    "The file tells neither simulator nor package versions: whether it played the same task cannot be checked.",
    "The file tells no training: whether the checkpoint saw as many samples cannot be checked.",
)
UNPAIRED = "UNPAIRED"
"""How everything is marked that is compared otherwise than episode by episode."""


def import_source(file: str) -> str:
    return f"LeRobot's evaluation, as written in {file}; imported, not played here."

"""`jtrack masks`: masks in, how well they agree with true ones out."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from jtrack.benchmark import mask_measures as measures
from jtrack.cli import outputs
from jtrack.cli.printing import console, plain
from jtrack.cli.score import figure, finite
from jtrack.errors import LONGEST_MESSAGE, JtrackError, printable

app = typer.Typer(add_completion=False)


@app.command()
def masks(
    found: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder of masks, an image a frame.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="A folder of true masks.")],
    *,
    label: Annotated[
        int | None, typer.Option(help="Which value of MASKS is the target.", show_default="they are binary")
    ] = None,
    true_label: Annotated[
        int | None, typer.Option(help="Which value of TRUTH is the target.", show_default="they are binary")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here too; replaced if it is there.")
    ] = None,
) -> None:
    """Scores masks against true masks: mean overlap and success, of the masks and of the boxes around them.

    Masks belong together by their names, or by their order if there are as many.
    """
    if json_file is not None:
        outputs.check_file(json_file, (".json",), overwrite=True)
    agreement = measures.folder_agreement(found, truth, label=label, true_label=true_label)
    rows = {"masks": summary(agreement.masks), "boxes": summary(agreement.boxes)}
    table = plain(
        f"{found} against {truth}, {len(agreement.masks)} frames",
        "",
        *("mean IoU", "AUC", "SR@.5"),
    )
    for name, row in rows.items():
        table.add_row(name, *(figure(value, 3) for value in row.values()))
    console().print(table)
    if json_file is not None:
        figures: dict[str, Any] = {
            name: {key: finite(value) for key, value in row.items()} for name, row in rows.items()
        }
        with outputs.appearing(json_file) as part:
            part.write_text(json.dumps(figures | {"frames": len(agreement.masks)}, indent=1) + "\n", "utf-8")
        typer.echo(printable(f"wrote {json_file}", LONGEST_MESSAGE))


def summary(overlaps: np.ndarray) -> dict[str, float]:
    """Mean overlap, area under the success curve and success rate at one half."""
    if not len(overlaps):
        raise JtrackError("no frame has a mask to score")
    area, _ = measures.score(overlaps)
    return {"mean_iou": float(np.mean(overlaps)), "auc": area, "success50": measures.success_rate(overlaps)}

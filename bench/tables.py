"""The tables of docs/results.md, made from the ledger of runs (docs/runs): raw boxes, never typed figures.

    python bench/tables.py            # writes every table anew
    python bench/tables.py --check    # exits with 1 if one differs from what the ledger gives

docs/runs/tables.toml says what stands in each; docs/results.md where: between `<!-- table: NAME -->` and
`<!-- end of table -->`. The annotations are those of `JTRACK_DATA` (by default ../shared/data).
"""

import argparse
import re
import statistics
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import nearness, parting
from bench.ablations import spread
from bench.ledger import LEDGER, ROOT, data_folder
from bench.parting import kept
from jtrack import data
from jtrack.benchmark import machine, scoring
from jtrack.benchmark.results import Results
from jtrack.data import Annotation
from jtrack.errors import JtrackError

PAGE = ROOT / "docs" / "results.md"
MEASURES = {
    "precision20": "precision at 20 px",
    "auc": "AUC",
    "success50": "SR@.5",
    "success60": "SR@.6",
}  # of a table of means
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, say whether the tables are right"
    )
    parser.add_argument("--data", type=Path, default=data_folder())
    options = parser.parse_args()
    try:
        before = PAGE.read_text("utf-8")
        after = rendered(before, specifications(), lambda table: render(table, options.data))
    except JtrackError as error:
        sys.exit(f"tables: {error}")
    if options.check:
        sys.exit(
            f"{PAGE} has tables that are not the ledger's: run bench/tables.py" if before != after else 0
        )
    PAGE.write_text(after, "utf-8")


def specifications() -> dict[str, dict[str, Any]]:
    """What stands in each table."""
    return tomllib.loads((LEDGER / "tables.toml").read_text("utf-8"))


def rendered(page: str, tables: Mapping[str, dict[str, Any]], render: Callable[[dict[str, Any]], str]) -> str:
    """A page with its tables made anew.

    Raises:
      JtrackError: a table that has no place, or a place that no table is known for.
    """
    places = [name for _, name, _ in BLOCK.findall(page)]
    if sorted(places) != sorted(tables):
        raise JtrackError(f"the page has places for {places}, docs/runs/tables.toml has {list(tables)}")
    return BLOCK.sub(lambda found: f"{found[1]}{render(tables[found[2]])}\n{found[3]}", page)


def render(table: Mapping[str, Any], root: Path) -> str:
    """A table: a row a sequence, a column a run; precision at 20 px / AUC, and the mean over sequences.

    One that names two runs under `parting` has the sequences in which these part; one of `nearness` how near
    runs stay to published boxes at first; one of `means` has a row a run, whose figures are means over the
    sequences.
    """
    dataset = data.open_dataset("otb", root / table["data"], sequences=table.get("sequences"))
    if "parting" in table:
        (title, name), (other_title, other) = table["parting"].items()
        annotations = {each: dataset.annotation(each) for each in dataset.names}
        return parting.table(parting.partings(kept(name), kept(other), annotations), (title, other_title))
    truth = {name: dataset.annotation(name) for name in dataset.names}
    columns = {title: kept(name, table.get("protocol", "ope")) for title, name in table["runs"].items()}
    for title, name in table.get("published", {}).items():
        columns[title] = nearness.of_file(name, root)
    if "nearness" in table:
        return markdown(nearness.rows(columns, nearness.of_file(table["nearness"], root), dataset))
    if "means" in table:
        return of_means(columns, truth, table["means"])
    scored = {title: scores(found, truth) for title, found in columns.items()}
    rows = [["", *scored]]
    rows += [[name, *(cell(found.get(name)) for found in scored.values())] for name in truth]
    rows.append(["**mean**", *(mean(found, truth) for found in scored.values())])
    frames = [sum(len(truth[name].boxes) for name in found) for found in scored.values()]
    rows.append(["frames", *map(str, frames)])
    rows.append(["commit", *(str(found.label.get("commit", "–"))[:7] for found in columns.values())])
    rows.append(["date", *(str(found.label.get("date", "–"))[:10] for found in columns.values())])
    rows.append(["machine", *(made_on(found) for found in columns.values())])
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first of them the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def of_means(columns: Mapping[str, Results], truth: Mapping[str, Annotation], head: str) -> str:
    """A row a run: means over sequences, and with several seeds the standard deviation of their means."""
    rows = [[head, *MEASURES.values(), "seeds", "commit", "date"]]
    for title, found in columns.items():
        scored = scores(found, truth, tuple(MEASURES))
        figures = mean(scored, truth).split(" / ") if scored else ["–"] * len(MEASURES)
        seeds = min(map(len, scored.values()), default=0)
        label = found.label
        rows.append(
            [title, *figures, str(seeds), str(label.get("commit", "–"))[:7], str(label.get("date", "–"))[:10]]
        )
    return markdown(rows)


def made_on(found: Results) -> str:
    """The machines of a run, in a few words."""
    return "; ".join(sorted(map(machine.title, found.machines))) or "–"


type Scores = dict[str, list[tuple[float, ...]]]  # sequence -> the measures of each seed


def scores(
    found: Results, truth: Mapping[str, Annotation], measures: Sequence[str] = ("precision20", "auc")
) -> Scores:
    """Scores of the sequences that there are results of."""
    there = {name: annotation for name, annotation in truth.items() if name in found.trajectories}
    done: Scores = {name: [] for name in there}
    if not there:
        return done
    for seed in range(min(map(len, found.trajectories.values()))):
        one = replace(found, trajectories={name: [tries[seed]] for name, tries in found.trajectories.items()})
        for name, score in scoring.score(one, there, resamples=10).sequences.items():
            done[name].append(tuple(score.measures[measure] for measure in measures))
    return done


def cell(seeds: Sequence[tuple[float, ...]] | None) -> str:
    """One sequence: the mean over seeds."""
    return "–" if not seeds else " / ".join(f"{np.mean(values):.3f}" for values in zip(*seeds, strict=True))


def mean(found: Scores, truth: Mapping[str, Annotation]) -> str:
    """The mean over sequences; with several seeds the standard deviation of the seeds' means."""
    if not found:
        return "–"
    by_seed = zip(*found.values(), strict=True)  # [seeds][sequences]
    means = [[statistics.mean(values) for values in zip(*seed, strict=True)] for seed in by_seed]
    figures = " / ".join(spread(list(values)) for values in zip(*means, strict=True))
    return figures if len(found) == len(truth) else f"{figures} ({len(found)} of {len(truth)})"


if __name__ == "__main__":
    main()

"""Chooses between settings of a tracker so that the sequences they were chosen on do not fool us.

    python bench/choose.py run hcft-window       # what is missing of a search of docs/runs/choices.toml
    python bench/choose.py table hcft-window     # Markdown, of what there is

Every setting runs from many starts of every target: six of TRE, of which the first is the annotated one,
and four shifted or scaled boxes of SRE, each cut to 100 frames. By successive halving: first two starts of
each kind for all candidates, then the rest for the better half. Runs are kept in docs/runs, and none is
made twice.

The table leaves each video out in turn: the setting is chosen on the others and measured on the one left
out. A setting is worth taking if its gain over the profile has a 95 % interval, paired over videos, above
zero, and no video loses more than .05 AUC beyond what its own starts spread.
"""

import argparse
import functools
import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.ledger import LEDGER, ROOT, commit, data_folder
from jtrack import data, settings
from jtrack.benchmark import adapters, bootstrap, ledger, metrics
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.evaluate import evaluate
from jtrack.benchmark.results import Trajectory, load
from jtrack.cli.eval import heeding_interrupts, progress
from jtrack.cli.track import prepare
from jtrack.errors import JtrackError

CUT = 100  # frames of a start
STARTS = {"tre6": 6, "sre4": 4}
FIRST = 2  # of them, for all candidates
LOSS = 0.05  # of AUC that a sequence may lose beyond its spread
LOST_AT = 30  # frames after a start
BASE = "as it is"


class Start(NamedTuple):
    """What a setting made of a start."""

    auc: float
    precision: float  # at 20 pixels
    gone: float  # 1 where nothing of the target is in the box 30 frames later; NaN where it ends before
    of: tuple[str, int]  # the protocol, and the number of the start there


type Outcomes = dict[str, list[Start]]  # of a setting: by target, in the order of the protocols


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("search", choices=searches())
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "choose")
    parser.add_argument("--data", type=Path, default=data_folder())
    options = parser.parse_args()
    search = searches()[options.search]
    try:
        if options.command == "run":
            prepare("float32")
            carry_out(options.search, search, options.results, options.data)
        else:
            restore(options.results)
            print(table(outcomes(options.search, search, options.results, options.data)))
    except JtrackError as error:
        sys.exit(f"choose: {error}")
    except KeyboardInterrupt:
        sys.exit("choose: interrupted; the same command goes on")


def searches() -> dict[str, dict[str, Any]]:
    """The searches by their names."""
    return tomllib.loads((LEDGER / "choices.toml").read_text("utf-8"))


def restore(into: Path) -> None:
    """Makes the folders of the runs that docs/runs keeps."""
    for path in LEDGER.glob("*" + ledger.SUFFIX):
        ledger.restore(path, into)


def carry_out(name: str, search: Mapping[str, Any], results: Path, root: Path) -> None:
    """Runs what is missing: a few starts of all candidates, then all starts of the better half."""
    restore(results)
    folders: dict[str, str] = {}

    def stage(titles: Sequence[str], starts: Mapping[str, int]) -> None:
        for title in titles:
            entrant = setting(search, title)
            for folder, (kind, count) in product(search["data"], starts.items()):
                dataset = data.open_dataset("otb", root / folder)
                print(f"{title}: {count} of {kind} on {folder}", flush=True)
                try:
                    with progress() as bar, heeding_interrupts(bar) as on_progress:
                        done = evaluate(
                            entrant,
                            dataset,
                            protocols.load(kind),
                            results,
                            repeats=1,
                            limit=CUT,
                            starts=count,
                            on_progress=on_progress,
                        )
                    folders[title] = done.folder.name
                    if done.failures:
                        raise JtrackError(f"{title} failed on {', '.join(done.failures)}")
                finally:
                    if title in folders:
                        command = f"python bench/choose.py run {name}"
                        ledger.keep(results / folders[title], LEDGER, commit=commit(), command=command)
        kept_as(name).write_text(json.dumps(folders, indent=1) + "\n", "utf-8")

    titles = [BASE, *search["candidates"]]
    stage(titles, dict.fromkeys(STARTS, FIRST))
    found = outcomes(name, search, results, root)
    better = sorted(search["candidates"], key=lambda title: -standing(found[title]))
    stage([BASE, *better[: -(-len(better) // 2)]], STARTS)


def kept_as(name: str) -> Path:
    """The file that says which run a setting of a search is."""
    return LEDGER / f"choices-{name}.json"


def setting(search: Mapping[str, Any], title: str) -> EvaluatedTracker:
    """A candidate, or the profile as it is."""
    candidate = search["candidates"].get(title, {"set": search.get("base", [])})
    texts = candidate.get("set", [])
    return adapters.evaluated(
        search["tracker"],
        profile=candidate.get("profile", search["profile"]),
        backbone=search["network"],
        changes=functools.partial(settings.apply, settings=texts) if texts else None,
    )


def outcomes(name: str, search: Mapping[str, Any], results: Path, root: Path) -> dict[str, Outcomes]:
    """What the kept runs of a search came to, by setting."""
    if not kept_as(name).is_file():
        raise JtrackError(f"nothing of {name} has been run: `python bench/choose.py run {name}`")
    folders = json.loads(kept_as(name).read_text("utf-8"))
    found: dict[str, Outcomes] = {}
    for folder in search["data"]:
        dataset = data.open_dataset("otb", root / folder)
        for title, run in folders.items():
            of_kind = {each.protocol: each for each in load(results / run)}
            for target in dataset.names:
                truth = dataset.annotation(target).boxes
                found.setdefault(title, {})[target] = [
                    measured(trial, truth, (kind, number))
                    for kind in STARTS
                    if kind in of_kind
                    for number, trial in enumerate(of_kind[kind].trajectories.get(target, []))
                ]
    return found


def measured(trial: Trajectory, truth: np.ndarray, of: tuple[str, int]) -> Start:
    """What came of a start."""
    agreement = metrics.measure(trial.boxes, truth[trial.start : trial.start + len(trial.boxes)])
    rates = metrics.rates(metrics.count(agreement))
    overlap = agreement.overlap
    gone = float(overlap[LOST_AT] == 0) if len(overlap) > LOST_AT else np.nan
    return Start(rates.auc, rates.precision20, gone, of)


def video_of(target: str) -> str:
    """The video of a target: `Jogging-1` and `Jogging-2` are of one."""
    return re.sub(r"-\d+$", "", target)


def by_video(found: Outcomes) -> dict[str, np.ndarray]:
    """[starts, 3] of each video."""
    videos: dict[str, list[Start]] = {}
    for target, starts in found.items():
        videos.setdefault(video_of(target), []).extend(starts)
    return {video: np.array([start[:3] for start in starts], np.float64) for video, starts in videos.items()}


def means(found: Outcomes) -> np.ndarray:
    """[videos, 2] AUC and precision: the mean over the starts of each video."""
    return np.stack([starts[:, :2].mean(axis=0) for starts in by_video(found).values()])


def standing(found: Outcomes) -> float:
    """What settings are ranked by: the mean of AUC and precision over videos."""
    return float(means(found).mean())


def left_out(found: Mapping[str, Outcomes]) -> tuple[np.ndarray, list[str]]:
    """Each video's gain [videos, 2] of the setting that was best on the others, and which that was."""
    tables = {title: means(each) for title, each in found.items()}
    gains, chosen = [], []
    for video in range(len(tables[BASE])):
        others = np.arange(len(tables[BASE])) != video
        best = max(tables, key=lambda title: tables[title][others].mean())
        chosen.append(best)
        gains.append(tables[best][video] - tables[BASE][video])
    return np.array(gains), chosen


def worst_loss(found: Outcomes, base: Outcomes) -> tuple[str, float]:
    """The video that loses most AUC beyond the standard error of its starts' differences, and how much."""
    losses = {}
    for (video, starts), before in zip(by_video(found).items(), by_video(base).values(), strict=True):
        loss = before[:, 0] - starts[:, 0]
        spread = loss.std(ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else 0.0
        losses[video] = float(loss.mean() - spread)
    worst = max(losses, key=lambda video: losses[video])
    return worst, losses[worst]


def share(gone: np.ndarray) -> str:
    """The share of starts, of those that go on for so long."""
    known = gone[np.isfinite(gone)]
    return f"{known.mean():.3f}" if len(known) else "–"


def shared(found: Outcomes, other: Outcomes) -> Outcomes:
    """The starts that another setting has run from, too."""
    of = {target: {start.of for start in starts} for target, starts in other.items()}
    return {target: [start for start in starts if start.of in of[target]] for target, starts in found.items()}


def table(found: Mapping[str, Outcomes]) -> str:
    """Markdown: a row a setting, and the choice by leaving out between those that ran from all starts.

    A setting that ran from a few starts is compared with the profile from the same ones.
    """
    whole = {title: each for title, each in found.items() if shared(found[BASE], each) == found[BASE]}
    columns = (
        "",
        "AUC",
        "precision",
        "gone after 30 frames",
        "gain in AUC",
        "in precision",
        "largest loss",
        "take",
    )
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for title, each in found.items():
        base = shared(found[BASE], each)
        starts = np.concatenate(list(by_video(each).values()))
        figures = [f"{value:.3f}" for value in means(each).mean(axis=0)] + [share(starts[:, 2])]
        if title == BASE:
            lines.append(f"| {title} | {' | '.join(figures)} | | | | |")
            continue
        told_of = title
        if title not in whole:
            count, every = (sum(map(len, starts.values())) for starts in (each, found[BASE]))
            told_of += f", from {count} of {every} starts"
        gain = bootstrap.difference_interval(means(each), means(base))
        told = [f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" for mean, low, high in zip(*gain, strict=True)]
        video, loss = worst_loss(each, base)
        take = "yes" if gain.low[0] > 0 and loss <= LOSS else "no"
        lines.append(f"| {told_of} | {' | '.join(figures + told)} | {video} {loss:+.3f} | {take} |")
    gains, chosen = left_out(whole)
    gain = bootstrap.mean_interval(gains)
    words = ", ".join(f"{title} {chosen.count(title)} times" for title in dict.fromkeys(chosen))
    lines += [
        "",
        f"Chosen on the other videos and measured on the one left out: AUC {gain.mean[0]:+.3f} "
        f"({gain.low[0]:+.3f} to {gain.high[0]:+.3f}), precision {gain.mean[1]:+.3f} "
        f"({gain.low[1]:+.3f} to {gain.high[1]:+.3f}); chosen: {words}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""What the commands print: tables on standard output, progress on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

import fastxent
from fastxent.cli.bench import BenchResult, Row
from fastxent.cli.demo import CHECKED_ANCHORS, NOISE, DemoResult, Measurement
from fastxent.cli.select import Counts
from fastxent.cli.text import printable

TEXT_COLUMNS = {"class", "index", "label", "computed by", "function"}
#: More than any table has: it is for the terminal to wrap lines, so that no number is cut.
WIDTH = 10_000
#: How long the longest bar of a chart is.
BAR_WIDTH = 30
#: How many images of ``fastxent select`` have a line of their own.
REMARKS = 10


def print_lines(*lines: str) -> None:
    """Print lines as they are, apart from characters that are not for terminals."""
    for line in lines:
        print(printable(line))


def print_tables(tables: dict[str, Table]) -> None:
    """Print tables under their titles, with an empty line before and after each."""
    console = Console(width=WIDTH)
    console.print()
    for title, table in tables.items():
        console.out(title, style="bold", highlight=False)
        console.print(table)
        console.print()


def make_table(*columns: str) -> Table:
    """Make a table of text columns, to the left, and numbers, to the right."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        is_text = column in TEXT_COLUMNS
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    return table


class RateColumn(ProgressColumn):
    """How much is done in a second."""

    def render(self, task: Task) -> Text:
        """Return the number with a prefix, as soon as it is known."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{_with_prefix(rate)}/s", "progress.data.speed")


def _with_prefix(number: float) -> str:
    for power, prefix in ((9, " G"), (6, " M"), (3, " k")):
        if number >= 10.0**power:
            return f"{number / 10.0**power:.3g}{prefix}"
    return f"{number:.3g}"


@contextmanager
def progress(
    total: int, what: str = "anchors", *, auto_refresh: bool = True
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on a terminal, and nothing elsewhere.

    Without auto_refresh, it is drawn when it advances and at no other time.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    console.width = console.width or 80  # COLUMNS=0 means that it is not known
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, auto_refresh=auto_refresh) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=done, refresh=not auto_refresh)


# --- fastxent select -----------------------------------------------------------------------------


def print_counts(counts: Counts) -> None:
    """Print what ``fastxent select`` has counted on standard error, so that CSV can be piped."""
    lines = [
        f"images      {len(counts.found):,}",
        f"candidates  {sum(counts.returned):,}",
        f"found       {sum(counts.found):,}",
        f"nan         {sum(counts.nan):,}",
    ]
    rows = zip(counts.found, counts.nan, counts.returned, strict=True)
    remarks = [
        f"image {image}: {found:,} found, {returned:,} returned, {nan:,} NaN"
        for image, (found, nan, returned) in enumerate(rows)
        if nan or found > returned
    ]
    lines += remarks[:REMARKS]
    if len(remarks) > REMARKS:
        lines.append(f"and {len(remarks) - REMARKS:,} images more with some left out, or with NaN")
    for line in lines:
        print(line, file=sys.stderr)


# --- fastxent demo -------------------------------------------------------------------------------


def print_demo(result: DemoResult) -> None:
    """Print the result of ``fastxent demo``."""
    sample, config = result.workload.sample, fastxent.show_config()
    count, classes = sample.logits.shape
    anchors = len(result.workload.labels)
    print_lines(
        f"fastxent {config.version}, backend {config.backend}, {config.isa}, "
        f"{result.threads} threads",
        f"{count:,} anchors x {classes} classes of a real PicoDet head, repeated to {anchors:,}",
        f"anchors with noise of standard deviation {NOISE} (seed {result.workload.seed}). "
        "Labels are the detector's",
        "own confident detections. The sigmoid takes the logits as they are, the softmax",
        f"with a background logit of 0 appended, which makes {classes + 1} columns.",
    )
    print_tables({"Loss per class": _class_table(result), "Speed": _speed_table(result)})
    for loss, found in result.results.items():
        verdict = "ok" if found.correct else "FAILED"
        error = f"relative error at most {found.fast.max_error_ulp:.2f} ULP"
        checked = f"{loss}: {CHECKED_ANCHORS:,} random anchors against float64"
        print_lines(f"{checked}, {error}: {verdict}")


def print_places(plot: Path | None) -> None:
    """Say where the pictures and the pages are."""
    picture = f"{plot}" if plot else "fastxent demo --plot losses.png draws one"
    source = Path(fastxent.__file__).resolve().parents[1]
    site = source / "build" / "docs" / "index.html"
    pages = "docs/ of the source; make docs builds a site of them, with a gallery"
    if site.is_file():
        pages = f"{site}"
    elif (source / "docs" / "conf.py").is_file():
        pages = f"make docs builds them, with a gallery: {site}"
    print_lines("", f"Picture: {picture}", f"Pages: {pages}")


def _class_table(result: DemoResult) -> Table:
    """Tabulate the losses by label; shares are of the sum of all losses."""
    labels, names = result.workload.labels, result.workload.sample.class_names
    slots = len(names) + 1
    counts = np.bincount(labels, minlength=slots)
    table = make_table("label", "anchors")
    sums = []
    for loss, found in result.results.items():
        table.add_column(f"{loss}: mean", justify="right")
        table.add_column("share", justify="right")
        sums.append(np.bincount(labels, found.losses, minlength=slots))
    for slot in np.flatnonzero(counts):
        cells = [names[slot] if slot < len(names) else "no object", f"{counts[slot]:,}"]
        for of_loss in sums:
            cells.append(f"{of_loss[slot] / counts[slot]:#.4g}")
            cells.append(f"{of_loss[slot] / of_loss.sum():.1%}")
        table.add_row(*cells)
    return table


def _speed_table(result: DemoResult) -> Table:
    """Tabulate both implementations; the speed of reading the logits is the limit of all."""
    columns = "computed by", "mean", "hardest 1 %", "ULP off", "ms", "ns/logit", "of read"
    table = make_table(*columns)
    for loss, found in result.results.items():
        read = found.read_seconds / found.fast.logits
        table.add_row(f"{loss} fastxent", *_measured_cells(found.fast, read))
        table.add_row(f"{loss} NumPy", *_measured_cells(found.numpy, read))
        milliseconds = f"{found.read_seconds * 1e3:,.1f}"
        table.add_row("reading alone", "", "", "", milliseconds, f"{read * 1e9:#.3g}", "100.0%")
    return table


def _measured_cells(measured: Measurement, read_seconds_per_logit: float) -> list[str]:
    off = measured.max_error_ulp
    return [
        f"{measured.mean:#.4g}",
        f"{measured.hardest_share:.1%}",
        f"{off:.2f}" if off < 100 else f"{off:,.0f}",
        f"{measured.seconds * 1e3:,.1f}",
        f"{measured.ns_per_logit:#.3g}",
        f"{read_seconds_per_logit * measured.logits / measured.seconds:.1%}",
    ]


# --- fastxent bench ------------------------------------------------------------------------------


def print_bench(result: BenchResult) -> None:
    """Print the result of ``fastxent bench``."""
    machine, options = result.machine, result.options
    rounds = "one round" if options.rounds == 1 else f"{options.rounds} rounds"
    print_lines(
        f"fastxent {machine['fastxent']}, backend {machine['backend']}, {machine['isa']}, "
        f"NumPy {machine['numpy']}",
        machine["cpu"],
        f"Medians of {rounds}, interleaved; {options.dtype}, seed {options.seed}. All results were",
        'compared with float64 first. "of read": the speed, where reading alone is 100 %.',
    )
    reading, rest = ("=", "#") if Console().options.ascii_only else ("\u2592", "\u2588")
    tables = {}
    for shape in dict.fromkeys(row.shape for row in result.rows):
        rows = [row for row in result.rows if row.shape == shape]
        title = " x ".join(f"{length:,}" for length in shape)
        tables[f"{title}, class axis 1"] = _bench_table(rows, numpy=options.numpy)
        bars = f"{title}, ns/logit: {reading} reading alone, {rest} the rest"
        tables[bars] = _bench_chart(rows, reading, rest)
    print_tables(tables)


def _bench_table(rows: list[Row], *, numpy: bool) -> Table:
    columns = ["function", "threads", "ns/logit", "of read"]
    table = make_table(*columns, *["NumPy", "faster"] * numpy)
    for row in rows:
        cells = [
            row.label,
            str(row.threads),
            f"{row.ns_per_logit(row.seconds):#.3g}",
            f"{row.read_share:.0%}",
        ]
        if row.numpy_seconds is not None and row.numpy_ratio is not None:
            cells += [f"{row.ns_per_logit(row.numpy_seconds):#.3g}", f"{row.numpy_ratio:,.1f}x"]
        table.add_row(*cells)
    for threads in dict.fromkeys(row.threads for row in rows):
        of_threads = [row for row in rows if row.threads == threads]
        seconds = median(row.read_seconds for row in of_threads)
        nanoseconds = of_threads[0].ns_per_logit(seconds)
        table.add_row("reading alone", str(threads), f"{nanoseconds:#.3g}", "100%")
    return table


def _bench_chart(rows: list[Row], reading: str, rest: str) -> Table:
    """Draw the time per logit as bars, the part that reading alone takes in another shade."""
    table = make_table("function", "threads")
    table.add_column("", no_wrap=True)
    table.add_column("ns/logit", justify="right")
    longest = max(row.seconds for row in rows)
    for row in rows:
        length = max(1, round(row.seconds / longest * BAR_WIDTH))
        read_length = min(length, round(row.read_seconds / longest * BAR_WIDTH))
        bar = Text(reading * read_length, "cyan").append(rest * (length - read_length), "green")
        table.add_row(row.label, str(row.threads), bar, f"{row.ns_per_logit(row.seconds):#.3g}")
    return table

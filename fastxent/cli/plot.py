"""The picture of ``fastxent demo --plot``; it needs the extra "plot"."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastxent.cli.demo import DemoResult, LossResult
from fastxent.cli.errors import CommandError
from fastxent.cli.output import find_destination, whole_file
from fastxent.data import FEATURE_MAPS

BINS_PER_DECADE = 8
COLOURS = {"no object": "#9aa5b1", "object": "#d1495b"}


def prepare_plot(path: Path) -> Callable[[DemoResult], None]:
    """Return the function that draws, once it is clear that it will be able to."""
    try:
        figure_module = import_module("matplotlib.figure")
    except ModuleNotFoundError:
        raise CommandError('--plot needs matplotlib: pip install "fastxent[plot]"') from None
    destination = find_destination("--plot", path)
    figure = figure_module.Figure(figsize=(14, 4.4), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    chosen_format = path.suffix.removeprefix(".").lower()
    if chosen_format not in formats:
        raise CommandError(f"--plot {path}: the name must end in one of .{', .'.join(formats)}")

    def draw(result: DemoResult) -> None:
        labels = result.workload.labels
        has_object = labels < len(result.workload.sample.class_names)
        *histograms, page = figure.subplots(1, 3, width_ratios=(3, 3, 2))
        for axes, (loss, found) in zip(histograms, result.results.items(), strict=True):
            _draw_histogram(axes, loss, found, has_object)
        _draw_page(figure, page, result)
        figure.suptitle(f"Cross-entropy of {len(labels):,} anchors of a PicoDet head")
        with whole_file(destination) as file:
            figure.savefig(file, format=chosen_format, dpi=130)

    return draw


def losses_on_page(losses: Any) -> Any:  # noqa: ANN401
    """Return the largest loss over each 8 x 8 pixels of the page, of all levels there."""
    _, rows, columns = FEATURE_MAPS[0]
    largest = np.zeros((rows, columns))
    start = 0
    for stride, height, width in FEATURE_MAPS:
        cells = losses[start : start + height * width].reshape(height, width)
        scale = stride // FEATURE_MAPS[0][0]
        repeated = cells.repeat(scale, axis=0).repeat(scale, axis=1)
        largest = np.maximum(largest, repeated[:rows, :columns])
        start += height * width
    return largest


def _draw_page(figure: Any, axes: Any, result: DemoResult) -> None:  # noqa: ANN401
    losses = result.results["sigmoid"].losses
    heat = axes.imshow(losses_on_page(losses), cmap="inferno_r", vmin=0, extent=(0, 608, 800, 0))
    axes.set(title="sigmoid, over the page", xticks=[], yticks=[])
    figure.colorbar(heat, ax=axes, label="largest loss of an anchor")


def _draw_histogram(axes: Any, loss: str, result: LossResult, has_object: Any) -> None:  # noqa: ANN401
    losses = result.losses
    low, high = np.log10(losses[losses > 0].min()), np.log10(losses.max())
    edges = np.logspace(low, high, max(10, int((high - low) * BINS_PER_DECADE)))
    for label, chosen in (("no object", ~has_object), ("object", has_object)):
        axes.hist(losses[chosen], edges, label=label, color=COLOURS[label], log=True)
    hardest = np.partition(losses, -(len(losses) // 100))[-(len(losses) // 100)]
    share = f"hardest 1 %: {result.fast.hardest_share:.0%} of the loss"
    axes.axvline(hardest, color="black", linestyle="--", linewidth=1, label=share)
    axes.set(xscale="log", title=f"{loss}, mean {result.fast.mean:#.4g}")
    axes.set(xlabel="loss of an anchor", ylabel="anchors")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * 60)  # room for the legend
    axes.legend(loc="upper left")

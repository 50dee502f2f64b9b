"""What the modules of losses and scores have in common: measured once, looked up by asv.

asv runs every combination of parameters in a process of its own, and would make the arrays, and
time the read, for each figure again. So a module's ``setup_cache`` measures everything in one
process, and each track looks up its figure. (It has to be a function of the module itself: asv
tells caches apart by where their source is.)

Nothing here that asv might take for a benchmark has a name without an underscore.
"""

from ._cases import CONDITIONS, chosen_conditions
from ._measure import Figure, Figures, measure

#: Seconds that the figures of one module may take.
TIMEOUT = 3600


def measuring(functions: tuple[str, ...]) -> Figures:
    """Return the figures of the functions of a module, under the conditions of this run."""
    return measure(functions, chosen_conditions())


class _Tracks:
    """Figures of one kind; lower is better in all of them, for asv calls a rise a regression."""

    kind: str
    param_names = ("function", "case")
    # Without one, a changed line here would part the curves from their past.
    version = "1"

    def setup(self, figures: Figures, function: str, case: str) -> None:
        figure = figures.get((self.kind, function, case))
        if figure is None:
            raise NotImplementedError("this commit, machine or run does not have it")
        if isinstance(figure, str):
            raise RuntimeError(figure)  # noqa: TRY004 - what the call said
        self.figure: Figure = figure

    def track_over_read(self, *_: object) -> float:
        """Time in units of a plain read: comes through noise, and compares between machines."""
        return self.figure.over_read

    def track_ns_per_logit(self, *_: object) -> float:
        """Time."""
        return self.figure.ns_per_logit

    # Short, for the pages write them at each line of the grid.
    track_over_read.unit = "x"
    track_ns_per_logit.unit = "ns"


def tracks(
    kind: str, functions: tuple[str, ...], cases: tuple[str, ...] = tuple(CONDITIONS)
) -> type[_Tracks]:
    """Return the benchmarks of a module's figures of one kind: "loss", "gradient", "score"..."""
    members = {"kind": kind, "params": (functions, cases)}
    return type(kind.capitalize(), (_Tracks,), members)

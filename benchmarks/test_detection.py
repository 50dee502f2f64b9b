"""Selection, mining and matching."""

import pytest

from benchmarks.detection import KIND, make_contenders, works
from benchmarks.shapes import Case


@pytest.mark.parametrize("work", works(), ids=lambda work: f"{work.name}-{work.shape.name}")
def test_detection(work, scale, threads, wanted_peers, contest, record, request):
    if request.config.getoption("quick") and not work.is_quick:
        pytest.skip("not in a quick run")
    case = Case(work.function, work.shape.scaled(scale))
    kind = f"{KIND}, {work.name}"
    record.skip_recorded(case, kind)
    admitted = make_contenders(work, case.shape, threads, wanted_peers)
    record(case, contest(admitted.runs), admitted, kind)

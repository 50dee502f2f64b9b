"""The mutants of `make mutate` follow the code: each applies, and its tests are there."""

import collections
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutate.py"
if not (SCRIPT.parents[1] / "fastxent").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
specification = importlib.util.spec_from_file_location("mutate", SCRIPT)
mutate = importlib.util.module_from_spec(specification)
specification.loader.exec_module(mutate)

MUTANTS = mutate.read_mutants()


def test_all_apply():
    """Where one does not, the text that it replaces has changed: scripts/mutants/*.toml."""
    assert not mutate.find_errors(MUTANTS)


def test_every_language_has_some():
    counts = collections.Counter(mutant.kind for mutant in MUTANTS if not mutant.equivalent)
    assert counts.keys() == mutate.LEFT_OUT.keys()
    assert counts.total() >= 100


def test_a_mutant_whose_text_is_gone_is_an_error():
    gone = MUTANTS[0]._replace(name="gone", old="no such text")
    unchanged = MUTANTS[0]._replace(name="unchanged", new=MUTANTS[0].old)
    moved = MUTANTS[0]._replace(name="moved", tests="tests/no_such_test.py")
    found = "\n".join(mutate.find_errors([gone, unchanged, moved]))
    for name in ("gone: 0 times", "unchanged: 1 times", "moved: there is no"):
        assert name in found


def test_a_header_is_compiled_with_what_includes_it():
    """For AVX2 alone; what has no instruction set is compiled where it includes the header."""
    in_all = next(m for m in MUTANTS if m.file.endswith("vector_math.h") and not m.equivalent)
    touched = {Path(path).name for path in mutate.touched_by(in_all._replace(precision=""))}
    assert {"kernels_avx2_float.c", "kernels_avx2_double.c", "detection_avx2_float.c"} <= touched
    assert not any("avx512" in name or "baseline" in name for name in touched)
    shared = in_all._replace(file="fastxent/native/simd/candidates.h", precision="")
    assert "candidate_order.c" in {Path(path).name for path in mutate.touched_by(shared)}

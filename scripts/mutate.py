"""Break the code in one place at a time, and see that a test fails: ``make mutate``.

``scripts/mutants/*.toml`` list the mutants: a file, a text in it that occurs once, what to put in
its place, and the tests that are about it. Each is made in a copy of the tree under build/mutants;
of native code only what it touches is compiled again, for AVX2, and these tests run until one
fails: the sample of `make test` first, then all cases. A mutant that all of them pass has
survived: there is something that no test looks at. Mutants that change nothing that a caller could
see say why (``equivalent``) and are not run.

What was found is kept in build/mutants/results and not run again until the mutant, its file or
its tests change.
"""

import argparse
import hashlib
import itertools
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "scripts" / "mutants"
FOLDER = ROOT / "build" / "mutants"
RESULTS = FOLDER / "results"
NATIVE = "fastxent/native"
EXTENSION = f"{NATIVE}/_native.abi3.so"
#: What a copy of the tree has.
COPIED = ["fastxent", "tests", "scripts", "docs/internals", "README.md"]
COPIED += ["pyproject.toml", "setup.py"]

#: Of setup.py's flags those that results and linking depend on. -O1 compiles fastest.
FLAGS = ["-O1", "-g0", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
FLAGS += ["-Wno-psabi", "-fopenmp", "-DPy_LIMITED_API=0x030B0000"]
FLAGS += [f"-I{NATIVE}", f"-I{NATIVE}/simd", f"-I{sysconfig.get_path('include')}"]
#: Kernels of other instruction sets stay as they are, and their tests are left out.
OTHER_KERNELS = ("_baseline_", "_avx512_", "_neon_")
LEFT_OUT = {
    "c": ("baseline", "avx512", "numba", "numpy"),
    "cython": ("baseline", "avx512", "numba", "numpy"),
    "numba": ("baseline", "avx512", "avx2", "native", "numpy"),
    "python": ("baseline", "avx512", "numba"),
}
LEAST_LIMIT = 180.0  # seconds, on a busy machine


class Mutant(NamedTuple):
    """One place that is broken."""

    name: str
    kind: str
    file: str
    old: str
    new: str
    subject: str
    tests: str
    equivalent: str
    precision: str  # "float" or "double" where the other one need not be compiled

    @property
    def is_native(self):
        return self.kind in {"c", "cython"}


class Outcome(NamedTuple):
    """What became of a mutant."""

    status: str
    seconds: float
    detail: str


def read_mutants():
    """Return the mutants of all tables; a name may occur once."""
    mutants = []
    for path in sorted(TABLES.glob("*.toml")):
        table = tomllib.loads(path.read_text("utf-8"))
        for row in table["mutants"]:
            tests = table["subjects"][row["subject"]]
            rest = {"equivalent": "", "precision": "", "kind": path.stem, "tests": tests}
            mutants.append(Mutant(**(rest | row)))
    names = [mutant.name for mutant in mutants]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise SystemExit(f"mutants of one name: {sorted(repeated)}")
    return mutants


def mutated(mutant, root=ROOT):
    """Return the text of a mutant's file with the mutation; an error where it does not apply."""
    text = Path(root, mutant.file).read_text("utf-8")
    if (count := text.count(mutant.old)) != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: {count} times in {mutant.file}: {mutant.old!r}")
    return text.replace(mutant.old, mutant.new)


def find_errors(mutants):
    """Return what is wrong with a table: texts that are gone, tests that are."""
    found = []
    for mutant in mutants:
        try:
            mutated(mutant)
        except (OSError, ValueError) as error:
            found.append(str(error))
        missing = (path for path in paths_of(mutant.tests) if not Path(ROOT, path).exists())
        found += [f"{mutant.name}: there is no {path}" for path in missing]
    return found


def paths_of(tests):
    """Return the files and folders among pytest's arguments."""
    words = (word.partition("::")[0] for word in shlex.split(tests))
    return [word for word in words if word.startswith("tests/")]


# --- building ---------------------------------------------------------------------------------


def compiler():
    """Return the command of the C compiler, by ccache where there is one."""
    command = shlex.split(os.environ.get("CC", "cc"))
    return (
        ["ccache", *command] if shutil.which("ccache") and "ccache" not in command[0] else command
    )


def run(command, cwd, **environment: str):
    """Run a command that has to succeed."""
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise ValueError(f"{shlex.join(map(str, command))}:\n{finished.stderr[-2000:]}")


def build_objects():
    """Build the extension as it is, for its objects; nothing where it has been built."""
    sources = sorted(path for path in Path(ROOT, NATIVE).rglob("*") if is_source(path))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = FOLDER / "objects.stamp"
    if stamp.exists() and stamp.read_text() == digest:
        return
    print("building the extension as it is ...", flush=True)
    for name in ("objects", "library"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    folders = ["--build-temp", "build/mutants/objects", "--build-lib", "build/mutants/library"]
    command = [sys.executable, "setup.py", "--quiet", "build_ext", *folders]
    run(command, ROOT, CC=shlex.join(compiler()), CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1")
    stamp.write_text(digest)


def is_source(path):
    return path.suffix in {".c", ".h", ".def", ".pyx", ".pxd", ".pxi"} and path.name != "_native.c"


def included_by(path, seen=None):
    """Return the names of the headers that a file includes, directly or not."""
    seen = set() if seen is None else seen
    for name in re.findall(
        r'^ *#include "(?:.*/)?([\w.]+)"', path.read_text("utf-8"), re.MULTILINE
    ):
        if name not in seen:
            seen.add(name)
            for folder in (path.parent, Path(ROOT, NATIVE), Path(ROOT, NATIVE, "simd")):
                if (folder / name).exists():
                    included_by(folder / name, seen)
                    break
    return seen


def touched_by(mutant):
    """Return the C files to compile again."""
    name = Path(mutant.file).name
    for path in sorted(Path(ROOT, NATIVE).rglob("*.c")):
        if path.name == "_native.c" or any(other in path.name for other in OTHER_KERNELS):
            continue
        if "_avx2_" in path.name and mutant.precision not in path.name:
            continue
        if path.name == name or name in included_by(path):
            yield path.relative_to(ROOT).as_posix()


def build_mutant(mutant, tree):
    """Compile what a mutant touches, and link it with the other objects."""
    objects = {path.name: path for path in (FOLDER / "objects").rglob("*.o")}
    made = tree / "objects"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    if mutant.kind == "cython":
        command = [sys.executable, "-m", "cython", "-3", "--module-name", "fastxent.native._native"]
        run([*command, f"{NATIVE}/_native.pyx", "-o", "objects/_native.c"], tree)
        sources = ["objects/_native.c"]
    else:
        sources = list(touched_by(mutant))
    for source in sources:
        name = f"{Path(source).stem}.o"
        command = [*compiler(), *FLAGS, "-c", source, "-o", f"objects/{name}"]
        run(command, tree, CCACHE_BASEDIR=str(tree), CCACHE_NOHASHDIR="1")
        objects[name] = made / name
    Path(tree, EXTENSION).unlink()
    link = [*compiler(), "-shared", "-fopenmp", *map(str, objects.values()), "-lm", "-o", EXTENSION]
    run(link, tree)


# --- running ----------------------------------------------------------------------------------


def copy_tree(tree):
    """Make a copy of what git has of the tree, with the extension as it is."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *COPIED]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if Path(ROOT, name).is_file():
            Path(tree, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(ROOT, name), Path(tree, name))
    shutil.copy2(FOLDER / "library" / EXTENSION, Path(tree, EXTENSION))


def run_tests(tree, kind, tests, limit, cases="not exhaustive"):
    """Return the exit status of a selection of tests, None for one that hung, and what failed."""
    caches = tree / "caches"
    shutil.rmtree(caches, ignore_errors=True)  # no kernel of another mutant
    environment = os.environ | {
        "FASTXENT_ISA": "avx2",
        "FASTXENT_MUTATION_LEAVES_OUT": ",".join(LEFT_OUT[kind]),
        "NUMBA_CACHE_DIR": str(caches),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{tree}{os.pathsep}{TABLES}",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    environment.pop("FASTXENT_REQUIRE", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "left_out", "-m", cases, *shlex.split(tests)]
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, "it hung"
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return process.returncode, failed[0] if failed else output.strip()[-300:]


def run_mutant(mutant, tree, limit):
    """Make a mutant, test it, and take it back."""
    began = time.monotonic()
    path = Path(tree, mutant.file)
    original = path.read_text("utf-8")
    try:
        path.write_text(mutated(mutant, tree), "utf-8")
        if mutant.is_native:
            build_mutant(mutant, tree)
        status, detail = run_tests(tree, mutant.kind, mutant.tests, limit)
        if status == 0:
            status, detail = run_tests(tree, mutant.kind, mutant.tests, 10 * limit, cases="")
    except ValueError as error:
        return Outcome("error", time.monotonic() - began, str(error))
    finally:
        path.write_text(original, "utf-8")
        if mutant.is_native:
            shutil.copy2(FOLDER / "library" / EXTENSION, Path(tree, EXTENSION))
    seconds = time.monotonic() - began
    return Outcome("survived" if status == 0 else "killed", seconds, "" if status == 0 else detail)


class Record:
    """What was found: a file for each finding, so that runs may end, or several go on."""

    def __init__(self, *, fresh: bool) -> None:
        if fresh:
            shutil.rmtree(RESULTS, ignore_errors=True)
        RESULTS.mkdir(parents=True, exist_ok=True)

    def get(self, key):
        path = RESULTS / f"{key}.json"
        return Outcome(*json.loads(path.read_text("utf-8"))) if path.exists() else None

    def put(self, key, outcome):
        Path(RESULTS, f"{key}.json").write_text(json.dumps(outcome), "utf-8")


def key_of(mutant, root=ROOT, *, is_clean=False):
    """Return what a result depends on, hashed: the mutant, its file, its tests."""
    parts = [mutant.kind, mutant.tests] if is_clean else list(mutant)
    files = [] if is_clean else [Path(root, mutant.file)]
    for path in paths_of(mutant.tests):
        files += sorted(Path(root, path).rglob("*.py")) or [Path(root, path)]
    digest = hashlib.sha256(repr(parts).encode())
    for file in files:
        digest.update(file.read_bytes())
    name = f"tests of {mutant.subject}" if is_clean else mutant.name
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{digest.hexdigest()[:16]}"


def check_clean(mutant, tree, record):
    """Return the seconds that the tests take on what is not mutated, which has to pass them."""
    key = key_of(mutant, tree, is_clean=True)
    found = record.get(key)
    if found is None:
        began = time.monotonic()
        status, detail = run_tests(tree, mutant.kind, mutant.tests, 10 * LEAST_LIMIT)
        if status != 0:
            raise SystemExit(f"{mutant.tests}: fails without a mutant: {detail}")
        found = Outcome("passed", time.monotonic() - began, "")
        record.put(key, found)
    return found.seconds


def run_all(mutants, jobs, record):
    """Run mutants that are not recorded yet, and print a line for each."""
    build_objects()
    trees = queue.SimpleQueue()
    for number in range(jobs):
        tree = FOLDER / f"tree-{os.getpid()}-{number}"
        copy_tree(tree)
        trees.put(tree)
    numbers = itertools.count(1)

    def take(mutant: Mutant) -> Outcome:
        tree = trees.get()
        try:
            limit = max(LEAST_LIMIT, 5 * check_clean(mutant, tree, record))
            outcome = run_mutant(mutant, tree, limit)
            if outcome.status != "error":
                record.put(key_of(mutant, tree), outcome)
        finally:
            trees.put(tree)
        place = f"{next(numbers)}/{len(mutants)}"
        print(f"{place} {outcome.status} {mutant.name} {outcome.seconds:.0f} s {outcome.detail}")
        sys.stdout.flush()
        return outcome

    try:
        with ThreadPoolExecutor(jobs) as pool:
            outcomes = pool.map(take, mutants)
            return dict(zip([mutant.name for mutant in mutants], outcomes, strict=True))
    finally:
        for tree in FOLDER.glob(f"tree-{os.getpid()}-*"):
            shutil.rmtree(tree)


def print_summary(mutants, outcomes):
    """Print the counts of each kind, and the names of those that no test has killed."""
    columns = ("killed", "survived", "error", "equivalent")
    print(f"\n{'kind':8}" + "".join(f"{column:>12}" for column in columns) + f"{'seconds':>12}")
    for kind in sorted({mutant.kind for mutant in mutants}):
        names = [mutant.name for mutant in mutants if mutant.kind == kind]
        found = [outcomes[name].status for name in names]
        seconds = sum(outcomes[name].seconds for name in names)
        print(f"{kind:8}" + "".join(f"{found.count(c):12}" for c in columns) + f"{seconds:12.0f}")
    for mutant in mutants:
        status, _, detail = outcomes[mutant.name]
        if status in {"survived", "error"}:
            print(f"{status}: {mutant.name} ({mutant.file}; {mutant.tests}) {detail}")


def main():
    """Run the mutants that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these mutants, or subjects")
    parser.add_argument("--kind", choices=LEFT_OUT, help="only of this language")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (1)")
    parser.add_argument("--check", action="store_true", help="only look whether all apply")
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    options = parser.parse_args()
    mutants = read_mutants()
    if errors := find_errors(mutants):
        raise SystemExit("\n".join(errors))
    if options.names:
        mutants = [m for m in mutants if {m.name, m.subject} & set(options.names)]
    if options.kind:
        mutants = [m for m in mutants if m.kind == options.kind]
    if options.check or not mutants:
        print(f"{len(mutants)} mutants")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    record = Record(fresh=options.fresh)
    outcomes = {m.name: Outcome("equivalent", 0, m.equivalent) for m in mutants if m.equivalent}
    for mutant in mutants:
        if not mutant.equivalent and (found := record.get(key_of(mutant))):
            outcomes[mutant.name] = found
    left = [mutant for mutant in mutants if mutant.name not in outcomes]
    if left:
        outcomes |= run_all(left, options.jobs, record)
    print_summary(mutants, outcomes)
    sys.exit(any(outcome.status in {"survived", "error"} for outcome in outcomes.values()))


if __name__ == "__main__":
    main()

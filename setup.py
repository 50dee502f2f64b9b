"""Build the one extension module, fastxent.native._native; all else is in pyproject.toml.

One abi3 extension is made of the Cython module and one small C file per instruction set. Every
C file is compiled with the same flags: the files for wider instruction sets turn those on
themselves, so nothing here may name a CPU (no ``-march``).
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from setuptools import Extension, setup  # before distutils, which it provides
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import PlatformError

from distutils.ccompiler import new_compiler  # isort: skip
from distutils.sysconfig import customize_compiler  # isort: skip

# Results have stated bounds, and the same bits on AVX2 and AVX-512: no -ffast-math, and no
# contraction of a*b + c into an fma that the source did not ask for. Kernels set no errno. The
# debugging information that Python's own flags ask for would be six sevenths of the file.
GNU_FLAGS = ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
GNU_FLAGS += ["-Wno-psabi"]  # vectors are passed between functions of one file alone
# The portable kernels are the largest files, and explicit vectors like the others: -O3 takes twice
# as long as -O2 to compile them.
PORTABLE_FLAGS = ["-O2"]
MSVC_FLAGS = ["/O2", "/openmp", "/std:c11"]
# Apple's clang has no OpenMP runtime. A build there is single-threaded, and show_config() says
# so, unless CFLAGS and LDFLAGS name one (docs/internals/building.md).
OPENMP_FLAGS = [] if sys.platform == "darwin" else ["-fopenmp"]

# The stable ABI of 3.11 is the first with the buffer protocol. Free-threaded Python has none.
USE_STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

COMPILER_ADVICE = """
    Debian, Ubuntu:  apt install gcc python3-dev
    Fedora:          dnf install gcc python3-devel
    macOS:           xcode-select --install
    Windows:         Visual Studio Build Tools, "Desktop development with C++"
To use another compiler, set the environment variable CC."""

NATIVE = "fastxent/native"


def find_files(pattern: str) -> list[str]:
    """Return the files of the extension whose names match; Cython's own output is not one."""
    files = sorted(Path(NATIVE).rglob(pattern))
    return [file.as_posix() for file in files if file.name != "_native.c"]


def explain_failure(compiler: str, output: str) -> str:
    """Turn what the compiler said about the probe into what to do about it."""
    if "Python.h" in output:
        return f"fastxent needs Python's C headers to build; '{compiler}' found no Python.h." + (
            COMPILER_ADVICE
        )
    if "omp.h" in output or "openmp" in output:
        return (
            f"fastxent needs a C compiler with OpenMP; '{compiler}' has none.\n"
            "    GCC brings its own.\n"
            "    Clang: install libomp of the same version (Debian, Ubuntu: libomp-dev)."
        )
    return f"fastxent needs a working C compiler; '{compiler}' fails:\n{output}{COMPILER_ADVICE}"


@cache
def check_compiler() -> None:
    """Compile two lines with what the build will use, and say what is missing if that fails."""
    compiler = new_compiler()
    if compiler.compiler_type == "msvc":
        return  # setuptools looks for it, and has a clear message of its own
    customize_compiler(compiler)
    headers = ["Python.h", "omp.h"] if OPENMP_FLAGS else ["Python.h"]
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("".join(f"#include <{name}>\n" for name in headers))
        command = [*compiler.compiler_so, *OPENMP_FLAGS, f"-I{sysconfig.get_path('include')}"]
        command += ["-c", str(probe), "-o", str(probe.with_suffix(".o"))]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            message = f"fastxent needs a C compiler to build; '{command[0]}' is not there."
            raise PlatformError(message + COMPILER_ADVICE) from None
    if result.returncode != 0:
        raise PlatformError(explain_failure(command[0], result.stderr))


def compile_in_parallel(
    compile_files: Callable[..., list[str]], sources: list[str], **options: object
) -> list[str]:
    """Compile each source in a process of its own; setuptools takes one after the other."""
    flags = options.pop("extra_postargs")

    def compile_one(source: str) -> list[str]:
        slow = PORTABLE_FLAGS if "_baseline_" in source else []
        return compile_files([source], extra_postargs=[*flags, *slow], **options)

    # The largest files first, so that no core waits for them at the end.
    order = sorted(sources, key=lambda source: "kernels" not in source)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, order))
    return [path for paths in objects for path in paths]


class BuildExtension(build_ext):
    """build_ext with the flags for the compiler at hand."""

    def run(self) -> None:
        check_compiler()
        super().run()

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            native.extra_compile_args = MSVC_FLAGS
        else:
            native.extra_compile_args = GNU_FLAGS + OPENMP_FLAGS
            native.extra_link_args = OPENMP_FLAGS
            self.compiler.compile = partial(compile_in_parallel, self.compiler.compile)
        super().build_extensions()


# What pip runs: without a compiler, these stop before they have printed a page about metadata.
class BuildWheel(bdist_wheel):
    """bdist_wheel that looks for the compiler first."""

    def run(self) -> None:
        check_compiler()
        super().run()


class BuildEditableWheel(editable_wheel):
    """editable_wheel that looks for the compiler first."""

    def run(self) -> None:
        check_compiler()
        super().run()


native = Extension(
    "fastxent.native._native",
    sources=[f"{NATIVE}/_native.pyx", *find_files("*.c")],
    depends=[file for kind in ("h", "def", "pxd", "pxi") for file in find_files(f"*.{kind}")],
    include_dirs=[NATIVE, f"{NATIVE}/simd"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if USE_STABLE_ABI else [],
    py_limited_api=USE_STABLE_ABI,
)
native.cython_c_in_temp = True  # the generated C goes to build/, not among the sources

setup(
    ext_modules=[native],
    cmdclass={
        "bdist_wheel": BuildWheel,
        "build_ext": BuildExtension,
        "editable_wheel": BuildEditableWheel,
    },
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if USE_STABLE_ABI else {},
)

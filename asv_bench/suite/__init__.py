"""What airspeed velocity runs on every commit: one module for each module of the package.

The package that is imported here may be older than these files, by years. So whatever they need
to know about functions and backends comes from the working tree (``_package``), and what an old
commit does not have is "n/a" there (``_measure``).
"""

from . import _package as _package  # which makes ``benchmarks`` importable

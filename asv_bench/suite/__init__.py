"""What is recorded of every commit, and compared before a change lands.

The package that is imported here may be older than these files, by years. So whatever they need
to know about functions and backends comes from the working tree (``package``), and what an old
commit does not have is None there (``rows.make_call``).
"""

from . import package as package  # which makes ``benchmarks`` importable

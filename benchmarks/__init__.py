"""How fast fastxent is beside other libraries; docs/internals/benchmarks.md says how to run it."""

"""The speed of fastxent and of other libraries; docs/internals/benchmarks.md says how to run it."""

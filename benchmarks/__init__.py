"""How fast fastxent is beside other libraries; CONTRIBUTING.md says how to run it."""

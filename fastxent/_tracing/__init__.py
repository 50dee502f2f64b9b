"""Custom losses, until they are a list of instructions."""

"""The one exception that ends a command with a line instead of a traceback."""


class CommandError(Exception):
    """What the user gave cannot be used; the message is one line and says why."""

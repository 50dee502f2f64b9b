"""The exceptions that end a command with a line instead of a traceback."""


class CommandError(Exception):
    """What the user gave cannot be used; the message is one line and says why."""

    #: The exit status of the command.
    status = 2


class WrongResultError(CommandError):
    """A result is not what it should be: nobody's fault but the package's."""

    status = 1

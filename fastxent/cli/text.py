"""Text from elsewhere, such as names of files, fit for one line on any terminal."""

from collections.abc import Sequence


def printable(text: str) -> str:
    """Escape what would steer a terminal, break the line or not be seen, as ``repr`` does."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, most: int = 200) -> str:
    """Leave out the middle of a text that has more characters."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def summarize(error: object) -> str:
    """Return what an error says: a part of it in one line, however long it is."""
    return shorten(" ".join(str(error).split()))


def list_some(names: Sequence[str], most: int = 10) -> str:
    """List the first names, and how many there are besides."""
    listed = ", ".join(shorten(name, 50) for name in names[:most])
    more = len(names) - most
    return f"{listed} and {more:,} more" if more > 0 else listed

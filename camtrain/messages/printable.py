"""Text from a file, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with a mark in the place of each character that is no text: control characters, halves of characters.

    A terminal obeys some of them, and no picture can show them.

    Example:
        >>> printable("cat\x1b[2J\0"), printable("λ = 0")
        ('cat�[2J�', 'λ = 0')
    """
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)

"""Ways in which a file is found damaged."""

from __future__ import annotations

DAMAGES = ("gone", "empty", "cut", "flipped", "other")


def damage(path, how):
    """Damage a file as a full disk, a kill, a bad disk or a hand may."""
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
        return
    flipped = bytearray(content)
    # In a value, if there is one: a digit becomes another digit.
    place = max((content.rfind(digit) for digit in (b"1", b"5", b"9")), default=-1)
    flipped[place if place >= 0 else len(content) // 2] ^= 2
    damaged = {"empty": b"", "cut": content[: len(content) // 2], "flipped": bytes(flipped), "other": b"[]"}
    path.write_bytes(damaged[how])

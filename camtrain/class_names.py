"""What the answers of a network are called, and whether data mean the same by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MOST_NAMES = 3  # of classes in a remark


def answer_names(class_names: Sequence[str] | None) -> list[str] | None:
    """The names of the answers of a network: of its classes, and of no and yes, if it is asked for a single one.

    Args:
        class_names: The names of all classes, or `None`.

    Example:
        >>> answer_names(["cat", "dog"]), answer_names(["owl"])
        (['cat', 'dog'], ['not owl', 'owl'])
    """
    if class_names is None or len(class_names) != 1:
        return None if class_names is None else list(class_names)
    return [f"not {class_names[0]}", class_names[0]]


def names_of_data(data: Any) -> list[str] | None:
    """The names of the answers that a data module gives to its classes; `None` if it has no names, or is `None`."""
    names = answer_names(getattr(data, "class_names", None))
    # A checkpoint that holds texts of NumPy cannot be read with `weights_only=True`.
    return None if names is None else [str(each) for each in names]


def names_in_use(module: Any, data: Any) -> list[str] | None:
    """The names that a module remembers from its training, and otherwise those of the data; `None` if none is known."""
    own = getattr(module, "class_names", None)
    return own if isinstance(own, list) else names_of_data(data)


def renamed_classes(trained: Sequence[str] | None, of_data: Sequence[str] | None) -> str:
    """A remark if data call some classes of a trained network otherwise; empty if they do not, or if it is not known.

    Nothing is said of names none of which is the same, as of folders that are called by the numbers of WordNet, nor of
    different numbers of classes, with which a network cannot be used at all.

    Args:
        trained: The names in training, by the index of the class.
        of_data: Those of the data that it is to be used with.

    Raises:
        ValueError: If a name stands for another class than in training.

    Example:
        >>> renamed_classes(["cat", "dog"], ["cats", "dog"])
        'the data call class 0 cats, which was cat in training: they are taken to be in the same order'
    """
    if trained is None or of_data is None or len(trained) != len(of_data):
        return ""
    places = {name: index for index, name in enumerate(trained)}
    renamed = []
    for index, (before, now) in enumerate(zip(trained, of_data, strict=True)):
        if before != now and now in places:
            raise ValueError(
                f"`data`: expected the classes in the order of the training, in which class {index} was {before} and "
                f"{now} was class {places[now]}, got {now} as class {index}; give classes the names that they had then"
            )
        if before != now:
            renamed.append(f"class {index} {now}, which was {before} in training")
    if not renamed or len(renamed) == len(trained):
        return ""
    more = f" and {len(renamed) - _MOST_NAMES} more" if len(renamed) > _MOST_NAMES else ""
    return f"the data call {'; '.join(renamed[:_MOST_NAMES])}{more}: they are taken to be in the same order"

"""What is asked about an image: why this class, what speaks against it, why it rather than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camtrain.gradients import Against, ClassIndex, Contrast
from camtrain.nearest_names import nearest_names
from camtrain.pictures import class_name

RUNNER_UP = "the runner-up"


@dataclass(frozen=True)
class Question:
    """One thing to explain of one image.

    Attributes:
        class_idx: as methods take it.
        slug: in file names; empty for the first question.
        kind: the title of a column.
        title: class and probability.
        unanswerable: why there is no map, or empty.
    """

    class_idx: ClassIndex
    slug: str
    kind: str
    title: str
    unanswerable: str = ""


@dataclass(frozen=True)
class Questions:
    """What is asked about every image.

    Attributes:
        class_idx: a class, or `None` for the predicted one.
        top_k: the predicted class and the next ones, so many in all.
        counterfactual: also what speaks against the class.
        contrast: also why the class rather than this one; `RUNNER_UP` is the most probable other one, `None` asks not.
    """

    class_idx: int | None = None
    top_k: int = 1
    counterfactual: bool = False
    contrast: int | str | None = None

    def of(self, probabilities: Tensor, class_names: Sequence[str] | None) -> list[Question]:
        """The questions about one image, as many for each.

        Args:
            probabilities: (K,) of the classes.
            class_names: of all classes, or `None` to number them.
        """

        def named(index: int) -> str:
            return f"{class_name(class_names, index)} {float(probabilities[index]):.1%}"

        ranked: list[int] = probabilities.argsort(descending=True, stable=True).tolist()
        first = ranked[0] if self.class_idx is None else self.class_idx
        kind = "predicted class" if self.class_idx is None else "chosen class"
        asked = [Question(first, "", kind, named(first))]
        begin = 2 if self.class_idx is None else 1
        for rank in range(begin, min(self.top_k, len(ranked)) + 1 if self.top_k > 1 else 0):
            index = ranked[rank - 1]
            asked.append(Question(index, f"top_{rank}", f"predicted class {rank}", named(index)))
        if self.counterfactual:
            asked.append(Question(Against(first), "against", "evidence against", f"against {named(first)}"))
        if self.contrast is not None:
            asked.append(self._contrast(first, ranked, class_names, named(first)))
        return asked

    def _contrast(self, first: int, ranked: list[int], class_names: Sequence[str] | None, title: str) -> Question:
        others = [index for index in ranked if index != first]
        runner_up = others[0] if others else first
        other = self.contrast if isinstance(self.contrast, int) else runner_up
        same = f"the class to contrast with is {class_name(class_names, first)} itself" if other == first else ""
        title = f"{title} rather than {class_name(class_names, other)}"
        return Question(Contrast(first, other), "contrast", "contrast", title, same)


def class_index(argument: str, word: str, class_names: Sequence[str] | None, classes: int) -> int:
    """The index of a class that is given by its name, whatever its case, or by its number.

    Args:
        argument: what it was given as, for the error.
        word: the name or number; what is both is a name.
        class_names: of all classes, or `None`.
        classes: their number K.

    Raises:
        ValueError: if there is no such class (with the nearest names), or there are several of that name.

    Example:
        >>> class_index("--class", "Dog", ["cat", "dog"], 2), class_index("--class", "0", ["cat", "dog"], 2)
        (1, 0)
    """
    names = [name.casefold() for name in class_names or ()]
    found = [index for index, name in enumerate(names) if name == word.strip().casefold()]
    if len(found) > 1:
        raise ValueError(f"`{argument}`: {word!r} is the name of classes {', '.join(map(str, found))}; give the number")
    if found:
        return found[0]
    if word.strip().isdecimal():
        if int(word) < classes:
            return int(word)
        raise ValueError(f"`{argument}`: expected classes from 0 to {classes - 1}, got {word}")
    known = nearest_names(word, class_names) if class_names else f"its classes have numbers only, 0 to {classes - 1}"
    raise ValueError(f"`{argument}`: no class is called {word!r}; {known}")

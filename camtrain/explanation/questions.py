"""Questions about an image: why this class, what speaks against it, why it rather than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camtrain.gradients import Against, ClassIndex, Contrast
from camtrain.messages import nearest_names, percent, positive_integer
from camtrain.pictures import class_name

RUNNER_UP = "the runner-up"


@dataclass(frozen=True)
class Question:
    """One question about one image.

    Attributes:
        class_idx: The class, as methods take it.
        slug: The name of the question in file names; empty for the first question.
        kind: The kind of question, which is the title of a column.
        title: The class and its probability, in words.
        probability: The probability of the class.
        unanswerable: Why there is no map; empty where there is one.
        class_name: The name of the class.
    """

    class_idx: ClassIndex
    slug: str
    kind: str
    title: str
    probability: float
    unanswerable: str = ""
    class_name: str = ""


@dataclass(frozen=True)
class Questions:
    """The questions about every image.

    Attributes:
        class_idx: The class to explain; `None` is the predicted class of each image.
        top_k: The number of classes to explain, the most probable ones.
        counterfactual: True to ask also what speaks against the class.
        contrast: Another class, to ask also why the class rather than that one. `RUNNER_UP` is the most probable other
            class; `None` does not ask.
    """

    class_idx: int | None = None
    top_k: int = 1
    counterfactual: bool = False
    contrast: int | str | None = None

    def of(self, probabilities: Tensor, class_names: Sequence[str] | None) -> list[Question]:
        """The questions about one image; their number is the same for all images.

        Args:
            probabilities: (K,) class probabilities.
            class_names: The names of all classes, or `None` to number them.

        Raises:
            ValueError: If a class is not one of the K, or `top_k` is larger than K.
        """
        for argument, index in (("class_", self.class_idx), ("contrast", self.contrast)):
            if isinstance(index, int):
                _check_class(argument, index, len(probabilities))
        check_top_k(self.top_k, len(probabilities))

        def probability_of(index: int) -> float:
            return float(probabilities[index])

        def name_of(index: int) -> str:
            return class_name(class_names, index)

        def named(index: int) -> str:
            return f"{name_of(index)}, probability {percent(probability_of(index))}"

        ranked: list[int] = probabilities.argsort(descending=True, stable=True).tolist()
        first = ranked[0] if self.class_idx is None else self.class_idx
        kind = "predicted class" if self.class_idx is None else "chosen class"
        asked = [Question(first, "", kind, named(first), probability_of(first), class_name=name_of(first))]
        begin = 2 if self.class_idx is None else 1
        for rank in range(begin, self.top_k + 1 if self.top_k > 1 else 0):
            index = ranked[rank - 1]
            kind = f"predicted class {rank}"
            found = Question(index, f"top_{rank}", kind, named(index), probability_of(index), class_name=name_of(index))
            asked.append(found)
        if self.counterfactual:
            title = f"against {name_of(first)}, whose probability is {percent(probability_of(first))}"
            asked.append(
                Question(
                    Against(first),
                    "against",
                    "evidence against",
                    title,
                    probability_of(first),
                    class_name=name_of(first),
                )
            )
        if self.contrast is not None:
            asked.append(self._contrast(first, ranked, class_names, probabilities))
        return asked

    def _contrast(
        self, first: int, ranked: list[int], class_names: Sequence[str] | None, probabilities: Tensor
    ) -> Question:
        others = [index for index in ranked if index != first]
        runner_up = others[0] if others else first
        other = self.contrast if isinstance(self.contrast, int) else runner_up
        same = f"the class to contrast with is {class_name(class_names, first)} itself" if other == first else ""
        name, probability = class_name(class_names, first), float(probabilities[first])
        against = f"{class_name(class_names, other)} ({percent(float(probabilities[other]))})"
        title = f"{name} (probability {percent(probability)}) rather than {against}"
        return Question(Contrast(first, other), "contrast", "contrast", title, probability, same, name)


def class_index(
    argument: str, given: str | int, class_names: Sequence[str] | None, num_classes: int | None = None
) -> int:
    """The index of a class that is given by its name, whatever its case, or by its number.

    Args:
        argument: The name of the argument, for the error.
        given: The name or the number; a word that is both counts as a name.
        class_names: The names of all classes, or `None`.
        num_classes: The number of classes K; `None` where it is not known.

    Raises:
        ValueError: If there is no such class (with the nearest names), or there are several of that name.

    Example:
        >>> class_index("class_", "Dog", ["cat", "dog"], 2), class_index("class_", "0", ["cat", "dog"], 2)
        (1, 0)
    """
    word = str(given).strip()
    names = [name.casefold() for name in class_names or ()]
    found = [index for index, name in enumerate(names) if name == word.casefold()]
    if len(found) > 1 and isinstance(given, str):
        raise ValueError(
            f"`{argument}`: {given!r} is the name of classes {', '.join(map(str, found))}; give the number"
        )
    if found and isinstance(given, str):
        return found[0]
    if word.isdecimal():
        if num_classes is not None:
            _check_class(argument, int(word), num_classes)
        return int(word)
    numbers = "its classes have numbers only" + ("" if num_classes is None else f", 0 to {num_classes - 1}")
    known = nearest_names(word, class_names) if class_names else numbers
    raise ValueError(f"`{argument}`: no class is called {given!r}; {known}")


def check_top_k(top_k: int, num_classes: int) -> None:
    """Check the argument of that name.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no integer from 1 to the number of classes.
    """
    if positive_integer("top_k", top_k) > num_classes:
        raise ValueError(f"`top_k`: expected at most {num_classes}, the number of classes, got {top_k}")


def _check_class(argument: str, index: int, num_classes: int) -> None:
    if index >= num_classes:
        raise ValueError(f"`{argument}`: expected classes from 0 to {num_classes - 1}, got {index}")

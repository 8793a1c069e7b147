"""What is asked of an image."""

from __future__ import annotations

import pytest
import torch

from camtrain.explanation.questions import RUNNER_UP, Questions, class_index
from camtrain.gradients import Against, Contrast

PROBABILITIES = torch.tensor([0.1, 0.6, 0.25, 0.05])
NAMES = ["ant", "bee", "cat", "dog"]


def asked(names=NAMES, **settings):
    return Questions(**settings).of(PROBABILITIES, names)


def test_the_predicted_class_is_asked_about_first():
    (question,) = asked()
    assert (question.class_idx, question.slug, question.kind) == (1, "", "predicted class")
    assert question.title == "bee, probability 60.0 %"
    assert asked(names=None)[0].title == "class 1, probability 60.0 %"


def test_a_chosen_class():
    (question,) = asked(class_idx=3)
    assert (question.class_idx, question.kind, question.title) == (3, "chosen class", "dog, probability 5.0 %")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"top_k": 1}, [(1, "")]),
        ({"top_k": 3}, [(1, ""), (2, "top_2"), (0, "top_3")]),
        ({"top_k": 4}, [(1, ""), (2, "top_2"), (0, "top_3"), (3, "top_4")]),
        ({"top_k": 2, "class_idx": 3}, [(3, ""), (1, "top_1"), (2, "top_2")]),
    ],
)
def test_the_most_probable_classes(settings, expected):
    assert [(question.class_idx, question.slug) for question in asked(**settings)] == expected


def test_more_classes_than_there_are():
    with pytest.raises(ValueError, match="`top_k`: expected at most 4, the number of classes, got 5"):
        asked(top_k=5)


@pytest.mark.parametrize(("name", "argument"), [("class_idx", "class_"), ("contrast", "contrast")])
def test_a_class_that_the_network_does_not_have_is_named(name, argument):
    with pytest.raises(ValueError, match=f"`{argument}`: expected classes from 0 to 3, got 4"):
        asked(**{name: 4})


def test_the_probability_is_that_of_the_class_in_question():
    found = [question.probability for question in asked(class_idx=3, top_k=2, counterfactual=True, contrast=RUNNER_UP)]
    assert found == pytest.approx([0.05, 0.6, 0.25, 0.05, 0.05])


def test_evidence_against():
    _, against = asked(counterfactual=True)
    assert isinstance(against.class_idx, Against)
    assert against.class_idx.class_idx == 1
    assert (against.slug, against.title) == ("against", "against bee, whose probability is 60.0 %")


@pytest.mark.parametrize(
    ("settings", "pair"),
    [
        ({"contrast": 0}, (1, 0)),
        ({"contrast": RUNNER_UP}, (1, 2)),
        ({"contrast": RUNNER_UP, "class_idx": 3}, (3, 1)),
    ],
)
def test_contrast(settings, pair):
    question = asked(**settings)[-1]
    assert isinstance(question.class_idx, Contrast)
    assert (question.class_idx.class_idx, question.class_idx.against) == pair
    first, other = pair
    shown = [f"{100 * float(PROBABILITIES[index]):.1f} %" for index in pair]
    assert question.title == f"{NAMES[first]} (probability {shown[0]}) rather than {NAMES[other]} ({shown[1]})"
    assert (question.class_name, question.probability) == (NAMES[first], pytest.approx(float(PROBABILITIES[first])))
    assert not question.unanswerable


def test_a_class_is_not_contrasted_with_itself():
    assert asked(contrast=1)[-1].unanswerable == "the class to contrast with is bee itself"
    (_, question) = Questions(contrast=RUNNER_UP).of(torch.ones(1), None)
    assert question.unanswerable


@pytest.mark.parametrize(
    ("word", "names", "index"),
    [("cat", NAMES, 2), (" CAT ", NAMES, 2), ("3", NAMES, 3), ("3", None, 3), ("3", ["3", "2", "1", "0"], 0)],
)
def test_classes_have_names_and_numbers(word, names, index):
    assert class_index("class_", word, names, 4) == index


@pytest.mark.parametrize(
    ("word", "names", "message"),
    [
        ("cta", NAMES, "`class_`: no class is called 'cta'; did you mean .*'cat'"),
        ("4", NAMES, "`class_`: expected classes from 0 to 3, got 4"),
        ("-1", NAMES, "no class is called '-1'"),
        ("cat", None, "no class is called 'cat'; its classes have numbers only, 0 to 3"),
        ("ant", ["ant", "Ant", "cat", "dog"], "'ant' is the name of classes 0, 1; give the number"),
    ],
)
def test_unknown_classes_are_named(word, names, message):
    with pytest.raises(ValueError, match=message):
        class_index("class_", word, names, 4)

"""What a network looks at in photographs: maps, questions and pictures."""

from camtrain.explanation.explain import explain
from camtrain.explanation.explanation import ExplainedMap, Explanation
from camtrain.explanation.explanations import Explanations
from camtrain.explanation.questions import RUNNER_UP, Question

__all__ = ["RUNNER_UP", "ExplainedMap", "Explanation", "Explanations", "Question", "explain"]

"""Train image classifiers that look at the right thing, and show that they do."""

from camtrain.classifier import Classifier
from camtrain.objective import Objective

__all__ = ["Classifier", "Objective"]

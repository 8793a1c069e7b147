"""What a user is told: warnings, checks with their errors, the nearest names of a mistyped one, progress."""

from camtrain.messages.camtrain_warning import CamtrainWarning
from camtrain.messages.nearest_names import nearest_names
from camtrain.messages.positive_integer import positive_integer

__all__ = ["CamtrainWarning", "nearest_names", "positive_integer"]

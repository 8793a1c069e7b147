"""How the columns with scores of maps begin, in the table of a study."""

EVALUATED = "evaluated/"
"""Of the scores that are reported: `evaluated/<metric>[/<method>]`."""
VALIDATED = "validated/"
"""Of the scores on validation images, by which the best point is chosen."""

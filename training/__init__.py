"""Learning and judging the model of the injection detector; never imported at run time."""

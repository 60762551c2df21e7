"""An answer, judged before anybody gets it."""

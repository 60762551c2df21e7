"""What a model may read in a text, beside its letters: the folded text and the texts hidden in it."""

from broker.policy.views.derive import PLAIN, View, views
from broker.policy.views.fold import disguises, fold

__all__ = ["PLAIN", "View", "disguises", "fold", "views"]

"""What each figure of a report is, in a line."""

from __future__ import annotations

from ..language import to_say

MEANINGS = {
    "top5": to_say("How often the true class is among the five most probable."),
    "macro_f1": to_say(
        "Precision and recall in one number, 0 to 1, every class counted alike however many images it has."
    ),
    "balanced_accuracy": to_say("The mean over the classes of the share of each that is right."),
    "loss": to_say("How surprised the network is by the true class, in nats: 0 where it was certain, 0.69 at 50 %."),
    "ece": to_say(
        "How far the stated confidence is from how often it is right: 0 % where 90 % sure is right 9 times in 10."
    ),
    "map": to_say("How well the probabilities rank the pictures with a label before those without, 0 to 1."),
    "mae": to_say("How far an answer is from the truth on average."),
    "rmse": to_say("The same with large errors weighing more: the root of the mean of their squares."),
    "r2": to_say("The share of the variance that is explained: 1 is perfect, 0 no better than their mean."),
    "margin": to_say("Nine in ten answers to pictures that the head had not seen in training were this near."),
}

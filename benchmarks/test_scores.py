"""Scores."""

KIND = "scores"


def test_scores(case, time_case):
    time_case(case)

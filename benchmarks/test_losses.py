"""Losses alone: one number per anchor."""

KIND = "losses"


def test_losses(case, time_case):
    time_case(case)

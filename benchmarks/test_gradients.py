"""The sum of the losses and its gradient."""

KIND = "gradients"


def test_gradients(case, time_case):
    time_case(case)

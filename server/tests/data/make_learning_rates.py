"""Writes learning_rates.txt: the rate of every round by PyTorch's schedulers. Run: python3 make_learning_rates.py

One schedule a line: decay as in configurations, rounds of warm-up, rounds, base rate, then a rate for every round.
"""

import pathlib

import torch
from torch.optim import lr_scheduler as S

CASES = [
    ("constant", 0, 5, 0.1),
    ("constant", 3, 6, 0.3),
    ("step:3:0.5", 0, 10, 0.1),
    ("step:2", 2, 9, 1.0),
    ("exponential:0.9", 0, 12, 0.05),
    ("exponential:0.7", 4, 10, 0.2),
    ("cosine", 0, 20, 0.1),
    ("cosine:0.05", 5, 25, 0.4),
]


def decay(optimiser, text, rounds, base):
    name, *numbers = text.split(":")
    if name == "constant":
        return S.ConstantLR(optimiser, factor=1.0)
    if name == "step":
        return S.StepLR(optimiser, int(numbers[0]), gamma=float(numbers[1]) if numbers[1:] else 0.1)
    if name == "exponential":
        return S.ExponentialLR(optimiser, float(numbers[0]))
    return S.CosineAnnealingLR(optimiser, rounds, eta_min=base * float(numbers[0]) if numbers else 0.0)


def main():
    lines = []
    for text, warmup, rounds, base in CASES:
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], base)
        after = lambda: decay(optimiser, text, rounds - warmup, base)
        if warmup:
            first = S.LinearLR(optimiser, start_factor=1 / (warmup + 1), total_iters=warmup)
            schedule = S.SequentialLR(optimiser, [first, after()], milestones=[warmup])
        else:
            schedule = after()
        rates = []
        for _ in range(rounds):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        lines.append(" ".join([text, str(warmup), str(rounds), str(base), *(f"{rate:.9g}" for rate in rates)]))
    pathlib.Path(__file__).with_name("learning_rates.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

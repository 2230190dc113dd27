"""The local epoch of trainer.rs as a plain, fast PyTorch loop on one thread: prints the median samples per second.

Run: python3 pytorch_loop.py [mlp|cnn ...]
"""

import statistics
import sys
import time

import torch
from torch import nn

SAMPLES, BATCH = 600, 32
RATES = {"mlp": (0.1, 60), "cnn": (0.05, 8), "logreg": (0.1, 100)}  # learning rate, repetitions


def build(name):
    if name == "logreg":
        return nn.Sequential(nn.Linear(784, 10))
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    block = lambda i, o: [nn.Conv2d(i, o, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    top = [nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *block(1, 32), *block(32, 64), *top)


def local_epoch(model, x, y, lr):
    parameters = list(model.parameters())
    for start in range(0, SAMPLES, BATCH):
        loss = nn.functional.cross_entropy(model(x[start : start + BATCH]), y[start : start + BATCH])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-lr)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.arange(6000) % 10
    pictures = torch.rand(10, 784) * (torch.rand(10, 784) < 0.5)
    features = pictures[labels] * (0.5 + 0.5 * torch.rand(6000, 784))
    for name in sys.argv[1:] or RATES:
        lr, repetitions = RATES[name]
        model, rates = build(name), []
        for _ in range(repetitions):
            chosen = torch.randperm(len(labels))[:SAMPLES]
            start = time.perf_counter()
            local_epoch(model, features[chosen], labels[chosen], lr)
            rates.append(SAMPLES / (time.perf_counter() - start))
        print(f"{name}: median {statistics.median(rates):,.0f}, best {max(rates):,.0f} samples/s")


if __name__ == "__main__":
    main()

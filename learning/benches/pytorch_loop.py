"""The loop of trainer.rs in PyTorch, one thread: prints samples per second of mlp and cnn.

Clients of 600 Fashion-MNIST samples, batches of 32, plain SGD; copying the global parameters in and the delta out is
part of it, as it is of `Trainer::train`. Usage: python3 pytorch_loop.py [model [seconds [directory]]],
the directory that of the IDX files.
"""

import gzip
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )


def read(path, skip):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=skip)


def measure(name, seconds=10, place="/usr/share/datasets/fashion-mnist"):
    images = torch.from_numpy(read(place + "/train-images-idx3-ubyte.gz", 16).copy().reshape(-1, 1, 28, 28)).float() / 255
    labels = torch.from_numpy(read(place + "/train-labels-idx1-ubyte.gz", 8).astype(np.int64))
    model, lr = {"mlp": (mlp, 0.1), "cnn": (Cnn, 0.05)}[name]
    model = model()
    parameters = list(model.parameters())
    start = nn.utils.parameters_to_vector(parameters).detach().clone()

    def client(k):
        nn.utils.vector_to_parameters(start.clone(), parameters)
        optimizer = torch.optim.SGD(parameters, lr=lr)
        order = torch.randperm(600) + 600 * k
        for batch in order.split(32):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        return nn.utils.parameters_to_vector(parameters).detach() - start

    rates = []
    end = time.perf_counter() + seconds
    client(0)
    while time.perf_counter() < end:
        before = time.perf_counter()
        client(len(rates) % 100)
        rates.append(600 / (time.perf_counter() - before))
    print(f"pytorch {name}: median {np.median(rates):.0f} samples/s, best {max(rates):.0f}")


if __name__ == "__main__":
    for name in sys.argv[1:2] or ["mlp", "cnn"]:
        measure(name, *map(float, sys.argv[2:3]), *sys.argv[3:4])

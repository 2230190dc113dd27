"""Writes golden.txt: what PyTorch computes on the small tasks of tests/pytorch.rs. Run: python3 make_golden.py

Data, parameters and batch order come from the counter-based SplitMix64 of nibble-seed, so the file holds results only,
one a line: case, quantity, index, value. Written with PyTorch 2.15 on a CPU; newer ones differ in the last digits.
"""

import pathlib

import numpy as np
import torch

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
CASES = [("mlp", (1, 28, 28), 10), ("cnn", (1, 28, 28), 10), ("cnn", (3, 8, 12), 4), ("logreg", (1, 1, 7), 3)]
TRAIN, TEST, BATCH, LR, PLACES = 40, 20, 16, 0.1, 12
ORDER, INIT = 3, 4


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def derive(seed, *words):
    for word in words:
        seed = mix((seed + GOLDEN * (word + 1)) & MASK)
    return seed


def draw(key, n):
    z = np.uint64(key) + np.uint64(GOLDEN) * np.arange(1, n + 1, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def samples(seed, n, shape, classes):
    bits = draw(seed, n * int(np.prod(shape)))
    levels = np.where(bits & np.uint64(256), bits & np.uint64(255), 0)  # about half are zero, as in Fashion-MNIST
    features = torch.tensor(levels.astype(np.float32).reshape(n, *shape)) / 255
    return features, torch.tensor((draw(seed + 1, n) % np.uint64(classes)).astype(np.int64))


def build(name, shape, classes):
    nn, width = torch.nn, int(np.prod(shape))
    if name == "logreg":
        return nn.Sequential(nn.Flatten(), nn.Linear(width, classes))
    if name == "mlp":
        hidden = [nn.Flatten(), nn.Linear(width, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(200, classes))
    block = lambda i, o: [nn.Conv2d(i, o, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    top = [nn.Flatten(), nn.Linear(64 * shape[1] * shape[2] // 16, 512), nn.ReLU(), nn.Linear(512, classes)]
    return nn.Sequential(*block(shape[0], 32), *block(32, 64), *top)


def init(model, seed):
    for i, tensor in enumerate(model.parameters()):
        if tensor.dim() > 1:
            fan_in = int(np.prod(tensor.shape[1:]))
        unit = (draw(derive(seed, INIT, i, 0), tensor.numel()) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        values = (2 * unit - 1) / np.float32(np.sqrt(fan_in))
        with torch.no_grad():
            tensor.copy_(torch.tensor(values.reshape(tensor.shape)))


def main():
    lines = []
    for case, (name, shape, classes) in enumerate(CASES):
        model = build(name, shape, classes)
        parameters = list(model.parameters())
        flat = lambda tensors: torch.cat([t.detach().reshape(-1) for t in tensors]).numpy().copy()
        x, y = samples(100, TRAIN, shape, classes)
        test_x, test_y = samples(200, TEST, shape, classes)
        loss_of = torch.nn.functional.cross_entropy

        def note(quantity, values):
            lines.extend(f"{case} {quantity} {index} {value:.9g}" for index, value in values)

        def at_places(values):
            start = 0
            for tensor in parameters:
                for i in draw(start, PLACES) % np.uint64(tensor.numel()):
                    yield start + int(i), values[start + int(i)]
                start += tensor.numel()

        def train(epochs, **options):
            init(model, 7)
            start, losses = flat(parameters), []
            optimiser = torch.optim.SGD(parameters, LR, **options)
            for epoch in range(epochs):
                order = np.argsort(draw(derive(5, ORDER, epoch, 0) if epoch else 5, TRAIN), kind="stable")
                for at in range(0, TRAIN, BATCH):
                    batch = torch.tensor(order[at : at + BATCH])
                    optimiser.zero_grad()
                    loss = loss_of(model(x[batch]), y[batch])
                    loss.backward()
                    if not losses and not options:
                        note("gradient", at_places(flat([p.grad for p in parameters])))
                    losses.append(loss.item())
                    optimiser.step()
            return flat(parameters) - start, np.mean(losses)

        init(model, 7)
        with torch.no_grad():
            logits = model(test_x)
        note("evaluate", [(0, loss_of(logits, test_y, reduction="sum").item()), (1, (logits.argmax(1) == test_y).sum().item())])
        for quantity, epochs, options in [("plain", 1, {}), ("momentum", 2, {"momentum": 0.9, "weight_decay": 0.01})]:
            delta, loss = train(epochs, **options)
            note(quantity, at_places(delta))
            note(quantity + "_loss", [(0, loss)])
    pathlib.Path(__file__).with_name("golden.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(over="ignore")
    main()

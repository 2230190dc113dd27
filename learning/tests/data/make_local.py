"""Writes local.txt: what PyTorch computes with the options of local training, on the tasks of make_golden.py.

Run: python3 make_local.py. The file is like golden.txt: case, quantity, index, value. `clipped` is seven steps over
reshuffled passes with `clip_grad_norm_`, momentum and weight decay, `clipped_once` the first of them. `qat_int4` and the like are
one step of quantization-aware training with a straight-through gradient, on the widths that they name. `proximal` is three
steps on FedProx's local objective (Li et al. 2020, equation 2), differentiated by PyTorch.
"""

import pathlib

import make_golden as golden
import numpy as np
import torch

STEPS, CLIP, MU = 7, 0.5, 0.7


def batches(steps):
    """The samples of each step: passes in orders of their own, the last one as far as it goes."""
    epoch = 0
    while steps > 0:
        key = golden.derive(5, golden.ORDER, epoch, 0) if epoch else 5
        order = np.argsort(golden.draw(key, golden.TRAIN), kind="stable")
        for at in range(0, golden.TRAIN, golden.BATCH)[:steps]:
            yield torch.tensor(order[at : at + golden.BATCH])
            steps -= 1
        epoch += 1


def through(rounded, x):
    """The value of one and the gradient of the other."""
    return x + (rounded - x).detach()


def round_weight(weight, bits):
    steps = 2 ** (bits - 1) - 1
    step = weight.detach().reshape(len(weight), -1).abs().amax(1).reshape(-1, *[1] * (weight.dim() - 1)) / steps
    return through(torch.round(weight * (1 / step)) * step, weight)


def round_activation(x, bits):
    step = x.detach().max() / (2**bits - 1)
    return through(torch.round(x * (1 / step)) * step, x)


def quantised(model, x, weights, activations):
    """The forward pass of a quantised model; activations are rounded after ReLU, and after pooling where there is any."""
    layers = list(model)
    for layer, later in zip(layers, [*layers[1:], None]):
        if hasattr(layer, "weight"):
            weight = round_weight(layer.weight, weights)
            linear = isinstance(layer, torch.nn.Linear)
            F = torch.nn.functional
            x = F.linear(x, weight, layer.bias) if linear else F.conv2d(x, weight, layer.bias, padding=2)
        else:
            x = layer(x)
            pooled = isinstance(layer, torch.nn.ReLU) and not isinstance(later, torch.nn.MaxPool2d)
            if activations and (pooled or isinstance(layer, torch.nn.MaxPool2d)):
                x = round_activation(x, activations)
    return x


QAT = [("int8-weights", 8, None), ("int4-weights", 4, None), ("int8", 8, 8), ("int4", 4, 4)]


def main():
    lines = []
    for case, (name, shape, classes) in enumerate(golden.CASES):
        model = golden.build(name, shape, classes)
        parameters = list(model.parameters())
        x, y = golden.samples(100, golden.TRAIN, shape, classes)

        def train(steps, clip, forward=model, mu=0.0, **options):
            golden.init(model, 7)
            start, losses = flat(), []
            begun = [p.detach().clone() for p in parameters]
            optimiser = torch.optim.SGD(parameters, golden.LR, **options)
            for batch in batches(steps):
                optimiser.zero_grad()
                loss = torch.nn.functional.cross_entropy(forward(x[batch]), y[batch])
                pull = sum(((p - at) ** 2).sum() for p, at in zip(parameters, begun))
                (loss + mu / 2 * pull).backward()
                losses.append(loss.item())
                # clip_grad_norm_, but for the sum in f64: in f32 the norm of the cnn's gradient is 2e-5 off.
                norm = torch.nn.utils.get_total_norm([p.grad.double() for p in parameters])
                torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm.float())
                optimiser.step()
            return flat() - start, float(np.mean(losses))

        def flat():
            return torch.cat([t.detach().reshape(-1) for t in parameters]).numpy().copy()

        def note(quantity, delta, loss):
            start = 0
            for tensor in parameters:
                for i in golden.draw(start, golden.PLACES) % np.uint64(tensor.numel()):
                    lines.append(f"{case} {quantity} {start + int(i)} {delta[start + int(i)]:.9g}")
                start += tensor.numel()
            lines.append(f"{case} {quantity}_loss 0 {loss:.9g}")

        for quantity, steps in [("clipped_once", 1), ("clipped", STEPS)]:
            note(quantity, *train(steps, CLIP, momentum=0.9, weight_decay=0.01))
        note("proximal", *train(3, 1e9, mu=MU))
        for quantity, *bits in QAT:
            note("qat_" + quantity, *train(1, 1e9, forward=lambda x: quantised(model, x, *bits)))
    pathlib.Path(__file__).with_name("local.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False  # its convolutions differ from processor to processor
    np.seterr(over="ignore")
    main()

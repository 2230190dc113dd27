"""Local training in numpy: softmax regression and multilayer perceptrons on MNIST, as their layout describes them.

A layout is a list of (name, shape): a weight matrix and a bias for every dense layer, ReLU between layers, softmax and
cross-entropy at the end. Pixels go from 0 to 1. Not here: convolutions, and any order of samples but one of numpy's own.
"""

import gzip
from math import prod
from pathlib import Path

import numpy as np


def load_mnist(directory, part):
    """Images as rows of f32 from 0 to 1, and labels; `part` is "train" or "test"."""
    directory = Path(directory)
    labels = np.frombuffer(gzip.decompress((directory / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    pixels = np.frombuffer(gzip.decompress((directory / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    return pixels.reshape(len(labels), -1).astype(np.float32) / np.float32(255), labels


class Network:
    """Dense layers, read from a layout. Raises ValueError for layouts that are none."""

    def __init__(self, layout, inputs):
        shapes = [tuple(shape) for _, shape in layout]
        if len(shapes) < 2 or len(shapes) % 2 or [len(shape) for shape in shapes] != [2, 1] * (len(shapes) // 2):
            raise ValueError("not a weight matrix and a bias for every layer")
        # Square matrices do not tell which side is which; the first one, from pixels to fewer, does.
        self.outputs_first = shapes[0][1] == inputs
        self.shapes = shapes
        for (weight, bias), before in zip(zip(shapes[::2], shapes[1::2]), [(inputs,), *shapes[1::2]]):
            if weight != ((bias[0], before[0]) if self.outputs_first else (before[0], bias[0])):
                raise ValueError("layers that do not fit each other")

    def train(self, parameters, images, labels, training, order_seed):
        """SGD as PyTorch's; returns the new parameters and the mean loss."""
        start, parameters, order, losses = parameters, parameters.copy(), np.random.default_rng(order_seed), []
        momentum = np.zeros_like(parameters)
        steps = training.steps or training.epochs * -(-len(labels) // training.batch)
        while len(losses) < steps:
            samples = order.permutation(len(labels))
            for at in range(0, len(samples), training.batch)[: steps - len(losses)]:
                batch = samples[at : at + training.batch]
                loss, gradient = self._loss_and_gradient(parameters, images[batch], labels[batch])
                gradient += np.float32(training.proximal) * (parameters - start)
                if training.HasField("clip_norm"):
                    norm = np.linalg.norm(gradient)
                    gradient *= np.float32(min(1, training.clip_norm / (norm + 1e-6)))
                gradient += np.float32(training.weight_decay) * parameters
                momentum = np.float32(training.momentum) * momentum + gradient
                parameters -= np.float32(training.lr) * momentum
                losses.append(loss)
        return parameters, float(np.mean(losses))

    def loss(self, parameters, images, labels):
        return float(self._loss_and_gradient(parameters, images, labels)[0])

    def accuracy(self, parameters, images, labels):
        return float(np.mean(self._forward(parameters, images)[-1].argmax(axis=1) == labels))

    def _layers(self, parameters):
        """Views of the weights, inputs first, and of the biases."""
        tensors, at = [], 0
        for shape in self.shapes:
            tensors.append(parameters[at : at + prod(shape)].reshape(shape))
            at += prod(shape)
        return [(weight.T if self.outputs_first else weight, bias) for weight, bias in zip(tensors[::2], tensors[1::2])]

    def _forward(self, parameters, images):
        activations, layers = [images], self._layers(parameters)
        for index, (weight, bias) in enumerate(layers):
            output = activations[-1] @ weight + bias
            activations.append(np.maximum(output, 0) if index + 1 < len(layers) else output)
        return activations

    def _loss_and_gradient(self, parameters, images, labels):
        activations, rows = self._forward(parameters, images), np.arange(len(labels))
        logits = activations.pop()
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        delta = np.exp(log_probabilities)
        delta[rows, labels] -= 1
        delta /= np.float32(len(labels))
        gradient = np.zeros_like(parameters)
        for (weight, _), (weight_gradient, bias_gradient) in zip(self._layers(parameters)[::-1], self._layers(gradient)[::-1]):
            activation = activations.pop()
            weight_gradient[:], bias_gradient[:] = activation.T @ delta, delta.sum(axis=0)
            delta = (delta @ weight.T) * (activation > 0)
        return -log_probabilities[rows, labels].mean(), gradient

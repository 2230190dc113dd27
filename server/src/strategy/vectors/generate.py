"""Optimisers from their papers' pseudocode, in numpy: writes vectors.json beside this file.

    python3 server/src/strategy/vectors/generate.py
"""
import json, pathlib
import numpy as np

rng = np.random.default_rng(7)
updates = rng.normal(size=(6, 5)) * np.array([1.0, 0.1, 0.0, 1e-3, 10.0])
updates[3, 1] = 0.0
start = rng.normal(size=5)


def fedavg(lr=1.0, beta=0.0):
    x, v = start.copy(), np.zeros(5)
    for u in updates:
        v = beta * v + u
        x = x + lr * v
        yield x


def adaptive(kind, lr=0.1, beta1=0.9, beta2=0.99, tau=1e-3):  # Reddi et al. 2021, algorithm 2
    x, m, v = start.copy(), np.zeros(5), np.full(5, tau**2)
    for u in updates:
        m = beta1 * m + (1 - beta1) * u
        if kind == "fedadagrad":
            v = v + u**2
        elif kind == "fedadam":
            v = beta2 * v + (1 - beta2) * u**2
        else:
            v = v - (1 - beta2) * u**2 * np.sign(v - u**2)
        x = x + lr * m / (np.sqrt(v) + tau)
        yield x


def fednova(samples, steps, rho):  # Wang et al. 2020, equation 6, with a_i of section 4 summed term by term
    p = np.array(samples) / sum(samples)
    a = np.array([sum((1 - rho ** (tau - k)) / (1 - rho) for k in range(tau)) for tau in steps])
    return ((p * a).sum() * p / a).tolist()


def qfedavg(losses, norms, q, lr):  # Li et al. 2020, algorithm 2
    f, L = np.array(losses), 1 / lr
    h = q * f ** (q - 1) * (L * np.array(norms)) ** 2 + L * f**q
    return (f**q * L / h.sum()).tolist()


class Quadratic:
    """Clients with losses 1/2 (y - b_k)^T A_k (y - b_k), who take so many exact gradient steps each."""
    A = rng.uniform(0.2, 2.0, size=(4, 5))
    b = rng.normal(size=(4, 5)) * 3
    steps = [3, 5, 2, 8]
    lr = 0.1
    rounds = [[0, 1], [2, 3], [1, 3], [0, 2], [0, 3], [1, 2]]

    def gradient(self, k, y):
        return self.A[k] * (y - self.b[k])


def scaffold(q, lr_g=0.7):  # Karimireddy et al. 2020, algorithm 1, option II
    x, c, own = start.copy(), np.zeros(5), np.zeros((4, 5))
    for cohort in q.rounds:
        dx, dc = [], []
        for k in cohort:
            y = x.copy()
            for _ in range(q.steps[k]):
                y = y - q.lr * (q.gradient(k, y) - own[k] + c)
            plus = own[k] - c + (x - y) / (q.steps[k] * q.lr)
            dx.append(y - x)
            dc.append(plus - own[k])
            own[k] = plus
        x = x + lr_g * np.mean(dx, axis=0)
        c = c + len(cohort) / 4 * np.mean(dc, axis=0)
        assert np.allclose(c, own.mean(axis=0))
        yield x


def feddyn(q, alpha=0.3):  # Acar et al. 2021, algorithm 1, with gradient steps for the argmin
    x, h, own = start.copy(), np.zeros(5), np.zeros((4, 5))
    for cohort in q.rounds:
        ys = []
        for k in cohort:
            y = x.copy()
            for _ in range(q.steps[k]):
                y = y - q.lr * (q.gradient(k, y) - own[k] + alpha * (y - x))
            own[k] = own[k] - alpha * (y - x)
            ys.append(y)
        h = h - alpha / 4 * np.sum(np.array(ys) - x, axis=0)
        x = np.mean(ys, axis=0) - h / alpha
        yield x


samples, steps, losses, norms = [30, 10, 60], [1, 5, 20], [0.5, 2.0, 1.25], [1.0, 0.25, 3.0]
cases = {
    "fedavg": fedavg(),
    "fedavgm": fedavg(lr=0.5, beta=0.9),
    "fedadagrad": adaptive("fedadagrad", beta1=0.0),
    "fedadam": adaptive("fedadam"),
    "fedyogi": adaptive("fedyogi"),
}
out = {
    "start": start.tolist(),
    "updates": updates.tolist(),
    "optimizers": {name: [x.tolist() for x in case] for name, case in cases.items()},
    "controls": {
        "A": Quadratic.A.tolist(), "b": Quadratic.b.tolist(), "steps": Quadratic.steps, "rounds": Quadratic.rounds,
        "scaffold": [x.tolist() for x in scaffold(Quadratic())], "feddyn": [x.tolist() for x in feddyn(Quadratic())],
    },
    "weighings": {
        "samples": samples, "steps": steps, "losses": losses, "norms": norms,
        "fednova": fednova(samples, steps, 0.0), "fednova, momentum 0.9": fednova(samples, steps, 0.9),
        "qfedavg, q 0": qfedavg(losses, norms, 0.0, 0.1), "qfedavg, q 2": qfedavg(losses, norms, 2.0, 0.1),
    },
}
pathlib.Path(__file__).with_name("vectors.json").write_text(json.dumps(out, indent=1) + "\n")

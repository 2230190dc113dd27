#!/usr/bin/env python3
"""Aggregation rules again, from their papers: Python 3 and numpy, on whole vectors in f64, plain rather than fast.

    independent.py DIR       writes DIR/rules.json: updates, and what every rule makes of them

Nothing here goes by inner products, networks or chunks: distances are those of vectors, columns are sorted by numpy, and
the geometric median and centered clipping move a vector.
"""
import json
import sys
from pathlib import Path

import numpy as np


def bound(x, factor):
    """Sun et al. 2019: no longer than `factor` medians of the lengths."""
    if factor is None:
        return x
    norms = np.linalg.norm(x, axis=1)
    return x / np.maximum(1, norms / (factor * np.median(norms)))[:, None]


def median(x):
    return np.median(x, axis=0)


def trimmed_mean(x, cut):
    """Yin et al. 2018, definition 2."""
    b = int(round(cut * len(x), 9))
    return np.sort(x, axis=0)[b:len(x) - b].mean(axis=0)


def scores(x, f):
    """Blanchard et al. 2017: squared distances to the n - f - 2 closest."""
    n = len(x)
    squared = np.array([[((a - b) ** 2).sum() for b in x] for a in x])
    return [np.sort(np.delete(squared[i], i))[:max(n - f - 2, 1)].sum() for i in range(n)]


def multi_krum(x, f, m):
    return x[np.argsort(scores(x, f), kind="stable")[:m]].mean(axis=0)


def geometric_median(x, weights):
    """Pillutla et al. 2022, algorithm 2, from the mean, many times."""
    v, a = x.mean(axis=0), weights / weights.sum()
    for _ in range(200_000):
        beta = a / np.maximum(1e-9, np.linalg.norm(x - v, axis=1))
        v, before = beta @ x / beta.sum(), v
        if np.abs(v - before).max() < 1e-14:
            break
    return v


def centered_clipping(x, radius, iterations):
    """Karimireddy et al. 2021, equation 8, from the geometric median."""
    v = geometric_median(x, np.ones(len(x)))
    if radius is None:
        radius = np.median(np.linalg.norm(x - v, axis=1))
    for _ in range(iterations):
        d = x - v
        v = v + (d * np.minimum(1, radius / np.linalg.norm(d, axis=1))[:, None]).mean(axis=0)
    return v


def bulyan(x, f):
    """El Mhamdi et al. 2018: Krum n - 2f times, then the n - 4f values closest to the median."""
    left, chosen = list(range(len(x))), []
    while len(chosen) < len(x) - 2 * f:
        best = left[int(np.argmin(scores(x[left], f)))]
        chosen.append(best)
        left.remove(best)
    y = x[sorted(chosen)]
    near = np.argsort(np.abs(y - np.median(y, axis=0)), axis=0, kind="stable")[:len(x) - 4 * f]
    return np.take_along_axis(y, near, axis=0).mean(axis=0)


def cases():
    rng = np.random.default_rng(20)
    for name, n, d, attackers, scale in [
        ("honest", 11, 24, 0, 1.0),
        ("attacked", 11, 24, 2, 30.0),
        ("far", 12, 17, 2, 1e6),
    ]:
        x = rng.normal(size=d) + 0.5 * rng.standard_t(3, size=(n, d))
        x[n - attackers:] *= -scale
        x = x.astype(np.float32).astype(float)
        samples = rng.integers(1, 500, n)
        equal = np.ones(n)
        rules = {
            "mean": ({}, lambda x: samples @ x / samples.sum()),
            "mean equal": ({"weights": "equal"}, lambda x: x.mean(axis=0)),
            "median": ({}, median),
            "trimmed-mean": ({"cut": 0.2}, lambda x: trimmed_mean(x, 0.2)),
            "krum": ({"attackers": 2}, lambda x: multi_krum(x, 2, 1)),
            "multi-krum": ({"attackers": 2}, lambda x: multi_krum(x, 2, n - 4)),
            "multi-krum keep": ({"attackers": 2, "keep": 3}, lambda x: multi_krum(x, 2, 3)),
            "geometric-median": ({}, lambda x: geometric_median(x, equal)),
            "geometric-median samples": ({"weights": "samples"}, lambda x: geometric_median(x, samples)),
            "centered-clipping": ({}, lambda x: centered_clipping(x, None, 3)),
            "centered-clipping radius": ({"radius": 1.5, "iterations": 2}, lambda x: centered_clipping(x, 1.5, 2)),
            "bulyan": ({"attackers": 2}, lambda x: bulyan(x, 2)),
        }
        for rule, (keys, f) in rules.items():
            # The bounds: none, one that bites the attackers, one that bites honest updates too.
            for factor in (None, 3.0, 1.0):
                yield {
                    "name": f"{rule}, {name}, bound {factor}",
                    "keys": {"rule": rule.split()[0], "norm_bound": factor or "off", **keys},
                    "set": name,
                    "expected": f(bound(x, factor)).tolist(),
                }
        yield {"set": name, "samples": samples.tolist(), "updates": x.tolist()}


all_cases = list(cases())
sets = {each["set"]: {k: each[k] for k in ("samples", "updates")} for each in all_cases if "updates" in each}
out = {"sets": sets, "cases": [each for each in all_cases if "updates" not in each]}
Path(sys.argv[1], "rules.json").write_text(json.dumps(out, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")

"""The utilities that tests.rs expects, from algorithm 1 of Oort's paper as oort.rs restates it: `python3 utilities.py`."""

import numpy as np

i = np.arange(21)
samples, loss = 10 + i, (i * 8 % 21) / 5.0
took, last, rounds = 1 + i * 5 % 21, i % 7 + 1, 8  # the round and the last one selected in, both from 1


def utilities(preferred):
    statistical = samples * loss
    clipped = np.minimum(statistical, np.sort(statistical)[int(0.95 * len(i))])
    normed = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    slow = np.where(took > preferred, (preferred / took) ** 2.0, 1.0)
    return (normed + np.sqrt(0.1 * np.log(rounds) / last)) * slow


for preferred in np.sort(took)[int(0.5 * len(i))], 3:
    print(preferred, np.round(utilities(preferred), 9).tolist())

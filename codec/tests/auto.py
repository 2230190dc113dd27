#!/usr/bin/env python3
"""A second implementation of the `auto` payloads of docs/wire-format.md: Python 3.9 with nothing else, plain rather than fast.

    auto.py check DIR                       decodes the vectors DIR/auto.json and DIR/auto.bin, to the bit, and damaged ones
    auto.py decode PAYLOAD LAYOUT.json OUT.f32      LAYOUT.json is [[name, shape], ...]

Absent: encoding, and the other kinds (independent.py).
"""
import hashlib
import json
import math
import struct
import sys
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path

CHUNK = 65536
NARROWEST, WIDEST_DITHERED, WIDEST, LEAST = -4, 3, 40, -36
ZERO = None


class Refused(Exception):
    """A payload that a decoder must refuse."""


def need(condition, what):
    if not condition:
        raise Refused(what)


def f32(value):
    """The nearest binary32, ties to even."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


# Checksum and layout ------------------------------------------------------------------------------------------------

CRC_TABLE = []
for entry in range(256):
    for _ in range(8):
        entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
    CRC_TABLE.append(entry)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def sealed(index, body):
    return crc32c(struct.pack("<II", index, len(body)) + body)


def layout_hash(layout):
    sha = hashlib.sha256()
    for name, shape in layout:
        name = name.encode()
        sha.update(struct.pack("<Q", len(name)) + name + struct.pack("<Q", len(shape)))
        sha.update(b"".join(struct.pack("<Q", dimension) for dimension in shape))
    return struct.unpack("<Q", sha.digest()[:8])[0]


def matrix(shape):
    """Rows, columns and coordinates of a tensor."""
    size = math.prod(shape)
    first, others = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    if first >= 2 and others >= 2:
        return first, others, size
    if size >= 512:
        return -(-size // 256), 256, size
    return 1, size, size


# Codes --------------------------------------------------------------------------------------------------------------


class RangeDecoder:
    def __init__(self, data):
        self.data, self.at = data, 0
        self.code, self.range = 0, 0xFFFFFFFF
        for _ in range(4):
            self.code = self.code << 8 | self.byte()

    def byte(self):
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bit(self, chances, index):
        chance = chances[index]
        bound = (self.range >> 12) * chance
        if self.code < bound:
            bit, self.range = 0, bound
            chances[index] += (4096 - chance) >> 4
        else:
            bit, self.range, self.code = 1, self.range - bound, self.code - bound
            chances[index] -= chance >> 4
        while self.range < 1 << 24:
            self.range <<= 8
            self.code = (self.code << 8 | self.byte()) & 0xFFFFFFFF
        return bit

    def is_at_end(self):
        return self.at >= len(self.data)


class Integer:
    def __init__(self):
        self.sign, self.more, self.bits = [2048], [2048] * 15, [2048] * 16

    def read(self, coder):
        size = 0
        while size < 15 and coder.bit(self.more, size):
            size += 1
        if size == 15:
            size += sum(coder.bit(self.bits, at) << at for at in range(15, -1, -1))
        return -size if size and coder.bit(self.sign, 0) else size


class List:
    def __init__(self):
        self.zero, self.changes = [2048, 2048], [Integer(), Integer(), Integer()]

    def read(self, coder, count):
        codes, last, change, zero = [], 0, 0, 0
        for _ in range(count):
            zero = coder.bit(self.zero, zero)
            if zero:
                codes.append(ZERO)
                continue
            change = self.changes[min(abs(change), 2)].read(coder)
            last = max(-512, min(512, last + change))
            codes.append(last)
        return codes


def read_classes(data, layout):
    """The class of every coordinate; None where all is zero."""
    coder = RangeDecoder(data)
    zero, base_chances, has_rows, has_columns = [2048], Integer(), [2048], [2048]
    row_chances, column_chances = List(), List()
    classes = []
    for _, shape in layout:
        rows, columns, size = matrix(shape)
        if size == 0:
            continue
        if coder.bit(zero, 0):
            classes += [ZERO] * size
            continue
        base = max(-512, min(512, base_chances.read(coder)))
        row_codes, column_codes = [0] * rows, [0] * columns
        if rows > 1:
            if coder.bit(has_rows, 0):
                row_codes = row_chances.read(coder, rows)
            if coder.bit(has_columns, 0):
                column_codes = column_chances.read(coder, columns)
        for at in range(size):
            row, column = row_codes[at // columns], column_codes[at % columns]
            if row is ZERO or column is ZERO:
                classes.append(ZERO)
            else:
                classes.append(max(LEAST, min(WIDEST, base + row + column)))
    need(coder.is_at_end(), "codes: bytes left over")
    return classes


# Noise --------------------------------------------------------------------------------------------------------------


class Noise:
    def __init__(self, seed, start):
        mask = 2**64 - 1
        self.shift, seed = (seed >> 48) * 0x10001, seed & (1 << 48) - 1
        z = (seed + 0x9E3779B97F4A7C15 * (start + 1)) & mask
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        key = z ^ z >> 31
        self.k0, self.k1 = key & 0xFFFFFFFF, key >> 32

    def bits(self, index, stream=0):
        x = (16 * (index // 32) + index % 16 + stream) ^ self.k0
        x = ((x ^ x >> 16) * 0x7FEB352D) & 0xFFFFFFFF
        x = ((x ^ x >> 15) + self.k1) & 0xFFFFFFFF
        x = (x * 0x846CA68B) & 0xFFFFFFFF
        x = (x ^ x >> 16) + self.shift & 0xFFFFFFFF
        return x & 0xFFFF if index % 32 < 16 else x >> 16

    def sample(self, index):
        return self.bits(index, 1 << 31)


def chance(cls):
    below = -4 - cls
    return (65536 if below % 2 == 0 else 46341) >> below // 2


# Tables -------------------------------------------------------------------------------------------------------------


def normal_tail():
    """round(2^24 (1 - Phi(i / 64))), by the series of the error function in 60 digits: math.erfc is not exact everywhere."""
    getcontext().prec = 60
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    tails = []
    for i in range(385):
        z = Decimal(i) / 64
        term, total, n = z, z, 0
        while abs(term) > Decimal(10) ** -50:
            n += 1
            term = -term * z * z / (2 * n)
            total += term / (2 * n + 1)
        tails.append(int((2**24 * (Decimal("0.5") - total / (2 * pi).sqrt()) + Decimal("0.5")).to_integral_value("ROUND_FLOOR")))
    return tails


TAIL = normal_tail()


def upper(z):
    if z < 0:
        return 2**24 - upper(-z)
    at = z >> 6
    return TAIL[at] - ((TAIL[at] - TAIL[at + 1]) * (z & 63) >> 6) if at < 384 else 0


def scale(n):
    base, octaves = (1 << 20, n // 2) if n % 2 == 0 else (1482910, (n + 1) // 2)
    return base >> octaves if octaves >= 0 else base << -octaves


class Tables:
    def __init__(self, weights):
        self.weights, self.known, self.tails = weights, {}, {}

    def tail(self, e, cls):
        key = e, cls
        if key not in self.tails:
            terms = (w * upper(e * scale(cls + j - 5) >> 13) for j, w in enumerate(self.weights) if w)
            self.tails[key] = sum(terms) // 255
        return self.tails[key]

    def at(self, m, i, cls):
        return self.tail(32 * m - 16 - i, cls)

    def above(self, m, cls, part):
        if cls <= WIDEST_DITHERED:
            return (self.at(m, 2 * part, cls) + 4 * self.at(m, 2 * part + 1, cls) + self.at(m, 2 * part + 2, cls)) // 6
        raw = raw_bits(cls)
        e, h, cls = 32 * m - (16 >> raw), 16 >> raw, cls - 2 * raw
        return (self.tail(e - h, cls) + 4 * self.tail(e, cls) + self.tail(e + h, cls)) // 6

    def table(self, cls, part):
        """Half, and the first of the 4096 numbers of every symbol, with 4096 at the end."""
        key = cls, part if cls <= WIDEST_DITHERED else 0
        if key not in self.known:
            above = lambda m: self.above(m, *key)
            outside = lambda half: above(half + 1) + 2**24 - above(-half)
            half = next((half for half in range(1, 31) if outside(half) <= 4096), 31)
            chances = [above(m) - above(m + 1) for m in range(-half, half + 1)] + [outside(half)]
            counts = [max(1, ((p >> 11) + 1) >> 1) for p in chances]
            counts[counts.index(max(counts))] += 4096 - sum(counts)
            starts = [0]
            for count in counts:
                starts.append(starts[-1] + count)
            slots = [symbol for symbol, count in enumerate(counts) for _ in range(count)]
            self.known[key] = half, starts, slots
        return self.known[key]

    def offset(self, i, cls):
        key = "offset", i, cls
        if key not in self.known:
            total, m = 0, 1
            while self.at(m, i, cls) or self.at(m, -i, cls):
                total += self.at(m, i, cls) - self.at(m, -i, cls)
                m += 1
            self.known[key] = f32(float(Fraction(total, 2**24)))
        return self.known[key]


def raw_bits(cls):
    return max(0, cls - 4) // 2


# Bodies -------------------------------------------------------------------------------------------------------------


class RawBits:
    def __init__(self, data):
        self.data, self.used, self.held, self.count = data, 0, 0, 0

    def take(self, count):
        while self.count < count:
            need(self.used < len(self.data), "raw bits: too few bytes")
            self.used += 1
            self.held |= self.data[-self.used] << self.count
            self.count += 8
        bits = self.held & ((1 << count) - 1)
        self.held >>= count
        self.count -= count
        return bits


def escaped(raw, half):
    length = 0
    while not raw.take(1):
        length += 1
        need(length <= 25, "escape: too long")
    size = half + (1 << length) + raw.take(length)
    return -size if raw.take(1) else size


def decode_body(body, classes, noise, tables, unit):
    values = [0.0] * len(classes)
    symbols = []
    for at, cls in enumerate(classes):
        if cls is not ZERO and (cls >= NARROWEST or noise.sample(at) < chance(cls)):
            symbols.append((at, max(cls, NARROWEST)))
    need(len(symbols) <= CHUNK, "symbols: more than a chunk may have")
    if not symbols:
        need(not body, "symbols: bytes left over")
        return values
    lanes = 2 ** sum(len(symbols) >= least for least in (4096, 8192, 12288, 16384, 32768))
    states, tail, rest = read_heads(body, lanes)
    raw = RawBits(rest)
    main = symbols[: len(symbols) - tail]
    used = read_symbols(main, states, rest, raw, noise, tables, unit, values)
    need(all(state >> 16 == 1 for state in states), "state: not where it may begin")
    if lanes < 4:
        need(all(state == 65536 for state in states), "state: not where it began")
    else:
        words = struct.pack(f"<{lanes}H", *(state & 65535 for state in states))
        own = list(struct.unpack_from("<I", words))
        need(own[0] >= 65536, "state: below 2^16")
        end = read_symbols(symbols[len(main) :], own, words[4:], raw, noise, tables, unit, values)
        need(own[0] == 65536, "state: not where it began")
        need(not any(words[4 + end :]), "symbols: bytes left over")
    need(used + raw.used == len(rest) and raw.held == 0, "symbols: bytes left over")
    return values


def read_heads(body, lanes):
    """The states that lanes begin with, how many symbols are in the tail, and what is behind the heads."""
    need(len(body) >= 2 * lanes, "states: too few bytes")
    lows, at = struct.unpack_from(f"<{lanes}H", body), 16 * lanes

    def take(count):
        nonlocal at
        taken = int.from_bytes(body[at // 8 : at // 8 + 3], "little") >> at % 8 & (1 << count) - 1
        at += count
        return taken

    tail = take(10) if lanes >= 4 else 0
    states = []
    for low in lows:
        length = take(4)
        states.append((1 << length | take(length)) << 16 | low)
    need(take(-at % 8) == 0, "states: bits left over")
    need(at // 8 <= len(body), "states: too few bytes")
    return states, tail, body[at // 8 :]


def read_symbols(symbols, states, words, raw, noise, tables, unit, values):
    """Reads values and their symbols from `states`, symbol n from n mod their number; returns how many bytes of words that took."""
    used = 0
    for n, (at, cls) in enumerate(symbols):
        k = noise.bits(at)
        negative = k < 32768
        v = 32767 - k if negative else k - 32768
        half, starts, slots = tables.table(cls, v >> 12)
        state = states[n % len(states)]
        slot = state & 4095
        symbol = slots[slot]
        state = (starts[symbol + 1] - starts[symbol]) * (state >> 12) + slot - starts[symbol]
        if state < 65536:
            need(used + 2 <= len(words), "words: too few bytes")
            state = state << 16 | words[used] | words[used + 1] << 8
            used += 2
        states[n % len(states)] = state
        h = escaped(raw, half) if symbol == 2 * half + 1 else symbol - half
        if cls <= WIDEST_DITHERED:
            q = -h if negative else h
            j, f = v >> 11, ((v & 2047) + 0.5) / 2048
            low, high = tables.offset(j, cls), tables.offset(j + 1, cls)
            a = f32(low + f32(f32(high - low) * f))
        else:
            q = (h << raw_bits(cls)) + raw.take(raw_bits(cls))
            a = (v + 0.5) / 65536
        need(abs(q) <= 1 << 24, "symbol: beyond 2^24")
        values[at] = f32(f32(q + a if negative else q - a) * unit)
    return used


# Payloads -----------------------------------------------------------------------------------------------------------


def varint(data, at):
    number = 0
    for shift in range(0, 35, 7):
        need(at < len(data), "varint: too short")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            need(byte or shift == 0, "varint: longer than it must be")
            need(number < 2**32, "varint: above 2^32")
            return number, at
    raise Refused("varint: too long")


def decode(payload, layout):
    need(len(payload) >= 72, "too short")
    magic, version, kind, bits, aim, _, gain, layout_id, _, seed, coordinates, body_bytes, chunks, checksum = struct.unpack(
        "<4sBBBBIfQQQQQII", payload[:64]
    )
    need(magic == b"NIBL" and version == 1 and kind == 5 and bits == 0 and 1 <= aim <= 3, "header")
    need(checksum == crc32c(payload[:60]) and 0 <= gain <= 1, "header")
    size = sum(math.prod(shape) for _, shape in layout)
    need(layout_id == layout_hash(layout) and coordinates == size, "layout")
    counts = {-(-size // CHUNK): CHUNK, -(-size // (4 * CHUNK)): 4 * CHUNK} | {-(-size // CHUNK): CHUNK}
    need(chunks in counts, "chunks")
    wide = counts[chunks]
    need(body_bytes == len(payload) - 64, "body bytes")
    length, checksum = struct.unpack_from("<II", payload, 64)
    prelude = payload[72 : 72 + length]
    need(len(prelude) == length and checksum == sealed(0xFFFFFFFF, prelude), "prelude")
    at, lengths = 0, []
    for chunk in range(chunks):
        number, at = varint(prelude, at)
        need(number <= 40 + 9 * min(CHUNK, size - chunk * wide), "length of a chunk")
        lengths.append(number)
    need(len(prelude) >= at + 16, "prelude: too short")
    step = struct.unpack_from("<f", prelude, at)[0]
    weights = prelude[at + 4 : at + 16]
    need(2.0**-100 <= step < 2.0**100 and sum(weights) == 255, "step or weights")
    classes = read_classes(prelude[at + 16 :], layout)
    tables, unit = Tables(weights), f32(step * gain)
    values, at = [], 72 + length
    for chunk, length in enumerate(lengths):
        need(len(payload) >= at + 4 + length, "chunk: too short")
        body = payload[at + 4 : at + 4 + length]
        need(struct.unpack_from("<I", payload, at)[0] == sealed(chunk, body), "checksum of a chunk")
        start = chunk * wide
        values += decode_body(body, classes[start : start + wide], Noise(seed, start), tables, unit)
        at += 4 + length
    need(at == len(payload), "bytes left over")
    return values


# Commands -----------------------------------------------------------------------------------------------------------


def damaged(payload):
    size = len(payload)
    for part in range(40):
        at = part * (size - 1) // 39
        yield payload[:at] + bytes([payload[at] ^ 1 << part % 8]) + payload[at + 1 :]
    for part in range(10):
        yield payload[: part * size // 10]
    yield payload[:-1]
    yield payload + b"\0"


def check(directory):
    cases, data = json.loads((directory / "auto.json").read_text()), (directory / "auto.bin").read_bytes()
    part = lambda place: data[place[0] : place[0] + place[1]]
    wrong = refused = 0
    for case in cases:
        payload = part(case["payload"])
        values = decode(payload, case["layout"])
        same = struct.pack(f"<{len(values)}f", *values) == part(case["decoded"])
        print("same     " if same else "DIFFERENT", case["scheme"], case["name"])
        wrong += not same
        for bytes_ in damaged(payload):
            try:
                decode(bytes_, case["layout"])
                print("NOT REFUSED: a damaged payload of", case["name"])
                wrong += 1
            except Refused:
                refused += 1
    print(f"{len(cases)} payloads, {refused} damaged ones refused")
    return 1 if wrong or not cases else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "check":
        return check(Path(arguments[1]))
    if len(arguments) == 4 and arguments[0] == "decode":
        values = decode(Path(arguments[1]).read_bytes(), json.loads(Path(arguments[2]).read_text()))
        Path(arguments[3]).write_bytes(struct.pack(f"<{len(values)}f", *values))
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""A second implementation of docs/wire-format.md, from that page alone: Python 3 and numpy, plain rather than fast.

    independent.py vectors DIR                        writes the test vectors: DIR/vectors.json and DIR/vectors.bin
    independent.py decode PAYLOAD LIKE.safetensors OUT.f32    decodes; the layout is that of LIKE, the output raw f32
    independent.py check PAYLOAD LIKE.safetensors     decodes, encodes LIKE again as the header says, compares the bytes

`vectors.json` names every case; `[offset, length]` pairs are bytes in `vectors.bin`. Values are little-endian f32.

    encode    input --encode(scheme, seed, round)--> payload --decode--> decoded
    decode    payload --decode--> decoded: payloads that no encoder here makes (a gain, unusual levels)
    unencodable   encoding this input is an error
    undecodable   decoding this payload is an error
"""
import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np

F32 = np.float32
CHUNK = 65536
FP32, FP16, BF16, BLOCK, AUTO, PLAN, SIGN = 1, 2, 3, 4, 5, 6, 7
PIECE = 1024
STOCHASTIC, NEAREST, DITHERED = 1, 2, 3
TOP_MIN, TOP_MAX = -1600, 1920
MAGNITUDE_MAX = F32(2.0**120)
M32, M64 = 2**32 - 1, 2**64 - 1


class Refused(Exception):
    """A payload that a decoder, or a vector that an encoder, must refuse."""


def need(condition, what):
    if not condition:
        raise Refused(what)


# Checksum and layout ------------------------------------------------------------------------------------------------

CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def crc32c(data):
    crc = M32
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ M32


assert crc32c(b"123456789") == 0xE3069283


def size(shape):
    count = 1
    for dimension in shape:
        count *= dimension
    return count


def coordinates(layout):
    return sum(size(shape) for _, shape in layout)


def layout_hash(layout):
    sha = hashlib.sha256()
    for name, shape in layout:
        name = name.encode()
        sha.update(struct.pack("<Q", len(name)) + name + struct.pack("<Q", len(shape)))
        for dimension in shape:
            sha.update(struct.pack("<Q", dimension))
    return struct.unpack("<Q", sha.digest()[:8])[0]


def chunk_count(layout):
    return -(-coordinates(layout) // CHUNK)


def segments(layout, chunk):
    """(start, end, start of its tensor, end of its tensor) of each segment of a chunk."""
    low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, coordinates(layout))
    at = 0
    for _, shape in layout:
        start, end = at, at + size(shape)
        at = end
        if max(start, low) < min(end, high):
            yield max(start, low), min(end, high), start, end


# Header -------------------------------------------------------------------------------------------------------------

HEADER = struct.Struct("<4sBBBBIfQQQQQI")
FIELDS = "magic version kind bits rounding block gain layout round seed coordinates body_bytes chunks".split()


class Coding:
    """What a header says of the coding: kind, bits, rounding, block."""

    def __init__(self, kind, bits, rounding, block):
        self.kind, self.bits, self.rounding, self.block = kind, bits, rounding, block

    @staticmethod
    def named(scheme):
        """From a scheme's name, such as int4:block128:dithered or int2:tensor:nearest+ef."""
        name, *arguments = scheme.removesuffix("+ef").split(":")
        raw = {"fp32": (FP32, 32), "fp16": (FP16, 16), "bf16": (BF16, 16)}
        if name in raw:
            return Coding(*raw[name], 0, 0)
        if name == "sign":
            return Coding(SIGN, 1, 0, round(float((arguments or ["1"])[0]) * 10_000))
        coding = Coding(BLOCK, int(name.removeprefix("int")), STOCHASTIC, 64)
        for argument in arguments:
            if argument == "tensor":
                coding.block = 0
            elif argument.startswith("block"):
                coding.block = int(argument.removeprefix("block"))
            else:
                coding.rounding = {"stochastic": STOCHASTIC, "nearest": NEAREST, "dithered": DITHERED}[argument]
        return coding

    def check(self, gain):
        if self.kind == BLOCK:
            need(2 <= self.bits <= 8, "bits")
            need(self.rounding in (STOCHASTIC, NEAREST, DITHERED), "rounding")
            need(self.block == 0 or self.block in [32 << i for i in range(8)], "block")
            need(0 <= gain <= 1, "gain")
        elif self.kind == PLAN:
            need(self.bits == 0 and self.rounding in (STOCHASTIC, NEAREST, DITHERED), "bits or rounding")
            need(self.block > 0 and 0 <= gain <= 1, "block or gain")
        elif self.kind == SIGN:
            need(self.bits == 1 and self.rounding == 0, "bits or rounding")
            need(500 <= self.block <= 10_000 and 0 <= gain <= 1, "block or gain")
        elif self.kind == AUTO:  # here only where it holds signs
            need(self.bits == 1 and self.rounding in (1, 2) and 0 <= gain <= 1, "bits, rounding or gain")
        else:
            need(self.kind in (FP32, FP16, BF16), "kind")
            need(self.bits == (32 if self.kind == FP32 else 16), "bits")
            need(self.rounding == 0 and self.block == 0 and gain == 1, "raw kind with settings of the block kind")

    def blocks(self, n):
        """The sizes of the blocks of a segment of n coordinates."""
        block = self.block or n
        return [min(block, n - at) for at in range(0, n, block)]

    def planes(self):
        return {2: [2], 3: [2, 1], 4: [4], 5: [4, 1], 6: [4, 2], 7: [4, 2, 1], 8: [8]}[self.bits]

    def code_bytes(self, m):
        return sum(-(-m * width // 8) for width in self.planes())

    def body_bytes(self, layout, chunk):
        if self.kind != BLOCK:
            return sum(end - start for start, end, *_ in segments(layout, chunk)) * self.bits // 8
        lengths = [end - start for start, end, *_ in segments(layout, chunk)]
        return sum(2 + sum(1 + self.code_bytes(m) for m in self.blocks(n)) for n in lengths)


# Blocks -------------------------------------------------------------------------------------------------------------

OCTAVE = np.array(
    [int(word, 16) for word in """
    3f800000 3f85aac3 3f8b95c2 3f91c3d3 3f9837f0 3f9ef532 3fa5fed7 3fad583f
    3fb504f3 3fbd08a4 3fc5672a 3fce248c 3fd744fd 3fe0ccdf 3feac0c7 3ff5257d""".split()],
    np.uint32,
).view(F32)


def scale(level):
    return F32(OCTAVE[level % 16] * F32(2.0 ** (level // 16)))


SCALES = np.array([scale(level) for level in range(TOP_MIN, TOP_MAX + 1)], F32)
assert (np.diff(SCALES) > 0).all() and SCALES[-1] == MAGNITUDE_MAX


def level_of(magnitude):
    """The least level of at least -1600 whose scale is at least the magnitude."""
    return TOP_MIN + int(np.searchsorted(SCALES, magnitude, "left"))


def pack(codes, coding):
    out, shift = b"", 0
    m = len(codes)
    for width in coding.planes():
        plane = np.zeros(-(-m * width // 8), np.uint8)
        fields = (codes >> shift & (1 << width) - 1).astype(np.uint8)
        stride = len(plane)
        for turn in range(-(-m // stride)):  # the coordinates i with i div S = turn
            part = fields[turn * stride : (turn + 1) * stride]
            plane[: len(part)] |= part << np.uint8(width * turn)
        out, shift = out + plane.tobytes(), shift + width
    return out


def unpack(data, m, coding):
    codes, at, shift = np.zeros(m, np.int64), 0, 0
    for width in coding.planes():
        stride = -(-m * width // 8)
        plane = np.frombuffer(data, np.uint8, stride, at)
        i = np.arange(m)
        codes |= (plane[i % stride].astype(np.int64) >> width * (i // stride) & (1 << width) - 1) << shift
        at, shift = at + stride, shift + width
    need(pack(codes, coding) == data, "bits that belong to no coordinate")
    return codes


def hashes(counter, seed, shift, start):
    """h of each counter, for what starts at coordinate `start` of the vector."""
    z = seed + 0x9E3779B97F4A7C15 * (start + 1) & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    key = z ^ z >> 31
    k0, k1 = np.uint32(key & M32), np.uint32(key >> 32)
    x = counter ^ k0
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x7FEB352D)
    x = (x ^ x >> np.uint32(15)) + k1
    x = x * np.uint32(0x846CA68B)
    return (x ^ x >> np.uint32(16)) + np.uint32(shift * 0x10001)


def noise(seed, start, n, coding):
    """u of the n coordinates of the segment that starts at coordinate `start` of the vector."""
    if coding.rounding == NEAREST:
        return np.zeros(n, F32)
    i = np.arange(n, dtype=np.uint32)
    counter = np.uint32(16) * (i // np.uint32(32)) + i % np.uint32(16)
    h = hashes(counter, seed & (1 << 48) - 1, seed >> 48, start)
    k = np.where(i % 32 < 16, h & np.uint32(0xFFFF), h >> np.uint32(16))
    return k.astype(F32) / F32(65536) - (F32(1 / 2) - F32(1 / 131072))


def encode_segment(x, tensor_max, seed, start, coding):
    qmax = 2 ** (coding.bits - 1) - 1
    sizes = coding.blocks(len(x))
    u = noise(seed, start, len(x), coding)
    maxima, at = [], 0
    for m in sizes:
        largest = np.abs(x[at : at + m]).max()
        maxima.append(tensor_max if coding.block == 0 and largest > 0 else largest)
        at += m
    levels = [None if magnitude == 0 else level_of(magnitude) for magnitude in maxima]
    top = max([level for level in levels if level is not None], default=TOP_MIN)
    scale_codes = [0 if level is None else max(1, level - top + 255) for level in levels]
    packed, at = [], 0
    for m, code in zip(sizes, scale_codes):
        if code == 0:
            packed.append(bytes(coding.code_bytes(m)))
        else:
            factor = F32(qmax) / scale(top - 255 + code)
            value = x[at : at + m] * factor + (F32(qmax) + u[at : at + m])
            assert value.dtype == F32
            codes = np.rint(np.clip(value, F32(0), F32(2 * qmax))).astype(np.int64)
            packed.append(pack(codes, coding))
        at += m
    return struct.pack("<h", top) + bytes(scale_codes) + b"".join(packed)


def decode_segment(data, n, gain, seed, start, coding):
    """The values of a segment, and the bytes after it."""
    qmax = 2 ** (coding.bits - 1) - 1
    sizes = coding.blocks(n)
    (top,) = struct.unpack_from("<h", data)
    need(TOP_MIN <= top <= TOP_MAX, "top level")
    scale_codes, data = data[2 : 2 + len(sizes)], data[2 + len(sizes) :]
    u = noise(seed, start, n, coding)
    out, at = np.zeros(n, F32), 0
    for m, code in zip(sizes, scale_codes):
        length = coding.code_bytes(m)
        if code == 0:
            need(not any(data[:length]), "a block of zeros with codes")
        else:
            codes = unpack(data[:length], m, coding)
            need(codes.max() <= 2 * qmax, "code")
            unit = F32(F32(scale(top - 255 + code) / F32(qmax)) * gain)
            q = (codes - qmax).astype(F32)
            out[at : at + m] = unit * (q - u[at : at + m] if coding.rounding == DITHERED else q)
        data, at = data[length:], at + m
    return out, data


# Raw bodies ---------------------------------------------------------------------------------------------------------

def encode_raw(x, kind):
    if kind == FP32:
        return x.astype("<f4").tobytes()
    if kind == FP16:
        with np.errstate(over="ignore"):
            half = x.astype("<f2")
        need(np.isfinite(half).all(), "beyond the range of fp16")
        return half.tobytes()
    word = x.view(np.uint32).astype(np.uint64)  # ties go to the even upper half
    upper = (word + 0x7FFF + (word >> 16 & 1)) >> 16
    need((upper & 0x7F80 != 0x7F80).all(), "beyond the range of bf16")
    return upper.astype("<u2").tobytes()


def decode_raw(body, kind):
    if kind == FP32:
        x = np.frombuffer(body, "<f4").astype(F32)
    elif kind == FP16:
        x = np.frombuffer(body, "<f2").astype(F32)
    else:
        x = (np.frombuffer(body, "<u2").astype(np.uint32) << 16).view(F32)
    need(np.isfinite(x).all(), "NaN or infinity")
    return x


# Payloads -----------------------------------------------------------------------------------------------------------

def frame(index, body):
    head = struct.pack("<I", len(body))
    return head + struct.pack("<I", crc32c(struct.pack("<I", index) + head + body)) + body


def pieces(layout, chunk):
    for start, end, *_ in segments(layout, chunk):
        for at in range(start, end, PIECE):
            yield at, min(at + PIECE, end)


def sealed(index, body):
    """A body behind its checksum alone, which covers the length that is not written."""
    return struct.pack("<I", crc32c(struct.pack("<II", index, len(body)) + body)) + body


def widths_as_bytes(widths):
    pairs = zip(widths[::2], widths[1::2] + [0] * (len(widths) % 2))
    return bytes(low | high << 4 for low, high in pairs)


def encode_plan(layout, x, widths, coding, seed, round, gain=1.0):
    """With these widths, piece after piece; coding is of kind PLAN."""
    prelude = widths_as_bytes(widths)
    after, widths = struct.pack("<I", len(prelude)) + sealed(M32, prelude), iter(widths)
    for chunk in range(chunk_count(layout)):
        body = b""
        for start, end in pieces(layout, chunk):
            width = next(widths)
            if width:
                block = Coding(BLOCK, width, coding.rounding, 64)
                body += encode_segment(x[start:end], 0, seed, start, block)
        after += sealed(chunk, body)
    return assemble(layout, coding, seed, round, gain, after, chunk_count(layout))


def decode_plan(payload, layout, header, coding):
    count = sum(len(list(pieces(layout, chunk))) for chunk in range(chunk_count(layout)))
    need(len(payload) >= 72, "prelude")
    (length,) = struct.unpack_from("<I", payload, 64)
    need(length == -(-count // 2), "length of the prelude")
    prelude, at = payload[72 : 72 + length], 72 + length
    need(len(prelude) == length and sealed(M32, prelude) == payload[68:at], "checksum of the prelude")
    widths = [half for byte in prelude for half in (byte & 15, byte >> 4)]
    need(not any(widths[count:]), "padding of the widths")
    need(all(width in (0, *range(2, 9)) for width in widths), "width")
    widths, out = iter(widths), [np.zeros(0, F32)]
    for chunk in range(chunk_count(layout)):
        parts = [
            (start, end, Coding(BLOCK, width, coding.rounding, 64)) for (start, end), width in zip(pieces(layout, chunk), widths)
        ]
        bytes_of = lambda n, block: 2 + sum(1 + block.code_bytes(m) for m in block.blocks(n))
        length = sum(bytes_of(end - start, block) for start, end, block in parts if block.bits)
        body = payload[at + 4 : at + 4 + length]
        need(len(body) == length and sealed(chunk, body) == payload[at : at + 4 + length], "a chunk or its checksum")
        at += 4 + length
        for start, end, block in parts:
            values = np.zeros(end - start, F32)
            if block.bits:
                values, body = decode_segment(body, end - start, header["gain"], header["seed"], start, block)
            out.append(values)
    need(at == len(payload) and header["body_bytes"] == at - 64, "length")
    return np.concatenate(out)


# Signs --------------------------------------------------------------------------------------------------------------

SIGN_MOST, SCALE_MOST = F32(2.0**100), F32(2.0**104)


def least_power(n):
    """The least power of two of at least max(n, 64)."""
    return max(64, 1 << (n - 1).bit_length())


def sign_blocks(layout, chunk, coding):
    """(start, n, N, whether it is the last) of each block of a chunk."""
    d = coordinates(layout)
    b = max(0, (coding.block if coding.rounding == 2 else d * coding.block // 80_000) - 72)
    at, end = chunk * CHUNK, min((chunk + 1) * CHUNK, d)
    while at < end:
        r = end - at
        size = least_power(r)
        last = size == 64 or 8 * r >= 7 * size or (b * r // d) ** 2 < 4 * r
        n, size = (r, size) if last else (size // 2, size // 2)
        yield at, n, size, last
        at += n


def diagonals(seed, start, size):
    i = np.arange(size, dtype=np.uint32)
    counter = np.uint32(16) * (i // np.uint32(512)) + i % np.uint32(16)
    bit = i // np.uint32(16) % np.uint32(32)
    return [1 - 2 * (hashes(c, seed, 0, start) >> bit & np.uint32(1)).astype(np.int64) for c in (counter, counter + np.uint32(2**31))]


def hadamard(x):
    """H x, by sums and differences; each row of x for itself."""
    apart = 1
    while apart < x.shape[-1]:
        pairs = x.reshape(-1, 2, apart)
        x = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).reshape(x.shape)
        apart *= 2
    return x


def in_pieces(x):
    return hadamard(x.reshape(-1, min(4096, len(x)))).reshape(-1)


def sum_f64(values):
    """In sixteen lanes, as the other implementation happens to."""
    lanes = np.zeros(16)
    padded = np.concatenate([values.astype(np.float64), np.zeros(-len(values) % 16)])
    for row in padded.reshape(-1, 16):
        lanes = lanes + row
    total = 0.0
    for lane in lanes:
        total += lane
    return total


def encode_signs(x, size, count, seed, start):
    """Scale and signs of a block that is not all zero."""
    largest = np.abs(x).max()
    power = F32(2.0 ** min(127, 127 - int(largest.view(np.uint32) >> 23)))
    d1, d2 = (diagonal.astype(F32) for diagonal in diagonals(seed, start, size))
    v = np.zeros(size, F32)
    v[: len(x)] = x * power
    v = in_pieces(v * d1) * d2
    m = 8 * count
    rows = np.zeros(least_power(m), F32)
    for part in v.reshape(-1, min(len(rows), size)):
        rows = rows + part
    y = hadamard(rows)[:m]
    assert y.dtype == F32
    total = sum_f64(np.abs(y))
    with np.errstate(over="ignore"):
        scale = F32(sum_f64(x.astype(np.float64) ** 2) * float(power) / total) if total else F32(0)
    planes = (y < 0).astype(np.uint8).reshape(8, count) << np.arange(8, dtype=np.uint8)[:, None]
    return min(scale, SCALE_MOST).astype("<f4").tobytes() + planes.sum(0).astype(np.uint8).tobytes()


def decode_signs(scale, signs, n, size, gain, seed, start):
    count = len(signs)
    need(1 <= count <= size // 8, "count")
    need(0 <= scale <= SCALE_MOST and not np.signbit(scale), "scale")
    s = np.zeros(least_power(8 * count), np.int64)
    planes = np.frombuffer(signs, np.uint8)[None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    s[: 8 * count] = 1 - 2 * planes.reshape(-1).astype(np.int64)
    d1, d2 = diagonals(seed, start, size)
    u = hadamard(s)
    w = in_pieces(np.resize(u, size) * d2) * d1
    assert np.abs(w).max() <= 2**22
    return w[:n].astype(F32) * F32(scale * gain)


def varint(number):
    out = []
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + [number])


def read_varint(data):
    number, at = 0, 0
    while True:
        need(at < min(5, len(data)), "varint")
        number |= (data[at] & 127) << 7 * at
        at += 1
        if data[at - 1] < 128:
            need(at == 1 or data[at - 1] > 0, "varint longer than it takes")
            return number, data[at:]


def encode_sign(layout, x, coding, seed, round, gain=1.0, counts=None):
    """With these counts, block after block, of those that are not all zero; or, of one block, what fits."""
    need(len(x) == coordinates(layout), "length")
    need(np.isfinite(x).all() and (np.abs(x) <= SIGN_MOST).all(), "NaN, infinity or magnitude above 2^100")
    chunks = range(chunk_count(layout))
    if counts is None:
        (block,) = [block for chunk in chunks for block in sign_blocks(layout, chunk, coding)] or [None]
        budget = len(x) * coding.block // 80_000
        counts = [max(1, min(block[2] // 8, budget - 72))] if block else []
    counts, bodies = iter(counts), []
    for chunk in chunks:
        body = b""
        for start, n, size, last in sign_blocks(layout, chunk, coding):
            values = x[start : start + n]
            count = next(counts) if values.any() else 0
            body += b"" if last else struct.pack("<H", count)
            body += encode_signs(values, size, count, seed, start) if count else b""
        bodies.append(body)
    after = b"".join(sealed(index, body) for index, body in enumerate(bodies))
    if len(bodies) > 1:
        prelude = b"".join(varint(len(body)) for body in bodies)
        after = struct.pack("<I", len(prelude)) + sealed(M32, prelude) + after
    return assemble(layout, coding, seed, round, gain, after, len(bodies))


def decode_sign(payload, layout, header, coding):
    chunks, at = chunk_count(layout), 64
    if chunks > 1:
        need(len(payload) >= 72, "prelude")
        (length,) = struct.unpack_from("<I", payload, 64)
        prelude, at = payload[72 : 72 + length], 72 + length
        need(len(prelude) == length and sealed(M32, prelude) == payload[68:at], "checksum of the prelude")
        lengths = []
        for _ in range(chunks):
            length, prelude = read_varint(prelude)
            lengths.append(length)
        need(not prelude, "a byte behind the lengths")
    else:
        lengths = [header["body_bytes"] - 4] * chunks
    out = [np.zeros(0, F32)]
    for chunk, length in enumerate(lengths):
        need(0 <= length <= len(payload) - at - 4, "length of a chunk")
        body = payload[at + 4 : at + 4 + length]
        need(sealed(chunk, body) == payload[at : at + 4 + length], "checksum of a chunk")
        at += 4 + length
        for start, n, size, last in sign_blocks(layout, chunk, coding):
            if last:
                count = len(body) - 4
                need(not body or count > 0, "count")
            else:
                need(len(body) >= 2, "count")
                count, body = struct.unpack_from("<H", body)[0], body[2:]
            values = np.zeros(n, F32)
            if count > 0:
                need(len(body) >= 4 + count, "signs")
                scale, signs, body = F32(struct.unpack_from("<f", body)[0]), body[4 : 4 + count], body[4 + count :]
                values = decode_signs(scale, signs, n, size, header["gain"], header["seed"], start)
            out.append(values)
        assert not body
    need(at == len(payload) and header["body_bytes"] == at - 64, "length")
    return np.concatenate(out)


def assemble(layout, coding, seed, round, gain, after, chunks):
    header = HEADER.pack(
        b"NIBL", 1, coding.kind, coding.bits, coding.rounding, coding.block, gain, layout_hash(layout), round, seed,
        coordinates(layout), len(after), chunks,
    )
    return header + struct.pack("<I", crc32c(header)) + after


def encode(layout, x, coding, seed, round, gain=1.0):
    if coding.kind == SIGN:
        return encode_sign(layout, x, coding, seed, round, gain)
    need(len(x) == coordinates(layout), "length")
    need(np.isfinite(x).all(), "NaN or infinity")
    if coding.kind == BLOCK:
        need((np.abs(x) <= MAGNITUDE_MAX).all(), "magnitude above 2^120")
    bodies = []
    for chunk in range(chunk_count(layout)):
        if coding.kind == BLOCK:
            body = b"".join(
                encode_segment(x[start:end], np.abs(x[tensor:tensor_end]).max(), seed, start, coding)
                for start, end, tensor, tensor_end in segments(layout, chunk)
            )
        else:
            body = encode_raw(x[chunk * CHUNK : (chunk + 1) * CHUNK], coding.kind)
        assert len(body) == coding.body_bytes(layout, chunk)
        bodies.append(body)
    chunks = b"".join(frame(index, body) for index, body in enumerate(bodies))
    return assemble(layout, coding, seed, round, gain, chunks, len(bodies))


def parse_header(payload):
    need(len(payload) >= 64, "header")
    header = dict(zip(FIELDS, HEADER.unpack_from(payload)))
    need(header["magic"] == b"NIBL" and header["version"] == 1, "magic or version")
    need(crc32c(payload[:60]) == struct.unpack_from("<I", payload, 60)[0], "checksum of the header")
    header["gain"] = F32(header["gain"])
    coding = Coding(header["kind"], header["bits"], header["rounding"], header["block"])
    coding.check(header["gain"])
    return header, coding


def decode(payload, layout):
    header, coding = parse_header(payload)
    need(header["layout"] == layout_hash(layout), "layout")
    need(header["coordinates"] == coordinates(layout), "coordinates")
    need(header["chunks"] == chunk_count(layout), "chunks")
    if coding.kind == PLAN:
        return decode_plan(payload, layout, header, coding)
    if coding.kind in (SIGN, AUTO):
        return decode_sign(payload, layout, header, coding)
    lengths = [coding.body_bytes(layout, chunk) for chunk in range(chunk_count(layout))]
    need(header["body_bytes"] == sum(8 + length for length in lengths), "body bytes")
    need(len(payload) == 64 + header["body_bytes"], "length")
    out, at = [np.zeros(0, F32)], 64
    for index, length in enumerate(lengths):
        need(struct.unpack_from("<I", payload, at)[0] == length, "length of a chunk")
        body = payload[at + 8 : at + 8 + length]
        need(frame(index, body) == payload[at : at + 8 + length], "checksum of a chunk")
        at += 8 + length
        if coding.kind != BLOCK:
            out.append(decode_raw(body, coding.kind))
            continue
        for start, end, *_ in segments(layout, index):
            values, body = decode_segment(body, end - start, header["gain"], header["seed"], start, coding)
            out.append(values)
        assert not body
    return np.concatenate(out)


# Test vectors -------------------------------------------------------------------------------------------------------

def bits(n, stream):
    """n random u32, the same on every machine."""
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(stream * 0x85EBCA6B & M32)
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = (x ^ x >> np.uint32(shift)) * np.uint32(factor)
    return x ^ x >> np.uint32(15)


def uniform(n, stream):
    """In [-1, 1), on a grid of 2^-23."""
    return (bits(n, stream) >> np.uint32(8)).astype(F32) / F32(2**23) - F32(1)


def update(n, stream):
    """As updates are: most values small, a few large."""
    return uniform(n, stream) * uniform(n, stream + 1000) * uniform(n, stream + 2000) * F32(0.01)


def wide(n, stream, low, high):
    """Magnitudes from 2^low to 2^high, log-uniform."""
    exponent = (bits(n, stream + 3000) % np.uint32(high - low)).astype(np.int32) + low
    mantissa = F32(1) + np.abs(uniform(n, stream)) * F32(0.5)
    sign = np.where(bits(n, stream + 4000) & 1, F32(-1), F32(1))
    return np.ldexp(mantissa, exponent).astype(F32) * sign


def flat(*sizes):
    return [(f"t{i}", [n]) for i, n in enumerate(sizes)]


def floats(*values):
    return np.array(values, F32)


def above(value):
    return np.nextafter(F32(value), F32(np.inf))


def reseal(payload):
    """Both kinds of checksum made right again, by the length fields that are there."""
    out = payload[:60] + struct.pack("<I", crc32c(payload[:60]))
    at, index = 64, 0
    while at < len(payload):
        (length,) = struct.unpack_from("<I", payload, at)
        out += frame(index, payload[at + 8 : at + 8 + length])
        at, index = at + 8 + length, index + 1
    return out


def resealed_head(payload):
    return payload[:60] + struct.pack("<I", crc32c(payload[:60])) + payload[64:]


def patch(payload, at, new):
    return reseal(payload[:at] + bytes(new) + payload[at + len(new) :])


class Vectors:
    def __init__(self):
        self.blob, self.places = b"", {}
        self.cases = {"encode": [], "decode": [], "unencodable": [], "undecodable": []}

    def put(self, data):
        data = data if isinstance(data, bytes) else data.astype("<f4").tobytes()
        if data not in self.places:
            self.places[data] = [len(self.blob), len(data)]
            self.blob += data
        return self.places[data]

    def encode(self, name, scheme, layout, x, seed, round):
        payload = encode(layout, x, Coding.named(scheme), seed, round)
        self.cases["encode"].append({
            "name": name, "scheme": scheme, "seed": seed, "round": round, "layout": layout,
            "input": self.put(x), "payload": self.put(payload), "decoded": self.put(decode(payload, layout)),
        })
        return payload

    def decode(self, name, payload, layout):
        decoded = decode(payload, layout)
        self.cases["decode"].append(
            {"name": name, "layout": layout, "payload": self.put(payload), "decoded": self.put(decoded)})

    def unencodable(self, name, scheme, layout, x):
        try:
            encode(layout, x, Coding.named(scheme), 1, 1)
        except Refused:
            self.cases["unencodable"].append(
                {"name": name, "scheme": scheme, "seed": 1, "round": 1, "layout": layout, "input": self.put(x)})
        else:
            raise AssertionError(f"{name} was encoded")

    def undecodable(self, name, payload, layout):
        try:
            decode(payload, layout)
        except Refused:
            self.cases["undecodable"].append({"name": name, "layout": layout, "payload": self.put(payload)})
        else:
            raise AssertionError(f"{name} was decoded")

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vectors.bin").write_bytes(self.blob)
        groups = []
        for group, cases in self.cases.items():
            lines = ",\n".join("    " + json.dumps(case) for case in cases)
            groups.append(f'  "{group}": [\n{lines}\n  ]')
        (folder / "vectors.json").write_text("{\n" + ",\n".join(groups) + "\n}\n")
        print({group: len(cases) for group, cases in self.cases.items()}, len(self.blob), "bytes")


def vectors():
    v = Vectors()
    usual = [("weight", [7, 31]), ("bias", [31]), ("empty", [0, 5]), ("scalar", []), ("last", [100])]
    x = update(coordinates(usual), 1)
    for scheme in ["fp32", "fp16", "bf16"]:
        v.encode(f"{scheme}, usual", scheme, usual, x, 5, 9)
    for width in range(2, 9):
        for rounding in ["stochastic", "nearest", "dithered"]:
            v.encode(f"{width} bits, {rounding}", f"int{width}:{rounding}", usual, x, 2**64 - width, width)
    for i, block in enumerate([32, 128, 256, 512, 1024, 2048, 4096]):
        scheme = f"int{2 + i}:block{block}:" + ["dithered", "nearest", "stochastic"][i % 3]
        v.encode(f"block size, {scheme}", scheme, flat(block + 37, 1, 70), update(block + 108, 10), i, 2**64 - 1)
    for scheme in ["int2:tensor:nearest", "int3:tensor:dithered", "int7:tensor"]:
        v.encode(f"one scale a tensor, {scheme}", scheme, usual, x, 77, 0)
    v.encode("every tail", "int3", flat(*range(1, 36)), update(630, 20), 3, 1)
    v.encode("every tail in planes of 4, 2, 1", "int7:block32", flat(*range(1, 36)), update(630, 20), 3, 1)
    # Several chunks: a tensor that crosses the border with zeros beyond it, one whole block of zeros, a tail.
    big = [("before", [300]), ("across", [257, 256]), ("after", [65])]
    y = update(coordinates(big), 30)
    y[65536 : 300 + 257 * 256] = 0
    y[1000:60000] *= (bits(59000, 31) & 7 == 0)
    for scheme in ["int4", "int3:tensor:dithered"]:
        v.encode(f"two chunks, {scheme}", scheme, big, y, 123456789, 4)
    sparse = np.zeros(65537, F32)
    sparse[[0, 32768, 65535, 65536]] = 1, -2, 4, -8
    for scheme in ["fp16", "int2:block4096:nearest"]:
        v.encode(f"a second chunk of one coordinate, {scheme}", scheme, flat(65537), sparse, 0, 0)
    # Edges.
    for scheme in ["fp32", "int4"]:
        v.encode(f"no tensors, {scheme}", scheme, [], floats(), 1, 1)
        v.encode(f"empty tensors, {scheme}", scheme, flat(0, 0), floats(), 1, 1)
    v.encode("one coordinate", "int5", flat(1), floats(-0.3), 1, 1)
    v.encode("a name beyond ASCII", "int8", [("größe/重み", [3, 1, 2])], floats(1, 2, 3, -4, 5, 6), 1, 1)
    v.encode("zeros and negative zeros", "int4", flat(70, 70), np.tile(floats(0, -0.0), 70), 1, 1)
    v.encode("zeros, dithered", "int4:dithered", flat(70), np.zeros(70, F32), 1, 1)
    for scheme in ["fp32", "fp16", "bf16"]:
        v.encode(f"negative zero, {scheme}", scheme, flat(3), floats(0, -0.0, 1), 1, 1)
    holes = update(1000, 40)
    holes[64:128] = 0
    holes[512:1000] = -0.0
    for scheme in ["int6", "int6:dithered", "int6:tensor:dithered"]:
        v.encode(f"blocks of zeros, {scheme}", scheme, flat(1000), holes, 6, 6)
    v.encode("constant", "int4", flat(200), np.full(200, 0.1, F32), 8, 8)
    v.encode("powers of two and their neighbours", "int8:block32:nearest", flat(*[1] * 9),
             floats(1, above(1), -above(1), 0.5, above(0.5), 2, F32(1) - F32(2**-24), -4, above(2**-100)), 1, 1)
    v.encode("every scale of an octave, and just above", "int8:nearest", flat(*[1] * 32),
             np.concatenate([OCTAVE, above(OCTAVE)]), 1, 1)
    v.encode("ties", "int4:nearest", flat(29), (np.arange(29, dtype=F32) - F32(14)) / F32(2) / F32(7), 1, 1)
    tiny = np.arange(130, dtype=np.uint32).view(F32)  # the smallest denormals
    for scheme in ["fp32", "fp16", "bf16", "int4", "int2:nearest"]:
        v.encode(f"denormals, {scheme}", scheme, flat(130), tiny, 1, 1)
    v.encode("about 2^-100", "int5", flat(300), wide(300, 50, -110, -95), 2, 1)
    for scheme in ["int8:block32", "int2:block32:dithered", "int4:tensor"]:
        v.encode(f"from 2^-120 to 2^119, {scheme}", scheme, flat(700), wide(700, 51, -120, 119), 2, 1)
    faint = np.concatenate([wide(64, 52, -4, 0), wide(64, 53, -22, -20), wide(64, 54, -16, -14), wide(64, 55, -40, -30)])
    v.encode("blocks more than 254 levels below the top", "int4", flat(256), faint, 2, 1)
    largest = floats(2.0**120, -(2.0**120), 2.0**119, 2.0**90, -1, 0)
    for scheme in ["int2", "int4:nearest", "int8:dithered", "int3:tensor"]:
        v.encode(f"magnitude 2^120, {scheme}", scheme, flat(6), largest, 2, 1)
    ends = floats(np.finfo(F32).max, -np.finfo(F32).max, 2.0**-149)
    v.encode("the ends of binary32", "fp32", flat(3), ends, 2, 1)
    v.encode("the ends of binary16", "fp16", flat(6),
             floats(65504, -65519.996, 2.0**-24, 2.0**-25, above(2.0**-25), 6.1e-5), 2, 1)
    bf16_words = [0x7F7F7FFF, 0xFF7F7FFF, 0x3F808000, 0x3F818000, 0x3F808001, 0x00008000, 0x00008001, 0x80018000]
    v.encode("ties and ends of bfloat16", "bf16", flat(8), np.array(bf16_words, np.uint32).view(F32), 2, 1)

    # Payloads to decode only.
    for gain in [0.0, 0.3, 1e-30, 1e-44]:
        for rounding in ["stochastic", "dithered"]:
            coding = Coding.named(f"int4:{rounding}")
            v.decode(f"gain {gain}, {rounding}", encode(usual, x, coding, 4, 2, gain), usual)
    small = encode(flat(40), update(40, 60), Coding.named("int3:block32:dithered"), 9, 9)
    segment = 64 + 8  # top level, 2 scale codes, planes
    v.decode("a gain of -0", patch(small, 12, struct.pack("<f", -0.0)), flat(40))
    v.decode("the lowest level there is, -1600 - 254", patch(small, segment, struct.pack("<hBB", -1600, 1, 1)), flat(40))
    v.decode("a top level that no block has", patch(small, segment, struct.pack("<hBB", 1920, 200, 3)), flat(40))
    v.decode("the greatest values", patch(small, segment, struct.pack("<hBB", 1920, 255, 255)), flat(40))
    zeros = encode(flat(40), np.zeros(40, F32), Coding.named("int3:block32"), 9, 9)
    v.decode("zeros under a top level above -1600", patch(zeros, segment, struct.pack("<h", 5)), flat(40))
    raw = encode(flat(3), floats(1, 2, 3), Coding.named("fp32"), 9, 9)
    half = encode(flat(3), floats(1, 2, 3), Coding.named("fp16"), 9, 9)
    brain = encode(flat(3), floats(1, 2, 3), Coding.named("bf16"), 9, 9)
    planned = [("before", [3000]), ("across", [257, 256]), ("empty", [0]), ("tail", [31, 3])]
    y = update(coordinates(planned), 70)
    count = sum(len(list(pieces(planned, chunk))) for chunk in range(chunk_count(planned)))
    for rounding in [STOCHASTIC, NEAREST, DITHERED]:
        widths = [[0, 2, 3, 4, 5, 6, 7, 8][(5 * at + rounding) % 8] for at in range(count)]
        payload = encode_plan(planned, y, widths, Coding(PLAN, 0, rounding, 40_000), 4, rounding, [1, 1, 0.4][rounding - 1])
        v.decode(f"planned widths, rounding {rounding}", payload, planned)
    v.decode("a plan that sends nothing", encode_plan(planned, y, [0] * count, Coding(PLAN, 0, 1, 200), 4, 1), planned)
    v.decode("a plan of no coordinates", encode_plan([], floats(), [], Coding(PLAN, 0, 1, 72), 4, 1), [])
    v.decode("binary16 denormals", patch(half, segment, struct.pack("<HHH", 1, 0x83FF, 0x8000)), flat(3))

    # Signs.
    for scheme, n, seed in [("sign", 1, 1), ("sign", 2, 2**64 - 1), ("sign:0.05", 64, 3), ("sign", 1000, 2**48 + 5), ("sign:0.9", 1024, 6),
                            ("sign:0.5", 1500, 7), ("sign:0.25", 4097, 8), ("sign", 8192, 9), ("sign:0.07", 40_000, 10), ("sign:0.7", 14_400, 11)]:
        v.encode(f"{scheme} of {n}", scheme, flat(n // 3, n - n // 3), update(n, 80), seed, 2)
    for scheme in ["sign", "sign:0.1"]:
        v.encode(f"no coordinates, {scheme}", scheme, flat(0), floats(), 1, 1)
        v.encode(f"zeros of both signs, {scheme}", scheme, flat(70), np.tile(floats(0, -0.0), 35), 1, 1)
    v.encode("a sign of one spike", "sign", flat(2000), np.eye(1, 2000, 777, dtype=F32)[0], 5, 1)
    v.encode("signs of denormals", "sign", flat(1000), np.arange(1000, dtype=np.uint32).view(F32), 5, 1)
    v.encode("signs of magnitude 2^100", "sign", flat(1010), wide(1010, 81, -120, 100).clip(-SIGN_MOST, SIGN_MOST), 5, 1)
    # An encoder that divides bytes among blocks in another way.
    cut = flat(1500)
    y = update(1500, 82)
    for counts in [[128, 64], [1, 1], [77, 5]]:
        v.decode(f"blocks with signs of {counts}", encode_sign(cut, y, Coding.named("sign"), 3, 3, 1.0, counts), cut)
    y[1024:] = 0
    v.decode("a last block of zeros", encode_sign(cut, y, Coding.named("sign"), 3, 3, 0.5, [100]), cut)
    v.decode("a first block of zeros", encode_sign(cut, y[::-1] * (np.arange(1500) >= 1024), Coding.named("sign"), 3, 3, 0.5, [60]), cut)
    y = update(coordinates(big), 83)
    blocks = len(list(sign_blocks(big, 1, Coding.named("sign"))))
    v.decode("signs of two chunks", encode_sign(big, y, Coding.named("sign"), 2**63, 4, 0.25, [700] + [16] * blocks), big)
    y[:65536] = 0
    v.decode("no signs of the first of two chunks", encode_sign(big, y, Coding.named("sign"), 2**63, 4, 0.25, [8] * blocks), big)
    for gain in [0.0, 1e-30, 1e-44]:
        v.decode(f"signs at a gain of {gain}", encode_sign(flat(500), update(500, 84), Coding.named("sign"), 9, 9, gain), flat(500))
    for rounding, block in [(1, 10_000), (2, 170), (1, 0), (2, 2**32 - 1), (1, 2**32 - 1)]:
        held = encode_sign(cut, update(1500, 85), Coding(AUTO, 1, rounding, block), 6, 6, 1.0,
                           [9] * len(list(sign_blocks(cut, 0, Coding(AUTO, 1, rounding, block)))))
        v.decode(f"auto that holds signs, aim {rounding} {block}", held, cut)

    # Vectors that no encoder takes.
    for scheme in ["fp32", "fp16", "bf16", "int4", "int2:tensor:nearest"]:
        for bad in [np.nan, np.inf, -np.inf]:
            v.unencodable(f"{bad}, {scheme}", scheme, flat(3), floats(1, bad, 2))
    for scheme in ["int2", "int4:nearest", "int8:tensor"]:
        v.unencodable(f"above 2^120, {scheme}", scheme, flat(2), floats(0, -above(2.0**120)))
    for bad in [np.nan, np.inf, above(2.0**100)]:
        v.unencodable(f"{bad}, sign", "sign", flat(3), floats(1, -bad, 2))
    v.unencodable("65520 in binary16", "fp16", flat(1), floats(-65520))
    v.unencodable("rounds to infinity in bfloat16", "bf16", flat(1), np.array([0x7F7F8000], np.uint32).view(F32))

    # Payloads that no decoder takes.
    layout = flat(40)
    for name, at, new in [
        ("magic", 0, b"NIBB"), ("version 0", 4, [0]), ("version 2", 4, [2]), ("kind 0", 5, [0]), ("kind 8", 5, [8]),
        ("kind fp32 with 3 bits", 5, [1]), ("1 bit", 6, [1]), ("9 bits", 6, [9]), ("4 bits, lengths of 3", 6, [4]),
        ("rounding 0", 7, [0]), ("rounding 4", 7, [4]), ("block 16", 8, struct.pack("<I", 16)),
        ("block 33", 8, struct.pack("<I", 33)), ("block 8192", 8, struct.pack("<I", 8192)),
        ("block 64, lengths of 32", 8, struct.pack("<I", 64)), ("gain NaN", 12, struct.pack("<f", np.nan)),
        ("gain above 1", 12, struct.pack("<f", above(1))), ("gain below 0", 12, struct.pack("<f", -1e-45)),
        ("gain infinite", 12, struct.pack("<f", np.inf)), ("layout", 16, [small[16] ^ 1]),
        ("coordinates", 40, [41]), ("coordinates 2^63", 47, [0x80]), ("body bytes", 48, [small[48] + 1]),
        ("no chunks", 56, [0]), ("two chunks", 56, [2]), ("top level -1601", segment, struct.pack("<h", -1601)),
        ("top level 1921", segment, struct.pack("<h", 1921)), ("zero block with codes", segment + 2, [0]),
        ("code 7 of 3 bits", segment + 4, [small[segment + 4] | 3] + [0] * 7 + [small[segment + 12] | 1]),
    ]:
        v.undecodable(name, patch(small, at, new), layout)
    v.undecodable("checksum of the header", small[:60] + bytes([small[60] ^ 1]) + small[61:], layout)
    v.undecodable("checksum of a chunk", small[:68] + bytes([small[68] ^ 1]) + small[69:], layout)
    v.undecodable("a changed body", small[:-1] + bytes([small[-1] ^ 1]), layout)
    v.undecodable("length of a chunk", patch(small[:64] + frame(0, small[72:-1]), 48, [len(small) - 65]), layout)
    v.undecodable("a byte left over", small + b"\0", layout)
    v.undecodable("a byte left over, counted as body", patch(small[:64], 48, [small[48] + 1]) + small[64:] + b"\0", layout)
    for length in [0, 63, 64, 71, 72, len(small) - 1]:
        v.undecodable(f"cut to {length} bytes", small[:length], layout)
    v.undecodable("another name", small, [("t", [40])])
    v.undecodable("another shape of the same size", small, [("t0", [5, 8])])
    for scheme in ["int2", "int3", "int4", "int5", "int6", "int7"]:
        tail = encode(flat(1), floats(1), Coding.named(scheme), 9, 9)
        for at in range(segment + 3, len(tail)):
            v.undecodable(f"a bit of no coordinate, {scheme}, byte {at - segment - 3} of codes",
                          patch(tail, at, [tail[at] | 0x80]), flat(1))
    for scheme, at in [("int2", 0), ("int4", 0), ("int8", 0)]:
        full = encode(flat(100), update(100, 61), Coding.named(scheme), 9, 9)
        v.undecodable(f"the last code, {scheme}", patch(full, segment + 4, [255]), flat(100))
    two = encode(flat(65537), np.zeros(65537, F32), Coding.named("int2:tensor"), 9, 9)
    v.undecodable("chunk 1 of one coordinate with a code", patch(two, len(two) - 1, [1]), flat(65537))
    three = flat(2500)
    plan = encode_plan(three, update(2500, 71), [3, 0, 8], Coding(PLAN, 0, 1, 5000), 9, 9)
    head = lambda at, new: resealed_head(plan[:at] + bytes(new) + plan[at + len(new) :])
    for name, payload in [
        ("bits", head(6, [4])), ("rounding 0", head(7, [0])), ("rounding 4", head(7, [4])), ("no bytes", head(8, [0] * 4)),
        ("gain above 1", head(12, struct.pack("<f", above(1)))), ("length of the prelude", head(64, [3])),
        ("checksum of the prelude", head(68, [plan[68] ^ 1])), ("body bytes", head(48, [plan[48] ^ 1])),
        ("cut", plan[:-1]), ("a byte left over", plan + b"\0"), ("cut in the prelude", plan[:73]), ("cut to its header", plan[:64]),
    ]:
        v.undecodable(f"plan, {name}", payload, three)
    for widths in [[3, 1, 8], [3, 9, 8], [3, 15, 8], [3, 0, 8, 2], [3, 0], [3, 2, 8], [3, 0, 7]]:
        prelude = widths_as_bytes(widths)
        other = plan[:64] + struct.pack("<I", len(prelude)) + sealed(M32, prelude) + plan[74:]
        body_bytes = struct.pack("<Q", len(other) - 64)
        v.undecodable(f"plan, widths {widths}", resealed_head(other[:48] + body_bytes + other[56:]), three)
    one, two = flat(500), flat(1500)
    alone = encode_sign(one, update(500, 86), Coding.named("sign"), 9, 9)
    pair = encode_sign(two, update(1500, 87), Coding.named("sign"), 9, 9, 1.0, [100, 40])
    chunks = encode_sign(flat(65_600), update(65_600, 88), Coding.named("sign"), 9, 9, 1.0, [50, 8])

    def resized(payload, body):
        """A payload of one chunk with another body."""
        payload = payload[:64] + sealed(0, bytes(body))
        return resealed_head(payload[:48] + struct.pack("<Q", len(payload) - 64) + payload[56:])

    head = lambda at, new: resealed_head(alone[:at] + bytes(new) + alone[at + len(new) :])
    for name, payload in [
        ("bits 0", head(6, [0])), ("bits 2", head(6, [2])), ("a rounding", head(7, [1])),
        ("a rate of 499", head(8, struct.pack("<I", 499))), ("a rate of 10,001", head(8, struct.pack("<I", 10_001))),
        ("gain above 1", head(12, struct.pack("<f", above(1)))), ("a step of auto", head(5, [5, 1, 3])),
        ("body bytes", head(48, [alone[48] ^ 1])), ("body bytes of 3", head(48, [3, 0])), ("body bytes 2^63", head(55, [0x80])),
        ("cut", alone[:-1]), ("a byte left over", alone + b"\0"), ("cut to its header", alone[:64]), ("cut in its checksum", alone[:67]),
        ("a checksum", alone[:64] + bytes([alone[64] ^ 1]) + alone[65:]), ("more than a sign for each row", resized(alone, alone[68:72] + bytes(65))),
        ("a scale and no sign", resized(alone, alone[68:72])), ("half a scale", resized(alone, alone[68:70])),
    ] + [
        (f"a scale of {scale}", resized(alone, struct.pack("<f", scale) + alone[72:]))
        for scale in [np.nan, np.inf, -1.0, -0.0, above(2.0**104)]
    ]:
        v.undecodable(f"sign, {name}", payload, one)
    body = pair[68:]
    for name, new in [
        ("nothing", b""), ("half a count", body[:1]), ("no scale", body[:2]), ("signs that are missing", body[:100]),
        ("a count of 129", struct.pack("<H", 129) + body[2:6] + bytes(129)), ("a scale and no sign in the last", body[:110]),
        ("a count of 0 and a byte", b"\0\0\0"), ("more than a sign for each row of the last", body + bytes(60)),
    ]:
        v.undecodable(f"two blocks, {name}", resized(pair, new), two)
    assert struct.unpack_from("<I", chunks, 64) == (2,)
    for name, prelude in [("one length", [54]), ("three lengths", [54, 12, 0]), ("other lengths", [55, 11]), ("an open varint", [54, 140]),
                          ("a longer varint", [182, 0, 12]), ("a length too large", [0xFF, 0xFF, 3, 12])]:
        other = chunks[:64] + struct.pack("<I", len(prelude)) + sealed(M32, bytes(prelude)) + chunks[74:]
        v.undecodable(f"sign, {name}", resealed_head(other[:48] + struct.pack("<Q", len(other) - 64) + other[56:]), flat(65_600))
    v.undecodable("sign, checksum of the prelude", chunks[:68] + bytes([chunks[68] ^ 1]) + chunks[69:], flat(65_600))
    v.undecodable("sign, no coordinates and a chunk", resized(encode_sign([], floats(), Coding.named("sign"), 1, 1), b""), [])
    for name, payload, word in [("fp32", raw, struct.pack("<I", 0x7FC00000)), ("fp32", raw, struct.pack("<I", 0xFF800000)),
                                ("fp16", half, struct.pack("<H", 0x7C00)), ("fp16", half, struct.pack("<H", 0xFC01)),
                                ("bf16", brain, struct.pack("<H", 0xFF80)), ("bf16", brain, struct.pack("<H", 0x7FFF))]:
        v.undecodable(f"{name} {word[::-1].hex()}", patch(payload, segment, word), flat(3))
    for name, at, new in [("16 bits", 6, [16]), ("a rounding", 7, [2]), ("a block", 8, [64]),
                          ("a gain", 12, struct.pack("<f", 0.5))]:
        v.undecodable(f"fp32 with {name}", patch(raw, at, new), flat(3))
    v.undecodable("no coordinates, with a chunk", encode([], floats(), Coding.named("fp32"), 1, 1) + frame(0, b""), [])
    return v


# Files --------------------------------------------------------------------------------------------------------------

def safetensors(path):
    """Layout and values of a file of F32 tensors, in the order of their data."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = json.loads(data[8 : 8 + length])
    tensors.pop("__metadata__", None)
    assert all(tensor["dtype"] == "F32" for tensor in tensors.values())
    ordered = sorted(tensors.items(), key=lambda item: item[1]["data_offsets"])
    return [(name, t["shape"]) for name, t in ordered], np.frombuffer(data[8 + length :], "<f4").astype(F32)


def check(payload, like):
    layout, x = safetensors(like)
    payload = Path(payload).read_bytes()
    y = decode(payload, layout)
    header, coding = parse_header(payload)
    again = encode(layout, x, coding, header["seed"], header["round"], header["gain"])
    x, y = x.astype(np.float64), y.astype(np.float64)
    share = ((x - y) ** 2).sum() / (x**2).sum()
    print("the same bytes" if again == payload else "OTHER BYTES", f"gain {header['gain']} nmse {share:.6f}")
    return again == payload


def main(arguments):
    match arguments:
        case ["vectors", folder]:
            vectors().write(Path(folder))
        case ["decode", payload, like, out]:
            decoded = decode(Path(payload).read_bytes(), safetensors(like)[0])
            Path(out).write_bytes(decoded.astype("<f4").tobytes())
        case ["check", payload, like]:
            sys.exit(not check(payload, like))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

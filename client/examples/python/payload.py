"""Payloads as docs/wire-format.md draws them, written from that page alone: fp32, and int2 to int8 with all their arguments.

All arithmetic marked f32 there is numpy's float32, one operation at a time, so payloads agree bit for bit with any other encoder.
Not here: fp16 and bf16, and speed beyond what numpy gives. `encode` and `decode` are the two functions to call; a layout is
a list of (name, shape).
"""

import hashlib
import struct
from dataclasses import dataclass
from math import prod

import numpy as np

CHUNK = 65_536
HEADER = struct.Struct("<4sBBBBIfQQQQQI")
FP32, BLOCK = 1, 4
ROUNDINGS = {"stochastic": 1, "nearest": 2, "dithered": 3}
STOCHASTIC, NEAREST, DITHERED = ROUNDINGS.values()
BLOCKS = [2**exponent for exponent in range(5, 13)]
PLANES = {2: [2], 3: [2, 1], 4: [4], 5: [4, 1], 6: [4, 2], 7: [4, 2, 1], 8: [8]}

OCTAVE = np.array(
    [0x3F800000, 0x3F85AAC3, 0x3F8B95C2, 0x3F91C3D3, 0x3F9837F0, 0x3F9EF532, 0x3FA5FED7, 0x3FAD583F,
     0x3FB504F3, 0x3FBD08A4, 0x3FC5672A, 0x3FCE248C, 0x3FD744FD, 0x3FE0CCDF, 0x3FEAC0C7, 0x3FF5257D],
    dtype=np.uint32,
).view(np.float32)
LEVELS = np.arange(-1854, 1921)
SCALES = np.ldexp(OCTAVE[LEVELS % 16], LEVELS // 16)
LOWEST, TOP_LOWEST, TOP_HIGHEST = -1854, -1600, 1920


class Malformed(ValueError):
    """A payload, a vector or a scheme that must be refused."""


@dataclass(frozen=True)
class Scheme:
    """A compression scheme, such as `int4+ef`. `block` 0 is one scale for the tensor."""

    kind: int
    bits: int
    rounding: int = 0
    block: int = 0
    error_feedback: bool = False

    @staticmethod
    def parse(text):
        name, *suffix = text.split("+")
        name, *arguments = name.split(":")
        if suffix not in ([], ["ef"]):
            raise Malformed(f"unknown scheme {text}")
        if name == "fp32" and not arguments:
            return Scheme(FP32, 32, error_feedback=bool(suffix))
        if name not in [f"int{bits}" for bits in PLANES]:
            raise Malformed(f"unknown scheme {text}")
        rounding, block = STOCHASTIC, 64
        for argument in arguments:
            if argument in ROUNDINGS:
                rounding = ROUNDINGS[argument]
            elif argument == "tensor":
                block = 0
            elif argument in [f"block{block}" for block in BLOCKS]:
                block = int(argument.removeprefix("block"))
            else:
                raise Malformed(f"unknown scheme {text}")
        return Scheme(BLOCK, int(name.removeprefix("int")), rounding, block, bool(suffix))


def encode(vector, layout, scheme, round, seed):
    """The payload of a flat f32 vector."""
    vector = np.asarray(vector, dtype="<f4")
    if not np.isfinite(vector).all() or (scheme.kind == BLOCK and (np.abs(vector) > 2.0**120).any()):
        raise Malformed("a value that has no code")
    payload = _assemble(vector, layout, scheme, round, seed, gain=1.0)
    if scheme.error_feedback and scheme.kind == BLOCK:
        gain = _gain(vector, decode(payload, layout, round))
        if gain < 1.0:
            payload = _assemble(vector, layout, scheme, round, seed, gain)
    return payload


def decode(payload, layout, round=None):
    """The flat f32 vector in a payload; raises `Malformed` unless every byte is as the layout (and the round) demand."""
    if len(payload) < 64 or struct.unpack_from("<I", payload, 60)[0] != crc32c(payload[:60]):
        raise Malformed("no whole header")
    magic, version, kind, bits, rounding, block, gain, *rest = HEADER.unpack_from(payload)
    layout_is, round_is, seed, size, body, chunks = rest
    if (magic, version) != (b"NIBL", 1):
        raise Malformed("not a payload of version 1")
    known_bits = kind == BLOCK and bits in PLANES and rounding in ROUNDINGS.values()
    quantized = known_bits and block in [0, *BLOCKS] and 0 <= gain <= 1
    if not quantized and (kind, bits, rounding, block, gain) != (FP32, 32, 0, 0, 1.0):
        raise Malformed("an undefined kind of payload, or fp16 or bf16, which are not read here")
    if layout_is != layout_hash(layout) or size != coordinates(layout) or (round is not None and round_is != round):
        raise Malformed("a payload of another layout or round")
    scheme, cut = Scheme(kind, bits, rounding, block), _chunks(layout)
    lengths = [sum(_segment_bytes(scheme, stop - start) for _, start, stop in chunk) for chunk in cut]
    if (body, chunks) != (sum(lengths) + 8 * len(cut), len(cut)) or len(payload) != 64 + body:
        raise Malformed("lengths other than those of the layout")
    vector, at = np.zeros(size, dtype=np.float32), 64
    for index, (chunk, length) in enumerate(zip(cut, lengths)):
        data = payload[at + 8 : at + 8 + length]
        if struct.unpack_from("<II", payload, at) != (length, crc32c(struct.pack("<II", index, length) + data)):
            raise Malformed(f"chunk {index} is damaged")
        for _, start, stop in chunk:
            part, data = data[: _segment_bytes(scheme, stop - start)], data[_segment_bytes(scheme, stop - start) :]
            vector[start:stop] = _decode_segment(part, start, stop - start, scheme, seed, np.float32(gain))
        at += 8 + length
    return vector


def layout_hash(layout):
    parts = hashlib.sha256()
    for name, shape in layout:
        parts.update(struct.pack("<Q", len(name.encode())) + name.encode())
        parts.update(struct.pack(f"<{1 + len(shape)}Q", len(shape), *shape))
    return int.from_bytes(parts.digest()[:8], "little")


def coordinates(layout):
    return sum(prod(shape) for _, shape in layout)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC_TABLE = [_crc_entry(value) for value in range(256)]


def _assemble(vector, layout, scheme, round, seed, gain):
    body, cut, ends = b"", _chunks(layout), np.cumsum([0] + [prod(shape) for _, shape in layout])
    for index, chunk in enumerate(cut):
        data = b""
        for tensor, start, stop in chunk:
            whole = vector[ends[tensor] : ends[tensor + 1]]
            data += _encode_segment(vector[start:stop], start, scheme, seed, np.abs(whole).max())
        body += struct.pack("<II", len(data), crc32c(struct.pack("<II", index, len(data)) + data)) + data
    form = (scheme.kind, scheme.bits, scheme.rounding, scheme.block, gain)
    header = HEADER.pack(b"NIBL", 1, *form, layout_hash(layout), round, seed, vector.size, len(body), len(cut))
    return header + struct.pack("<I", crc32c(header)) + body


def _chunks(layout):
    """For every chunk its segments, each as (tensor, start, stop)."""
    cut, at = [[] for _ in range(-(-coordinates(layout) // CHUNK))], 0
    for tensor, (_, shape) in enumerate(layout):
        end = at + prod(shape)
        while at < end:
            stop = min(end, (at // CHUNK + 1) * CHUNK)
            cut[at // CHUNK].append((tensor, at, stop))
            at = stop
    return cut


def _segment_bytes(scheme, size):
    if scheme.kind == FP32:
        return 4 * size
    block = scheme.block or size
    return 2 + -(-size // block) + size // block * _block_bytes(scheme, block) + _block_bytes(scheme, size % block)


def _block_bytes(scheme, size):
    return sum(-(-size * width // 8) for width in PLANES[scheme.bits])


def _blocks(values, block):
    """The full blocks as rows of one array, and the shorter tail, if there is one, as a row of another."""
    full = values.size // block * block
    return [part for part in (values[:full].reshape(-1, block), values[full:].reshape(1, -1)) if part.size]


def _encode_segment(x, start, scheme, seed, tensor_magnitude):
    if scheme.kind == FP32:
        return x.tobytes()
    qmax, block = 2 ** (scheme.bits - 1) - 1, scheme.block or x.size
    magnitudes = np.concatenate([np.abs(part).max(axis=1) for part in _blocks(x, block)])
    zero = magnitudes == 0
    if scheme.block == 0:
        magnitudes = np.where(zero, magnitudes, tensor_magnitude)
    levels = np.maximum(TOP_LOWEST, LOWEST + np.searchsorted(SCALES, magnitudes))
    top = levels[~zero].max(initial=TOP_LOWEST)
    levels = np.maximum(levels, top - 254)
    by_coordinate = np.repeat(SCALES[levels - LOWEST], block)[: x.size]
    u = np.float32(0) if scheme.rounding == NEAREST else _noise(start, x.size, seed)
    scaled = x * (np.float32(qmax) / by_coordinate) + (np.float32(qmax) + u)
    codes = np.rint(np.clip(scaled, 0, 2 * qmax)).astype(np.uint8)
    codes[np.repeat(zero, block)[: x.size]] = 0
    scale_codes = np.where(zero, 0, levels - top + 255).astype(np.uint8)
    return struct.pack("<h", top) + scale_codes.tobytes() + _pack(codes, block, scheme.bits)


def _decode_segment(data, start, size, scheme, seed, gain):
    if scheme.kind == FP32:
        vector = np.frombuffer(data, dtype="<f4")
        if not np.isfinite(vector).all():
            raise Malformed("NaN or infinity")
        return vector
    qmax, block = 2 ** (scheme.bits - 1) - 1, scheme.block or size
    top, scale_codes = struct.unpack_from("<h", data)[0], np.frombuffer(data, np.uint8, -(-size // block), 2)
    codes = _unpack(data[2 + scale_codes.size :], size, block, scheme.bits)
    zero = np.repeat(scale_codes == 0, block)[:size]
    if not TOP_LOWEST <= top <= TOP_HIGHEST or codes.max() > 2 * qmax or codes[zero].any():
        raise Malformed("an undefined level or code")
    if _pack(codes, block, scheme.bits) != data[2 + scale_codes.size :]:
        raise Malformed("bits that belong to no coordinate")
    levels = top - 255 + np.maximum(scale_codes.astype(int), 1)
    unit = np.repeat(SCALES[levels - LOWEST] / np.float32(qmax) * gain, block)[:size]
    u = _noise(start, size, seed) if scheme.rounding == DITHERED else np.float32(0)
    values = unit * ((codes.astype(np.float32) - np.float32(qmax)) - u)
    return np.where(zero, np.float32(0), values)


def _pack(codes, block, bits):
    packed = b""
    for rows in _blocks(codes, block):
        planes, shift = [], 0
        for width in PLANES[bits]:
            fields, length = (rows >> shift) & (2**width - 1), -(-rows.shape[1] * width // 8)
            fields = np.pad(fields, ((0, 0), (0, length * (8 // width) - rows.shape[1]))).reshape(len(rows), 8 // width, length)
            planes.append(np.bitwise_or.reduce(fields << (width * np.arange(8 // width, dtype=np.uint8))[:, None], axis=1))
            shift += width
        packed += np.concatenate(planes, axis=1).astype(np.uint8).tobytes()
    return packed


def _unpack(data, size, block, bits):
    codes = []
    for count, length in ((size // block, block), (1, size % block)):
        if not count or not length:
            continue
        row = sum(-(-length * width // 8) for width in PLANES[bits])
        rows, data = np.frombuffer(data, np.uint8, count * row).reshape(count, row), data[count * row :]
        values, shift, at = np.zeros((count, length), np.uint8), 0, 0
        for width in PLANES[bits]:
            plane = rows[:, at : at - (-length * width // 8)]
            shifts = (width * np.arange(8 // width, dtype=np.uint8))[:, None]
            fields = (plane[:, None, :] >> shifts) & (2**width - 1)
            values |= fields.reshape(count, -1)[:, :length] << shift
            shift, at = shift + width, at + plane.shape[1]
        codes.append(values.ravel())
    return np.concatenate(codes)


def _noise(start, size, seed):
    """u of every coordinate of the segment that starts at coordinate `start` of the vector."""
    mask = 2**64 - 1
    rotation, seed = seed >> 48, seed & (2**48 - 1)
    z = (seed + 0x9E3779B97F4A7C15 * (start + 1)) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    key = z ^ (z >> 31)
    i = np.arange(size, dtype=np.uint32)
    x = (16 * (i // 32) + i % 16) ^ np.uint32(key & 0xFFFFFFFF)
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) + np.uint32(key >> 32)
    x = x * np.uint32(0x846CA68B)
    h = (x ^ (x >> 16)) + np.uint32(rotation * 0x10001)
    k = np.where(i % 32 < 16, h & 0xFFFF, h >> 16)
    return k.astype(np.float32) / np.float32(65536) - np.float32(0.5 - 1 / 131072)


def _gain(x, y):
    """The gain under error feedback: largest with |x - g y|^2 <= 0.9 |x|^2, else the one of least error."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, xy, yy = x @ x, x @ y, y @ y
    if xx - 2 * xy + yy <= 0.9 * xx:
        return 1.0
    discriminant = xy * xy - 0.1 * xx * yy
    return float(np.clip((xy + np.sqrt(max(discriminant, 0.0))) / yy, 0.0, 1.0))

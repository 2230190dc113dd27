//! From a vector to the bytes of a payload.

use alloc::{string::ToString, vec::Vec};
use core::num::NonZeroUsize;

use nibble_seed::{RoundId, Seed};

use crate::{
    auto::{self, AutoEncoder},
    block::{Level, MOST_MAGNITUDE, SegmentCoding, kernel::magnitude_bits},
    error::EncodeError,
    frame::{CHUNK_HEADER_BYTES, PREFIX_BYTES, PRELUDE, SHORT_CHUNK_HEADER_BYTES, chunk_checksum},
    header::{HEADER_BYTES, Header},
    layout::Layout,
    parallel,
    payload::Payload,
    plan::{self, Plan, Planner},
    prelude::put_varint,
    raw::Raw,
    scheme::{BlockCoding, Coding, Grain, PlanCoding, Scheme, Target},
    sign::{self, SignEncoder},
    simd::{Backend, Kernels},
    sizes::body_bytes_of_chunk,
};

/// Most bytes of an `auto` payload that may hold signs instead: beyond, they were hardly ever better (`docs/codec.md`).
const SIGNS_WITHIN: u64 = 1024;

/// What a payload is for: part of its header, and of its rounding noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadId {
    /// Round of the update.
    pub round: RoundId,
    /// Seed of the rounding, issued for this round and client. Shared seeds correlate errors and undo averaging.
    pub seed: Seed,
}

/// Encodes vectors under one scheme. Holds scratch memory only; nothing carries over from one call to the next.
#[derive(Debug)]
pub struct Encoder {
    pub(crate) scheme: Scheme,
    pub(crate) kernels: Kernels,
    threads: usize,
    /// One decoded chunk, for fitting the gain.
    pub(crate) decoded: Vec<f32>,
    auto: AutoEncoder,
    planner: Planner,
    signs: SignEncoder,
    /// How much the error of each tensor counts in a plan; empty for all the same.
    weights: Vec<f64>,
}

impl Encoder {
    /// An encoder that runs the fastest kernels of this CPU.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        Self::with_backend(scheme, Backend::detect())
    }

    /// An encoder that runs the kernels of `backend`, or the fastest if this CPU lacks it.
    #[must_use]
    pub fn with_backend(scheme: Scheme, backend: Backend) -> Self {
        Self {
            scheme,
            kernels: Kernels::new(backend),
            threads: 1,
            decoded: Vec::new(),
            auto: AutoEncoder::new(Kernels::new(backend), 1),
            planner: Planner::default(),
            signs: SignEncoder::default(),
            weights: Vec::new(),
        }
    }

    /// Spreads chunks over as many threads, which changes no byte. Without the feature `std` there is but one.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        let threads = threads.get();
        Self { threads, auto: AutoEncoder::new(self.kernels, threads), ..self }
    }

    /// Sets how much the squared error of each tensor counts where `plan` divides bytes: one finite weight of at least 0 a
    /// tensor, or none, which counts all the same.
    ///
    /// # Errors
    /// If there are as many neither as tensors of `layout` nor none, or one is negative or not finite.
    pub fn set_weights(&mut self, layout: &Layout, weights: Vec<f64>) -> Result<(), EncodeError> {
        let (expected, found) = (layout.tensors().len(), weights.len());
        if found != 0 && (found != expected || weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0)) {
            return Err(EncodeError::Weights { expected, found });
        }
        self.weights = weights;
        Ok(())
    }

    /// What [`Encoder::encode`] would do under `plan`; under other schemes there is no plan.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn plan(&self, layout: &Layout, x: &[f32], seed: Seed) -> Result<Option<Plan>, EncodeError> {
        let Coding::Plan(coding) = self.scheme.coding else { return Ok(None) };
        if x.len() != layout.coordinates() {
            return Err(EncodeError::Length { expected: layout.coordinates(), found: x.len() });
        }
        let (source, budget) = self.to_plan(coding, layout, x, seed)?;
        let mut planner = Planner::default();
        let plan = planner.plan(self.kernels, source, budget).map(|_| ());
        Ok(plan.map(|()| planner.into_plan()))
    }

    /// What there is to plan, and the bytes for it.
    fn to_plan<'a>(
        &'a self,
        coding: PlanCoding,
        layout: &'a Layout,
        x: &'a [f32],
        seed: Seed,
    ) -> Result<(plan::Source<'a>, usize), EncodeError> {
        if self.kernels.magnitude_bits(x) > MOST_MAGNITUDE.to_bits() {
            return Err(unrepresentable(self.scheme.coding, layout, x));
        }
        let fixed = plan::least_bytes(layout);
        let budget = u64::from(coding.bytes).checked_sub(fixed).ok_or_else(|| EncodeError::Budget {
            coding: self.scheme.coding.to_string(),
            budget: coding.bytes.into(),
            needed: fixed,
        })? as usize;
        let source = plan::Source { layout, x, seed, rounding: coding.rounding, weights: &self.weights };
        Ok((source, budget))
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Encodes under another scheme from now on.
    pub fn set_scheme(&mut self, scheme: Scheme) {
        self.scheme = scheme;
    }

    /// Replaces `out` by the payload of `x`.
    ///
    /// Under feedback, an update whose error would exceed 0.9 of its own energy carries a gain below 1, the largest that
    /// keeps it there. The coding is then contractive, so the residual cannot diverge (EF-BV, Condat, Yi, Richtárik
    /// 2022, scales by 1/(1 + ω) for the same reason). Shrinking no more than needed matters where clients take part
    /// now and then: what a gain holds back waits for the client's next turn.
    ///
    /// # Errors
    /// If `x` has the wrong length or holds a value that is not finite or cannot be represented; `out` is then empty.
    pub fn encode(&mut self, layout: &Layout, x: &[f32], id: PayloadId, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if x.len() != layout.coordinates() {
            out.clear();
            return Err(EncodeError::Length { expected: layout.coordinates(), found: x.len() });
        }
        if let Coding::Auto(target) = self.scheme.coding {
            return self.encode_auto(target, layout, x, id, out).inspect_err(|_| out.clear());
        }
        if let Coding::Plan(coding) = self.scheme.coding {
            return self.encode_plan(coding, layout, x, id, out).inspect_err(|_| out.clear());
        }
        if let Coding::Sign(_) = self.scheme.coding {
            return self.encode_signs(layout, x, id, out).inspect_err(|_| out.clear());
        }
        let bytes = self.scheme.coding.payload_bytes(layout);
        let mut header = Header {
            coding: self.scheme.coding,
            signs: false,
            gain: 1.0,
            layout: layout.hash(),
            round: id.round,
            seed: id.seed,
            coordinates: x.len() as u64,
            body_bytes: bytes - HEADER_BYTES as u64,
            chunks: layout.chunks() as u32,
        };
        out.resize(bytes as usize, 0); // every byte is written below
        let (head, body) = out.split_at_mut(HEADER_BYTES);
        if !self.encode_chunks(layout, x, id.seed, body) {
            out.clear();
            return Err(unrepresentable(self.scheme.coding, layout, x));
        }
        if let (true, Coding::Block(block)) = (self.scheme.feedback, self.scheme.coding) {
            header.gain = self.fit_gain(block, layout, x, id.seed, body);
        }
        head.copy_from_slice(&header.to_bytes());
        Ok(())
    }

    /// The payload of `x` under `auto`, in whichever form is to leave less error.
    fn encode_auto(
        &mut self,
        target: Target,
        layout: &Layout,
        x: &[f32],
        id: PayloadId,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let (coding, budget) = (self.scheme.coding, self.scheme.coding.payload_bytes(layout));
        let cut = coding.cut(layout);
        let source = sign::Source { layout, x, seed: id.seed, cut, budget };
        if self.are_signs_better(target, source, id, out) {
            self.put_signs(source, id, out);
        } else if let Err(error) = self.encode_classes(target, layout, x, id, out) {
            // What is too few bytes for classes may be enough for signs.
            let least = sign::least_bytes(layout, cut);
            match error {
                EncodeError::Budget { .. } if least <= budget && self.signs.divide(self.kernels, source) => {
                    self.put_signs(source, id, out);
                }
                EncodeError::Budget { coding, budget, needed } => {
                    return Err(EncodeError::Budget { coding, budget, needed: needed.min(least) });
                }
                error => return Err(error),
            }
        }
        self.set_gain(layout, x, out);
        Ok(())
    }

    /// Whether signs, whose bytes are divided then, are to leave less error than what `auto` is otherwise, in `out` a trial of
    /// which may be left. The trial has noise of its own: that of the payload must not have a say in what it is used for.
    fn are_signs_better(&mut self, target: Target, source: sign::Source<'_>, id: PayloadId, out: &mut Vec<u8>) -> bool {
        let sign::Source { layout, x, cut, budget, .. } = source;
        let is_tried =
            !matches!(target, Target::Step(_)) && (sign::least_bytes(layout, cut)..=SIGNS_WITHIN).contains(&budget);
        if !is_tried || !self.signs.divide(self.kernels, source) {
            return false;
        }
        let expected = self.signs.expected_nmse();
        let trial = PayloadId { seed: Seed(!id.seed.0), ..id };
        match self.encode_classes(target, layout, x, trial, out) {
            Ok(()) => Payload::trust(out, layout).and_then(|payload| payload.nmse(x)).is_ok_and(|nmse| nmse > expected),
            Err(error) => matches!(error, EncodeError::Budget { .. }),
        }
    }

    /// The payload of `x` under `auto`, as classes, without a gain.
    fn encode_classes(
        &mut self,
        target: Target,
        layout: &Layout,
        x: &[f32],
        id: PayloadId,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let coding = self.scheme.coding;
        let budget = coding.payload_bytes(layout);
        let source = auto::Source { layout, x, seed: id.seed };
        let encoded = self.auto.encode(source, target, (budget as usize).saturating_sub(PREFIX_BYTES));
        let encoded = encoded.map_err(|failure| match failure {
            auto::Failure::Budget(needed) => {
                EncodeError::Budget { coding: coding.to_string(), budget, needed: (PREFIX_BYTES + needed) as u64 }
            }
            auto::Failure::Crowded | auto::Failure::Magnitude => unrepresentable(coding, layout, x),
            auto::Failure::Range => {
                let largest = (0..x.len()).max_by(|&a, &b| x[a].abs().total_cmp(&x[b].abs())).unwrap_or_default();
                let ((tensor, index), value) = (layout.locate(largest), x[largest]);
                let limit = auto::most_magnitude(target);
                EncodeError::OutOfRange { tensor: tensor.to_string(), index, value, limit, coding: coding.to_string() }
            }
        })?;
        let (mut chunks, count) = (encoded.bodies.as_slice(), encoded.lengths.len());
        out.clear();
        out.resize(PREFIX_BYTES, 0);
        encoded.lengths.iter().for_each(|&len| put_varint(len, out));
        out.extend_from_slice(&encoded.model);
        seal_prelude(out);
        for (index, &len) in encoded.lengths.iter().enumerate() {
            let (body, rest) = chunks.split_at(len as usize);
            chunks = rest;
            put_chunk(index, out, |out| out.extend_from_slice(body));
        }
        seal((coding, false), (layout, count), id, out);
        Ok(())
    }

    /// The payload of `x` under `plan`.
    fn encode_plan(
        &mut self,
        coding: PlanCoding,
        layout: &Layout,
        x: &[f32],
        id: PayloadId,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        // Set aside while the encoder is read.
        let mut planner = core::mem::take(&mut self.planner);
        let written = self.to_plan(coding, layout, x, id.seed).map(|(source, budget)| {
            let Some(plan) = planner.plan(self.kernels, source, budget) else { return };
            out.clear();
            out.resize(PREFIX_BYTES, 0);
            plan::pack(plan.pieces.iter().map(|piece| piece.width), out);
            seal_prelude(out);
            let mut pieces = plan.pieces.iter();
            for chunk in 0..layout.chunks() {
                put_chunk(chunk, out, |out| {
                    for piece in pieces.by_ref().take(plan::pieces(layout, chunk).count()) {
                        if let Some(segment) = plan::coding(coding.rounding, piece.width, id.seed, &piece.range) {
                            let start = out.len();
                            out.resize(start + piece.bytes as usize, 0);
                            self.kernels.encode(&segment, &x[piece.range.clone()], None, &mut out[start..]);
                        }
                    }
                });
            }
            seal((self.scheme.coding, false), (layout, layout.chunks()), id, out);
        });
        self.planner = planner;
        written?;
        self.set_gain(layout, x, out);
        Ok(())
    }

    /// The payload of `x` under `sign`.
    fn encode_signs(
        &mut self,
        layout: &Layout,
        x: &[f32],
        id: PayloadId,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let coding = self.scheme.coding;
        let source =
            sign::Source { layout, x, seed: id.seed, cut: coding.cut(layout), budget: coding.payload_bytes(layout) };
        if !self.signs.divide(self.kernels, source) {
            return Err(unrepresentable(coding, layout, x));
        }
        self.put_signs(source, id, out);
        self.set_gain(layout, x, out);
        Ok(())
    }

    /// Replaces `out` by the payload of signs whose bytes were divided.
    fn put_signs(&mut self, source: sign::Source<'_>, id: PayloadId, out: &mut Vec<u8>) {
        out.clear();
        if self.signs.put_prelude(out) {
            seal_prelude(out);
        }
        self.signs.put_chunks(self.kernels, self.threads, source, out);
        seal((self.scheme.coding, true), (source.layout, source.layout.chunks()), id, out);
    }

    /// Writes every chunk. Returns whether every coordinate could be represented.
    fn encode_chunks(&self, layout: &Layout, x: &[f32], seed: Seed, mut body: &mut [u8]) -> bool {
        let levels = match self.scheme.coding {
            Coding::Block(block) => tensor_levels(block, layout, x),
            _ => Vec::new(),
        };
        let mut chunks = (0..layout.chunks()).map(|chunk| {
            let len = CHUNK_HEADER_BYTES + body_bytes_of_chunk(self.scheme.coding, layout, chunk);
            let (bytes, rest) = core::mem::take(&mut body).split_at_mut(len);
            body = rest;
            (chunk, bytes)
        });
        if self.threads == 1 {
            return chunks.all(|(chunk, bytes)| self.encode_chunk(layout, chunk, x, seed, &levels, bytes));
        }
        let mut chunks: Vec<_> = chunks.collect();
        let share = chunks.len().div_ceil(self.threads).max(1);
        let mut shares: Vec<_> = chunks.chunks_mut(share).map(|chunks| (chunks, true)).collect();
        parallel::for_each(&mut shares, |(chunks, representable)| {
            *representable =
                chunks.iter_mut().all(|(chunk, bytes)| self.encode_chunk(layout, *chunk, x, seed, &levels, bytes));
        });
        shares.iter().all(|(_, representable)| *representable)
    }

    /// Writes a chunk. Returns whether every coordinate could be represented.
    fn encode_chunk(
        &self,
        layout: &Layout,
        chunk: usize,
        x: &[f32],
        seed: Seed,
        levels: &[Option<Level>],
        bytes: &mut [u8],
    ) -> bool {
        let (head, body) = bytes.split_at_mut(CHUNK_HEADER_BYTES);
        let representable = match self.scheme.coding {
            Coding::Block(block) => self.encode_segments(block, layout, chunk, x, seed, levels, body),
            raw => raw.raw().is_some_and(|raw| self.kernels.encode_raw(raw, &x[layout.chunk_range(chunk)], body)),
        };
        let (len, checksum) = chunk_checksum(chunk, body);
        head[..4].copy_from_slice(&len);
        head[4..].copy_from_slice(&checksum.to_le_bytes());
        representable
    }

    #[allow(clippy::too_many_arguments)]
    fn encode_segments(
        &self,
        block: BlockCoding,
        layout: &Layout,
        chunk: usize,
        x: &[f32],
        seed: Seed,
        levels: &[Option<Level>],
        mut bytes: &mut [u8],
    ) -> bool {
        layout.segments(chunk).iter().all(|segment| {
            let coding = SegmentCoding::new(block, seed, segment.start, segment.len);
            let (out, rest) = core::mem::take(&mut bytes).split_at_mut(coding.segment_bytes(segment.len));
            bytes = rest;
            let level = levels.get(segment.tensor).copied().flatten();
            self.kernels.encode(&coding, &x[segment.start..][..segment.len], level, out)
        })
    }
}

/// Why `x` could not be encoded: its first coordinate that is not finite, or beyond the coding's range.
fn unrepresentable(coding: Coding, layout: &Layout, x: &[f32]) -> EncodeError {
    let limit = match coding {
        Coding::Sign(_) => sign::MOST,
        _ => coding.raw().map_or(MOST_MAGNITUDE, Raw::limit),
    };
    let non_finite = x.iter().position(|x| !x.is_finite());
    let coordinate = non_finite.or_else(|| x.iter().position(|x| x.abs() > limit)).unwrap_or_default();
    let ((tensor, index), value) = (layout.locate(coordinate), x[coordinate]);
    let tensor = tensor.to_string();
    if value.is_finite() {
        EncodeError::OutOfRange { tensor, index, value, limit, coding: coding.to_string() }
    } else {
        EncodeError::NonFinite { tensor, index, value }
    }
}

/// Completes a prelude, behind room for the header and the prelude's length and checksum.
fn seal_prelude(out: &mut [u8]) {
    let (len, checksum) = chunk_checksum(PRELUDE, &out[PREFIX_BYTES..]);
    out[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&len);
    out[HEADER_BYTES + 4..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a chunk, whose body `put` appends.
fn put_chunk(index: usize, out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + SHORT_CHUNK_HEADER_BYTES, 0);
    put(out);
    let (head, body) = out[start..].split_at_mut(SHORT_CHUNK_HEADER_BYTES);
    head.copy_from_slice(&chunk_checksum(index, body).1.to_le_bytes());
}

/// Puts the header of a payload of so many chunks into the room for it.
fn seal((coding, signs): (Coding, bool), (layout, chunks): (&Layout, usize), id: PayloadId, out: &mut [u8]) {
    let header = Header {
        coding,
        signs,
        gain: 1.0,
        layout: layout.hash(),
        round: id.round,
        seed: id.seed,
        coordinates: layout.coordinates() as u64,
        body_bytes: (out.len() - HEADER_BYTES) as u64,
        chunks: chunks as u32,
    };
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
}

/// One level for each tensor if scales are shared by whole tensors, which may span chunks; nothing otherwise.
fn tensor_levels(block: BlockCoding, layout: &Layout, x: &[f32]) -> Vec<Option<Level>> {
    if block.grain != Grain::Tensor {
        return Vec::new();
    }
    let level = |tensor: &crate::Tensor| match magnitude_bits(&x[tensor.offset..][..tensor.len]) {
        0 => None,
        magnitude => Some(Level::covering(magnitude)),
    };
    layout.tensors().iter().map(level).collect()
}

//! From bytes, whatever they are, to a checked payload; from a checked payload to values.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    block::SegmentCoding,
    checksum::crc32c,
    error::DecodeError,
    header::{HEADER_BYTES, Header, array},
    layout::Layout,
    raw::Raw,
    scheme::Coding,
    simd::{Backend, Kernels},
    sums,
};

/// Bytes before a chunk's body: its length and its checksum.
pub(crate) const CHUNK_HEADER_BYTES: usize = 8;

/// A payload whose every byte was checked against its layout: decoding it cannot fail.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    header: Header,
    layout: &'a Layout,
    bytes: &'a [u8],
    /// Where the body of each chunk lies in `bytes`.
    chunks: Vec<Range<usize>>,
    kernels: Kernels,
}

impl<'a> Payload<'a> {
    /// Checks all of `bytes`: header, counts, checksums, codes and padding, with nothing left over.
    ///
    /// # Errors
    /// If the bytes are not exactly one payload of this layout. Never panics, whatever the bytes, and allocates only in
    /// proportion to the layout.
    pub fn parse(bytes: &'a [u8], layout: &'a Layout) -> Result<Self, DecodeError> {
        Self::parse_with(bytes, layout, Backend::detect())
    }

    /// [`Payload::parse`] with the kernels of `backend`, or the fastest if this CPU lacks it.
    ///
    /// # Errors
    /// As [`Payload::parse`].
    pub fn parse_with(bytes: &'a [u8], layout: &'a Layout, backend: Backend) -> Result<Self, DecodeError> {
        let payload = Self::frame(bytes, layout, Kernels::new(backend))?;
        (0..payload.chunks.len()).try_for_each(|chunk| payload.check_chunk(chunk))?;
        Ok(payload)
    }

    /// The payload in bytes that this process encoded, or has parsed before: checksums and contents are taken on trust,
    /// which spares two passes over them.
    ///
    /// # Errors
    /// If the header, the lengths or the layout are not those of a payload of this layout. Bytes that were damaged
    /// elsewhere decode to other values, but never panic.
    pub fn trust(bytes: &'a [u8], layout: &'a Layout) -> Result<Self, DecodeError> {
        Self::frame(bytes, layout, Kernels::new(Backend::detect()))
    }

    /// Checks the header and finds the chunks.
    fn frame(bytes: &'a [u8], layout: &'a Layout, kernels: Kernels) -> Result<Self, DecodeError> {
        let header = Header::parse(bytes)?;
        if header.layout != layout.hash() {
            return Err(DecodeError::Layout { found: header.layout, expected: layout.hash() });
        }
        let count = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(DecodeError::Count { what, found, expected }),
        };
        count("the number of coordinates", header.coordinates, layout.coordinates() as u64)?;
        count("the number of chunks", header.chunks.into(), layout.chunks() as u64)?;
        if header.gain != 1.0 && !matches!(header.coding, Coding::Block(_)) {
            return Err(DecodeError::Field { field: "gain", found: header.gain.to_bits().into() });
        }
        let chunks = chunk_ranges(bytes, header.coding, layout)?;
        let body_bytes = (bytes.len() - HEADER_BYTES) as u64;
        count("the number of body bytes", header.body_bytes, body_bytes)?;
        Ok(Self { header, layout, bytes, chunks, kernels })
    }

    /// What the payload says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Decodes everything.
    ///
    /// # Errors
    /// If `out` does not have the layout's length.
    pub fn decode(&self, out: &mut [f32]) -> Result<(), DecodeError> {
        check_buffer(out.len(), self.layout.coordinates())?;
        (0..self.chunks.len()).try_for_each(|chunk| self.decode_chunk(chunk, &mut out[self.layout.chunk_range(chunk)]))
    }

    /// Decodes chunk `index` alone.
    ///
    /// # Errors
    /// If `out` does not have the chunk's length.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn decode_chunk(&self, index: usize, out: &mut [f32]) -> Result<(), DecodeError> {
        check_buffer(out.len(), self.layout.chunk_range(index).len())?;
        match self.header.coding.raw() {
            Some(raw) => raw.decode(self.body(index), out),
            None => self.each_segment(index, |coding, bytes, range| {
                self.kernels.decode(coding, bytes, self.header.gain, &mut out[range]);
            }),
        }
        Ok(())
    }

    /// Adds `weight` times the values of chunk `index` to `sum`, in f64.
    ///
    /// # Errors
    /// If `sum` does not have the chunk's length.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn fold_chunk(&self, index: usize, weight: f64, sum: &mut [f64]) -> Result<(), DecodeError> {
        check_buffer(sum.len(), self.layout.chunk_range(index).len())?;
        match self.header.coding.raw() {
            Some(raw) => self.kernels.fold_raw(raw, self.body(index), weight, sum),
            None => self.each_segment(index, |coding, bytes, range| {
                self.kernels.fold(coding, bytes, self.header.gain, weight, &mut sum[range]);
            }),
        }
        Ok(())
    }

    /// ‖x − x̂‖² / ‖x‖² of what was decoded against what was meant, if this is the payload of `x`; 0 if both are zero.
    ///
    /// # Errors
    /// If `x` does not have the layout's length.
    pub fn nmse(&self, x: &[f32]) -> Result<f64, DecodeError> {
        check_buffer(x.len(), self.layout.coordinates())?;
        if self.header.coding == Coding::Fp32 {
            return Ok(0.0);
        }
        let (mut error, mut norm) = (0.0, 0.0);
        let mut decoded = Vec::new();
        for chunk in 0..self.chunks.len() {
            let range = self.layout.chunk_range(chunk);
            decoded.resize(range.len(), 0.0);
            self.decode_chunk(chunk, &mut decoded)?;
            let [chunk_error, chunk_norm] = sums::error_and_norm(&x[range], &decoded);
            (error, norm) = (error + chunk_error, norm + chunk_norm);
        }
        Ok(if error == 0.0 { 0.0 } else { error / norm })
    }

    fn body(&self, chunk: usize) -> &'a [u8] {
        &self.bytes[self.chunks[chunk].clone()]
    }

    /// Calls `f` with the coding, the bytes and the place in its chunk of every segment of chunk `index`.
    fn each_segment(&self, index: usize, mut f: impl FnMut(&SegmentCoding, &'a [u8], Range<usize>)) {
        let Coding::Block(block) = self.header.coding else { return };
        let mut rest = self.body(index);
        let mut at = 0;
        for segment in self.layout.segments(index) {
            let coding = SegmentCoding::new(block, self.header.seed, segment.start, segment.len);
            let (bytes, after) = rest.split_at(coding.segment_bytes(segment.len));
            rest = after;
            f(&coding, bytes, at..at + segment.len);
            at += segment.len;
        }
    }

    /// Checks the checksum of chunk `chunk`, then what its bytes say.
    fn check_chunk(&self, chunk: usize) -> Result<(), DecodeError> {
        let (_, found) = chunk_checksum(chunk, self.body(chunk));
        let expected = u32::from_le_bytes(array(self.bytes, self.chunks[chunk].start - 4));
        if found != expected {
            return Err(DecodeError::Checksum { what: "a chunk", found, expected });
        }
        let mut undefined = None;
        match self.header.coding.raw() {
            Some(raw) if !self.kernels.is_finite_raw(raw, self.body(chunk)) => {
                undefined = Some("value: not a finite number");
            }
            Some(_) => {}
            None => self.each_segment(chunk, |coding, bytes, range| {
                undefined = undefined.or_else(|| self.kernels.undefined(coding, bytes, range.len()));
            }),
        }
        undefined.map_or(Ok(()), |what| Err(DecodeError::Content { chunk, what }))
    }
}

impl Coding {
    /// Bytes of a payload of this layout, header and all. It depends on nothing else.
    #[must_use]
    pub fn payload_bytes(self, layout: &Layout) -> u64 {
        let chunk = |index| (CHUNK_HEADER_BYTES + body_bytes_of_chunk(self, layout, index)) as u64;
        HEADER_BYTES as u64 + (0..layout.chunks()).map(chunk).sum::<u64>()
    }
}

/// Bytes of the body of chunk `index`.
pub(crate) fn body_bytes_of_chunk(coding: Coding, layout: &Layout, index: usize) -> usize {
    match coding {
        Coding::Block(block) => {
            let bytes = |len| SegmentCoding::new(block, nibble_seed::Seed(0), 0, len).segment_bytes(len);
            layout.segments(index).iter().map(|segment| bytes(segment.len)).sum()
        }
        Coding::Fp32 | Coding::Fp16 | Coding::Bf16 => {
            layout.chunk_range(index).len() * coding.raw().map_or(0, Raw::width)
        }
    }
}

/// A chunk's length field, and the checksum over its index, length and body.
pub(crate) fn chunk_checksum(index: usize, body: &[u8]) -> ([u8; 4], u32) {
    let len = (body.len() as u32).to_le_bytes();
    let head = crc32c(crc32c(0, &(index as u32).to_le_bytes()), &len);
    (len, crc32c(head, body))
}

/// Walks the chunks, checks their lengths, and that nothing follows the last.
fn chunk_ranges(bytes: &[u8], coding: Coding, layout: &Layout) -> Result<Vec<Range<usize>>, DecodeError> {
    let mut at = HEADER_BYTES;
    let mut ranges = Vec::with_capacity(layout.chunks());
    for chunk in 0..layout.chunks() {
        let left = bytes.len() - at;
        let truncated = |what, needed: usize, found| DecodeError::Truncated { what, needed: needed as u64, found };
        if left < CHUNK_HEADER_BYTES {
            return Err(truncated("the header of a chunk", CHUNK_HEADER_BYTES, left as u64));
        }
        let found = u32::from_le_bytes(array(bytes, at)).into();
        let expected = body_bytes_of_chunk(coding, layout, chunk);
        if found != expected as u64 {
            return Err(DecodeError::Count { what: "the length of a chunk", found, expected: expected as u64 });
        }
        let (start, left) = (at + CHUNK_HEADER_BYTES, left - CHUNK_HEADER_BYTES);
        if left < expected {
            return Err(truncated("the body of a chunk", expected, left as u64));
        }
        at = start + expected;
        ranges.push(start..at);
    }
    match bytes.len() - at {
        0 => Ok(ranges),
        count => Err(DecodeError::Trailing { count: count as u64 }),
    }
}

fn check_buffer(found: usize, expected: usize) -> Result<(), DecodeError> {
    if found == expected { Ok(()) } else { Err(DecodeError::Buffer { expected, found }) }
}

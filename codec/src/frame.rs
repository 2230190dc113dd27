//! A payload whose bytes lie elsewhere, e.g. in a file: its header is read first, its chunks one at a time.
//!
//! Chunks stand alone, so whoever holds many payloads on disk needs memory for no more than a chunk of each.

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
};

/// Bytes before a chunk's body: its length and its checksum.
pub(crate) const CHUNK_HEADER_BYTES: usize = 8;

/// A checked header, and where in the payload every chunk lies.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    header: Header,
    layout: &'a Layout,
    /// Where each chunk lies in the payload, its header included.
    chunks: Vec<Range<usize>>,
    kernels: Kernels,
}

impl<'a> Frame<'a> {
    /// Reads the header at the start of `bytes`, which need not hold more.
    ///
    /// # Errors
    /// If it is not the header of a payload of this layout.
    pub fn parse(bytes: &[u8], layout: &'a Layout) -> Result<Self, DecodeError> {
        Self::parse_with(bytes, layout, Backend::detect())
    }

    pub(crate) fn parse_with(bytes: &[u8], layout: &'a Layout, backend: Backend) -> Result<Self, DecodeError> {
        let header = Header::parse(bytes)?;
        if header.layout != layout.hash() {
            return Err(DecodeError::Layout { found: header.layout, expected: layout.hash() });
        }
        count("the number of coordinates", header.coordinates, layout.coordinates() as u64)?;
        count("the number of chunks", header.chunks.into(), layout.chunks() as u64)?;
        if header.gain != 1.0 && !matches!(header.coding, Coding::Block(_)) {
            return Err(DecodeError::Field { field: "gain", found: header.gain.to_bits().into() });
        }
        let mut end = HEADER_BYTES;
        let chunk = |index| {
            let start = end;
            end += CHUNK_HEADER_BYTES + body_bytes_of_chunk(header.coding, layout, index);
            start..end
        };
        let chunks = (0..layout.chunks()).map(chunk).collect();
        Ok(Self { header, layout, chunks, kernels: Kernels::new(backend) })
    }

    /// What the payload says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.chunks.last().map_or(HEADER_BYTES, |last| last.end) as u64
    }

    /// The bytes of the payload that are chunk `index`.
    ///
    /// # Panics
    /// If there is no such chunk.
    #[must_use]
    pub fn chunk_bytes(&self, index: usize) -> Range<usize> {
        self.chunks[index].clone()
    }

    /// That the header's count of bytes is right: the last of the checks of a whole payload.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_length(&self) -> Result<(), DecodeError> {
        count("the number of body bytes", self.header.body_bytes, self.len_bytes() - HEADER_BYTES as u64)
    }

    /// Checks length, checksum and contents of chunk `index`: one that passes can be decoded and folded.
    ///
    /// # Errors
    /// If `bytes` are not exactly that chunk.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn check_chunk(&self, index: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        self.check_chunk_length(index, bytes)?;
        let body = &bytes[CHUNK_HEADER_BYTES..];
        let ((_, found), expected) = (chunk_checksum(index, body), u32::from_le_bytes(array(bytes, 4)));
        if found != expected {
            return Err(DecodeError::Checksum { what: "a chunk", found, expected });
        }
        let mut undefined = None;
        match self.header.coding.raw() {
            Some(raw) if !self.kernels.is_finite_raw(raw, body) => undefined = Some("value: not a finite number"),
            Some(_) => {}
            None => self.each_segment(index, body, |coding, bytes, range| {
                undefined = undefined.or_else(|| self.kernels.undefined(coding, bytes, range.len()));
            }),
        }
        undefined.map_or(Ok(()), |what| Err(DecodeError::Content { chunk: index, what }))
    }

    /// Checks that `bytes` are as long as chunk `index`, and say so.
    pub(crate) fn check_chunk_length(&self, index: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        let truncated = |what, needed: usize, found: usize| {
            Err(DecodeError::Truncated { what, needed: needed as u64, found: found as u64 })
        };
        let body = self.chunks[index].len() - CHUNK_HEADER_BYTES;
        if bytes.len() < CHUNK_HEADER_BYTES {
            return truncated("the header of a chunk", CHUNK_HEADER_BYTES, bytes.len());
        }
        count("the length of a chunk", u32::from_le_bytes(array(bytes, 0)).into(), body as u64)?;
        match bytes.len() - CHUNK_HEADER_BYTES {
            found if found < body => truncated("the body of a chunk", body, found),
            found if found > body => Err(DecodeError::Trailing { count: (found - body) as u64 }),
            _ => Ok(()),
        }
    }

    /// Decodes chunk `index` from its `bytes`, which were checked.
    ///
    /// # Errors
    /// If `bytes` or `out` do not have the chunk's length.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn decode_chunk(&self, index: usize, bytes: &[u8], out: &mut [f32]) -> Result<(), DecodeError> {
        self.check_chunk_length(index, bytes)?;
        check_buffer(out.len(), self.layout.chunk_range(index).len())?;
        let body = &bytes[CHUNK_HEADER_BYTES..];
        match self.header.coding.raw() {
            Some(raw) => raw.decode(body, out),
            None => self.each_segment(index, body, |coding, bytes, range| {
                self.kernels.decode(coding, bytes, self.header.gain, &mut out[range]);
            }),
        }
        Ok(())
    }

    /// Adds `weight` times the values of chunk `index`, whose `bytes` were checked, to `sum`, in f64.
    ///
    /// # Errors
    /// If `bytes` or `sum` do not have the chunk's length; `sum` is then as it was.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn fold_chunk(&self, index: usize, bytes: &[u8], weight: f64, sum: &mut [f64]) -> Result<(), DecodeError> {
        self.check_chunk_length(index, bytes)?;
        check_buffer(sum.len(), self.layout.chunk_range(index).len())?;
        let body = &bytes[CHUNK_HEADER_BYTES..];
        match self.header.coding.raw() {
            Some(raw) => self.kernels.fold_raw(raw, body, weight, sum),
            None => self.each_segment(index, body, |coding, bytes, range| {
                self.kernels.fold(coding, bytes, self.header.gain, weight, &mut sum[range]);
            }),
        }
        Ok(())
    }

    pub(crate) fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Calls `f` with the coding, the bytes and the place in its chunk of every segment of chunk `index`.
    fn each_segment<'b>(
        &self,
        index: usize,
        body: &'b [u8],
        mut f: impl FnMut(&SegmentCoding, &'b [u8], Range<usize>),
    ) {
        let Coding::Block(block) = self.header.coding else { return };
        let mut rest = body;
        let mut at = 0;
        for segment in self.layout.segments(index) {
            let coding = SegmentCoding::new(block, self.header.seed, segment.start, segment.len);
            let (bytes, after) = rest.split_at(coding.segment_bytes(segment.len));
            rest = after;
            f(&coding, bytes, at..at + segment.len);
            at += segment.len;
        }
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

pub(crate) fn count(what: &'static str, found: u64, expected: u64) -> Result<(), DecodeError> {
    if found == expected { Ok(()) } else { Err(DecodeError::Count { what, found, expected }) }
}

pub(crate) fn check_buffer(found: usize, expected: usize) -> Result<(), DecodeError> {
    if found == expected { Ok(()) } else { Err(DecodeError::Buffer { expected, found }) }
}

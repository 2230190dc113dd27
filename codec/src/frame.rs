//! A payload whose bytes lie elsewhere, e.g. in a file: its header is read first, its chunks one at a time.
//!
//! Chunks stand alone, or at low rates of `auto` four together, so whoever holds many payloads on disk needs memory for no more
//! than that of each.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    auto::{Held, Scratch, Span},
    block::SegmentCoding,
    checksum::crc32c,
    error::DecodeError,
    header::{HEADER_BYTES, Header, array},
    layout::{Layout, Segment},
    plan,
    prelude::Prelude,
    scheme::Coding,
    sign::{Coded, Cut},
    simd::{Backend, Kernels},
};

/// Bytes before a chunk's body: its length and its checksum.
pub(crate) const CHUNK_HEADER_BYTES: usize = 8;
/// The same where lengths stand before all chunks, or follow: its checksum.
pub(crate) const SHORT_CHUNK_HEADER_BYTES: usize = 4;
/// Bytes that say how long the head of a payload is.
pub const PREFIX_BYTES: usize = HEADER_BYTES + CHUNK_HEADER_BYTES;
/// The index that the checksum of a prelude covers.
pub(crate) const PRELUDE: usize = u32::MAX as usize;

/// A checked header, and where in the payload every chunk lies.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    header: Header,
    layout: &'a Layout,
    /// Bytes before the first chunk.
    head: usize,
    /// Where each chunk lies in the payload, its header included.
    chunks: Vec<Range<usize>>,
    kernels: Kernels,
    prelude: Prelude,
    /// Which of all frames: what was decoded is known by it.
    number: usize,
}

/// A number that no other frame has, or none for a long time.
fn next_number() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};
    static LAST: AtomicUsize = AtomicUsize::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl<'a> Frame<'a> {
    /// Bytes of the head, what [`Frame::parse`] needs, of the payload that begins with `prefix`: its first
    /// [`PREFIX_BYTES`], or all of it if it is shorter.
    ///
    /// # Errors
    /// If it is not the beginning of a payload of this layout.
    pub fn head_bytes(prefix: &[u8], layout: &Layout) -> Result<usize, DecodeError> {
        let header = Header::parse(prefix)?;
        let Some(most) = Prelude::most_bytes(&header, layout) else { return Ok(HEADER_BYTES) };
        let (needed, found) = (PREFIX_BYTES as u64, prefix.len() as u64);
        if found < needed {
            return Err(DecodeError::Truncated { what: "the header of the prelude", needed, found });
        }
        let len = u32::from_le_bytes(array(prefix, HEADER_BYTES)) as usize;
        match len > most {
            true => Err(DecodeError::Field { field: "length of the prelude", found: len as u64 }),
            false => Ok(PREFIX_BYTES + len),
        }
    }

    /// Reads the head at the start of `bytes`, which need not hold more.
    ///
    /// # Errors
    /// If it is not the head of a payload of this layout.
    pub fn parse(bytes: &[u8], layout: &'a Layout) -> Result<Self, DecodeError> {
        Self::parse_with(bytes, layout, Backend::detect())
    }

    pub(crate) fn parse_with(bytes: &[u8], layout: &'a Layout, backend: Backend) -> Result<Self, DecodeError> {
        let (header, kernels) = (Header::parse(bytes)?, Kernels::new(backend));
        if header.layout != layout.hash() {
            return Err(DecodeError::Layout { found: header.layout, expected: layout.hash() });
        }
        count("the number of coordinates", header.coordinates, layout.coordinates() as u64)?;
        if !matches!(header.coding, Coding::Auto(_))
            || header.signs
            || Span::of_count(layout, header.chunks as usize).is_none()
        {
            count("the number of chunks", header.chunks.into(), layout.chunks() as u64)?;
        }
        if header.gain != 1.0 && header.coding.raw().is_some() {
            return Err(DecodeError::Field { field: "gain", found: header.gain.to_bits().into() });
        }
        let head = Self::head_bytes(bytes, layout)?;
        let (lengths, prelude) = Prelude::read(kernels, bytes, (&header, head), layout)?;
        let mut end = head;
        let chunk = |len: usize| {
            let start = end;
            end += len;
            start..end
        };
        let chunks = lengths.into_iter().map(chunk).collect();
        Ok(Self { header, layout, head, chunks, kernels, prelude, number: next_number() })
    }

    /// What the payload says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.chunks.last().map_or(self.head, |last| last.end) as u64
    }

    /// The bytes of the payload that chunk `index` is in: its own, or those of up to four that only decode together, as those of
    /// `auto` do at low rates.
    ///
    /// # Panics
    /// If there is no such chunk.
    #[must_use]
    pub fn chunk_bytes(&self, index: usize) -> Range<usize> {
        self.chunks[self.place(index)].clone()
    }

    /// How many chunks only decode together: whoever goes through so many at a time, with one scratch, decodes them once.
    #[must_use]
    pub fn together(&self) -> usize {
        if let Prelude::Model(_, span) = self.prelude { span.chunks() } else { 1 }
    }

    /// Which of the payload's chunks holds chunk `index`.
    fn place(&self, index: usize) -> usize {
        index / self.together()
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
    pub fn check_chunk(&self, index: usize, bytes: &[u8], scratch: &mut Scratch) -> Result<(), DecodeError> {
        let body = self.checked_body(index, bytes)?;
        if self.is_modelled() {
            return self.decode_model((index, true), bytes, scratch);
        }
        if let Prelude::Signs(cut) = self.prelude {
            return self.in_chunk(index, cut.check(self.layout.chunk_range(index), body));
        }
        let mut undefined = None;
        match self.header.coding.raw() {
            Some(raw) if !self.kernels.is_finite_raw(raw, body) => undefined = Some("value: not a finite number"),
            Some(_) => {}
            None => self.each_part(index, body, |coding, bytes, range| {
                undefined = undefined.or_else(|| self.kernels.undefined(coding?, bytes, range.len()));
            }),
        }
        self.in_chunk(index, undefined.map_or(Ok(()), Err))
    }

    /// The body of chunk `index`, whose length and checksum are right.
    fn checked_body<'b>(&self, index: usize, bytes: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        self.check_chunk_length(index, bytes)?;
        let body = &bytes[self.chunk_header_bytes()..];
        let checksum = u32::from_le_bytes(array(bytes, self.chunk_header_bytes() - 4));
        match chunk_checksum(self.place(index), body).1 {
            found if found == checksum => Ok(body),
            found => Err(DecodeError::Checksum { what: "a chunk", found, expected: checksum }),
        }
    }

    fn in_chunk<T>(&self, chunk: usize, result: Result<T, &'static str>) -> Result<T, DecodeError> {
        result.map_err(|what| DecodeError::Content { chunk, what })
    }

    /// Checks that `bytes` are as long as chunk `index`, and say so.
    pub(crate) fn check_chunk_length(&self, index: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        let truncated = |what, needed: usize, found: usize| {
            Err(DecodeError::Truncated { what, needed: needed as u64, found: found as u64 })
        };
        let head = self.chunk_header_bytes();
        let body = self.chunks[self.place(index)].len() - head;
        if bytes.len() < head {
            return truncated("the header of a chunk", head, bytes.len());
        }
        if head == CHUNK_HEADER_BYTES {
            count("the length of a chunk", u32::from_le_bytes(array(bytes, 0)).into(), body as u64)?;
        }
        match bytes.len() - head {
            found if found < body => truncated("the body of a chunk", body, found),
            found if found > body => Err(DecodeError::Trailing { count: (found - body) as u64 }),
            _ => Ok(()),
        }
    }

    /// Decodes chunk `index` from its `bytes`, which were checked.
    ///
    /// # Errors
    /// If `bytes` or `out` do not have the chunk's length, or `bytes` were not checked and are not a chunk.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn decode_chunk(
        &self,
        index: usize,
        bytes: &[u8],
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), DecodeError> {
        self.check_chunk_length(index, bytes)?;
        check_buffer(out.len(), self.layout.chunk_range(index).len())?;
        let (body, gain) = (&bytes[self.chunk_header_bytes()..], self.header.gain);
        if let Prelude::Model(decoder, span) = &self.prelude {
            self.decode_model((index, false), bytes, scratch)?;
            decoder.values(self.kernels, scratch, span.holding(self.layout, index).1, gain, out);
            return Ok(());
        }
        if let Prelude::Signs(cut) = self.prelude {
            return self.each_block(cut, index, body, |Coded { block, bytes }, range| match bytes {
                Some((scale, signs)) => {
                    let (coded, dither) = ((signs, scale * gain), block.dither(self.header.seed));
                    self.kernels.decode_signs(block, coded, dither, &mut scratch.rows, &mut out[range]);
                }
                None => out[range].fill(0.0),
            });
        }
        match self.header.coding.raw() {
            Some(raw) => raw.decode(body, out),
            None => self.each_part(index, body, |coding, bytes, range| match coding {
                Some(coding) => self.kernels.decode(coding, bytes, gain, &mut out[range]),
                None => out[range].fill(0.0),
            }),
        }
        Ok(())
    }

    /// Adds `weight` times the values of chunk `index`, whose `bytes` were checked, to `sum`, in f64.
    ///
    /// # Errors
    /// If `bytes` or `sum` do not have the chunk's length, or `bytes` were not checked and are not a chunk; `sum` is then as
    /// it was.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn fold_chunk(
        &self,
        index: usize,
        bytes: &[u8],
        weight: f64,
        scratch: &mut Scratch,
        sum: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.check_chunk_length(index, bytes)?;
        check_buffer(sum.len(), self.layout.chunk_range(index).len())?;
        let (body, gain) = (&bytes[self.chunk_header_bytes()..], self.header.gain);
        if let Prelude::Model(decoder, span) = &self.prelude {
            self.decode_model((index, false), bytes, scratch)?;
            decoder.fold(self.kernels, (scratch, span.holding(self.layout, index).1), gain, weight, sum);
            return Ok(());
        }
        if let Prelude::Signs(cut) = self.prelude {
            return self.each_block(cut, index, body, |Coded { block, bytes }, range| {
                if let Some((scale, signs)) = bytes {
                    let (coded, dither) = ((signs, scale * gain), block.dither(self.header.seed));
                    self.kernels.fold_signs(block, coded, dither, &mut scratch.rows, weight, &mut sum[range]);
                }
            });
        }
        match self.header.coding.raw() {
            Some(raw) => self.kernels.fold_raw(raw, body, weight, sum),
            None => self.each_part(index, body, |coding, bytes, range| {
                if let Some(coding) = coding {
                    self.kernels.fold(coding, bytes, gain, weight, &mut sum[range]);
                }
            }),
        }
        Ok(())
    }

    /// [`Frame::check_chunk`] and then [`Frame::fold_chunk`]; decodes only once.
    ///
    /// # Errors
    /// If `bytes` are not exactly that chunk, or `sum` does not have its length; `sum` is then as it was.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn check_and_fold_chunk(
        &self,
        index: usize,
        bytes: &[u8],
        weight: f64,
        scratch: &mut Scratch,
        sum: &mut [f64],
    ) -> Result<(), DecodeError> {
        if self.is_modelled() {
            self.checked_body(index, bytes)?;
            self.decode_model((index, true), bytes, scratch)?;
        } else {
            self.check_chunk(index, bytes, scratch)?;
        }
        self.fold_chunk(index, bytes, weight, scratch, sum)
    }

    fn is_modelled(&self) -> bool {
        matches!(self.prelude, Prelude::Model(..))
    }

    /// Decodes what chunk `index` of `auto` is in, unless `scratch` holds just that. Of bytes whose checksum was found right, what is
    /// held must have been.
    fn decode_model(
        &self,
        (index, is_checked): (usize, bool),
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let Prelude::Model(decoder, span) = &self.prelude else { return Ok(()) };
        let place = self.place(index);
        let frame = (self.number, self.header.seed);
        let mut this = Held { frame, index: place, checksum: array(bytes, 0), is_checked };
        let held = scratch.held.take().filter(|held| Held { is_checked, ..*held } == this);
        if let Some(held) = held.filter(|held| held.is_checked || !is_checked) {
            this = held;
        } else {
            let (body, range) = (&bytes[SHORT_CHUNK_HEADER_BYTES..], span.range(self.layout, place));
            let layout = (self.layout, *span);
            self.in_chunk(index, decoder.decode(self.kernels, layout, range, self.header.seed, body, scratch))?;
        }
        scratch.held = Some(this);
        Ok(())
    }

    pub(crate) fn layout(&self) -> &'a Layout {
        self.layout
    }

    fn chunk_header_bytes(&self) -> usize {
        if let Prelude::Nothing = self.prelude { CHUNK_HEADER_BYTES } else { SHORT_CHUNK_HEADER_BYTES }
    }

    /// Calls `f` with every block of chunk `index` of `sign`, and its place in its chunk, unless one of them is undefined.
    fn each_block(
        &self,
        cut: Cut,
        index: usize,
        body: &[u8],
        mut f: impl FnMut(Coded<'_>, Range<usize>),
    ) -> Result<(), DecodeError> {
        let range = self.layout.chunk_range(index);
        self.in_chunk(index, cut.check(range.clone(), body))?;
        for coded in cut.coded(range.clone(), body).flatten() {
            let start = coded.block.start - range.start;
            f(coded, start..start + coded.block.len);
        }
        Ok(())
    }

    /// Calls `f` with the coding, the bytes and the place in its chunk of every segment or piece of chunk `index`; with no
    /// coding for what is not sent.
    fn each_part<'b>(
        &self,
        index: usize,
        body: &'b [u8],
        mut f: impl FnMut(Option<&SegmentCoding>, &'b [u8], Range<usize>),
    ) {
        let (mut rest, start) = (body, self.layout.chunk_range(index).start);
        let mut part = |coding: Option<SegmentCoding>, range: Range<usize>| {
            let (bytes, after) = rest.split_at(coding.map_or(0, |coding| coding.segment_bytes(range.len())));
            rest = after;
            f(coding.as_ref(), bytes, range.start - start..range.end - start);
        };
        match (self.header.coding, &self.prelude) {
            (Coding::Block(block), _) => {
                for &Segment { start, len, .. } in self.layout.segments(index) {
                    part(Some(SegmentCoding::new(block, self.header.seed, start, len)), start..start + len);
                }
            }
            (Coding::Plan(coding), Prelude::Widths(widths)) => {
                for ((_, range), &width) in plan::pieces(self.layout, index).zip(&widths[index]) {
                    part(plan::coding(coding.rounding, width, self.header.seed, &range), range);
                }
            }
            _ => {}
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

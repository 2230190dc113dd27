//! From bytes, whatever they are, to a checked payload; from a checked payload to values.

use alloc::vec::Vec;

use crate::{
    auto::Scratch,
    error::DecodeError,
    frame::{Frame, check_buffer},
    header::Header,
    layout::Layout,
    scheme::Coding,
    simd::Backend,
    sums,
};

/// A payload in memory whose every byte was checked against its layout: decoding it cannot fail.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    frame: Frame<'a>,
    bytes: &'a [u8],
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
        let payload = Self::framed(bytes, layout, backend, Frame::check_chunk)?;
        payload.frame.check_length()?;
        Ok(payload)
    }

    /// The payload in bytes that this process encoded, or has parsed before: checksums and contents are taken on trust,
    /// which spares two passes over them.
    ///
    /// # Errors
    /// If the header, the lengths or the layout are not those of a payload of this layout. Bytes that were damaged
    /// elsewhere decode to other values, but never panic.
    pub fn trust(bytes: &'a [u8], layout: &'a Layout) -> Result<Self, DecodeError> {
        Self::framed(bytes, layout, Backend::detect(), |frame, chunk, bytes, _| frame.check_chunk_length(chunk, bytes))
    }

    /// A payload whose chunks all pass `check`, with nothing behind the last.
    fn framed(
        bytes: &'a [u8],
        layout: &'a Layout,
        backend: Backend,
        check: impl Fn(&Frame<'a>, usize, &[u8], &mut Scratch) -> Result<(), DecodeError>,
    ) -> Result<Self, DecodeError> {
        let frame = Frame::parse_with(bytes, layout, backend)?;
        let mut scratch = Scratch::default();
        for chunk in 0..layout.chunks() {
            let range = frame.chunk_bytes(chunk);
            let found = &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
            check(&frame, chunk, found, &mut scratch)?;
        }
        match bytes.len() as u64 - frame.len_bytes() {
            0 => Ok(Self { frame, bytes }),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    /// What the payload says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.frame.header()
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
        let layout = self.frame.layout();
        check_buffer(out.len(), layout.coordinates())?;
        let mut scratch = Scratch::default();
        (0..layout.chunks())
            .try_for_each(|chunk| self.decode_chunk(chunk, &mut scratch, &mut out[layout.chunk_range(chunk)]))
    }

    /// Adds everything that it decodes to.
    ///
    /// # Errors
    /// If `sum` does not have the layout's length.
    pub fn add_to(&self, sum: &mut [f32]) -> Result<(), DecodeError> {
        let layout = self.frame.layout();
        check_buffer(sum.len(), layout.coordinates())?;
        let (mut decoded, mut scratch) = (Vec::new(), Scratch::default());
        for chunk in 0..layout.chunks() {
            let range = layout.chunk_range(chunk);
            decoded.resize(range.len(), 0.0);
            self.decode_chunk(chunk, &mut scratch, &mut decoded)?;
            sum[range].iter_mut().zip(&decoded).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    /// How many chunks only decode together; see [`Frame::together`].
    #[must_use]
    pub fn together(&self) -> usize {
        self.frame.together()
    }

    /// Decodes chunk `index` alone.
    ///
    /// # Errors
    /// If `out` does not have the chunk's length.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn decode_chunk(&self, index: usize, scratch: &mut Scratch, out: &mut [f32]) -> Result<(), DecodeError> {
        self.frame.decode_chunk(index, &self.bytes[self.frame.chunk_bytes(index)], scratch, out)
    }

    /// Adds `weight` times the values of chunk `index` to `sum`, in f64.
    ///
    /// # Errors
    /// If `sum` does not have the chunk's length.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn fold_chunk(
        &self,
        index: usize,
        weight: f64,
        scratch: &mut Scratch,
        sum: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.frame.fold_chunk(index, &self.bytes[self.frame.chunk_bytes(index)], weight, scratch, sum)
    }

    /// ‖x − x̂‖² / ‖x‖² of what was decoded against what was meant, if this is the payload of `x`; 0 if both are zero.
    ///
    /// # Errors
    /// If `x` does not have the layout's length.
    pub fn nmse(&self, x: &[f32]) -> Result<f64, DecodeError> {
        let layout = self.frame.layout();
        check_buffer(x.len(), layout.coordinates())?;
        if self.header().coding == Coding::Fp32 {
            return Ok(0.0);
        }
        let (mut error, mut norm) = (0.0, 0.0);
        let (mut decoded, mut scratch) = (Vec::new(), Scratch::default());
        for chunk in 0..layout.chunks() {
            let range = layout.chunk_range(chunk);
            decoded.resize(range.len(), 0.0);
            self.decode_chunk(chunk, &mut scratch, &mut decoded)?;
            let [chunk_error, chunk_norm] = sums::error_and_norm(&x[range], &decoded);
            (error, norm) = (error + chunk_error, norm + chunk_norm);
        }
        Ok(if error == 0.0 { 0.0 } else { error / norm })
    }
}

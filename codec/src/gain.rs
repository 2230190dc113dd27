//! The gain under feedback: what a payload is multiplied by so that its coding is contractive (EF-BV; Condat, Yi, Richtárik
//! 2022).
//!
//! Absent on purpose: the residual (`residual`), and how anything is encoded (`encode`).

use nibble_seed::Seed;

use crate::{
    auto::Scratch,
    block::SegmentCoding,
    encode::Encoder,
    frame::{CHUNK_HEADER_BYTES, Frame},
    header::{HEADER_BYTES, Header},
    layout::{CHUNK_COORDINATES, Layout},
    scheme::BlockCoding,
    sums,
};

/// Feedback keeps the error of an update at most this share of it, so that the residual stays bounded.
const MOST_NMSE: f64 = 0.9;

impl Encoder {
    /// Under feedback, gives a payload without one its gain; see [`gain`].
    pub(crate) fn set_gain(&mut self, layout: &Layout, x: &[f32], payload: &mut [u8]) {
        let Ok(mut header) = Header::parse(payload) else { return };
        if self.scheme.feedback {
            header.gain = self.fit_gain_of(layout, x, payload);
            payload[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        }
    }

    /// The gain of a payload without one.
    fn fit_gain_of(&mut self, layout: &Layout, x: &[f32], payload: &[u8]) -> f32 {
        let Ok(frame) = Frame::parse(payload, layout) else { return 1.0 };
        let mut scratch = Scratch::default();
        let mut products = [0.0; 3];
        for chunk in 0..layout.chunks() {
            let range = layout.chunk_range(chunk);
            self.decoded.resize(range.len(), 0.0);
            if frame.decode_chunk(chunk, &payload[frame.chunk_bytes(chunk)], &mut scratch, &mut self.decoded).is_ok() {
                let chunk = sums::products(&x[range], &self.decoded);
                products.iter_mut().zip(chunk).for_each(|(sum, chunk)| *sum += chunk);
            }
        }
        gain(products)
    }

    /// The gain under feedback; see [`gain`].
    pub(crate) fn fit_gain(&mut self, block: BlockCoding, layout: &Layout, x: &[f32], seed: Seed, body: &[u8]) -> f32 {
        self.decoded.resize(CHUNK_COORDINATES.min(layout.coordinates()), 0.0);
        let mut products = [0.0; 3];
        let mut rest = body;
        for chunk in 0..layout.chunks() {
            rest = &rest[CHUNK_HEADER_BYTES..];
            for segment in layout.segments(chunk) {
                let coding = SegmentCoding::new(block, seed, segment.start, segment.len);
                let (bytes, after) = rest.split_at(coding.segment_bytes(segment.len));
                rest = after;
                let decoded = &mut self.decoded[..segment.len];
                self.kernels.decode(&coding, bytes, 1.0, decoded);
                let segment = sums::products(&x[segment.start..][..segment.len], decoded);
                products.iter_mut().zip(segment).for_each(|(sum, segment)| *sum += segment);
            }
        }
        gain(products)
    }
}

/// The largest gain up to 1 at which NMSE is at most [`MOST_NMSE`], given ‖x‖², <x, x̂> and ‖x̂‖²; where there is none,
/// the gain of least error.
fn gain([xx, xy, yy]: [f64; 3]) -> f32 {
    // NMSE(gain) x ‖x‖² = xx - 2 gain xy + gain² yy
    let slack = (MOST_NMSE - 1.0) * xx;
    if yy - 2.0 * xy <= slack || yy == 0.0 {
        return 1.0;
    }
    let discriminant = xy * xy + slack * yy;
    let root = if discriminant > 0.0 { libm::sqrt(discriminant) } else { 0.0 };
    (((xy + root) / yy) as f32).clamp(0.0, 1.0)
}

//! What clients have of the global model, and what brings them up to date: the model goes out like video.
//!
//! A *delta frame* is the compressed difference between the global model and what clients have; both ends add what it
//! decodes to, so that all who follow have the same model to the bit, whatever was lost in compression. What was lost is
//! part of the next difference (error feedback at the server; Tang et al. 2019, *DoubleSqueeze*). A *keyframe* is what
//! clients have, whole. Whoever fell behind takes the frames it lacks or a keyframe, whichever is fewer bytes.
//!
//! Version 0 is the run's initial model, which every client makes from the run's seed, at no cost.

use nibble_codec::{EncodeError, Encoder, Layout, Payload, PayloadId, Scheme};

/// The model that clients have, and the frames that led to it.
#[derive(Debug)]
pub struct Broadcast {
    encoder: Encoder,
    held: Vec<f32>,
    /// Bytes of every frame: frame i leads from version i to the next.
    frames: Vec<u64>,
    keyframe: u64,
}

/// What a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The frames from this version on.
    Frames {
        /// The version that the client has.
        from: u64,
        /// Bytes of them all.
        bytes: u64,
    },
    /// The whole model.
    Keyframe {
        /// Its bytes.
        bytes: u64,
    },
}

impl Path {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        let (Self::Frames { bytes, .. } | Self::Keyframe { bytes }) = self;
        bytes
    }
}

impl Broadcast {
    /// Clients have `held` after frames of so many bytes each; at the beginning, the initial model and none. Differences
    /// are coded as `scheme` says, with feedback whether it says so or not.
    #[must_use]
    pub fn new(scheme: Scheme, layout: &Layout, held: Vec<f32>, frames: Vec<u64>) -> Self {
        let keyframe = nibble_codec::Coding::Fp32.payload_bytes(layout);
        let encoder = Encoder::new(Scheme { feedback: true, ..scheme });
        Self { encoder, held, frames, keyframe }
    }

    /// The model that a client has who follows.
    #[must_use]
    pub fn held(&self) -> &[f32] {
        &self.held
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Bytes of every frame so far.
    #[must_use]
    pub fn frames(&self) -> &[u64] {
        &self.frames
    }

    /// Publishes `global` as the next version, as nearly as one frame can; gives the frame, or nothing if clients have it.
    ///
    /// # Errors
    /// If the difference cannot be encoded; clients then have what they had.
    pub fn publish(&mut self, layout: &Layout, global: &[f32], id: PayloadId) -> Result<Option<Vec<u8>>, EncodeError> {
        if global == self.held {
            return Ok(None);
        }
        let delta: Vec<f32> = global.iter().zip(&self.held).map(|(global, held)| global - held).collect();
        let mut frame = Vec::new();
        self.encoder.encode(layout, &delta, id, &mut frame)?;
        let follow = Payload::parse(&frame, layout).and_then(|frame| frame.add_to(&mut self.held));
        follow.expect("it was just encoded");
        self.frames.push(frame.len() as u64);
        Ok(Some(frame))
    }

    /// What a client that has version `have` is sent.
    #[must_use]
    pub fn path(&self, have: u64) -> Path {
        let lacks = self.frames.get(have as usize..).unwrap_or_default();
        match lacks.iter().sum() {
            bytes if bytes <= self.keyframe => Path::Frames { from: have, bytes },
            _ => Path::Keyframe { bytes: self.keyframe },
        }
    }
}

#[cfg(test)]
mod tests {
    use nibble_seed::{RoundId, Seed};

    use super::*;

    fn layout() -> Layout {
        Layout::new([("w", vec![60, 50]), ("b", vec![60])]).unwrap()
    }

    fn follow(layout: &Layout, frame: &[u8], held: &mut [f32]) {
        Payload::parse(frame, layout).unwrap().add_to(held).unwrap();
    }

    /// A model that moves a little every round, and a client that misses some.
    fn global(round: u64) -> Vec<f32> {
        let at = |i: u64| (0..=round).map(|r| Seed(r).unit_at(i) - 0.5).sum::<f32>() * 0.01;
        (0..3060).map(at).collect()
    }

    #[test]
    fn whoever_follows_in_whatever_steps_has_the_same_model() {
        for scheme in ["auto:0.5", "auto:2", "int4", "int2:nearest", "fp32"] {
            let (layout, initial) = (layout(), global(0));
            let mut broadcast = Broadcast::new(scheme.parse().unwrap(), &layout, initial.clone(), Vec::new());
            let (mut steady, mut frames) = (initial.clone(), Vec::new());
            let mut versions = vec![initial];
            for round in 1..40 {
                let id = PayloadId { round: RoundId(round), seed: Seed(round) };
                let frame = broadcast.publish(&layout, &global(round), id).unwrap().unwrap();
                follow(&layout, &frame, &mut steady);
                assert_eq!(steady, broadcast.held(), "{scheme}, round {round}");
                frames.push(frame);
                versions.push(steady.clone());
            }
            // One that stops at a version, and takes what it is told to take in one go.
            for missed in [1, 5, 39] {
                let have = 39 - missed;
                let mut late = versions[have].clone();
                match broadcast.path(have as u64) {
                    Path::Frames { from, bytes } => {
                        assert_eq!(bytes, frames[have..].iter().map(|frame| frame.len() as u64).sum::<u64>());
                        frames[from as usize..].iter().for_each(|frame| follow(&layout, frame, &mut late));
                        assert_eq!(late, broadcast.held(), "{scheme}, {missed} missed");
                    }
                    Path::Keyframe { bytes } => {
                        let frames = frames[have..].iter().map(|frame| frame.len() as u64).sum::<u64>();
                        assert!(bytes < frames, "{scheme}: the frames are {frames} bytes, the model {bytes}");
                    }
                }
            }
            // What is not sent does not pile up: as far behind as a few rounds' changes, after 39.
            let apart: f64 = global(39).iter().zip(broadcast.held()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let change: f64 = global(39).iter().zip(global(38)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            assert!(apart < 30.0 * change, "{scheme}: {}", apart / change);
        }
    }

    #[test]
    fn the_cheaper_path_is_taken() {
        let layout = layout();
        let mut broadcast = Broadcast::new("int8".parse().unwrap(), &layout, global(0), Vec::new());
        assert_eq!(broadcast.path(0), Path::Frames { from: 0, bytes: 0 });
        assert_eq!(broadcast.publish(&layout, &global(0), PayloadId { round: RoundId(0), seed: Seed(0) }), Ok(None));
        for round in 1..6 {
            let id = PayloadId { round: RoundId(round), seed: Seed(round) };
            broadcast.publish(&layout, &global(round), id).unwrap();
        }
        let whole = nibble_codec::Coding::Fp32.payload_bytes(&layout);
        assert_eq!(broadcast.path(4), Path::Frames { from: 4, bytes: broadcast.frames()[4] });
        assert_eq!(broadcast.path(0), Path::Keyframe { bytes: whole }, "five frames of 8 bits are more than 32 bits");
        assert!(broadcast.path(2).bytes() < whole);
    }
}

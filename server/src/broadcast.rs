//! What clients have of the global model, and what brings them up to date: the model goes out like video.
//!
//! A *delta frame* is the compressed difference between the global model and an earlier *version* of it; both ends add what
//! it decodes to, so that all who follow have the same model to the bit, whatever was lost in compression. Every frame
//! starts from the last *anchor*: version 0 and every [`Span`]-th after it. A client keeps an anchor, and takes the anchors
//! that it lacks and one frame more, however many rounds it missed; as that frame is a difference from the anchor, not from
//! the round before, what was lost in one round is not lost again in the next. What an anchor lost is part of the next
//! frame (error feedback at the server; Tang et al. 2019, *DoubleSqueeze*). Whoever fell far behind takes the anchor whole.
//!
//! Version 0 is the run's initial model, which every client makes from the run's seed, at no cost.

use nibble_codec::{Coding, EncodeError, Encoder, Layout, Payload, PayloadId, Scheme, Target};

/// How the model's changes travel to the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downlink {
    /// How they are coded.
    pub scheme: Scheme,
    /// Which versions they start from.
    pub span: Span,
}

/// Versions from one anchor to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(u64);

/// The model that clients have, and the frames that led to it.
#[derive(Debug)]
pub struct Broadcast {
    encoder: Encoder,
    downlink: Downlink,
    /// The newest anchor.
    anchor: Vec<f32>,
    /// The newest version.
    held: Vec<f32>,
    /// Bytes of every frame: frame i leads to version i + 1.
    frames: Vec<u64>,
    keyframe: u64,
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The version that it starts from.
    pub from: u64,
    /// Whether that is sent, too, whole.
    pub whole: bool,
    /// The versions that delta frames lead to, one after the other.
    pub versions: Vec<u64>,
    /// Bytes of it all.
    pub bytes: u64,
}

impl Span {
    /// Where nothing else is said.
    pub const DEFAULT: Self = Self(16);

    /// A span of that many versions; `None` beyond 1 to 1,000.
    #[must_use]
    pub fn new(versions: u64) -> Option<Self> {
        (1..=1000).contains(&versions).then_some(Self(versions))
    }

    /// The newest anchor once there is `version`: what whoever has that keeps.
    #[must_use]
    pub fn anchor(self, version: u64) -> u64 {
        version - version % self.0
    }

    /// The versions that frames lead to on the way from `from` to `to`; `None` if there is no such way.
    #[must_use]
    pub fn route(self, from: u64, to: u64) -> Option<Vec<u64>> {
        let (mut route, mut at) = (Vec::new(), to);
        while at > from {
            route.push(at);
            at = self.anchor(at - 1);
        }
        route.reverse();
        (at == from).then_some(route)
    }
}

impl Broadcast {
    /// Clients have `held`, whose last anchor is `anchor`, after frames of so many bytes each; at the beginning, both are the
    /// initial model. Differences are coded contractively, as for feedback, whether the scheme says so or not.
    #[must_use]
    pub fn new(downlink: Downlink, layout: &Layout, (anchor, held): (Vec<f32>, Vec<f32>), frames: Vec<u64>) -> Self {
        let keyframe = Coding::Fp32.payload_bytes(layout);
        Self { encoder: Encoder::new(downlink.scheme), downlink, anchor, held, frames, keyframe }
    }

    /// The model that a client has who follows.
    #[must_use]
    pub fn held(&self) -> &[f32] {
        &self.held
    }

    /// The newest anchor.
    #[must_use]
    pub fn anchor(&self) -> &[f32] {
        &self.anchor
    }

    /// The version of the model.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.frames.len() as u64
    }

    /// The version that a client keeps who follows: the newest anchor.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.downlink.span.anchor(self.version())
    }

    /// As [`Broadcast::kept`], of a client that follows to an earlier version.
    #[must_use]
    pub fn kept_at(&self, version: u64) -> u64 {
        self.downlink.span.anchor(version)
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
        let (version, kept) = (self.version() + 1, self.kept());
        let delta: Vec<f32> = global.iter().zip(&self.anchor).map(|(global, anchor)| global - anchor).collect();
        let mut frame = Vec::new();
        self.encoder.set_scheme(over(self.downlink.scheme, version - kept));
        self.encoder.encode(layout, &delta, id, &mut frame)?;
        self.held.copy_from_slice(&self.anchor);
        let follow = Payload::parse(&frame, layout).and_then(|frame| frame.add_to(&mut self.held));
        follow.expect("it was just encoded");
        self.frames.push(frame.len() as u64);
        if self.kept() == version {
            self.anchor.copy_from_slice(&self.held);
        }
        Ok(Some(frame))
    }

    /// What a client that has version `have` is sent.
    #[must_use]
    pub fn path(&self, have: u64) -> Path {
        self.path_to(have, self.version())
    }

    /// As [`Broadcast::path`], to version `to`.
    #[must_use]
    pub fn path_to(&self, have: u64, to: u64) -> Path {
        let span = self.downlink.span;
        let path = |from, whole| {
            let versions = span.route(from, to)?;
            let frames: u64 = versions.iter().map(|version| self.frames[*version as usize - 1]).sum();
            Some(Path { from, whole, versions, bytes: frames + if whole { self.keyframe } else { 0 } })
        };
        let whole = path(self.kept_at(to), true).expect("every version has a way from its anchor");
        path(have, false).filter(|path| path.bytes <= whole.bytes).unwrap_or(whole)
    }
}

/// `scheme` for the changes of several rounds: those are larger, and are to be known as well as those of one. Half a bit
/// for every doubling would keep the error at high rates; at the low ones of a downlink less than half of that does, as
/// measured (docs/experiments.md).
fn over(scheme: Scheme, rounds: u64) -> Scheme {
    let coding = match scheme.coding {
        Coding::Auto(Target::Rate(rate)) => {
            let more = 2_000.0 * (rounds as f64).log2();
            Coding::Auto(Target::Rate((rate + more as u32).min(100_000)))
        }
        coding => coding,
    };
    Scheme { coding, feedback: true, ..scheme }
}

#[cfg(test)]
mod tests {
    use nibble_seed::{RoundId, Seed};

    use super::*;

    fn layout() -> Layout {
        Layout::new([("w", vec![60, 50]), ("b", vec![60])]).unwrap()
    }

    fn broadcast(scheme: &str, span: u64, initial: Vec<f32>) -> Broadcast {
        let downlink = Downlink { scheme: scheme.parse().unwrap(), span: Span::new(span).unwrap() };
        Broadcast::new(downlink, &layout(), (initial.clone(), initial), Vec::new())
    }

    fn follow(layout: &Layout, frame: &[u8], held: &mut [f32]) {
        Payload::parse(frame, layout).unwrap().add_to(held).unwrap();
    }

    /// A model that moves a little every round, and a client that misses some.
    fn global(round: u64) -> Vec<f32> {
        let at = |i: u64| (0..=round).map(|r| Seed(r).unit_at(i) - 0.5).sum::<f32>() * 0.01;
        (0..3060).map(at).collect()
    }

    fn publish(broadcast: &mut Broadcast, round: u64) -> Option<Vec<u8>> {
        let id = PayloadId { round: RoundId(round), seed: Seed(round) };
        broadcast.publish(&layout(), &global(round), id).unwrap()
    }

    #[test]
    fn routes_lead_over_anchors() {
        let span = Span::new(4).unwrap();
        assert_eq!(span.route(0, 0), Some(vec![]));
        assert_eq!(span.route(0, 3), Some(vec![3]));
        assert_eq!(span.route(0, 4), Some(vec![4]));
        assert_eq!(span.route(0, 11), Some(vec![4, 8, 11]));
        assert_eq!(span.route(8, 9), Some(vec![9]));
        assert_eq!(span.route(7, 9), None, "nobody keeps 7");
        assert_eq!(span.route(8, 4), None);
        assert_eq!([0, 3, 4, 11].map(|version| span.anchor(version)), [0, 0, 4, 8]);
        assert_eq!(Span::new(1).unwrap().route(2, 5), Some(vec![3, 4, 5]));
        assert_eq!([0, 1001].map(Span::new), [None, None]);
    }

    #[test]
    fn whoever_follows_in_whatever_steps_has_the_same_model() {
        for (scheme, span) in
            [("auto:0.5", 16), ("auto:0.5", 1), ("auto:2", 4), ("int4", 8), ("int2:nearest", 5), ("fp32", 3)]
        {
            let (layout, initial) = (layout(), global(0));
            let mut broadcast = broadcast(scheme, span, initial.clone());
            let (mut frames, mut versions) = (Vec::new(), vec![initial]);
            for round in 1..40 {
                frames.push(publish(&mut broadcast, round).unwrap());
                versions.push(broadcast.held().to_vec());
                assert_eq!(versions[broadcast.kept() as usize], broadcast.anchor());
            }
            for have in 0..40 {
                let path = broadcast.path(have);
                let mut late = versions[path.from as usize].clone();
                let mut bytes = if path.whole { Coding::Fp32.payload_bytes(&layout) } else { 0 };
                for version in &path.versions {
                    follow(&layout, &frames[*version as usize - 1], &mut late);
                    bytes += frames[*version as usize - 1].len() as u64;
                }
                assert_eq!(
                    (late.as_slice(), bytes),
                    (broadcast.held(), path.bytes),
                    "{scheme}, span {span}, from {have}"
                );
                assert!(path.whole || path.from == have);
            }
            // What is not sent does not pile up: as far behind as a few rounds' changes, after 39.
            let apart: f64 = global(39).iter().zip(broadcast.held()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let change: f64 = global(39).iter().zip(global(38)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            assert!(apart < 30.0 * change, "{scheme}, span {span}: {}", apart / change);
        }
    }

    #[test]
    fn the_cheaper_path_is_taken() {
        let mut broadcast = broadcast("int8", 1, global(0));
        assert_eq!(broadcast.path(0), Path { from: 0, whole: false, versions: vec![], bytes: 0 });
        assert_eq!(publish(&mut broadcast, 0), None);
        (1..6).for_each(|round| drop(publish(&mut broadcast, round)));
        let whole = Coding::Fp32.payload_bytes(&layout());
        assert_eq!(broadcast.path(4), Path { from: 4, whole: false, versions: vec![5], bytes: broadcast.frames()[4] });
        let keyframe = Path { from: 5, whole: true, versions: vec![], bytes: whole };
        assert_eq!(broadcast.path(0), keyframe, "five frames of 8 bits are more than 32 bits");
        assert!(broadcast.path(2).bytes < whole);
    }

    #[test]
    fn the_farther_from_its_anchor_the_more_bits_a_frame_has() {
        let mut broadcast = broadcast("auto:0.5", 16, global(0));
        let bits = |frame: Vec<u8>| frame.len() as f64 * 8.0 / 3060.0;
        let bits: Vec<_> = (1..18).map(|round| bits(publish(&mut broadcast, round).unwrap())).collect();
        for (round, asked) in [(1, 0.5), (2, 0.7), (4, 0.9), (16, 1.3), (17, 0.5)] {
            assert!((0.93 * asked..=asked).contains(&bits[round - 1]), "round {round}: {} bits", bits[round - 1]);
        }
    }
}

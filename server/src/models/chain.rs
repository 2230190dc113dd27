//! Versions of the model that clients have, and the delta frames that lead from one to the next.

use super::ModelName;
use crate::broadcast::Span;

/// A delta frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaFrame {
    /// SHA-256 of its bytes: what it is kept under.
    pub digest: [u8; 32],
    /// How many they are.
    pub bytes: u64,
}

/// All versions of a run's model, as far as clients have them. Version 0 is the first model.
#[derive(Clone, Debug)]
pub struct Chain {
    span: Span,
    /// Names of all versions.
    names: Vec<ModelName>,
    /// Frame i leads to version i + 1, from the anchor before that.
    frames: Vec<DeltaFrame>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { span: Span::DEFAULT, names: Vec::new(), frames: Vec::new() }
    }
}

impl Chain {
    /// A chain that begins with `first` and goes on with frames and what they lead to.
    #[must_use]
    pub fn new(span: Span, first: ModelName, steps: impl IntoIterator<Item = (DeltaFrame, ModelName)>) -> Self {
        let mut chain = Self { span, names: vec![first], frames: Vec::new() };
        steps.into_iter().for_each(|(frame, name)| chain.push(frame, name));
        chain
    }

    /// The next version.
    pub fn push(&mut self, frame: DeltaFrame, name: ModelName) {
        self.frames.push(frame);
        self.names.push(name);
    }

    /// The newest version of that name.
    #[must_use]
    pub fn version_of(&self, name: &ModelName) -> Option<u64> {
        self.names.iter().rposition(|known| known == name).map(|version| version as u64)
    }

    /// The name of a version.
    #[must_use]
    pub fn name(&self, version: u64) -> Option<&ModelName> {
        self.names.get(version as usize)
    }

    /// The frame that leads to a version.
    #[must_use]
    pub fn frame(&self, version: u64) -> Option<&DeltaFrame> {
        self.frames.get(version.checked_sub(1)? as usize)
    }

    /// The frames that lead from one model to another.
    #[must_use]
    pub fn between(&self, base: &ModelName, to: &ModelName) -> Option<Vec<DeltaFrame>> {
        let to = self.version_of(to)?;
        let from = |route: Vec<u64>| route.into_iter().map(|version| self.frame(version).copied()).collect();
        let versions = (0..=to).rev().filter(|version| self.name(*version) == Some(base));
        versions.filter_map(|version| self.span.route(version, to)).next().and_then(from)
    }

    /// What clients may still be sent: delta frames that are fewer bytes than a whole model, and the names of the anchors
    /// that are sent whole; also for clients that are on their way to the version before the newest, and to `others`.
    pub(crate) fn wanted(&self, others: &[ModelName], keyframe: u64) -> (Vec<DeltaFrame>, Vec<ModelName>) {
        let newest = self.frames.len() as u64;
        let mut targets: Vec<_> = others.iter().filter_map(|name| self.version_of(name)).collect();
        targets.extend([newest, newest.saturating_sub(1)]);
        let mut wanted: Vec<_> = targets.iter().filter_map(|version| self.frame(*version)).collect();
        for target in &targets {
            let (mut bytes, mut at) = (0, self.span.anchor(target.saturating_sub(u64::from(*target == newest))));
            while let Some(frame) = self.frame(at) {
                bytes += frame.bytes;
                if bytes > keyframe {
                    break;
                }
                wanted.push(frame);
                at = self.span.anchor(at - 1);
            }
        }
        let anchors = targets.iter().filter_map(|target| self.name(self.span.anchor(*target)).copied());
        (wanted.into_iter().copied().collect(), anchors.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8, bytes: u64) -> DeltaFrame {
        DeltaFrame { digest: [n; 32], bytes }
    }

    fn chain(span: u64, names: &[u8]) -> Chain {
        let steps = (1..names.len()).map(|i| (frame(i as u8, 10), [names[i]; 32]));
        Chain::new(Span::new(span).unwrap(), [names[0]; 32], steps)
    }

    #[test]
    fn paths_lead_from_the_newest_version_of_a_name_to_another() {
        let chain = chain(1, &[1, 2, 1, 3]);
        assert_eq!(chain.version_of(&[1; 32]), Some(2));
        assert_eq!(chain.between(&[1; 32], &[3; 32]), Some(vec![frame(3, 10)]));
        assert_eq!(chain.between(&[2; 32], &[3; 32]), Some(vec![frame(2, 10), frame(3, 10)]));
        assert_eq!(chain.between(&[3; 32], &[3; 32]), Some(vec![]));
        assert_eq!(chain.between(&[3; 32], &[2; 32]), None);
        assert_eq!(chain.between(&[9; 32], &[3; 32]), None);
    }

    #[test]
    fn paths_lead_over_anchors() {
        let chain = chain(4, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(chain.between(&[0; 32], &[9; 32]), Some(vec![frame(4, 10), frame(8, 10), frame(9, 10)]));
        assert_eq!(chain.between(&[4; 32], &[7; 32]), Some(vec![frame(7, 10)]));
        assert_eq!(chain.between(&[5; 32], &[7; 32]), None);
    }

    #[test]
    fn frames_and_anchors_are_kept_as_long_as_they_may_be_the_shorter_way() {
        let names: Vec<_> = (0..9).collect();
        let kept = |span, keyframe| {
            let (frames, anchors) = chain(span, &names).wanted(&[], keyframe);
            let mut frames: Vec<_> = frames.iter().map(|frame| frame.digest[0]).collect();
            frames.sort_unstable();
            frames.dedup();
            (frames, anchors.iter().map(|name| name[0]).collect::<Vec<_>>())
        };
        assert_eq!(kept(1, 25), (vec![6, 7, 8], vec![8, 7]));
        assert_eq!(kept(1, 0), (vec![7, 8], vec![8, 7]));
        assert_eq!(kept(1, 1000), ((1..9).collect(), vec![8, 7]));
        assert_eq!(kept(3, 1000), (vec![3, 6, 7, 8], vec![6, 6]));
        assert_eq!(kept(4, 1000), (vec![4, 7, 8], vec![8, 4]));
        assert_eq!(chain(4, &[0]).wanted(&[], 5), (vec![], vec![[0; 32], [0; 32]]));
    }
}

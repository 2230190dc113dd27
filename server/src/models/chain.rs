//! Versions of the model that clients have, and the delta frames that lead from one to the next.

use super::ModelName;

/// A delta frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaFrame {
    /// SHA-256 of its bytes: what it is kept under.
    pub digest: [u8; 32],
    /// How many they are.
    pub bytes: u64,
}

/// All versions of a run's model, as far as clients have them. Version 0 is the first model.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Names of all versions.
    names: Vec<ModelName>,
    /// Frame i leads from version i to the next.
    frames: Vec<DeltaFrame>,
}

impl Chain {
    /// A chain that begins with `first` and goes on with frames and what they lead to.
    #[must_use]
    pub fn new(first: ModelName, steps: impl IntoIterator<Item = (DeltaFrame, ModelName)>) -> Self {
        let mut chain = Self { names: vec![first], frames: Vec::new() };
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

    /// All frames.
    #[must_use]
    pub fn frames(&self) -> &[DeltaFrame] {
        &self.frames
    }

    /// The frames that lead from one model to another.
    #[must_use]
    pub fn between(&self, base: &ModelName, to: &ModelName) -> Option<&[DeltaFrame]> {
        let to = self.names.iter().rposition(|known| known == to)?;
        let base = self.names[..=to].iter().rposition(|known| known == base)?;
        Some(&self.frames[base..to])
    }

    /// The frames that clients may still be sent: those that are fewer bytes than a whole model, also for clients that
    /// are on their way to the version before the newest.
    pub(crate) fn wanted(&self, keyframe: u64) -> &[DeltaFrame] {
        let mut bytes = 0;
        let older = self.frames.iter().rev().skip(1).take_while(|frame| {
            bytes += frame.bytes;
            bytes <= keyframe
        });
        let wanted = (older.count() + 1).min(self.frames.len());
        &self.frames[self.frames.len() - wanted..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8, bytes: u64) -> DeltaFrame {
        DeltaFrame { digest: [n; 32], bytes }
    }

    #[test]
    fn paths_lead_from_the_newest_version_of_a_name_to_another() {
        let names = [1, 2, 1, 3].map(|n| [n; 32]);
        let steps = (1..4).map(|i| (frame(i, 10), names[i as usize]));
        let chain = Chain::new(names[0], steps);
        assert_eq!(chain.version_of(&[1; 32]), Some(2));
        assert_eq!(chain.between(&[1; 32], &[3; 32]), Some(&[frame(3, 10)][..]));
        assert_eq!(chain.between(&[2; 32], &[3; 32]).map(<[_]>::len), Some(2));
        assert_eq!(chain.between(&[3; 32], &[3; 32]), Some(&[][..]));
        assert_eq!(chain.between(&[3; 32], &[2; 32]), None);
        assert_eq!(chain.between(&[9; 32], &[3; 32]), None);
    }

    #[test]
    fn frames_are_kept_as_long_as_they_may_be_the_shorter_way() {
        let chain = Chain::new([0; 32], (1..9).map(|i| (frame(i, 10), [i; 32])));
        assert_eq!(chain.wanted(25), &chain.frames()[5..]);
        assert_eq!(chain.wanted(0), &chain.frames()[7..]);
        assert_eq!(chain.wanted(1000), chain.frames());
        assert!(Chain::new([0; 32], []).wanted(5).is_empty());
    }
}

//! The start of a record: everything but the vector and the payload.

use nibble_codec::Layout;
use nibble_seed::RoundId;

pub(super) const MAGIC: [u8; 8] = *b"NIBLSTAT";
pub(super) const VERSION: u32 = 2;
pub(super) const HEADER_BYTES: usize = 136;
/// A checksum follows the last section.
pub(super) const TRAILER_BYTES: u64 = 4;

const SETTLED: u32 = 1;
const PENDING: u32 = 2;

/// What the state holds, without the vector and the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The run it belongs to; empty before the first one.
    pub run: String,
    /// The layout of the vector and the payload.
    pub layout: Layout,
    /// What the vector is.
    pub keeps: Keeps,
    /// Coordinates kept: the layout's, or 0 where all of them are 0; while an update is pending, twice as many of a control variate:
    /// as it is, and as it will be if that is accepted.
    pub coordinates: u64,
    /// The update whose outcome is not known; the vector is then its intent, else the residual.
    pub pending: Option<PendingUpdate>,
}

/// What a client keeps from round to round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeps {
    /// What earlier updates left out.
    #[default]
    Residual,
    /// What corrects its gradients.
    Control,
}

/// An update whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PendingUpdate {
    /// Its round.
    pub round: RoundId,
    /// Samples it was trained on.
    pub samples: u64,
    /// SHA-256 of the payload.
    pub payload_sha256: [u8; 32],
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean loss before training, if it was measured.
    pub start_loss: Option<f64>,
    /// Relative squared error of the payload.
    pub nmse: f64,
}

/// The fixed fields, as they stand in the file.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) layout_hash: u64,
    pub(super) run_bytes: u32,
    pub(super) layout_bytes: u32,
    pub(super) keeps: Keeps,
    pub(super) coordinates: u64,
    pub(super) pending: Option<PendingUpdate>,
}

impl Header {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let kind = if self.pending.is_some() { PENDING } else { SETTLED };
        let pending = self.pending.unwrap_or(NOTHING);
        let keeps = u64::from(self.keeps == Keeps::Control);
        let start_loss = pending.start_loss.unwrap_or(f64::NAN);
        let fields: [&[u8]; 16] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &kind.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.layout_hash.to_le_bytes(),
            &pending.round.0.to_le_bytes(),
            &pending.samples.to_le_bytes(),
            &pending.train_loss.to_le_bytes(),
            &pending.nmse.to_le_bytes(),
            &keeps.to_le_bytes(),
            &pending.payload_sha256,
            &self.run_bytes.to_le_bytes(),
            &self.layout_bytes.to_le_bytes(),
            &self.coordinates.to_le_bytes(),
            &pending.payload_bytes.to_le_bytes(),
            &start_loss.to_le_bytes(),
        ];
        fields.concat()
    }

    /// Reads the fields; the caller holds them against the file's length and checksum before it believes them.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, String> {
        if bytes[..8] != MAGIC {
            return Err("it is not a state file".into());
        }
        let version = u32::from_le_bytes(array(bytes, 8));
        if version != VERSION {
            return Err(format!("it is of version {version}; this program reads version {VERSION}"));
        }
        let word = |at| u64::from_le_bytes(array(bytes, at));
        let pending = PendingUpdate {
            round: RoundId(word(32)),
            samples: word(40),
            train_loss: f64::from_le_bytes(array(bytes, 48)),
            start_loss: Some(f64::from_le_bytes(array(bytes, 128))).filter(|loss| !loss.is_nan()),
            nmse: f64::from_le_bytes(array(bytes, 56)),
            payload_sha256: array(bytes, 72),
            payload_bytes: word(120),
        };
        let pending = match u32::from_le_bytes(array(bytes, 12)) {
            SETTLED => None,
            PENDING => Some(pending),
            kind => return Err(format!("it is of the unknown kind {kind}")),
        };
        Ok(Self {
            sequence: word(16),
            layout_hash: word(24),
            run_bytes: u32::from_le_bytes(array(bytes, 104)),
            layout_bytes: u32::from_le_bytes(array(bytes, 108)),
            keeps: match word(64) {
                0 => Keeps::Residual,
                1 => Keeps::Control,
                keeps => return Err(format!("it keeps something unknown, {keeps}")),
            },
            coordinates: word(112),
            pending,
        })
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        self.pending.map_or(0, |pending| pending.payload_bytes)
    }

    /// Bytes of the whole record; `None` if the fields make no sense.
    pub(super) fn record_bytes(&self) -> Option<u64> {
        let names = u64::from(self.run_bytes) + u64::from(self.layout_bytes);
        let vector = self.coordinates.checked_mul(4)?;
        (HEADER_BYTES as u64 + names + TRAILER_BYTES).checked_add(vector)?.checked_add(self.payload_bytes())
    }
}

const NOTHING: PendingUpdate = PendingUpdate {
    round: RoundId(0),
    samples: 0,
    payload_sha256: [0; 32],
    payload_bytes: 0,
    train_loss: 0.0,
    start_loss: None,
    nmse: 0.0,
};

/// The layout's names and shapes as they stand in a record.
pub(super) fn layout_to_bytes(layout: &Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    for tensor in layout.tensors() {
        bytes.extend((tensor.name.len() as u32).to_le_bytes());
        bytes.extend(tensor.name.as_bytes());
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().for_each(|&dim| bytes.extend((dim as u64).to_le_bytes()));
    }
    bytes
}

/// The layout in `bytes`; `None` if they are not exactly one.
pub(super) fn layout_from_bytes(mut bytes: &[u8]) -> Option<Layout> {
    let mut tensors = Vec::new();
    while !bytes.is_empty() {
        let name = take(&mut bytes, 1)?;
        let shape = take(&mut bytes, 8)?;
        let dim = |word: &[u8; 8]| usize::try_from(u64::from_le_bytes(*word)).ok();
        let shape = shape.as_chunks::<8>().0.iter().map(dim).collect::<Option<Vec<_>>>()?;
        tensors.push((String::from_utf8(name.to_vec()).ok()?, shape));
    }
    Layout::new(tensors).ok()
}

/// A count and as many items of `size` bytes.
fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let (items, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(size)?)?;
    *bytes = rest;
    Some(items)
}

/// `N` bytes of the header from `at`, which is a constant within it.
fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

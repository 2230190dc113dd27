//! The 64 bytes at the start of every payload.

use nibble_seed::{RoundId, Seed};

use crate::{
    checksum::crc32c,
    error::DecodeError,
    scheme::{BlockCoding, Coding, Grain, PlanCoding, Rounding, SignCoding, Target},
};

/// Length of the header.
pub const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"NIBL";
const VERSION: u8 = 1;
/// Bytes the header's own checksum covers.
const CHECKED: usize = HEADER_BYTES - 4;

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header {
    /// How the vector was encoded.
    pub coding: Coding,
    /// Whether it holds the signs of a rotation: under `sign`, and under `auto` where those leave less error.
    pub signs: bool,
    /// Factor on every decoded value; below 1 only where feedback needs it.
    pub gain: f32,
    /// Hash of the layout.
    pub layout: u64,
    /// Round the update belongs to.
    pub round: RoundId,
    /// Seed of the rounding or dither.
    pub seed: Seed,
    /// Coordinates of the vector.
    pub coordinates: u64,
    /// Bytes after the header.
    pub body_bytes: u64,
    /// Chunks after the header.
    pub chunks: u32,
}

impl Header {
    /// The header as bytes, checksum included.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let (kind, bits, rounding, block) = fields_of(self.coding, self.signs);
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&[VERSION, kind, bits, rounding]);
        put(&block.to_le_bytes());
        put(&self.gain.to_le_bytes());
        put(&self.layout.to_le_bytes());
        put(&self.round.0.to_le_bytes());
        put(&self.seed.0.to_le_bytes());
        put(&self.coordinates.to_le_bytes());
        put(&self.body_bytes.to_le_bytes());
        put(&self.chunks.to_le_bytes());
        let checksum = crc32c(0, &bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads and checks the header at the start of `bytes`.
    ///
    /// # Errors
    /// If it is truncated, damaged, of another version, or holds an undefined value.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Truncated {
            what: "the header",
            needed: HEADER_BYTES as u64,
            found: bytes.len() as u64,
        })?;
        let magic: [u8; 4] = array(header, 0);
        if magic != MAGIC {
            return Err(DecodeError::Magic { found: magic });
        }
        if header[4] != VERSION {
            return Err(DecodeError::Version { found: header[4], expected: VERSION });
        }
        let (found, expected) = (crc32c(0, &header[..CHECKED]), u32::from_le_bytes(array(header, CHECKED)));
        if found != expected {
            return Err(DecodeError::Checksum { what: "the header", found, expected });
        }
        let gain = f32::from_le_bytes(array(header, 12));
        if !(0.0..=1.0).contains(&gain) {
            return Err(DecodeError::Field { field: "gain", found: gain.to_bits().into() });
        }
        let (coding, signs) = coding_of(header[5], header[6], header[7], u32::from_le_bytes(array(header, 8)))?;
        let word = |at| u64::from_le_bytes(array(header, at));
        Ok(Self {
            coding,
            signs,
            gain,
            layout: word(16),
            round: RoundId(word(24)),
            seed: Seed(word(32)),
            coordinates: word(40),
            body_bytes: word(48),
            chunks: u32::from_le_bytes(array(header, 56)),
        })
    }
}

/// `N` bytes of `bytes` from `at`, which the caller knows to be there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

/// The header's kind, bits, rounding and block of a coding.
fn fields_of(coding: Coding, signs: bool) -> (u8, u8, u8, u32) {
    match coding {
        Coding::Fp32 => (1, 32, 0, 0),
        Coding::Fp16 => (2, 16, 0, 0),
        Coding::Bf16 => (3, 16, 0, 0),
        Coding::Block(block) => {
            let size = match block.grain {
                Grain::Block(size) => size.into(),
                Grain::Tensor => 0,
            };
            (4, block.bits(), rounding_code(block.rounding), size)
        }
        Coding::Auto(Target::Rate(rate)) => (5, signs.into(), 1, rate),
        Coding::Auto(Target::Bytes(bytes)) => (5, signs.into(), 2, bytes),
        Coding::Auto(Target::Step(step)) => (5, 0, 3, step),
        Coding::Plan(plan) => (6, 0, rounding_code(plan.rounding), plan.bytes),
        Coding::Sign(sign) => (7, 1, 0, sign.rate),
    }
}

fn rounding_code(rounding: Rounding) -> u8 {
    match rounding {
        Rounding::Stochastic => 1,
        Rounding::Nearest => 2,
        Rounding::Dithered => 3,
    }
}

fn rounding_of(code: u8) -> Result<Rounding, DecodeError> {
    match code {
        1 => Ok(Rounding::Stochastic),
        2 => Ok(Rounding::Nearest),
        3 => Ok(Rounding::Dithered),
        _ => Err(DecodeError::Field { field: "rounding", found: code.into() }),
    }
}

/// The coding, and whether there are signs.
fn coding_of(kind: u8, bits: u8, rounding: u8, block: u32) -> Result<(Coding, bool), DecodeError> {
    let undefined = |field, found| Err(DecodeError::Field { field, found });
    let coding = match kind {
        1 => Coding::Fp32,
        2 => Coding::Fp16,
        3 => Coding::Bf16,
        4 => {
            let Some(mut coding) = BlockCoding::new(bits) else { return undefined("bits", bits.into()) };
            coding.rounding = rounding_of(rounding)?;
            coding.grain = match block {
                0 => Grain::Tensor,
                size if Grain::is_block_size(size) => Grain::Block(size as u16),
                _ => return undefined("block", block.into()),
            };
            return Ok((Coding::Block(coding), false));
        }
        5 if bits > 1 || (bits, rounding) == (1, 3) => return undefined("bits", bits.into()),
        5 => {
            let target = match rounding {
                1 => Target::Rate(block),
                2 => Target::Bytes(block),
                3 => Target::Step(block),
                _ => return undefined("rounding", rounding.into()),
            };
            return Ok((Coding::Auto(target), bits == 1));
        }
        6 if bits != 0 => return undefined("bits", bits.into()),
        6 if block == 0 => return undefined("block", 0),
        6 => return Ok((Coding::Plan(PlanCoding { bytes: block, rounding: rounding_of(rounding)? }), false)),
        7 if !SignCoding::RATES.contains(&block) => return undefined("block", block.into()),
        7 if (bits, rounding) == (1, 0) => return Ok((Coding::Sign(SignCoding { rate: block }), true)),
        7 if bits == 1 => return undefined("rounding", rounding.into()),
        7 => return undefined("bits", bits.into()),
        _ => return undefined("kind", kind.into()),
    };
    let (_, expected_bits, _, _) = fields_of(coding, false);
    match (bits == expected_bits, rounding, block) {
        (true, 0, 0) => Ok((coding, false)),
        (false, _, _) => undefined("bits", bits.into()),
        (_, 1.., _) => undefined("rounding", rounding.into()),
        (_, _, _) => undefined("block", block.into()),
    }
}

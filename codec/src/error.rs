//! What can be wrong with a layout, a scheme, a vector to encode, or bytes to decode.

use alloc::string::String;

/// A layout that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two tensors of one name.
    #[error("two tensors are named {name:?}; names must differ")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// More coordinates than a payload can hold.
    #[error("the tensors hold more than {limit} coordinates")]
    TooLarge {
        /// Most coordinates of a layout.
        limit: u64,
    },
}

/// A scheme name that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// Not a known scheme.
    #[error("unknown scheme {name:?}; known are fp32, fp16, bf16, int2 to int8, auto, plan and sign")]
    UnknownName {
        /// What was given.
        name: String,
    },
    /// Not an argument of this scheme.
    #[error(
        "{scheme} does not take the argument {argument:?}; it takes {}",
        if *block { "stochastic, nearest, dithered, tensor, or blockN with N a power of two from 32 to 4096" } else { "none" }
    )]
    UnknownArgument {
        /// The scheme's name.
        scheme: String,
        /// What was given.
        argument: String,
        /// Whether the scheme quantizes in blocks, and so has arguments.
        block: bool,
    },
    /// `auto` without one good target.
    #[error(
        "auto takes one target, not {argument:?}: bits a coordinate from 0.05 to 10 (auto:0.5), bytes (auto:64KiB), or a step (auto:step=0.001)"
    )]
    Target {
        /// What was given.
        argument: String,
    },
    /// `plan` without a good number of bytes, or with something else behind it.
    #[error(
        "plan takes a number of bytes (plan:64KiB), and then stochastic, nearest or dithered (plan:64KiB:nearest), not {argument:?}"
    )]
    Budget {
        /// What was given.
        argument: String,
    },
    /// `sign` with something that is no rate.
    #[error("sign takes bits a coordinate from 0.05 to 1 (sign:0.25), or nothing, which is 1, not {argument:?}")]
    Rate {
        /// What was given.
        argument: String,
    },
    /// Two arguments that set the same thing.
    #[error("{scheme} is given both {first:?} and {second:?}; keep one")]
    Conflict {
        /// The scheme's name.
        scheme: String,
        /// The earlier argument.
        first: String,
        /// The later argument.
        second: String,
    },
    /// Something other than `ef` after `+`.
    #[error(
        "unknown suffix {suffix:?} of {scheme:?}; there are +ef (error feedback) and, for plan, +sensitive (measured weights)"
    )]
    UnknownSuffix {
        /// The scheme up to the plus sign.
        scheme: String,
        /// What was given.
        suffix: String,
    },
}

/// A vector that cannot be encoded. Nothing was written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The vector does not have the layout's length.
    #[error("the layout has {expected} coordinates, but the vector has {found}")]
    Length {
        /// Coordinates of the layout.
        expected: usize,
        /// Length of the vector.
        found: usize,
    },
    /// A coordinate is NaN or infinite.
    #[error("coordinate {index} of tensor {tensor:?} is {value}, not a finite number; the update was not encoded")]
    NonFinite {
        /// Tensor that holds it.
        tensor: String,
        /// Index within the tensor.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Weights that are not one for each tensor.
    #[error(
        "the layout has {expected} tensors, and each needs a finite weight of at least 0; there are {found} weights, or one is \
         negative or not finite"
    )]
    Weights {
        /// Tensors of the layout.
        expected: usize,
        /// Weights that were given.
        found: usize,
    },
    /// The vector does not fit the bytes.
    #[error("{coding} allows {budget} bytes, but this update takes {needed} at least; the update was not encoded")]
    Budget {
        /// The scheme.
        coding: String,
        /// Bytes there may be.
        budget: u64,
        /// Bytes it takes.
        needed: u64,
    },
    /// A coordinate is finite but beyond what the scheme can represent.
    #[error(
        "coordinate {index} of tensor {tensor:?} is {value:e}, beyond the {limit:e} that {coding} can represent; \
         the update was not encoded"
    )]
    OutOfRange {
        /// Tensor that holds it.
        tensor: String,
        /// Index within the tensor.
        index: usize,
        /// The value.
        value: f32,
        /// Largest magnitude the scheme represents.
        limit: f32,
        /// The scheme.
        coding: String,
    },
}

/// Bytes that are not a payload of the expected layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The prelude of an `auto`, `plan` or `sign` payload holds something undefined.
    #[error("the prelude holds an undefined {what}")]
    Prelude {
        /// What is undefined.
        what: &'static str,
    },
    /// Fewer bytes than the structure needs.
    #[error("the payload is truncated: {what} needs {needed} bytes, {found} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Bytes after the last chunk.
    #[error("{count} bytes follow the last chunk of the payload")]
    Trailing {
        /// How many.
        count: u64,
    },
    /// The first bytes are not a payload's.
    #[error("not a payload: it starts with {found:02x?} instead of \"NIBL\"")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A version this decoder does not know.
    #[error("payload version {found}; this decoder reads version {expected}")]
    Version {
        /// Version of the payload.
        found: u8,
        /// Version this decoder reads.
        expected: u8,
    },
    /// A header field outside its defined values.
    #[error("the header field {field} holds the undefined value {found}")]
    Field {
        /// Field as named in docs/wire-format.md.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// A checksum that does not match.
    #[error("checksum of {what} is {found:08x}, expected {expected:08x}: the payload was damaged")]
    Checksum {
        /// `the header` or `a chunk`.
        what: &'static str,
        /// Checksum of the bytes.
        found: u32,
        /// Checksum that was sent.
        expected: u32,
    },
    /// The payload belongs to another layout.
    #[error("the payload is of layout {found:016x}, expected {expected:016x}: it belongs to another model")]
    Layout {
        /// Hash in the payload.
        found: u64,
        /// Hash of the layout it was to be decoded with.
        expected: u64,
    },
    /// A count or length that contradicts the layout.
    #[error("{what} is {found}, but the layout and scheme make it {expected}")]
    Count {
        /// Which count.
        what: &'static str,
        /// Count in the payload.
        found: u64,
        /// Count that follows from layout and scheme.
        expected: u64,
    },
    /// A code, level or padding bit outside its defined values.
    #[error("chunk {chunk} holds an undefined {what}")]
    Content {
        /// Chunk, counted from 0.
        chunk: usize,
        /// What is undefined: a code, a top level, padding, a value.
        what: &'static str,
    },
    /// The buffer to decode into does not have the right length.
    #[error("the buffer holds {found} coordinates, {expected} are needed")]
    Buffer {
        /// Coordinates to be written.
        expected: usize,
        /// Length of the buffer.
        found: usize,
    },
}

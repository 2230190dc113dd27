//! What stands between the header and the chunks of a payload, if anything does: the lengths of the chunks, where those depend
//! on the vector, and what all of them are coded by.
//!
//! Absent on purpose: what `auto` and `plan` say there ([`auto`], [`plan`]), and the chunks ([`frame`](crate::frame)).

use alloc::{sync::Arc, vec::Vec};

use crate::{
    auto,
    error::DecodeError,
    frame::{CHUNK_HEADER_BYTES, PREFIX_BYTES, PRELUDE, SHORT_CHUNK_HEADER_BYTES, chunk_checksum},
    header::{HEADER_BYTES, Header, array},
    layout::Layout,
    plan,
    scheme::Coding,
    sign::{self, Cut},
    simd::Kernels,
    sizes::{body_bytes_of_chunk, most_body_bytes},
};

/// What stands between the header and the chunks.
#[derive(Clone, Debug)]
pub(crate) enum Prelude {
    Nothing,
    /// Of `auto`.
    Model(Arc<auto::Decoder>, auto::Span),
    /// Of `plan`: the widths of the pieces of every chunk.
    Widths(Arc<[Vec<u8>]>),
    /// Of `sign` and what holds the same: there may be none.
    Signs(Cut),
}

impl Prelude {
    /// Most bytes that the prelude has behind its length and checksum, where there is one.
    pub(crate) fn most_bytes(header: &Header, layout: &Layout) -> Option<usize> {
        match header.coding {
            _ if header.signs => (layout.chunks() > 1).then_some(5 * layout.chunks()),
            Coding::Auto(_) => Some(auto::most_model_bytes(layout) + 5 * layout.chunks()),
            Coding::Plan(_) => Some(plan::count(layout).div_ceil(2)),
            _ => None,
        }
    }

    /// The prelude in the first `head` of `bytes`, and the lengths of all chunks, their headers included.
    ///
    /// # Errors
    /// If it is not one of this header and layout.
    pub(crate) fn read(
        kernels: Kernels,
        bytes: &[u8],
        (header, head): (&Header, usize),
        layout: &Layout,
    ) -> Result<(Vec<usize>, Self), DecodeError> {
        Ok(match header.coding {
            coding if header.signs => (sign_lengths(bytes, header, head, layout)?, Self::Signs(coding.cut(layout))),
            Coding::Auto(_) => {
                let span = auto::Span::of_count(layout, header.chunks as usize);
                let span = span.unwrap_or(auto::Span::ONE); // as any other count was refused
                let (lengths, decoder) = model(kernels, checked(bytes, head)?, (layout, span))?;
                (lengths, Self::Model(Arc::new(decoder), span))
            }
            Coding::Plan(_) => {
                let widths = widths(checked(bytes, head)?, layout)?;
                let len = |(index, widths): (usize, &Vec<u8>)| {
                    let pieces = plan::pieces(layout, index).zip(widths);
                    let bytes = pieces.map(|((_, range), &width)| plan::piece_bytes(width, range.len()));
                    SHORT_CHUNK_HEADER_BYTES + bytes.sum::<usize>()
                };
                (widths.iter().enumerate().map(len).collect(), Self::Widths(widths.into()))
            }
            coding => {
                let len = |index| CHUNK_HEADER_BYTES + body_bytes_of_chunk(coding, layout, index);
                ((0..layout.chunks()).map(len).collect(), Self::Nothing)
            }
        })
    }
}

/// The prelude, which ends at `end`, without its length and checksum.
fn checked(bytes: &[u8], end: usize) -> Result<&[u8], DecodeError> {
    let (needed, found) = ((end - PREFIX_BYTES) as u64, bytes.len().saturating_sub(PREFIX_BYTES) as u64);
    let body = bytes.get(PREFIX_BYTES..end).ok_or(DecodeError::Truncated { what: "the prelude", needed, found })?;
    let ((_, found), expected) = (chunk_checksum(PRELUDE, body), u32::from_le_bytes(array(bytes, HEADER_BYTES + 4)));
    match found == expected {
        true => Ok(body),
        false => Err(DecodeError::Checksum { what: "the prelude", found, expected }),
    }
}

/// The prelude of `plan`: the widths of all pieces, by chunk.
fn widths(body: &[u8], layout: &Layout) -> Result<Vec<Vec<u8>>, DecodeError> {
    let widths = plan::unpack(body, plan::count(layout)).map_err(|what| DecodeError::Prelude { what })?;
    let mut rest = widths.into_iter();
    Ok((0..layout.chunks()).map(|index| rest.by_ref().take(plan::pieces(layout, index).count()).collect()).collect())
}

/// The prelude of `auto`: lengths of all chunks, and the model.
fn model(
    kernels: Kernels,
    body: &[u8],
    (layout, span): (&Layout, auto::Span),
) -> Result<(Vec<usize>, auto::Decoder), DecodeError> {
    let (lengths, body) =
        lengths(body, span.count(layout), |index| most_body_bytes(span.most_symbols(span.range(layout, index).len())))?;
    Ok((lengths, auto::Decoder::new(kernels, layout, body).map_err(|what| DecodeError::Prelude { what })?))
}

/// The prelude of `sign`: lengths of all chunks; of a single one the header says it.
fn sign_lengths(bytes: &[u8], header: &Header, head: usize, layout: &Layout) -> Result<Vec<usize>, DecodeError> {
    let most = |index| sign::most_body_bytes(layout.chunk_range(index).len());
    if layout.chunks() == 1 {
        let found = header.body_bytes;
        let bytes = usize::try_from(found).unwrap_or(usize::MAX);
        return match (SHORT_CHUNK_HEADER_BYTES..=SHORT_CHUNK_HEADER_BYTES + most(0)).contains(&bytes) {
            true => Ok(alloc::vec![bytes]),
            false => Err(DecodeError::Field { field: "body bytes", found }),
        };
    }
    if layout.chunks() == 0 {
        return Ok(Vec::new());
    }
    match lengths(checked(bytes, head)?, layout.chunks(), most)? {
        (lengths, []) => Ok(lengths),
        _ => Err(DecodeError::Prelude { what: "byte behind the lengths" }),
    }
}

/// Lengths of all chunks with their headers, at the beginning of a prelude, and what follows them.
fn lengths(mut body: &[u8], chunks: usize, most: impl Fn(usize) -> usize) -> Result<(Vec<usize>, &[u8]), DecodeError> {
    let undefined = |what| DecodeError::Prelude { what };
    let mut lengths = Vec::with_capacity(chunks);
    for index in 0..chunks {
        let (len, rest) = varint(body).ok_or_else(|| undefined("length of a chunk"))?;
        if len as usize > most(index) {
            return Err(undefined("length of a chunk: too large"));
        }
        body = rest;
        lengths.push(SHORT_CHUNK_HEADER_BYTES + len as usize);
    }
    Ok((lengths, body))
}

/// A number in groups of 7 bits, lowest first, all but the last with the top bit set, in no more bytes than it takes.
fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0u64;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 127) << (7 * at);
        if byte < 128 {
            return if byte == 0 && at > 0 { None } else { Some((number.try_into().ok()?, &bytes[at + 1..])) };
        }
    }
    None
}

/// Appends a number as [`varint`] reads it.
pub(crate) fn put_varint(mut number: u32, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

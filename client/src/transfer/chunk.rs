//! One run of bytes of a transfer.

use bytes::Bytes;
use nibble_proto::{CHUNK_BYTES, v1::Chunk};

/// Bytes that are not the next ones of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A chunk that does not begin where the last one ended.
    #[error("a chunk begins at byte {found}, not {expected}")]
    Gap {
        /// Where the last one ended.
        expected: u64,
        /// Where this one begins.
        found: u64,
    },
    /// A chunk of no bytes, or of too many.
    #[error("a chunk has {found} bytes, not 1 to {limit}")]
    Size {
        /// Most bytes it may have.
        limit: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A chunk that was damaged.
    #[error("the chunk at byte {offset} has checksum {found:08x}, not {expected:08x}")]
    Checksum {
        /// Where it begins.
        offset: u64,
        /// Its checksum as sent.
        expected: u32,
        /// The checksum of its bytes.
        found: u32,
    },
    /// The transfer ended before its last byte.
    #[error("it ended after {found} of {expected} bytes")]
    Short {
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The other end claims to have more than there is.
    #[error("the coordinator claims to have {found} of {expected} bytes")]
    Beyond {
        /// Bytes there are.
        expected: u64,
        /// Bytes it claims.
        found: u64,
    },
    /// A response without its chunk.
    #[error("a part holds no chunk")]
    Missing,
}

/// The chunk of `payload` at `offset`, which shares its memory.
pub(super) fn cut(payload: &Bytes, offset: usize) -> Chunk {
    let data = payload.slice(offset..payload.len().min(offset + CHUNK_BYTES));
    Chunk { offset: offset as u64, crc32c: crc32c::crc32c(&data), data }
}

/// Appends `chunk` to `bytes`, of which there will be `total`.
pub(super) fn append(chunk: &Chunk, bytes: &mut Vec<u8>, total: usize) -> Result<(), TransferError> {
    let expected = bytes.len() as u64;
    if chunk.offset != expected {
        return Err(TransferError::Gap { expected, found: chunk.offset });
    }
    let limit = CHUNK_BYTES.min(total - bytes.len());
    if !(1..=limit).contains(&chunk.data.len()) {
        return Err(TransferError::Size { limit: limit as u64, found: chunk.data.len() as u64 });
    }
    let found = crc32c::crc32c(&chunk.data);
    if found != chunk.crc32c {
        return Err(TransferError::Checksum { offset: chunk.offset, expected: chunk.crc32c, found });
    }
    bytes.extend_from_slice(&chunk.data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_put_together_again() {
        let payload = Bytes::from((0..200_000u32).map(|i| i as u8).collect::<Vec<_>>());
        let mut bytes = Vec::new();
        while bytes.len() < payload.len() {
            append(&cut(&payload, bytes.len()), &mut bytes, payload.len()).unwrap();
        }
        assert_eq!(bytes, payload);
    }

    #[test]
    fn what_is_not_the_next_chunk_is_refused_and_changes_nothing() {
        let payload = Bytes::from(vec![7; 100]);
        let good = cut(&payload, 0);
        let refused = |chunk: Chunk, total| {
            let mut bytes = Vec::new();
            let error = append(&chunk, &mut bytes, total).unwrap_err();
            assert!(bytes.is_empty());
            error
        };
        let gap = Chunk { offset: 1, ..good.clone() };
        assert_eq!(refused(gap, 100), TransferError::Gap { expected: 0, found: 1 });
        assert_eq!(refused(good.clone(), 99), TransferError::Size { limit: 99, found: 100 });
        let empty = Chunk { data: Bytes::new(), crc32c: 0, offset: 0 };
        assert_eq!(refused(empty, 100), TransferError::Size { limit: 100, found: 0 });
        let (data, expected) = (Bytes::from(vec![8; 100]), good.crc32c);
        let damaged = refused(Chunk { data, ..good }, 100);
        assert!(matches!(damaged, TransferError::Checksum { offset: 0, expected: e, .. } if e == expected));
        let long = Bytes::from(vec![0; CHUNK_BYTES + 1]);
        let long = Chunk { offset: 0, crc32c: crc32c::crc32c(&long), data: long };
        let limit = CHUNK_BYTES as u64;
        assert_eq!(refused(long, 1 << 20), TransferError::Size { limit, found: limit + 1 });
    }
}

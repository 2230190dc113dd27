//! Tensors of the model that are the client's own, beside the slots: `own` as the last settled update left them, and
//! `own.next` as the pending one will.
//!
//! `own.next` is durable before its update is pending, and names it, so that a crash between the two leaves nothing but a
//! file that no update asks for; it takes the place of `own` before the update is settled. All numbers are little-endian:
//!
//! ```text
//!   0   8  "NIBLEOWN"                 48   8  floats
//!   8   4  version, 1                 56      run's name, UTF-8
//!  12   4  bytes of the run's name            floats, f32
//!  16  32  SHA-256 of the payload     end  4  CRC-32C of everything before
//! ```
//!
//! Absent on purpose: which tensors they are, and what they are before the client has trained; the run says both.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::Path,
};

use nibble_proto::crash;

use super::{StateError, replace};

const MAGIC: &[u8; 8] = b"NIBLEOWN";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 56;
const NOW: &str = "own";
const NEXT: &str = "own.next";

/// What a file holds.
struct Contents {
    run: String,
    payload_sha256: [u8; 32],
    floats: Vec<f32>,
}

/// The client's own tensors of a run; `None` if it has moved none yet.
pub(super) fn read(dir: &Path, run: &str) -> Result<Option<Vec<f32>>, StateError> {
    let path = dir.join(NOW);
    let found = contents(&path).map_err(|problem| StateError::Lost { path, problem })?;
    Ok(found.filter(|found| found.run == run).map(|found| found.floats))
}

/// Keeps what an update, which is not pending yet, made of them. Durable on return.
pub(super) fn pend(dir: &Path, run: &str, payload_sha256: &[u8; 32], floats: &[f32]) -> Result<(), StateError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + run.len() + 4 * floats.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((run.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload_sha256);
    bytes.extend((floats.len() as u64).to_le_bytes());
    bytes.extend_from_slice(run.as_bytes());
    floats.iter().for_each(|float| bytes.extend(float.to_le_bytes()));
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    replace(&dir.join(NEXT), &bytes)
}

/// Takes on what an update made of them. Durable on return; once more does nothing.
pub(super) fn settle(dir: &Path, payload_sha256: &[u8; 32]) -> Result<(), StateError> {
    let next = dir.join(NEXT);
    let found = contents(&next).map_err(|problem| StateError::Lost { path: next.clone(), problem })?;
    if found.is_none_or(|found| found.payload_sha256 != *payload_sha256) {
        return Ok(());
    }
    let take = || fs::rename(&next, dir.join(NOW)).and_then(|()| File::open(dir)?.sync_all());
    take().map_err(StateError::io("write", &dir.join(NOW)))?;
    crash::point("own-taken");
    Ok(())
}

fn contents(path: &Path) -> Result<Option<Contents>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    parse(&bytes).map(Some).ok_or_else(|| "it is damaged, or of another version".into())
}

fn parse(bytes: &[u8]) -> Option<Contents> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (magic, rest) = body.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (run_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (payload_sha256, rest) = rest.split_first_chunk::<32>()?;
    let (floats, rest) = rest.split_first_chunk::<8>()?;
    let (run, rest) = rest.split_at_checked(u32::from_le_bytes(*run_bytes) as usize)?;
    let (words, odd) = rest.as_chunks::<4>();
    let is_whole = odd.is_empty() && words.len() as u64 == u64::from_le_bytes(*floats);
    if magic != MAGIC || u32::from_le_bytes(*version) != VERSION || !is_whole {
        return None;
    }
    Some(Contents {
        run: String::from_utf8(run.to_vec()).ok()?,
        payload_sha256: *payload_sha256,
        floats: words.iter().map(|&word| f32::from_le_bytes(word)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_was_never_pending_moves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(read(dir, "run").unwrap(), None);
        settle(dir, &[1; 32]).unwrap();
        pend(dir, "run", &[1; 32], &[1.0, 2.0]).unwrap();
        assert_eq!(read(dir, "run").unwrap(), None, "it is not settled");
        settle(dir, &[1; 32]).unwrap();
        assert_eq!(read(dir, "run").unwrap(), Some(vec![1.0, 2.0]));
        settle(dir, &[1; 32]).unwrap();
        // A crash before the update was pending: another one is settled.
        pend(dir, "run", &[2; 32], &[3.0, 4.0]).unwrap();
        settle(dir, &[9; 32]).unwrap();
        assert_eq!(read(dir, "run").unwrap(), Some(vec![1.0, 2.0]));
        pend(dir, "run", &[3; 32], &[5.0, 6.0]).unwrap();
        settle(dir, &[3; 32]).unwrap();
        assert_eq!(read(dir, "run").unwrap(), Some(vec![5.0, 6.0]));
        assert_eq!(read(dir, "another").unwrap(), None);
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join(NOW));
        pend(dir, "run", &[1; 32], &[1.0, 2.0]).unwrap();
        settle(dir, &[1; 32]).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert!(read(dir, "run").unwrap_err().to_string().contains("damaged"), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(dir, "run").is_err(), "{at} bytes");
        }
    }
}

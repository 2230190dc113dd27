//! Whatever happens to one slot, the state is the one before or the one after.

use std::{fs, path::Path};

use nibble_codec::Layout;
use nibble_seed::RoundId;
use tempfile::TempDir;

use super::*;

fn layout() -> Layout {
    Layout::new([("fc.weight", vec![2, 3]), ("fc.bias", vec![2])]).unwrap()
}

fn update(round: u64) -> PendingUpdate {
    PendingUpdate {
        round: RoundId(round),
        samples: 80,
        payload_sha256: [round as u8; 32],
        payload_bytes: 5,
        train_loss: 2.25,
        start_loss: Some(2.5),
        nmse: 0.125,
    }
}

const RESIDUAL: [f32; 8] = [0.0, -1.5, f32::MIN_POSITIVE, 3e38, -0.0, 1e-40, 7.0, 8.0];
const INTENT: [f32; 8] = [1.0; 8];
const PAYLOAD: &[u8] = b"bytes";

/// A directory whose older slot holds a residual, and whose newer one a pending update.
fn residual_then_pending() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.settle("levels", &layout(), (Keeps::Residual, &RESIDUAL)).unwrap();
    store.pend("levels", &layout(), update(3), (Keeps::Residual, &INTENT), PAYLOAD).unwrap();
    dir
}

fn slots(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (dir.join("client.1"), dir.join("client.0"))
}

fn is_residual(store: &Store) -> bool {
    store.summary().pending.is_none() && store.vector().unwrap() == RESIDUAL
}

fn is_pending(store: &Store) -> bool {
    store.summary().pending == Some(update(3))
        && store.vector().unwrap() == INTENT
        && store.payload().unwrap() == PAYLOAD
}

#[test]
fn what_was_kept_is_read_back() {
    let dir = residual_then_pending();
    let mut store = Store::open(dir.path()).unwrap();
    assert!(is_pending(&store));
    assert_eq!((store.summary().run.as_str(), &store.summary().layout), ("levels", &layout()));
    store.settle("levels", &layout(), (Keeps::Residual, &RESIDUAL)).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(is_residual(&store));
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&store.vector().unwrap()), bits(&RESIDUAL), "signs of zero and denormals are kept");
    let (summary, vector) = Store::peek(dir.path()).unwrap().unwrap();
    assert_eq!((&summary, vector), (store.summary(), RESIDUAL.to_vec()), "peeking needs no lock");
}

#[test]
fn a_fresh_directory_holds_nothing_and_a_scheme_without_feedback_keeps_no_vector() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::peek(dir.path()).unwrap().is_none());
    let mut store = Store::open(&dir.path().join("new/deep")).unwrap();
    assert_eq!((store.summary().run.as_str(), store.summary().coordinates), ("", 0));
    store.pend("levels", &layout(), update(0), (Keeps::Residual, &[]), PAYLOAD).unwrap();
    assert!(store.vector().unwrap().is_empty());
    assert_eq!(store.payload().unwrap(), PAYLOAD);
}

#[test]
fn a_write_that_was_torn_anywhere_leaves_the_state_before_it() {
    let dir = residual_then_pending();
    let (_, newer) = slots(dir.path());
    let whole = fs::read(&newer).unwrap();
    for len in 0..whole.len() {
        fs::write(&newer, &whole[..len]).unwrap();
        assert!(is_residual(&Store::open(dir.path()).unwrap()), "{len} of {} bytes", whole.len());
        // Some file systems extend a file before its contents arrive.
        let mut zeros = whole.clone();
        zeros[len..].fill(0);
        fs::write(&newer, zeros).unwrap();
        assert!(is_residual(&Store::open(dir.path()).unwrap()), "zeros from byte {len}");
    }
    fs::remove_file(&newer).unwrap();
    assert!(is_residual(&Store::open(dir.path()).unwrap()));
    fs::write(&newer, &whole).unwrap();
    assert!(is_pending(&Store::open(dir.path()).unwrap()));
}

#[test]
fn a_flipped_bit_anywhere_falls_back_to_the_other_slot() {
    let dir = residual_then_pending();
    let (older, newer) = slots(dir.path());
    let whole = fs::read(&newer).unwrap();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << (byte % 8);
        fs::write(&newer, damaged).unwrap();
        assert!(is_residual(&Store::open(dir.path()).unwrap()), "byte {byte}");
    }
    let mut long = whole.clone();
    long.push(0);
    fs::write(&newer, long).unwrap();
    assert!(is_residual(&Store::open(dir.path()).unwrap()));
    fs::write(&newer, &whole).unwrap();
    fs::write(&older, b"").unwrap();
    assert!(is_pending(&Store::open(dir.path()).unwrap()), "damage to the older slot does no harm");
}

#[test]
fn the_write_after_a_fallback_spares_the_slot_that_was_good() {
    let dir = residual_then_pending();
    let (older, newer) = slots(dir.path());
    fs::write(&newer, b"torn").unwrap();
    let good = fs::read(&older).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.pend("levels", &layout(), update(3), (Keeps::Residual, &INTENT), PAYLOAD).unwrap();
    assert_eq!(fs::read(&older).unwrap(), good);
    drop(store);
    assert!(is_pending(&Store::open(dir.path()).unwrap()));
}

#[test]
fn two_bad_slots_are_an_error_that_names_them_and_the_mend() {
    let dir = residual_then_pending();
    let (older, newer) = slots(dir.path());
    fs::write(&older, b"short").unwrap();
    let mut damaged = fs::read(&newer).unwrap();
    damaged[130] ^= 1;
    fs::write(&newer, damaged).unwrap();
    let text = Store::open(dir.path()).unwrap_err().to_string();
    for part in ["client.0: its checksum is wrong", "client.1: it is cut short after 5 bytes", "help: restore"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    fs::remove_file(&newer).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StateError::Damaged { .. })), "one is gone, the other bad");
}

#[test]
fn a_first_start_that_was_torn_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("client.0"), b"NIBL").unwrap();
    assert!(Store::peek(dir.path()).unwrap().is_none());
    let mut store = Store::open(dir.path()).unwrap();
    store.settle("levels", &layout(), (Keeps::Residual, &RESIDUAL)).unwrap();
    drop(store);
    assert!(is_residual(&Store::open(dir.path()).unwrap()));
}

#[test]
fn damage_while_a_slot_is_in_use_is_noticed() {
    let dir = residual_then_pending();
    let store = Store::open(dir.path()).unwrap();
    let (_, newer) = slots(dir.path());
    let mut damaged = fs::read(&newer).unwrap();
    damaged[200] ^= 1;
    fs::write(&newer, damaged).unwrap();
    assert!(matches!(store.vector(), Err(StateError::Lost { .. })));
    assert!(matches!(store.payload(), Err(StateError::Lost { .. })));
}

#[test]
fn a_directory_serves_one_client_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StateError::InUse { .. })));
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[cfg(unix)]
#[test]
fn state_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    drop(Store::open(&dir).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("client.0")), 0o600);
}

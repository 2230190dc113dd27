//! Uploads that break off, go on, are taken over, or are not what they say.

use nibble_codec::{Encoder, PayloadId};
use nibble_seed::Seed;

use super::*;

fn layout() -> Layout {
    Layout::new([("w", vec![70_000])]).unwrap()
}

fn payload(scheme: &str) -> Vec<u8> {
    let x: Vec<f32> = (0..70_000).map(|i| (i as f32 * 0.1).sin()).collect();
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(3), seed: Seed(9) };
    Encoder::new(scheme.parse().unwrap()).encode(&layout(), &x, id, &mut bytes).unwrap();
    bytes
}

fn place(bytes: &[u8]) -> Place {
    let digest = Sha256::digest(bytes).into();
    Place { round: RoundId(3), client: ClientId(5), digest, bytes: bytes.len() as u64 }
}

fn spool() -> (tempfile::TempDir, Arc<Spool>) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path().join("spool")).unwrap();
    (directory, spool)
}

fn send(upload: &mut Upload, bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(10_000).enumerate() {
        upload.write(index as u64 * 10_000, chunk).unwrap();
    }
}

fn any(_: &Frame<'_>) -> Result<(), String> {
    Ok(())
}

#[test]
fn an_upload_goes_on_where_it_broke_off_and_folds_like_the_payload() {
    let (_directory, spool) = spool();
    let bytes = payload("int4");
    let place = place(&bytes);
    let mut first = spool.resume(place).unwrap();
    first.write(0, &bytes[..12_345]).unwrap();
    drop(first);
    assert_eq!(spool.received(&place), 12_345);
    let mut second = spool.resume(place).unwrap();
    assert_eq!(second.received(), 12_345);
    second.write(12_345, &bytes[12_345..]).unwrap();
    second.finish(&layout(), any).unwrap();
    assert_eq!(spool.received(&place), 0, "no part is left");

    let layout = layout();
    let spooled = spool.payload(&place, &layout).unwrap();
    let whole = nibble_codec::Payload::parse(&bytes, &layout).unwrap();
    for chunk in 0..2 {
        let len = layout.chunk_range(chunk).len();
        let (mut from_disk, mut from_memory) = (vec![0.0; len], vec![0.0; len]);
        spooled.fold_chunk(chunk, 0.3, &mut Scratch::default(), &mut from_disk).unwrap();
        whole.fold_chunk(chunk, 0.3, &mut nibble_codec::Scratch::default(), &mut from_memory).unwrap();
        assert_eq!(from_disk, from_memory);
    }
    spool.forget_before(RoundId(4)).unwrap();
    assert!(spool.payload(&place, &layout).is_err());
}

#[test]
fn gaps_overlaps_and_surplus_change_nothing() {
    let (_directory, spool) = spool();
    let bytes = payload("int4");
    let mut upload = spool.resume(place(&bytes)).unwrap();
    upload.write(0, &bytes[..100]).unwrap();
    assert!(matches!(upload.write(200, &bytes[200..300]), Err(SpoolError::Offset { expected: 100, found: 200 })));
    assert!(matches!(upload.write(50, &bytes[50..150]), Err(SpoolError::Offset { expected: 100, found: 50 })));
    let surplus = [&bytes[100..], &[0]].concat();
    assert!(matches!(upload.write(100, &surplus), Err(SpoolError::TooLong { .. })));
    upload.write(100, &bytes[100..]).unwrap();
    upload.finish(&layout(), any).unwrap();
}

#[test]
fn the_newer_connection_takes_an_upload_over() {
    let (_directory, spool) = spool();
    let bytes = payload("int4");
    let mut old = spool.resume(place(&bytes)).unwrap();
    old.write(0, &bytes[..100]).unwrap();
    let mut new = spool.resume(place(&bytes)).unwrap();
    assert!(matches!(old.write(100, &bytes[100..200]), Err(SpoolError::TakenOver)));
    assert_eq!(new.received(), 100);
    new.write(100, &bytes[100..]).unwrap();
    new.finish(&layout(), any).unwrap();
}

#[test]
fn other_bytes_of_the_same_client_begin_anew() {
    let (_directory, spool) = spool();
    let (bytes, others) = (payload("int4"), payload("int8"));
    spool.resume(place(&bytes)).unwrap().write(0, &bytes[..100]).unwrap();
    let mut upload = spool.resume(place(&others)).unwrap();
    assert_eq!((upload.received(), spool.received(&place(&bytes))), (0, 0));
    send(&mut upload, &others);
    upload.finish(&layout(), any).unwrap();
}

#[test]
fn what_is_not_the_payload_it_was_said_to_be_is_thrown_away() {
    let (_directory, spool) = spool();
    let bytes = payload("int4");
    let mut damaged = bytes.clone();
    damaged[5000] ^= 1;
    let mut upload = spool.resume(place(&bytes)).unwrap();
    send(&mut upload, &damaged);
    assert!(matches!(upload.finish(&layout(), any), Err(SpoolError::Digest)));
    assert_eq!(spool.received(&place(&bytes)), 0);

    let mut upload = spool.resume(place(&damaged)).unwrap();
    send(&mut upload, &damaged);
    assert!(matches!(upload.finish(&layout(), any), Err(SpoolError::Payload(DecodeError::Checksum { .. }))));

    for (bytes, other) in [(&bytes[..40], layout()), (&bytes[..], Layout::new([("v", vec![70_000])]).unwrap())] {
        let mut upload = spool.resume(place(bytes)).unwrap();
        send(&mut upload, bytes);
        assert!(matches!(upload.finish(&other, any), Err(SpoolError::Payload(_))));
    }

    let mut upload = spool.resume(place(&bytes)).unwrap();
    send(&mut upload, &bytes);
    let refuse = |frame: &Frame<'_>| Err(format!("round {}", frame.header().round));
    assert!(matches!(upload.finish(&layout(), refuse), Err(SpoolError::Unexpected(problem)) if problem == "round 3"));
}

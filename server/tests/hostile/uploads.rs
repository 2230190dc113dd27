//! Uploads that break a rule of the protocol, or carry what is not the payload that was asked for.

use nibble_proto::v1::{
    self, Outcome, Reason, UploadUpdateRequest,
    upload_update_request::Part::{Chunk, Header},
};
use tonic::Code::{self, DataLoss, FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied};

use crate::{
    client::Got::{self, Receipt, Status},
    house::{Device, Options},
    payload::{CHUNK, Update, chunk, chunk_range, seal, set, set_in_chunk, sign},
    table::{
        Before,
        Leaves::{self, Nothing, Part as APart},
        Stage,
    },
};

/// How an honest upload is broken.
#[derive(Clone, Copy)]
enum How {
    /// The payload, before it is hashed, signed and cut.
    Payload(fn(&mut Vec<u8>)),
    /// The messages; the device is the one that sends them.
    Parts(fn(&mut Vec<UploadUpdateRequest>, &Device)),
}

struct Row {
    name: &'static str,
    how: How,
    expect: Got,
    leaves: Leaves,
}

const REJECTED: Outcome = Outcome::Rejected;

/// A payload that is refused for good.
const fn malformed(name: &'static str, how: fn(&mut Vec<u8>)) -> Row {
    Row { name, how: How::Payload(how), expect: Receipt(REJECTED, Reason::Malformed), leaves: Leaves::Refusal }
}

/// Messages that get a status.
const fn status(
    name: &'static str,
    code: Code,
    leaves: Leaves,
    how: fn(&mut Vec<UploadUpdateRequest>, &Device),
) -> Row {
    Row { name, how: How::Parts(how), expect: Status(code), leaves }
}

fn head(parts: &mut [UploadUpdateRequest]) -> &mut v1::UpdateHeader {
    match &mut parts[0].part {
        Some(Header(header)) => header,
        _ => unreachable!("honest uploads begin with a header"),
    }
}

fn update(parts: &mut [UploadUpdateRequest]) -> &mut v1::UpdateRef {
    head(parts).update.as_mut().unwrap()
}

fn piece(parts: &mut [UploadUpdateRequest], index: usize) -> &mut v1::Chunk {
    match &mut parts[index].part {
        Some(Chunk(chunk)) => chunk,
        _ => unreachable!("after an honest header come chunks"),
    }
}

/// Changes what the upload names, and signs that.
fn renamed(parts: &mut [UploadUpdateRequest], device: &Device, change: fn(&mut v1::UpdateRef)) {
    change(update(parts));
    head(parts).signature = sign(device, update(parts)).into();
}

/// Signs something else than what the upload names.
fn signed_for(parts: &mut [UploadUpdateRequest], device: &Device, change: fn(&mut v1::UpdateRef)) {
    let mut other = update(parts).clone();
    change(&mut other);
    head(parts).signature = sign(device, &other).into();
}

const MESSAGES: &[Row] = &[
    // The order of the messages.
    status("no messages", InvalidArgument, Nothing, |parts, _| parts.clear()),
    status("chunks without a header", InvalidArgument, Nothing, |parts, _| _ = parts.remove(0)),
    status("the header after a chunk", InvalidArgument, Nothing, |parts, _| parts.swap(0, 1)),
    status("two headers", InvalidArgument, APart, |parts, _| parts.insert(1, parts[0].clone())),
    status("a header among the chunks", InvalidArgument, APart, |parts, _| parts.insert(3, parts[0].clone())),
    status("an empty first message", InvalidArgument, Nothing, |parts, _| parts[0].part = None),
    status("an empty message among the chunks", InvalidArgument, APart, |parts, _| parts[2].part = None),
    status("a header and no chunks", FailedPrecondition, APart, |parts, _| parts.truncate(1)),
    status("no last chunk", FailedPrecondition, APart, |parts, _| _ = parts.pop()),
    // What the header says.
    status("a header that names nothing", InvalidArgument, Nothing, |parts, _| head(parts).update = None),
    status("payload_bytes = 0", InvalidArgument, Nothing, |parts, _| head(parts).payload_bytes = 0),
    status("payload_bytes = 1", InvalidArgument, APart, |parts, _| head(parts).payload_bytes = 1),
    status("payload_bytes one less", InvalidArgument, APart, |parts, _| head(parts).payload_bytes -= 1),
    status("payload_bytes one more", FailedPrecondition, APart, |parts, _| head(parts).payload_bytes += 1),
    status("payload_bytes above the most", InvalidArgument, Nothing, |parts, _| head(parts).payload_bytes += 1_001),
    status("payload_bytes = 2^64 - 1", InvalidArgument, Nothing, |parts, _| head(parts).payload_bytes = u64::MAX),
    status("samples = 2^32", InvalidArgument, Nothing, |parts, _| head(parts).samples = 1 << 32),
    status("samples = 2^64 - 1", InvalidArgument, Nothing, |parts, _| head(parts).samples = u64::MAX),
    status("train_loss NaN", InvalidArgument, Nothing, |parts, _| head(parts).train_loss = f64::NAN),
    status("train_loss infinite", InvalidArgument, Nothing, |parts, _| head(parts).train_loss = f64::INFINITY),
    status("start_loss NaN", InvalidArgument, Nothing, |parts, _| head(parts).start_loss = Some(f64::NAN)),
    status("start_loss infinite", InvalidArgument, Nothing, |parts, _| head(parts).start_loss = Some(f64::INFINITY)),
    status("nmse NaN", InvalidArgument, Nothing, |parts, _| head(parts).nmse = f64::NAN),
    status("nmse minus infinity", InvalidArgument, Nothing, |parts, _| head(parts).nmse = f64::NEG_INFINITY),
    status("offset = 1", FailedPrecondition, APart, |parts, _| head(parts).offset = 1),
    status("offset = payload_bytes", FailedPrecondition, APart, |parts, _| {
        head(parts).offset = head(parts).payload_bytes;
    }),
    status("offset = 2^64 - 1", FailedPrecondition, APart, |parts, _| head(parts).offset = u64::MAX),
    status("a digest of no bytes", InvalidArgument, Nothing, |parts, _| update(parts).payload_sha256.clear()),
    status("a digest of 31 bytes", InvalidArgument, Nothing, |parts, _| update(parts).payload_sha256.truncate(31)),
    status("a digest of 33 bytes", InvalidArgument, Nothing, |parts, _| {
        update(parts).payload_sha256 = vec![0; 33].into();
    }),
    status("a run of no name", InvalidArgument, Nothing, |parts, _| update(parts).run.clear()),
    status("a run's name of 10,000 bytes", InvalidArgument, Nothing, |parts, _| update(parts).run = "x".repeat(10_000)),
    // Signatures.
    status("no signature", PermissionDenied, Nothing, |parts, _| head(parts).signature.clear()),
    status("garbage for a signature", PermissionDenied, Nothing, |parts, _| {
        head(parts).signature = vec![0x30; 71].into();
    }),
    status("a signature of 90,000 bytes", PermissionDenied, Nothing, |parts, _| {
        head(parts).signature = vec![0x30; 90_000].into();
    }),
    status("a signature of 100,000 bytes", OutOfRange, Nothing, |parts, _| {
        head(parts).signature = vec![0x30; 100_000].into();
    }),
    status("a signature and a byte more", PermissionDenied, Nothing, |parts, _| {
        head(parts).signature = [&head(parts).signature[..], &[0]].concat().into();
    }),
    status("another run signed", PermissionDenied, Nothing, |parts, device| {
        signed_for(parts, device, |update| update.run.push('x'));
    }),
    status("another round signed", PermissionDenied, Nothing, |parts, device| {
        signed_for(parts, device, |update| update.round += 1);
    }),
    status("another payload signed", PermissionDenied, Nothing, |parts, device| {
        signed_for(parts, device, |update| update.payload_sha256 = vec![7; 32].into());
    }),
    // What the chunks say.
    status("an empty chunk", InvalidArgument, APart, |parts, _| parts.insert(2, chunk(CHUNK as u64, &[]))),
    status("a chunk of 65,537 bytes", InvalidArgument, APart, |parts, _| parts[1] = chunk(0, &[1; 65_537])),
    status("a chunk of 300,000 bytes", OutOfRange, APart, |parts, _| parts[1] = chunk(0, &[1; 300_000])),
    status("a chunk with a wrong checksum", DataLoss, APart, |parts, _| piece(parts, 2).crc32c ^= 1),
    status("a chunk with another's bytes", DataLoss, APart, |parts, _| {
        piece(parts, 2).data = piece(parts, 1).data.clone();
    }),
    status("a gap", FailedPrecondition, APart, |parts, _| _ = parts.remove(2)),
    status("an overlap", FailedPrecondition, APart, |parts, _| {
        let data = piece(parts, 1).data.clone();
        parts[2] = chunk(CHUNK as u64 / 2, &data);
    }),
    status("a chunk twice", FailedPrecondition, APart, |parts, _| parts.insert(2, parts[1].clone())),
    status("chunks in another order", FailedPrecondition, APart, |parts, _| parts.swap(2, 3)),
    status("a chunk at 2^64 - 1", FailedPrecondition, APart, |parts, _| piece(parts, 3).offset = u64::MAX),
    status("bytes beyond the announced length", InvalidArgument, APart, |parts, _| {
        let end = head(parts).payload_bytes;
        parts.push(chunk(end, &[0]));
    }),
    status("bytes of another SHA-256", DataLoss, Nothing, |parts, device| {
        renamed(parts, device, |update| update.payload_sha256 = vec![7; 32].into());
    }),
    // Updates that are refused, or that are none of this round.
    Row {
        name: "samples = 0",
        how: How::Parts(|parts, _| head(parts).samples = 0),
        expect: Receipt(REJECTED, Reason::NoSamples),
        leaves: Leaves::RefusalOfGood,
    },
    Row {
        name: "an unknown run",
        how: How::Parts(|parts, device| renamed(parts, device, |update| update.run = "other".into())),
        expect: Receipt(REJECTED, Reason::UnknownRound),
        leaves: Nothing,
    },
    Row {
        name: "a run named like a path",
        how: How::Parts(|parts, device| renamed(parts, device, |update| update.run = "../../hostile".into())),
        expect: Receipt(REJECTED, Reason::UnknownRound),
        leaves: Nothing,
    },
    Row {
        name: "the next round",
        how: How::Parts(|parts, device| renamed(parts, device, |update| update.round += 1)),
        expect: Receipt(REJECTED, Reason::UnknownRound),
        leaves: Nothing,
    },
    Row {
        name: "round 2^64 - 1",
        how: How::Parts(|parts, device| renamed(parts, device, |update| update.round = u64::MAX)),
        expect: Receipt(REJECTED, Reason::UnknownRound),
        leaves: Nothing,
    },
];

/// Offsets of the fields in a payload's header, as docs/wire-format.md draws it.
mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 4;
    pub(super) const KIND: usize = 5;
    pub(super) const BITS: usize = 6;
    pub(super) const ROUNDING: usize = 7;
    pub(super) const BLOCK: usize = 8;
    pub(super) const GAIN: usize = 12;
    pub(super) const LAYOUT: usize = 16;
    pub(super) const ROUND: usize = 24;
    pub(super) const SEED: usize = 32;
    pub(super) const COORDINATES: usize = 40;
    pub(super) const BODY: usize = 48;
    pub(super) const CHUNKS: usize = 56;
}

/// Scale codes of chunk 0 of an int4 payload: 1,024 blocks of 64.
const BLOCKS: usize = 1_024;

const PAYLOADS: &[Row] = &[
    // Its length.
    malformed("one byte", |payload| payload.truncate(1)),
    malformed("half a header", |payload| payload.truncate(32)),
    malformed("a header alone", |payload| payload.truncate(64)),
    malformed("no last byte", |payload| _ = payload.pop()),
    malformed("half of it", |payload| payload.truncate(payload.len() / 2)),
    malformed("one byte more", |payload| payload.push(0)),
    malformed("a thousand bytes more", |payload| payload.extend([0; 1_000])),
    malformed("zeros", |payload| payload.fill(0)),
    malformed("ones", |payload| payload.fill(0xff)),
    // Its header.
    malformed("another magic", |payload| set(payload, at::MAGIC, b"NIBM")),
    malformed("version 0", |payload| set(payload, at::VERSION, &[0])),
    malformed("version 2", |payload| set(payload, at::VERSION, &[2])),
    malformed("a wrong header checksum", |payload| payload[63] ^= 1),
    malformed("kind 0", |payload| set(payload, at::KIND, &[0])),
    malformed("kind 5", |payload| set(payload, at::KIND, &[5])),
    malformed("the coding fp32", |payload| set(payload, at::KIND, &[1, 32, 0, 0, 0, 0, 0])),
    malformed("3 bits", |payload| set(payload, at::BITS, &[3])),
    malformed("9 bits", |payload| set(payload, at::BITS, &[9])),
    malformed("another rounding", |payload| set(payload, at::ROUNDING, &[2])),
    malformed("rounding 4", |payload| set(payload, at::ROUNDING, &[4])),
    malformed("another block", |payload| set(payload, at::BLOCK, &128u32.to_le_bytes())),
    malformed("no blocks", |payload| set(payload, at::BLOCK, &0u32.to_le_bytes())),
    malformed("a block of 33", |payload| set(payload, at::BLOCK, &33u32.to_le_bytes())),
    malformed("a block of 2^32 - 1", |payload| set(payload, at::BLOCK, &u32::MAX.to_le_bytes())),
    malformed("gain NaN", |payload| set(payload, at::GAIN, &f32::NAN.to_le_bytes())),
    malformed("gain -1", |payload| set(payload, at::GAIN, &(-1f32).to_le_bytes())),
    malformed("gain infinite", |payload| set(payload, at::GAIN, &f32::INFINITY.to_le_bytes())),
    malformed("gain 1e30", |payload| set(payload, at::GAIN, &1e30f32.to_le_bytes())),
    malformed("gain just above 1", |payload| set(payload, at::GAIN, &1.000_000_1f32.to_le_bytes())),
    malformed("another layout", |payload| set(payload, at::LAYOUT, &[0; 8])),
    malformed("another round", |payload| set(payload, at::ROUND, &5u64.to_le_bytes())),
    malformed("the round 2^64 - 1", |payload| set(payload, at::ROUND, &u64::MAX.to_le_bytes())),
    malformed("another seed", |payload| set(payload, at::SEED, &[0; 8])),
    malformed("no coordinates", |payload| set(payload, at::COORDINATES, &[0; 8])),
    malformed("2^64 - 1 coordinates", |payload| set(payload, at::COORDINATES, &[0xff; 8])),
    malformed("no body bytes", |payload| set(payload, at::BODY, &[0; 8])),
    malformed("2^64 - 1 body bytes", |payload| set(payload, at::BODY, &[0xff; 8])),
    malformed("no chunks", |payload| set(payload, at::CHUNKS, &[0; 4])),
    malformed("one chunk", |payload| set(payload, at::CHUNKS, &1u32.to_le_bytes())),
    malformed("2^32 - 1 chunks", |payload| set(payload, at::CHUNKS, &[0xff; 4])),
    // Its chunks.
    malformed("a chunk's wrong checksum", |payload| payload[64 + 4] ^= 1),
    malformed("a chunk's body changed", |payload| payload[5_000] ^= 1),
    malformed("a chunk's length 0", |payload| payload[64..68].fill(0)),
    malformed("a chunk's length 2^32 - 1", |payload| payload[64..68].fill(0xff)),
    malformed("chunks in another order", |payload| {
        let (first, second) = (chunk_range(payload, 0), chunk_range(payload, 1));
        let swapped = [&payload[..64], &payload[second], &payload[first]].concat();
        *payload = swapped;
        seal(payload);
    }),
    malformed("a top level too high", |payload| set_in_chunk(payload, 0, 0, &1_921i16.to_le_bytes())),
    malformed("a top level too low", |payload| set_in_chunk(payload, 1, 0, &(-1_601i16).to_le_bytes())),
    malformed("the lowest top level", |payload| set_in_chunk(payload, 0, 0, &i16::MIN.to_le_bytes())),
    malformed("an undefined code", |payload| set_in_chunk(payload, 0, 2 + BLOCKS, &[0xff])),
    malformed("codes in a block of zeros", |payload| set_in_chunk(payload, 0, 2, &[0])),
];

/// For rounds of fp32: chunk 0 begins with the first value.
const RAW: &[Row] = &[
    malformed("a NaN", |payload| set_in_chunk(payload, 0, 0, &f32::NAN.to_le_bytes())),
    malformed("another NaN", |payload| set_in_chunk(payload, 1, 400, &0xffff_ffffu32.to_le_bytes())),
    malformed("a signalling NaN", |payload| set_in_chunk(payload, 1, 8, &0x7f80_0001u32.to_le_bytes())),
    malformed("infinity", |payload| set_in_chunk(payload, 0, 65_532, &f32::INFINITY.to_le_bytes())),
    malformed("minus infinity", |payload| set_in_chunk(payload, 1, 4_000, &f32::NEG_INFINITY.to_le_bytes())),
    malformed("a raw payload's gain of a half", |payload| set(payload, at::GAIN, &0.5f32.to_le_bytes())),
    malformed("a raw payload's block", |payload| set(payload, at::BLOCK, &64u32.to_le_bytes())),
];

/// Sends a row as a member, and asserts what must be so afterwards.
async fn play(stage: &mut Stage, member: usize, row: &Row) {
    let (name, sender) = (row.name, &stage.members[member]);
    let honest = &sender.honest;
    let mut other = None;
    let parts = match row.how {
        How::Payload(change) => {
            let mut bytes = honest.bytes.clone();
            change(&mut bytes);
            assert_ne!(bytes, honest.bytes, "{name}: nothing is broken");
            other.insert(Update::of(&sender.assignment, bytes, honest.samples)).parts(&sender.device, 0)
        }
        How::Parts(change) => {
            let mut parts = honest.parts(&sender.device, 0);
            change(&mut parts, &sender.device);
            parts
        }
    };
    let update = other.as_ref().unwrap_or(honest);
    let before = Before::row(&stage.house);
    assert_eq!(sender.line.upload(parts).await, row.expect, "{name}");
    stage.check(name, &before, sender.client(), row.leaves).await;
    if matches!(row.leaves, Leaves::Refusal | Leaves::RefusalOfGood) {
        // The answer stands, however often it is asked for, and nothing better is taken in its stead.
        assert_eq!(sender.line.ask_about(update.update.clone()).await, row.expect, "{name}");
        let again = sender.line.upload(update.parts(&sender.device, 0)).await;
        assert_eq!(again, row.expect, "{name}: again");
        stage.check(name, &Before::row(&stage.house), sender.client(), Nothing).await;
    } else {
        assert_eq!(sender.send_honestly().await, Got::Stored, "{name}: the sender goes on");
        stage.sent.push(member);
    }
}

async fn play_all(scheme: &'static str, rows: &[&[Row]]) {
    let rows: Vec<_> = rows.iter().copied().flatten().collect();
    let mut stage = Stage::open(Options { scheme, ..Options::of(1 + rows.len()) }).await;
    for (index, row) in rows.into_iter().enumerate() {
        play(&mut stage, 1 + index, row).await;
    }
    stage.commit().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_break_a_rule_change_nothing() {
    play_all("int4", &[MESSAGES]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_are_not_what_was_asked_for_are_refused() {
    play_all("int4", &[PAYLOADS]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_payloads_that_are_not_what_was_asked_for_are_refused() {
    play_all("fp32", &[RAW]).await;
}

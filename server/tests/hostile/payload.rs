//! Honest updates, and tools to break them.

use nibble_codec::{Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_proto::{
    signed_bytes,
    v1::{self, UploadUpdateRequest, upload_update_request::Part},
};
use nibble_seed::{ClientId, RoundId, Seed};
use nibble_server::{
    Aggregate, Contribution, Facts,
    strategy::{self, Folding, Strategy},
};
use sha2::{Digest as _, Sha256};

use crate::house::{COORDINATES, Device, layout};

/// Bytes of a chunk: small, so that an upload has several.
pub(crate) const CHUNK: usize = 8_000;
pub(crate) const HEADER: usize = 64;
/// Bytes before the body of a payload's chunk.
const CHUNK_HEADER: usize = 8;

/// An update as an honest client makes it.
pub(crate) struct Update {
    pub(crate) update: v1::UpdateRef,
    pub(crate) bytes: Vec<u8>,
    pub(crate) samples: u64,
}

/// What a client learned; every client and salt something else.
pub(crate) fn delta(client: u64, salt: u64) -> Vec<f32> {
    (0..COORDINATES).map(|i| (i as f32 * 0.01 + client as f32 + 100.0 * salt as f32).sin()).collect()
}

pub(crate) fn encode(assignment: &v1::Assignment, delta: &[f32]) -> Vec<u8> {
    let id = PayloadId { round: RoundId(assignment.round), seed: Seed(assignment.rounding_seed) };
    let mut bytes = Vec::new();
    let scheme: Scheme = assignment.scheme.parse().unwrap();
    Encoder::new(scheme).encode(&layout(), delta, id, &mut bytes).unwrap();
    bytes
}

impl Update {
    /// The update that `client` makes of its assignment.
    pub(crate) fn honest(client: u64, assignment: &v1::Assignment) -> Self {
        Self::of(assignment, encode(assignment, &delta(client, 0)), 10 + client)
    }

    pub(crate) fn of(assignment: &v1::Assignment, bytes: Vec<u8>, samples: u64) -> Self {
        let payload_sha256 = Sha256::digest(&bytes).to_vec().into();
        let update = v1::UpdateRef { run: assignment.run.clone(), round: assignment.round, payload_sha256 };
        Self { update, bytes, samples }
    }

    /// The header of an upload from `offset` on, signed by `device`.
    pub(crate) fn header(&self, device: &Device, offset: u64) -> v1::UpdateHeader {
        v1::UpdateHeader {
            update: Some(self.update.clone()),
            samples: self.samples,
            payload_bytes: self.bytes.len() as u64,
            offset,
            signature: sign(device, &self.update).into(),
            train_loss: 1.0,
            start_loss: None,
            nmse: 0.1,
        }
    }

    /// The messages of an upload from `offset` on.
    pub(crate) fn parts(&self, device: &Device, offset: u64) -> Vec<UploadUpdateRequest> {
        let mut parts = vec![header(self.header(device, offset))];
        let mut at = offset;
        for data in self.bytes[offset as usize..].chunks(CHUNK) {
            parts.push(chunk(at, data));
            at += data.len() as u64;
        }
        parts
    }
}

/// A device's signature over an update.
pub(crate) fn sign(device: &Device, update: &v1::UpdateRef) -> Vec<u8> {
    use rcgen::SigningKey as _;
    let digest: [u8; 32] = update.payload_sha256.as_ref().try_into().unwrap();
    device.key.sign(&signed_bytes(&update.run, update.round, &digest)).unwrap()
}

pub(crate) fn header(header: v1::UpdateHeader) -> UploadUpdateRequest {
    UploadUpdateRequest { part: Some(Part::Header(header)) }
}

pub(crate) fn chunk(offset: u64, data: &[u8]) -> UploadUpdateRequest {
    let crc32c = crc32c::crc32c(data);
    UploadUpdateRequest { part: Some(Part::Chunk(v1::Chunk { offset, data: data.to_vec().into(), crc32c })) }
}

/// Makes the checksum of a payload's header right again.
pub(crate) fn seal(payload: &mut [u8]) {
    let checksum = crc32c::crc32c(&payload[..HEADER - 4]);
    payload[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
}

/// Overwrites a field of a payload's header, and seals it.
pub(crate) fn set(payload: &mut [u8], at: usize, field: &[u8]) {
    payload[at..at + field.len()].copy_from_slice(field);
    seal(payload);
}

/// Where chunk `index` of a good payload of these bits begins and ends.
pub(crate) fn chunk_range(payload: &[u8], index: usize) -> std::ops::Range<usize> {
    let mut start = HEADER;
    for _ in 0..index {
        start += CHUNK_HEADER + length(payload, start);
    }
    start..start + CHUNK_HEADER + length(payload, start)
}

fn length(payload: &[u8], at: usize) -> usize {
    u32::from_le_bytes(payload[at..at + 4].try_into().unwrap()) as usize
}

/// Overwrites bytes of a chunk's body, and makes the chunk's checksum right again.
pub(crate) fn set_in_chunk(payload: &mut [u8], index: usize, at: usize, field: &[u8]) {
    let range = chunk_range(payload, index);
    let chunk = &mut payload[range];
    chunk[CHUNK_HEADER + at..CHUNK_HEADER + at + field.len()].copy_from_slice(field);
    let covered = [&(index as u32).to_le_bytes(), &chunk[..4], &chunk[CHUNK_HEADER..]].concat();
    chunk[4..CHUNK_HEADER].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
}

/// The model that these updates of clients make of `global`.
pub(crate) fn expected_model(layout: &Layout, mut global: Vec<f32>, updates: &[(u64, &Update)]) -> Vec<f32> {
    let contributions = updates.iter().map(|(client, update)| Contribution {
        facts: Facts { client: ClientId(*client), samples: update.samples, steps: 1, loss: None, age: 0 },
        chunks: Payload::parse(&update.bytes, layout).unwrap(),
    });
    let aggregate = Aggregate::new(contributions.collect()).unwrap();
    let folding = Folding { aggregate: &aggregate, strategy: Strategy::default(), lr: 0.1, sent: &[] };
    for mut tile in strategy::tiles(layout, aggregate.together(layout, 1), &mut global, &mut []) {
        folding.change(&mut tile, &mut Default::default()).unwrap();
    }
    global
}

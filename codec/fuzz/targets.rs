//! What fuzzers call: the same functions from cargo-fuzz (`fuzz_targets`, with coverage, on nightly) and from the ordinary
//! tests (`tests/fuzz.rs`, by mutation of good payloads).

use nibble_codec::{Backend, Encoder, Frame, Layout, Payload, PayloadId, Scheme, Scratch};
use nibble_seed::{RoundId, Seed};

/// Schemes that between them reach every decoder.
pub(crate) const SCHEMES: [&str; 20] = [
    "fp32",
    "fp16",
    "bf16",
    "int8",
    "int7",
    "int5:nearest",
    "int4",
    "int3:block256",
    "int2+ef",
    "int4:dithered",
    "int2:tensor:nearest",
    "auto:0.06",
    "auto:0.5",
    "auto:2+ef",
    "auto:step=0.00001",
    "auto:step=0.1",
    "plan:300B+ef",
    "plan:450B:dithered",
    "sign",
    "sign:0.1+ef",
];

/// Layouts that payloads are tried against: nothing, one value, tails, rows and columns; and two of several chunks, in which
/// `auto` has all its lanes.
pub(crate) fn layouts() -> Vec<Layout> {
    let of = |shapes: &[&[usize]]| {
        let named = shapes.iter().enumerate().map(|(at, shape)| (format!("t{at}"), shape.to_vec()));
        Layout::new(named).expect("names that differ")
    };
    vec![
        of(&[]),
        of(&[&[]]),
        of(&[&[130], &[1], &[0], &[77]]),
        of(&[&[24, 33], &[24], &[600]]),
        of(&[&[250, 280], &[99]]),
        of(&[&[131_100]]),
    ]
}

/// Good payloads of all schemes and layouts, as far as they fit.
pub(crate) fn good() -> Vec<(Layout, Vec<u8>)> {
    let mut payloads = Vec::new();
    for layout in layouts() {
        let mut stream = Seed(layout.hash()).stream();
        let mut draw = move || stream.next_unit() as f32 - 0.5;
        let value = |at: usize| if at / 100 % 7 == 3 { 0.0 } else { 0.02 * draw() * draw() * draw() };
        let x: Vec<f32> = (0..layout.coordinates()).map(value).collect();
        for scheme in SCHEMES {
            let scheme: Scheme = scheme.parse().expect("a scheme of this crate");
            let mut bytes = Vec::new();
            let id = PayloadId { round: RoundId(3), seed: Seed(1) };
            if Encoder::new(scheme).encode(&layout, &x, id, &mut bytes).is_ok() {
                payloads.push((layout.clone(), bytes));
            }
        }
    }
    payloads
}

/// Parses, decodes and folds, with all that this processor can: each accepts and reads the same.
pub(crate) fn payload(bytes: &[u8], layout: &Layout) -> bool {
    let mut values = vec![f32::NAN; layout.coordinates()];
    let accepted = payload_by(Backend::detect(), bytes, layout, &mut values);
    let mut again = Vec::new();
    for &backend in Backend::available().iter().filter(|&&backend| backend != Backend::detect()) {
        again.clear();
        again.resize(values.len(), f32::NAN);
        assert_eq!(payload_by(backend, bytes, layout, &mut again), accepted, "{backend:?}");
        assert!(again.iter().map(|x| x.to_bits()).eq(values.iter().map(|x| x.to_bits())), "{backend:?}");
    }
    accepted
}

/// Values of what is accepted are finite, and folding adds them.
fn payload_by(backend: Backend, bytes: &[u8], layout: &Layout, values: &mut [f32]) -> bool {
    let head = Frame::head_bytes(bytes, layout);
    let Ok(payload) = Payload::parse_with(bytes, layout, backend) else { return false };
    assert!(head.is_ok_and(|head| head <= bytes.len()), "what parses has a head");
    payload.decode(values).expect("what parses decodes");
    assert!(values.iter().all(|value| value.is_finite()));
    let (mut scratch, mut sum) = (Scratch::default(), Vec::new());
    for chunk in 0..layout.chunks() {
        let range = layout.chunk_range(chunk);
        sum.clear();
        sum.resize(range.len(), 0.0);
        payload.fold_chunk(chunk, 1.0, &mut scratch, &mut sum).expect("what parses folds");
        assert!(sum.iter().zip(&values[range]).all(|(&sum, &value)| sum == f64::from(value)));
    }
    true
}

/// [`payload`] for bytes that may be of any of the layouts.
pub(crate) fn any_payload(bytes: &[u8]) {
    for layout in layouts() {
        payload(bytes, &layout);
    }
}

/// [`any_payload`] after all checksums were made right, so that what is behind them is reached.
pub(crate) fn sealed_payload(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for layout in layouts() {
        if let Some(field) = bytes.get_mut(16..24) {
            field.copy_from_slice(&layout.hash().to_le_bytes());
        }
        reseal(&mut bytes);
        payload(&bytes, &layout);
    }
}

/// Whatever parses as a scheme prints as what parses to the same.
pub(crate) fn scheme(bytes: &[u8]) {
    if let Ok(scheme) = String::from_utf8_lossy(bytes).parse::<Scheme>() {
        assert_eq!(scheme.to_string().parse(), Ok(scheme));
    }
}

/// Makes the checksums right, of header, prelude and chunks, as far as they are where they say.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let Some(header) = bytes.get(..60) else { return };
    let header = crc32c::crc32c(header);
    let Some(field) = bytes.get_mut(60..64) else { return };
    field.copy_from_slice(&header.to_le_bytes());
    match bytes[5] {
        5 => reseal_lengths(bytes),
        6 => reseal_prelude(bytes, |_| None).unwrap_or_default(),
        _ => reseal_chunks(bytes),
    }
}

fn seal(index: u32, body: &[u8]) -> [u8; 4] {
    let head = [index.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&head), body).to_le_bytes()
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn reseal_chunks(bytes: &mut [u8]) {
    let mut at = 64;
    for index in 0.. {
        let Some(body) = length_at(bytes, at).and_then(|len| bytes.get(at + 8..)?.get(..len)) else { return };
        let (checksum, len) = (seal(index, body), body.len());
        bytes[at + 4..at + 8].copy_from_slice(&checksum);
        at += 8 + len;
    }
}

/// Seals the prelude, and then chunks whose lengths `next` takes from it.
fn reseal_prelude(
    bytes: &mut [u8],
    mut next: impl FnMut(&mut std::slice::Iter<'_, u8>) -> Option<usize>,
) -> Option<()> {
    let prelude = bytes.get(72..)?.get(..length_at(bytes, 64)?)?.to_vec();
    bytes[68..72].copy_from_slice(&seal(u32::MAX, &prelude));
    let (mut rest, mut at) = (prelude.iter(), 72 + prelude.len());
    for index in 0.. {
        // Where lengths are not known, one chunk takes all that is left.
        let len = next(&mut rest).or_else(|| bytes.len().checked_sub(at + 4).filter(|_| index == 0))?;
        let checksum = seal(index, bytes.get(at + 4..)?.get(..len)?);
        bytes[at..at + 4].copy_from_slice(&checksum);
        at += 4 + len;
    }
    Some(())
}

fn reseal_lengths(bytes: &mut [u8]) {
    let varint = |rest: &mut std::slice::Iter<'_, u8>| {
        let mut len = 0;
        for shift in (0..28).step_by(7) {
            let byte = rest.next()?;
            len |= usize::from(byte & 127) << shift;
            if *byte < 128 {
                return Some(len);
            }
        }
        None
    };
    reseal_prelude(bytes, varint);
}

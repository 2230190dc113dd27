//! The vectors of `independent.py`, an implementation of docs/wire-format.md written from that page alone: our encoder
//! makes its bytes, our decoder its values, bit for bit, and both refuse what it refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use nibble_codec::{Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_seed::{RoundId, Seed};
use serde_json::Value;

const BYTES: &[u8] = include_bytes!("vectors/vectors.bin");

/// The cases of one group of `vectors.json`.
fn cases(group: &str) -> Vec<Case> {
    let all: Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let cases: Vec<_> = all[group].as_array().unwrap().iter().cloned().map(Case).collect();
    assert!(cases.len() >= 10, "{group} has its cases");
    cases
}

struct Case(Value);

impl Case {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn layout(&self) -> Layout {
        let tensors: Vec<(String, Vec<usize>)> = serde_json::from_value(self.0["layout"].clone()).unwrap();
        Layout::new(tensors).unwrap()
    }

    fn bytes(&self, key: &str) -> &'static [u8] {
        let place = |i: usize| usize::try_from(self.0[key][i].as_u64().unwrap()).unwrap();
        &BYTES[place(0)..place(0) + place(1)]
    }

    fn floats(&self, key: &str) -> Vec<f32> {
        self.bytes(key).chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let scheme: Scheme = self.0["scheme"].as_str().unwrap().parse().unwrap();
        let number = |key: &str| self.0[key].as_u64().unwrap();
        let id = PayloadId { round: RoundId(number("round")), seed: Seed(number("seed")) };
        let mut bytes = Vec::new();
        Encoder::new(scheme).encode(&self.layout(), &self.floats("input"), id, &mut bytes).ok()?;
        Some(bytes)
    }

    /// The bits of the values, so that -0 is not +0.
    fn decode(&self) -> Option<Vec<u32>> {
        let layout = self.layout();
        let mut out = vec![f32::NAN; layout.coordinates()];
        Payload::parse(self.bytes("payload"), &layout).ok()?.decode(&mut out).ok()?;
        Some(out.into_iter().map(f32::to_bits).collect())
    }
}

/// Needs Python 3 with numpy; where those are not it says so.
#[test]
fn the_vectors_are_what_the_other_implementation_makes_today() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let made = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("independent");
    std::fs::create_dir_all(&made).unwrap();
    let python =
        std::process::Command::new("python3").arg(tests.join("independent.py")).arg("vectors").arg(&made).output();
    let Ok(output) = python else { return eprintln!("there is no python3: not checked") };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named 'numpy'") {
        return eprintln!("there is no numpy: not checked");
    }
    assert!(output.status.success(), "{said}");
    for name in ["vectors.json", "vectors.bin"] {
        let [kept, made] = [&tests.join("vectors"), &made].map(|dir| std::fs::read(dir.join(name)).unwrap());
        assert!(kept == made, "{name} differs");
    }
}

/// The names of the cases that fail, all at once.
fn assert_all(group: &str, passes: impl Fn(&Case) -> bool) {
    let failed: Vec<_> = cases(group).iter().filter(|&case| !passes(case)).map(|case| case.name().to_owned()).collect();
    assert!(failed.is_empty(), "{group}: {failed:#?}");
}

fn decodes(case: &Case) -> bool {
    let expected = case.floats("decoded").into_iter().map(f32::to_bits).collect();
    case.decode() == Some(expected)
}

#[test]
fn our_encoder_makes_the_same_bytes() {
    assert_all("encode", |case| case.encode().as_deref() == Some(case.bytes("payload")));
}

#[test]
fn our_decoder_gives_the_same_values() {
    assert_all("encode", decodes);
    assert_all("decode", decodes);
}

#[test]
fn what_it_does_not_encode_we_do_not() {
    assert_all("unencodable", |case| case.encode().is_none());
}

#[test]
fn what_it_does_not_decode_we_do_not() {
    assert_all("undecodable", |case| case.decode().is_none());
}

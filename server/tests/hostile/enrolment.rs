//! Tokens and signing requests that are not good.

use nibble_proto::v1;
use nibble_server::store::Store;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use tonic::Code::{InvalidArgument, OutOfRange, PermissionDenied};

use crate::{
    client::{
        Got::{self, Answer, Status},
        Line, of_answer,
    },
    house::{House, Options, name, now},
    table::Before,
};

async fn enrol(line: &Line, token: impl Into<String>, csr_der: &[u8]) -> Got {
    let request = v1::EnrolRequest { token: token.into(), csr_der: csr_der.to_vec().into() };
    of_answer(line.enrolment.clone().enrol(request).await)
}

async fn renew(line: &Line, csr_der: &[u8]) -> Got {
    of_answer(line.enrolment.clone().renew(v1::RenewRequest { csr_der: csr_der.to_vec().into() }).await)
}

fn request(algorithm: &'static rcgen::SignatureAlgorithm) -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// A request with another's public key in it.
fn stolen() -> Vec<u8> {
    let ((mine, mut csr), (theirs, _)) = (request(&PKCS_ECDSA_P256_SHA256), request(&PKCS_ECDSA_P256_SHA256));
    let at = csr.windows(65).position(|window| window == mine.public_key_raw()).unwrap();
    csr[at..at + 65].copy_from_slice(theirs.public_key_raw());
    csr
}

fn large() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "x".repeat(5_000));
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A well-formed request for an RSA key: its algorithm is all that is looked at.
fn rsa() -> Vec<u8> {
    // From the sequence of a subject's key on: rsaEncryption, NULL, and a key that is none.
    const KEY: [u8; 20] = [0x30, 18, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0, 3, 1, 0];
    let info = [&[2, 1, 0, 0x30, 0][..], &KEY, &[0xa0, 0]].concat();
    let signed = [&[0x30, info.len() as u8], &info[..], &KEY[2..17], &[3, 1, 0]].concat();
    [&[0x30, signed.len() as u8], &signed[..]].concat()
}

fn broken_requests() -> Vec<(&'static str, Vec<u8>)> {
    let good = request(&PKCS_ECDSA_P256_SHA256).1;
    vec![
        ("no request", Vec::new()),
        ("text", b"-----BEGIN CERTIFICATE REQUEST-----".to_vec()),
        ("zeros", vec![0; 300]),
        ("a length of 2^32 - 1", vec![0x30, 0x84, 255, 255, 255, 255]),
        ("nested sequences", [0x30, 0x80].repeat(2_000)),
        ("a request cut short", good[..good.len() - 1].to_vec()),
        ("a request and a byte more", [&good[..], &[0]].concat()),
        ("a request of 5,000 bytes", large()),
        ("a request of 16,000 bytes", vec![0x30; 16_000]),
        ("an RSA key", rsa()),
        ("a P-384 key", request(&PKCS_ECDSA_P384_SHA384).1),
        ("an Ed25519 key", request(&PKCS_ED25519).1),
        ("another's key", stolen()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_once_and_nothing_else_works() {
    let house = House::open(Options::of(1)).await;
    let device = house.device(1);
    let (line, known) = (house.connect_nobody().await, device.connect(&house).await);
    let soon = now().as_secs() + 600;
    let (good, used) = (house.token(5, soon).to_string(), house.token(6, soon).to_string());
    let (expired, revoked) = (house.token(7, now().as_secs() - 1).to_string(), house.token(8, soon).to_string());
    house.devices([8]);
    assert!(house.store().revoke(&name(8), now()).unwrap());
    let csr = request(&PKCS_ECDSA_P256_SHA256).1;
    let first = request(&PKCS_ECDSA_P256_SHA256).1;
    assert_eq!(enrol(&line, &used, &first).await, Answer);
    assert_eq!(enrol(&line, &used, &first).await, Answer, "the same key again, as the answer may have been lost");

    let before = Before::row(&house);
    let other = nibble_server::identity::Token::generate(house.authority.fingerprint()).unwrap().to_string();
    let (secret, ca) = good.split_at(good.len() - 64);
    let foreign = format!("{secret}{}{}", &ca[1..], if ca.starts_with('0') { '1' } else { '0' });
    for (name, token) in [
        ("no token", String::new()),
        ("an unknown token", other),
        ("a used token", used.clone()),
        ("an expired token", expired),
        ("a token cut short", good[..good.len() - 1].into()),
        ("a token without its authority", secret.trim_end_matches('.').into()),
        ("a token of another authority", foreign),
        ("a token in capitals", good.to_uppercase()),
        ("a token and a line feed", format!("{good}\n")),
        ("10,000 dots", ".".repeat(10_000)),
        ("letters of other scripts", "ünïcödé.".repeat(500)),
    ] {
        assert_eq!(enrol(&line, &token, &csr).await, Status(PermissionDenied), "{name}");
        before.is_as_before(&house, name);
    }
    for (name, csr) in broken_requests() {
        assert_eq!(enrol(&line, &good, &csr).await, Status(InvalidArgument), "{name}");
        assert_eq!(renew(&known, &csr).await, Status(InvalidArgument), "{name}: to renew");
        assert_eq!(enrol(&line, &used, &csr).await, Status(PermissionDenied), "{name}, with a used token");
        before.is_as_before(&house, name);
    }
    assert_eq!(enrol(&line, &good, &[0x30; 20_000]).await, Status(OutOfRange), "a message of 20,000 bytes");
    assert_eq!(enrol(&line, &revoked, &csr).await, Status(PermissionDenied), "the token of a device since revoked");
    before.is_as_before(&house, "what came last");

    // The token that all this was tried with still works, for one key.
    let keys: Vec<_> = (0..10).map(|_| request(&PKCS_ECDSA_P256_SHA256).1).collect();
    let mut got = futures_util::future::join_all(keys.iter().map(|csr| enrol(&line, &good, csr))).await;
    got.sort_by_key(|got| *got != Answer);
    assert_eq!(got[0], Answer);
    assert!(got[1..].iter().all(|got| *got == Status(PermissionDenied)), "{got:?}");
    let devices = Store::look_at(&house.state()).unwrap().devices().unwrap();
    assert_eq!(devices.iter().filter(|device| device.client.0 == 5).count(), 1);
    house.close().await;
}

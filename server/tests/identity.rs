//! Certificates, requests for them, tokens and signatures, with the abuse they must withstand.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use std::{fs, net::Ipv6Addr, path::Path, time::Duration};

use nibble_seed::{ClientId, RoundId};
use nibble_server::{
    identity::{Authority, Clock, IdentityError, Issued, Token, server_config, verify},
    peer::CertificateFacts,
};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, SignatureAlgorithm, SigningKey as _,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const NOW: u64 = 1_800_000_000;
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const FILES: [&str; 4] = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"];

fn create(dir: &Path) -> Authority {
    Authority::create(dir, &["fl.example.org".into(), "192.0.2.7".into(), "2001:db8::7".into()], NOW).unwrap()
}

fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = create(dir.path());
    (dir, authority)
}

fn request(algorithm: &'static SignatureAlgorithm) -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

fn issue(authority: &Authority, csr: &[u8]) -> Result<Issued, IdentityError> {
    authority.issue_client(csr, ClientId(7), "device-7", NOW, YEAR)
}

fn x509(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

#[test]
fn the_authority_is_small_and_signs_nothing_but_leaves() {
    let (dir, authority) = authority();
    let ca = x509(authority.ca_der());
    assert_eq!(ca.subject().to_string(), "CN=Nibble authority");
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let years = (ca.validity().not_after.timestamp() - NOW as i64) / (365 * 86_400);
    assert_eq!(years, 20);
    assert!(fs::read_to_string(dir.path().join("server.pem")).unwrap().matches("BEGIN CERTIFICATE").count() == 2);
    assert_eq!(authority.fingerprint(), ring_sha256(authority.ca_der()));
}

fn ring_sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

fn server_der(dir: &Path) -> Vec<u8> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(&fs::read(dir.join("server.pem")).unwrap()).unwrap();
    pem.contents
}

#[test]
fn the_server_has_its_names_and_always_loopback() {
    let (dir, authority) = authority();
    let der = server_der(dir.path());
    let server = x509(&der);
    let names = &server.subject_alternative_name().unwrap().unwrap().value.general_names;
    let (v6, loopback_v6) = ("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets(), Ipv6Addr::LOCALHOST.octets());
    let expected = [
        GeneralName::DNSName("fl.example.org"),
        GeneralName::IPAddress(&[192, 0, 2, 7]),
        GeneralName::IPAddress(&v6),
        GeneralName::DNSName("localhost"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
        GeneralName::IPAddress(&loopback_v6),
    ];
    assert_eq!(names[..], expected);
    let usage = server.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert!(!server.is_ca());
    assert_eq!(authority.server_not_after_unix(), NOW + YEAR.as_secs());
}

#[test]
#[cfg(unix)]
fn keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, authority) = authority();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(FILES.map(mode), [0o644, 0o600, 0o644, 0o600]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "no temporary files stay");
    let debug = format!("{authority:?}");
    let key = fs::read_to_string(dir.path().join("ca-key.pem")).unwrap();
    assert!(key.lines().filter(|line| !line.starts_with('-')).all(|line| !debug.contains(line)), "{debug}");
}

#[test]
fn nothing_is_overwritten() {
    for name in FILES {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "precious").unwrap();
        let error = Authority::create(dir.path(), &[], NOW).unwrap_err();
        assert!(matches!(&error, IdentityError::Exists { path } if path.ends_with(name)), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn what_was_created_is_loaded() {
    let (dir, created) = authority();
    let loaded = Authority::load(dir.path()).unwrap();
    assert_eq!(loaded.ca_der(), created.ca_der());
    assert_eq!(loaded.server_not_after_unix(), created.server_not_after_unix());
    let issued = issue(&loaded, &request(&PKCS_ECDSA_P256_SHA256).1).unwrap();
    let (device, ca) = (x509(&issued.der), x509(created.ca_der()));
    assert_eq!(device.issuer().as_raw(), ca.subject().as_raw());
    server_config(&loaded, Clock::new(|| NOW)).unwrap();
}

#[test]
fn load_says_what_is_missing_or_wrong() {
    for name in FILES {
        let (dir, _) = authority();
        let path = dir.path().join(name);
        fs::remove_file(&path).unwrap();
        let error = Authority::load(dir.path()).unwrap_err();
        assert!(matches!(&error, IdentityError::Read { path: found, .. } if *found == path), "{error}");
        fs::write(&path, "-----BEGIN NOTHING-----\n").unwrap();
        let error = Authority::load(dir.path()).unwrap_err();
        assert!(matches!(&error, IdentityError::Content { path: found, .. } if *found == path), "{error}");
    }
    for name in FILES {
        let ((dir, _), (other, _)) = (authority(), authority());
        fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
        let error = Authority::load(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Mismatch { .. }), "{name}: {error}");
    }
}

#[test]
fn the_server_is_renewed_with_its_key() {
    let (dir, mut authority) = authority();
    let before = server_der(dir.path());
    authority.renew_server(&["new.example.org".into()], NOW + 86_400).unwrap();
    assert_eq!(authority.server_not_after_unix(), NOW + 86_400 + YEAR.as_secs());
    let after = server_der(dir.path());
    assert_eq!(x509(&before).public_key().raw, x509(&after).public_key().raw);
    assert_ne!(x509(&before).raw_serial(), x509(&after).raw_serial());
    let loaded = Authority::load(dir.path()).unwrap();
    assert_eq!(loaded.server_not_after_unix(), authority.server_not_after_unix());
}

#[test]
fn server_names_are_checked() {
    for name in ["", "a b", "*.example.org", "fl.example.org:8443", "-x", "https://fl.example.org", "1.2.3.4.5/24"] {
        let dir = tempfile::tempdir().unwrap();
        let error = Authority::create(dir.path(), &[name.into()], NOW).unwrap_err();
        assert!(matches!(error, IdentityError::ServerName { .. }), "{name}: {error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is half done");
    }
}

#[test]
fn a_device_gets_what_the_authority_decides() {
    let (_dir, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(["fl.example.org".into()]).unwrap();
    greedy.distinguished_name.push(DnType::CommonName, "Nibble authority");
    greedy.distinguished_name.push(DnType::OrganizationName, "Evil");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let issued = issue(&authority, greedy.serialize_request(&key).unwrap().der()).unwrap();

    let device = x509(&issued.der);
    assert_eq!(device.subject().to_string(), "CN=device-7, serialNumber=7");
    assert!(!device.is_ca() && device.subject_alternative_name().unwrap().is_none());
    let usage = device.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert_eq!(device.validity().not_after.timestamp(), (NOW + YEAR.as_secs()) as i64);
    let CertificateFacts { fingerprint, public_key, not_after_unix } = &issued.facts;
    assert_eq!(*fingerprint, ring_sha256(&issued.der));
    assert_eq!(**public_key, *key.public_key_raw());
    assert_eq!((public_key.len(), public_key[0]), (65, 4));
    assert_eq!(*not_after_unix, NOW + YEAR.as_secs());
    let again = issue(&authority, greedy.serialize_request(&key).unwrap().der()).unwrap();
    assert_ne!(x509(&again.der).raw_serial(), device.raw_serial());
    assert!(device.raw_serial().len() >= 15);
}

#[test]
fn no_device_outlives_its_authority() {
    let (_dir, authority) = authority();
    let csr = request(&PKCS_ECDSA_P256_SHA256).1;
    let end = x509(authority.ca_der()).validity().not_after.timestamp() as u64;
    let late = |now, span| authority.issue_client(&csr, ClientId(1), "d", now, span);
    assert_eq!(late(NOW, 100 * YEAR).unwrap().facts.not_after_unix, end);
    for (now, span) in [(NOW, Duration::ZERO), (end, YEAR), (u64::MAX, YEAR)] {
        let error = late(now, span).unwrap_err();
        assert!(matches!(error, IdentityError::Time { .. }), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    for now in [u64::MAX, 253_402_300_800, 253_370_764_800] {
        let error = Authority::create(dir.path(), &[], now).unwrap_err();
        assert!(matches!(error, IdentityError::Time { .. }), "{error}");
    }
}

#[test]
fn device_names_are_checked() {
    let (_dir, authority) = authority();
    let csr = request(&PKCS_ECDSA_P256_SHA256).1;
    let (long, longest) = ("x".repeat(65), "ü".repeat(64));
    for name in ["", &long, "a\nb", "a\0b"] {
        let error = authority.issue_client(&csr, ClientId(1), name, NOW, YEAR).unwrap_err();
        assert!(matches!(error, IdentityError::ClientName { limit: 64, .. }), "{error}");
    }
    let issued = authority.issue_client(&csr, ClientId(1), &longest, NOW, YEAR).unwrap();
    assert!(x509(&issued.der).subject().to_string().contains(&longest));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let (_dir, authority) = authority();
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let error = issue(&authority, &request(algorithm).1).unwrap_err();
        assert!(matches!(error, IdentityError::RequestKey { .. }), "{error}");
    }
    let error = issue(&authority, &unhex(RSA_REQUEST)).unwrap_err();
    assert!(matches!(&error, IdentityError::RequestKey { found } if found == "1.2.840.113549.1.1.1"), "{error}");
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let (_dir, authority) = authority();
    let (first, second) = (request(&PKCS_ECDSA_P256_SHA256), request(&PKCS_ECDSA_P256_SHA256));
    let mut stolen = first.1.clone();
    let theirs = position(&stolen, first.0.public_key_raw());
    stolen[theirs..theirs + 65].copy_from_slice(second.0.public_key_raw());
    let mut off_the_curve = first.1;
    off_the_curve[theirs + 64] ^= 1;
    for csr in [stolen, off_the_curve] {
        let error = issue(&authority, &csr).unwrap_err();
        assert!(matches!(error, IdentityError::RequestSignature), "{error}");
    }
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

#[test]
fn broken_requests_are_refused() {
    let (_dir, authority) = authority();
    let csr = request(&PKCS_ECDSA_P256_SHA256).1;
    let with_more = [&csr[..], &[0]].concat();
    for broken in [&[][..], b"-----BEGIN CERTIFICATE REQUEST-----", &[0x30, 0x84, 255, 255, 255, 255], &with_more] {
        let error = issue(&authority, broken).unwrap_err();
        assert!(matches!(error, IdentityError::RequestMalformed), "{error}");
    }
    for length in 0..csr.len() {
        let error = issue(&authority, &csr[..length]).unwrap_err();
        assert!(matches!(error, IdentityError::RequestMalformed), "{length} bytes: {error}");
    }
    let mut large = CertificateParams::default();
    large.distinguished_name.push(DnType::CommonName, "x".repeat(5000));
    let large = large.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let error = issue(&authority, large.der()).unwrap_err();
    assert!(matches!(error, IdentityError::RequestTooLarge { found, limit: 4096 } if found > 5000), "{error}");
}

#[test]
fn no_bit_of_a_request_changes_the_key() {
    let (_dir, authority) = authority();
    let (key, csr) = request(&PKCS_ECDSA_P256_SHA256);
    let mut refused = 0;
    for bit in 0..8 * csr.len() {
        let mut flipped = csr.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The parser lets a few bits of the frame around what is signed pass.
        match issue(&authority, &flipped) {
            Ok(issued) => assert_eq!(*issued.facts.public_key, *key.public_key_raw()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 8 * csr.len() - 32, "{refused} of {}", 8 * csr.len());
}

#[test]
fn no_bytes_panic_the_parsers() {
    let (_dir, authority) = authority();
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..600), text in ".{0,120}")| {
        prop_assert!(issue(&authority, &bytes).is_err());
        prop_assert!(Token::parse(&text).is_err());
    });
}

#[test]
fn tokens_survive_their_text() {
    let token = Token::generate([0xab; 32]).unwrap();
    let text = token.to_string();
    assert_eq!(text.len(), "nibble1.".len() + 40 + 1 + 64);
    let parsed = Token::parse(&text).unwrap();
    assert_eq!(parsed, token);
    assert_eq!(parsed.digest(), token.digest());
    assert_eq!(parsed.authority(), &[0xab; 32]);
    let other = Token::generate([0xab; 32]).unwrap();
    assert_ne!(other.digest(), token.digest());
    let secret = &text[8..48];
    assert_eq!(token.digest(), ring_sha256(&unhex(secret)), "the digest is of the secret alone");
    assert!(!format!("{token:?}").contains(&secret[..8]), "{token:?}");
}

#[test]
fn tokens_have_one_spelling() {
    let (secret, authority) = ("0f".repeat(20), "ab".repeat(32));
    assert!(Token::parse(&format!("nibble1.{secret}.{authority}")).is_ok());
    for wrong in [
        String::new(),
        "nibble1".into(),
        "nibble1..".into(),
        format!("nibble2.{secret}.{authority}"),
        format!("NIBBLE1.{secret}.{authority}"),
        format!("nibble1.{}.{authority}", "0F".repeat(20)),
        format!("nibble1.{}.{authority}", "0g".repeat(20)),
        format!("nibble1.{}.{authority}", "0f".repeat(19)),
        format!("nibble1.{secret}.{}", "ab".repeat(33)),
        format!("nibble1.{secret}"),
        format!("nibble1.{secret}.{authority}."),
        format!("nibble1.{secret}.{authority}\n"),
        format!(" nibble1.{secret}.{authority}"),
        format!("nibble1.{}é.{authority}", "0".repeat(38)),
    ] {
        let error = Token::parse(&wrong).unwrap_err();
        assert!(matches!(error, IdentityError::Token { .. }), "{wrong:?}");
        assert!(!error.to_string().contains(&secret), "an error goes into logs, a secret does not");
    }
}

#[test]
fn signatures_bind_run_round_and_payload() {
    let (_dir, authority) = authority();
    let (key, csr) = request(&PKCS_ECDSA_P256_SHA256);
    let public = issue(&authority, &csr).unwrap().facts.public_key;
    let payload = [3; 32];
    let signature = key.sign(&nibble_proto::signed_bytes("run", 5, &payload)).unwrap();
    verify(&public, "run", RoundId(5), &payload, &signature).unwrap();

    let stranger = KeyPair::generate().unwrap();
    let stranger = stranger.public_key_raw();
    for (key, run, round, payload, signature) in [
        (&*public, "ruN", 5, [3; 32], &signature[..]),
        (&*public, "run", 6, [3; 32], &signature),
        (&*public, "run", 5, [4; 32], &signature),
        (stranger, "run", 5, [3; 32], &signature),
        (&[], "run", 5, [3; 32], &signature),
        (&public[1..], "run", 5, [3; 32], &signature),
        (&*public, "run", 5, [3; 32], &[]),
        (&*public, "run", 5, [3; 32], &signature[..signature.len() - 1]),
    ] {
        let error = verify(key, run, RoundId(round), &payload, signature).unwrap_err();
        assert!(matches!(error, IdentityError::Signature), "{error}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A well-formed request for an RSA key of 2048 bits: `openssl req -new -newkey rsa:2048 -subj /CN=rsa -outform DER`.
const RSA_REQUEST: &str = "
    308202533082013b020100300e310c300a06035504030c0372736130820122300d06092a864886f70d01010105000382010f003082010a
    0282010100b7418839d03c069b112c9ce9ee63b20fed8bc191a6f04e691cc745f3e3c1b285ba78e6dc04077cf2364c38060bd5b32173e8
    9177baeff946c3b82bae9169726cb5524662979030856d0489c097cc5b69c4bb95f6e2426e2a74502791c3f8814b417263b9906d01e4f5
    7f5125d7c27a8fe848ec1c54064dc8e09b367312c4528d486df4d05a8ef55e4b20cf3c7575cb61fdf5572f58dbcfb79fcdae9ee7a9af60
    31879a31414ed735b02aff9fd56a88226870c9735cd3b2f1141b78ae69f6901f294087bae50ab810388de349402e6b01f16b656f2be4db
    6d7b7d8061290b2656e1181354a89fc41a4b25ec078bf310e6574f21e0cbbd1cc2b4ea6285bd4f2f090203010001a000300d06092a8648
    86f70d01010b0500038201010043cabec92e3da210112d1f36c0df6c97d59397dd4abd3608684ff7da3137193a52bbf3579cf8464527ed
    7c260aa70b422b06f48c44f54be34327b4a46a1cd63448247002ea3605d7237a7f3ddf8ba0ddd50d4d49b03a90063ca70cf5e6914efdf3
    8b12ea3ee6f3b411fdd4f129c5c8d3c878036b97856c3d98e6813481b4512e48bbada4d5f6a99744a3b177d6390fa383b3627f84804b72
    98801eb29d70f3797b3bff7daf66e8c4e56eeda178e9a1b73ac89e421fe5cce1089f2e13cd3ef096e3988b9385c41ea20605f3c018535f
    9cf8a3374cd67649323e6f5ce76b08e6915f5ce3f2f0cb3c690d7a7f56d0ed5964a5e0290b0bd5b14aa76b4081971b53a6";

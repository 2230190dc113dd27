//! The authority: signs the coordinator's own certificate and those of devices. ECDSA P-256 throughout.
//!
//! Absent on purpose: intermediate authorities, revocation lists (the store knows what is revoked, and is asked at every
//! call) and key sizes to choose from.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nibble_seed::ClientId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use super::{
    IdentityError,
    files::{self, CA, CA_KEY, Existing, Readers, SERVER, SERVER_KEY},
    hex, request, sha256,
};
use crate::peer::{CertificateFacts, Fingerprint};

const NAME: &str = "Nibble authority";
const DAY: u64 = 86_400;
const AUTHORITY_SECS: u64 = 20 * 365 * DAY + 5 * DAY;
const SERVER_SECS: u64 = 365 * DAY;
/// Small devices have clocks that are late: certificates begin a day before they are made.
const BACKDATED_SECS: u64 = DAY;
/// Most characters of a common name (RFC 5280, appendix A.1, ub-common-name).
const NAME_CHARS: usize = 64;
/// The attribute `serialNumber` of a subject (X.520), which holds the device's number.
const DEVICE_NUMBER: &[u64] = &[2, 5, 4, 5];

/// An authority and the coordinator's own certificate, as in four PEM files of a directory.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    ca_der: CertificateDer<'static>,
    ends_unix: u64,
    chain: Vec<CertificateDer<'static>>,
    server_key: KeyPair,
}

/// A certificate made for a device.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, X.509 in DER.
    pub der: Vec<u8>,
    /// What the store keeps of it.
    pub facts: CertificateFacts,
}

impl Authority {
    /// Makes an authority (20 years) and the coordinator's certificate (1 year) for `names`, `localhost`, `127.0.0.1` and
    /// `::1`, and writes `ca.pem`, `ca-key.pem`, `server.pem` and `server-key.pem` into `dir`, which is made if need be.
    ///
    /// # Errors
    /// If one of the files exists, a name is neither a DNS name nor an address, or a file cannot be written.
    pub fn create(dir: &Path, names: &[String], now_unix: u64) -> Result<Self, IdentityError> {
        fs::create_dir_all(dir).map_err(|source| IdentityError::Write { path: dir.into(), source })?;
        for name in [CA, CA_KEY, SERVER, SERVER_KEY] {
            let path = dir.join(name);
            if path.exists() {
                return Err(IdentityError::Exists { path });
            }
        }
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let server_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(NAME, now_unix, now_unix.saturating_add(AUTHORITY_SECS))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key)?;
        let key_pem = ca_key.serialize_pem();
        let issuer = Issuer::new(params, ca_key);
        let ends_unix = now_unix.saturating_add(AUTHORITY_SECS);
        let leaf = server_certificate(&issuer, &server_key, names, now_unix, ends_unix)?;

        // The authority's certificate comes last: where it is, all is.
        files::write(dir, CA_KEY, &key_pem, Readers::Owner, Existing::Refuse)?;
        files::write(dir, SERVER_KEY, &server_key.serialize_pem(), Readers::Owner, Existing::Refuse)?;
        files::write(dir, SERVER, &(leaf.pem() + &ca.pem()), Readers::All, Existing::Refuse)?;
        files::write(dir, CA, &ca.pem(), Readers::All, Existing::Refuse)?;
        let ca_der = ca.der().clone();
        let chain = vec![leaf.der().clone(), ca_der.clone()];
        Ok(Self { dir: dir.into(), issuer, ca_der, ends_unix, chain, server_key })
    }

    /// Loads what [`create`](Self::create) wrote.
    ///
    /// # Errors
    /// If a file is missing, holds something else or does not belong to the others.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let mismatch = |name, reason| IdentityError::Mismatch { path: dir.join(name), reason };
        let ca_der = files::certificates(dir, CA)?.swap_remove(0);
        let ca_key = key_pair(dir, CA_KEY)?;
        let chain = files::certificates(dir, SERVER)?;
        let server_key = key_pair(dir, SERVER_KEY)?;

        let (point, ends_unix) = key_and_end(&ca_der).ok_or_else(|| mismatch(CA, "it is not an X.509 certificate"))?;
        if point != ca_key.public_key_raw() {
            return Err(mismatch(CA_KEY, "it is not the key of ca.pem"));
        }
        let (point, _) = key_and_end(&chain[0]).ok_or_else(|| mismatch(SERVER, "it is not an X.509 certificate"))?;
        if point != server_key.public_key_raw() {
            return Err(mismatch(SERVER_KEY, "it is not the key of server.pem"));
        }
        if chain.get(1) != Some(&ca_der) {
            return Err(mismatch(SERVER, "its second certificate is not ca.pem"));
        }
        let issuer = Issuer::from_ca_cert_der(&ca_der, ca_key)?;
        Ok(Self { dir: dir.into(), issuer, ca_der, ends_unix, chain, server_key })
    }

    /// Makes the coordinator's certificate anew, for another year, and writes it in place of the old one: for the names
    /// that one has, and for `more`.
    ///
    /// The key stays, so one rename is all and no crash leaves a key beside another key's certificate.
    ///
    /// # Errors
    /// As [`create`](Self::create), but for files that exist.
    pub fn renew_server(&mut self, more: &[String], now_unix: u64) -> Result<(), IdentityError> {
        let names: Vec<_> = names_of(&self.chain[0]).into_iter().chain(more.iter().cloned()).collect();
        let leaf = server_certificate(&self.issuer, &self.server_key, &names, now_unix, self.ends_unix)?;
        let ca_pem = files::read(&self.dir, CA)?.1;
        let text = leaf.pem() + &String::from_utf8_lossy(&ca_pem);
        files::write(&self.dir, SERVER, &text, Readers::All, Existing::Replace)?;
        self.chain[0] = leaf.der().clone();
        Ok(())
    }

    /// Makes a certificate for the key in a device's signing request, to end after `validity` or with the authority.
    ///
    /// # Errors
    /// If the request is too long, malformed, for a key that is not ECDSA P-256, or not signed by that key; if the name
    /// is empty, longer than 64 characters or has control characters; if the certificate would end by now.
    pub fn issue_client(
        &self,
        csr_der: &[u8],
        client: ClientId,
        name: &str,
        now_unix: u64,
        validity: Duration,
    ) -> Result<Issued, IdentityError> {
        let key = request::device_key(csr_der)?;
        let found = name.chars().count();
        if found == 0 || found > NAME_CHARS || name.chars().any(char::is_control) {
            return Err(IdentityError::ClientName { found, limit: NAME_CHARS });
        }
        let not_after_unix = now_unix.saturating_add(validity.as_secs()).min(self.ends_unix);
        let mut params = params(name, now_unix, not_after_unix)?;
        params.distinguished_name.push(DnType::from_oid(DEVICE_NUMBER), client.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(&key, &self.issuer)?.der().to_vec();
        let facts = CertificateFacts { fingerprint: sha256(&der), public_key: Arc::from(key.0), not_after_unix };
        Ok(Issued { der, facts })
    }

    /// SHA-256 of the authority's certificate in DER, as in enrolment tokens.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        sha256(&self.ca_der)
    }

    /// The authority's certificate, X.509 in DER.
    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        &self.ca_der
    }

    /// When the coordinator's own certificate ends, in seconds since 1970.
    #[must_use]
    pub fn server_not_after_unix(&self) -> u64 {
        key_and_end(&self.chain[0]).map_or(0, |(_, end)| end)
    }

    /// The coordinator's certificate, then the authority's.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The coordinator's own key.
    pub(super) fn server_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.server_key.serialize_der().into())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.dir)
            .field("fingerprint", &hex(&self.fingerprint()[..8]))
            .finish_non_exhaustive()
    }
}

fn server_certificate(
    issuer: &Issuer<'_, KeyPair>,
    key: &KeyPair,
    names: &[String],
    now_unix: u64,
    authority_ends_unix: u64,
) -> Result<rcgen::Certificate, IdentityError> {
    let mut subject_names = Vec::new();
    let own = [SanType::IpAddress(Ipv4Addr::LOCALHOST.into()), SanType::IpAddress(Ipv6Addr::LOCALHOST.into())];
    for name in names.iter().map(String::as_str).chain(["localhost"]) {
        subject_names.push(subject_name(name)?);
    }
    subject_names.extend(own);
    let common_name = names.first().map_or("localhost", String::as_str);
    // A DNS name may be longer than a common name may; nobody reads the latter.
    let common_name = if common_name.len() > NAME_CHARS { "localhost" } else { common_name };
    let mut params = params(common_name, now_unix, now_unix.saturating_add(SERVER_SECS).min(authority_ends_unix))?;
    for name in subject_names {
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params.signed_by(key, issuer)?)
}

fn subject_name(name: &str) -> Result<SanType, IdentityError> {
    let fail = || IdentityError::ServerName { found: name.to_owned() };
    match ServerName::try_from(name).map_err(|_| fail())? {
        ServerName::DnsName(dns) => Ok(SanType::DnsName(dns.as_ref().try_into().map_err(|_| fail())?)),
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(IpAddr::from(address))),
        _ => Err(fail()),
    }
}

/// What all certificates have: a common name, a span, a random serial number, the issuer's key identifier.
fn params(common_name: &str, now_unix: u64, not_after_unix: u64) -> Result<CertificateParams, IdentityError> {
    let fail = || IdentityError::Time { found: not_after_unix };
    let time = |unix: u64| {
        let time = OffsetDateTime::from_unix_timestamp(i64::try_from(unix).map_err(|_| fail())?).map_err(|_| fail())?;
        if time.year() < 9999 { Ok(time) } else { Err(fail()) }
    };
    if not_after_unix <= now_unix {
        return Err(fail());
    }
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| IdentityError::Random)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = time(now_unix.saturating_sub(BACKDATED_SECS))?;
    params.not_after = time(not_after_unix)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn key_pair(dir: &Path, name: &'static str) -> Result<KeyPair, IdentityError> {
    let der = files::private_key(dir, name)?;
    KeyPair::from_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| IdentityError::Content { path: dir.join(name), expected: "ECDSA P-256 private key" })
}

/// The DNS names and addresses that a certificate is for.
fn names_of(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// The public key of a certificate, and when it ends in seconds since 1970.
fn key_and_end(der: &[u8]) -> Option<(Vec<u8>, u64)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some((certificate.public_key().subject_public_key.data.to_vec(), end))
}

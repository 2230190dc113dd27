//! One-time enrolment tokens: `nibble1.<secret>.<fingerprint of the authority>`, both in lowercase hexadecimal.
//!
//! The fingerprint lets a device check the coordinator before it says anything. Only the secret's SHA-256 is ever stored.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

use super::{IdentityError, hex, sha256};
use crate::peer::Fingerprint;

const PREFIX: &str = "nibble1";
const SECRET_BYTES: usize = 20;

/// A token. [`Display`](fmt::Display) writes it whole, for the operator who hands it to a device; `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; SECRET_BYTES],
    authority: Fingerprint,
}

impl Token {
    /// A new token for devices of the authority with this fingerprint.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate(authority: Fingerprint) -> Result<Self, IdentityError> {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(|_| IdentityError::Random)?;
        Ok(Self { secret, authority })
    }

    /// Reads what [`Display`](fmt::Display) wrote, and nothing else.
    ///
    /// # Errors
    /// If `text` is anything else.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let fail = |reason| IdentityError::Token { reason };
        let mut parts = text.split('.');
        if parts.next() != Some(PREFIX) {
            return Err(fail("it does not begin with `nibble1.`"));
        }
        let secret = parts.next().and_then(unhex).ok_or_else(|| fail("its secret is not 40 hexadecimal digits"))?;
        let authority =
            parts.next().and_then(unhex).ok_or_else(|| fail("its fingerprint is not 64 hexadecimal digits"))?;
        if parts.next().is_some() {
            return Err(fail("something follows the fingerprint"));
        }
        Ok(Self { secret, authority })
    }

    /// SHA-256 of the secret: what the store knows of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.secret)
    }

    /// SHA-256 of the authority's certificate in DER.
    #[must_use]
    pub fn authority(&self) -> &Fingerprint {
        &self.authority
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}", hex(&self.secret), hex(&self.authority))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("secret", &"[secret]").field("authority", &hex(&self.authority[..8])).finish()
    }
}

/// `N` bytes from exactly 2 `N` lowercase digits, so that every token has one spelling.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

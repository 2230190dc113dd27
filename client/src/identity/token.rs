//! `nibble1.SECRET.FINGERPRINT`: a one-time secret, and the authority that its answer must come from.

use std::{fmt, str::FromStr};

/// A token from a coordinator, good for one enrolment.
#[derive(Clone)]
pub struct Token {
    text: String,
    fingerprint: [u8; 32],
}

/// Text that is not a token. It is not repeated, as it may be most of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Other than three parts, the first of them `nibble1`.
    #[error("this is not a token; one looks like nibble1.SECRET.FINGERPRINT")]
    Form,
    /// A fingerprint that is not a SHA-256 in lowercase hex: most likely the end was not copied.
    #[error("the last part of the token is not 64 lowercase hex digits; copy all of it")]
    Fingerprint,
}

impl Token {
    /// All of it, as the coordinator wants it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the authority's certificate.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('.');
        let (Some("nibble1"), Some(secret), Some(hex), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Form);
        };
        if secret.is_empty() {
            return Err(TokenError::Form);
        }
        let digit = |digit: &u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let digits = hex.as_bytes().iter().map(digit).collect::<Option<Vec<_>>>().ok_or(TokenError::Fingerprint)?;
        let pairs: [[u8; 2]; 32] = match digits.as_chunks::<2>() {
            (pairs, []) => pairs.try_into().map_err(|_| TokenError::Fingerprint)?,
            _ => return Err(TokenError::Fingerprint),
        };
        Ok(Self { text: text.into(), fingerprint: pairs.map(|[high, low]| high << 4 | low) })
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_a_fingerprint_and_hides_its_secret() {
        let text = format!("nibble1.secret.{}0f", "ab".repeat(31));
        let token: Token = text.parse().unwrap();
        assert_eq!(token.text(), text);
        assert_eq!(token.fingerprint()[..2], [0xab, 0xab]);
        assert_eq!(token.fingerprint()[31], 0x0f);
        assert!(!format!("{token:?}").contains("secret"));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let parse = |text: &str| text.parse::<Token>().unwrap_err();
        let hex = "ab".repeat(32);
        for text in ["", "nibble1", "nibble1.secret", &format!("nibble2.s.{hex}"), &format!("nibble1..{hex}")] {
            assert_eq!(parse(text), TokenError::Form, "{text}");
        }
        for end in [&hex[1..], &hex[2..], &hex.to_uppercase(), &format!("{hex}ab"), "", &"é".repeat(32)] {
            assert_eq!(parse(&format!("nibble1.s.{end}")), TokenError::Fingerprint, "{end}");
        }
    }
}

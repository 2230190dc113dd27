//! `https://host:7443`, or `http://` for a coordinator on this machine.

use std::{fmt, net::IpAddr, str::FromStr};

use http::Uri;
use rustls_pki_types::ServerName;

/// Where a coordinator listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
}

/// An address that cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not an address at all.
    #[error("{address:?} is not an address; write it as https://host:7443")]
    Malformed {
        /// What was given.
        address: String,
    },
    /// Plaintext to another machine.
    #[error(
        "{address:?} would send updates in plaintext to another machine; write https://, or use a loopback address"
    )]
    Plaintext {
        /// What was given.
        address: String,
    },
}

impl Address {
    /// Whether the connection is encrypted and both ends show certificates.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server's certificate must name.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("the host was checked when the address was parsed")
    }

    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed { address: text.into() };
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let (Some(authority), "" | "/") = (uri.authority(), uri.path()) else { return Err(malformed()) };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().ok_or_else(malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() || ServerName::try_from(host.as_str()).is_err() {
            return Err(malformed());
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(&host) => {}
            Some("http") => return Err(AddressError::Plaintext { address: text.into() }),
            _ => return Err(malformed()),
        }
        Ok(Self { uri, host, port })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.uri.to_string().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port, secure) in [
            ("https://coordinator.example:7443", "coordinator.example", 7443, true),
            ("https://10.0.0.7:1", "10.0.0.7", 1, true),
            ("https://[fd00::1]:7443/", "fd00::1", 7443, true),
            ("http://127.0.0.1:7443", "127.0.0.1", 7443, false),
            ("http://[::1]:7443", "::1", 7443, false),
            ("http://localhost:80", "localhost", 80, false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port(), address.is_secure()), (host, port, secure), "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_cannot_or_must_not_be_called_is_refused() {
        let parse = |text: &str| text.parse::<Address>().unwrap_err();
        for text in ["", "host:7443", "https://host", "ftp://host:1", "https://host:7443/path", "https://me@host:1"] {
            assert!(matches!(parse(text), AddressError::Malformed { .. }), "{text}");
        }
        for text in ["http://10.0.0.7:7443", "http://coordinator.example:7443", "http://0.0.0.0:7443"] {
            assert!(matches!(parse(text), AddressError::Plaintext { .. }), "{text}");
        }
    }
}

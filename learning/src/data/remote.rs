//! Where the fetchable data sets are published, and what their files are.
//!
//! Sizes and checksums are of the files as published; for Fashion-MNIST they belong to the MD5 sums in its README.
//! Debian's package dataset-fashion-mnist repacks the files (no name in the gzip header, 23 or 24 bytes fewer), so its
//! checksums differ while the samples are the same: they are read, never compared with these.

/// A data set that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The registered name, also its directory in the cache.
    pub name: String,
    /// Directory on the server, with its final slash. Set another to use a mirror.
    pub base_url: String,
    /// The files of the data set.
    pub files: Vec<RemoteFile>,
}

/// A file of a [`Remote`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Name below the base URL and in the cache.
    pub name: String,
    /// Size; not a byte more is accepted.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

/// A published data set; files in the order training images, labels, test images, labels.
struct Published {
    name: &'static str,
    base_url: &'static str,
    files: [(u64, &'static str); 4],
}

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

const PUBLISHED: [Published; 2] = [
    Published {
        name: "fashion-mnist",
        base_url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        files: [
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ],
    },
    Published {
        name: "mnist",
        base_url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
        files: [
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ],
    },
];

impl Remote {
    /// Names of the data sets that can be fetched.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PUBLISHED.iter().map(|published| published.name)
    }

    /// The published data set of this name.
    ///
    /// # Errors
    /// If none is, with the names there are.
    pub fn named(name: &str) -> Result<Self, super::DataError> {
        let published = PUBLISHED.iter().find(|published| published.name == name).ok_or_else(|| {
            let known = Self::names().collect::<Vec<_>>().join(", ");
            super::DataError::NotFetchable { name: name.to_owned(), known }
        })?;
        let files = FILES.iter().zip(published.files).map(|(name, (bytes, sha256))| RemoteFile {
            name: (*name).to_owned(),
            bytes,
            sha256: sha256.to_owned(),
        });
        Ok(Self { name: published.name.to_owned(), base_url: published.base_url.to_owned(), files: files.collect() })
    }

    /// Size of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_files_are_well_formed() {
        for name in Remote::names() {
            let remote = Remote::named(name).unwrap();
            assert!(remote.base_url.ends_with('/'), "{}", remote.base_url);
            for file in &remote.files {
                assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            }
        }
        assert_eq!(Remote::named("mnist").unwrap().bytes(), 11_594_722);
        let error = Remote::named("mnist-10k").unwrap_err().to_string();
        assert_eq!(error, "`mnist-10k` cannot be fetched: fetchable data sets are fashion-mnist, mnist");
    }
}

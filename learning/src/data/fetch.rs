//! Downloads into the cache: each file to a temporary one, checked, synced, then renamed, so that a name in the cache
//! always stands for a whole file.
//!
//! Absent on purpose: resuming. The largest file is 26 MB, and a part of it proves nothing.

mod temporary;

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::Agent;

use self::temporary::Temporary;
use super::{DataError, Remote, RemoteFile};

/// Attempts at each file; a server that answers, but with a client error or another file, is not asked again.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection or a read that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An attempt that takes longer has failed, however it trickles: 26 MB at 8 kB/s.
const LONGEST: Duration = Duration::from_secs(3600);

/// How far a download is. A failed attempt takes `done_bytes` back to where its file began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file being fetched.
    pub file: &'a str,
    /// Bytes of the data set that are there.
    pub done_bytes: u64,
    /// Bytes of the data set.
    pub total_bytes: u64,
}

/// What [`fetch`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where the files are now.
    pub directory: PathBuf,
    /// Files downloaded; the others were there, with the right checksum.
    pub downloaded: usize,
}

/// Brings all files of `remote` to `cache`/name, downloading those that are not there or have another checksum.
///
/// # Errors
/// If the cache cannot be written, a file cannot be had in three attempts, or what came is not the file expected.
pub fn fetch(remote: &Remote, cache: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fetched, DataError> {
    let config = Agent::config_builder()
        .timeout_global(Some(LONGEST))
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT));
    fetch_with(&config.build().new_agent(), PAUSE, remote, cache, progress)
}

fn fetch_with(
    agent: &Agent,
    pause: Duration,
    remote: &Remote,
    cache: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched, DataError> {
    let directory = cache.join(&remote.name);
    fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
    let total_bytes = remote.bytes();
    let (mut before, mut downloaded) = (0, 0);
    for file in &remote.files {
        let mut report = |bytes| progress(Progress { file: &file.name, done_bytes: before + bytes, total_bytes });
        let path = directory.join(&file.name);
        if is_whole(&path, file)? {
            report(file.bytes);
        } else {
            let url = format!("{}{}", remote.base_url, file.name);
            let temporary = Temporary::create(&directory, &file.name)?;
            download(agent, pause, &url, file, &temporary, &mut report)?;
            temporary.persist(&path)?;
            downloaded += 1;
        }
        before += file.bytes;
    }
    Ok(Fetched { directory, downloaded })
}

/// Whether the file is there, byte for byte.
fn is_whole(path: &Path, file: &RemoteFile) -> Result<bool, DataError> {
    if !fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == file.bytes) {
        return Ok(false);
    }
    let raw = File::open(path).map_err(io_error("open", path))?;
    let mut nowhere = io::sink();
    let (_, sha256) = copy(&mut BufReader::new(raw), &mut nowhere, &mut |_| {}).map_err(io_error("read", path))?;
    Ok(sha256 == file.sha256)
}

/// Attempts until one succeeds or fails for good.
fn download(
    agent: &Agent,
    pause: Duration,
    url: &str,
    file: &RemoteFile,
    temporary: &Temporary,
    report: &mut dyn FnMut(u64),
) -> Result<(), DataError> {
    let failed = |attempts, problem| DataError::Download { url: url.to_owned(), attempts, problem };
    let mut attempt = 1;
    loop {
        match attempt_download(agent, url, file, temporary, report)? {
            Attempt::Whole(sha256) if sha256 == file.sha256 => return Ok(()),
            Attempt::Whole(found) => {
                return Err(DataError::Checksum { url: url.to_owned(), expected: file.sha256.clone(), found });
            }
            Attempt::Refused(problem) => return Err(failed(attempt, problem)),
            Attempt::Failed(problem) if attempt == ATTEMPTS => return Err(failed(attempt, problem)),
            Attempt::Failed(_) => std::thread::sleep(pause * attempt),
        }
        attempt += 1;
    }
}

/// How an attempt ended.
enum Attempt {
    /// As many bytes as expected, with this checksum.
    Whole(String),
    /// An answer that another attempt would not change.
    Refused(String),
    /// A failure that may pass.
    Failed(String),
}

fn attempt_download(
    agent: &Agent,
    url: &str,
    file: &RemoteFile,
    temporary: &Temporary,
    report: &mut dyn FnMut(u64),
) -> Result<Attempt, DataError> {
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(ureq::Error::StatusCode(code @ 400..500)) => return Ok(Attempt::Refused(format!("HTTP status {code}"))),
        Err(ureq::Error::BadUri(problem)) => return Ok(Attempt::Refused(problem)),
        Err(error) => return Ok(Attempt::Failed(error.to_string())),
    };
    let mut out = File::create(&temporary.path).map_err(io_error("create", &temporary.path))?;
    let mut body = response.body_mut().as_reader().take(file.bytes + 1);
    let (bytes, sha256) = match copy(&mut body, &mut out, report) {
        Ok(copied) => copied,
        Err(Copy::Read(error)) => return Ok(Attempt::Failed(error.to_string())),
        Err(Copy::Write(error)) => return Err(io_error("write", &temporary.path)(error)),
    };
    match bytes.cmp(&file.bytes) {
        std::cmp::Ordering::Less => Ok(Attempt::Failed(format!("it ended after {bytes} of {} bytes", file.bytes))),
        std::cmp::Ordering::Equal => Ok(Attempt::Whole(sha256)),
        std::cmp::Ordering::Greater => Ok(Attempt::Refused(format!("it has more than {} bytes", file.bytes))),
    }
}

/// Which side of a copy failed: the network may recover, a full disk will not.
enum Copy {
    Read(io::Error),
    Write(io::Error),
}

impl From<Copy> for io::Error {
    fn from(error: Copy) -> Self {
        match error {
            Copy::Read(error) | Copy::Write(error) => error,
        }
    }
}

/// Copies all bytes; returns how many, and their SHA-256 in hex.
fn copy(from: &mut dyn Read, to: &mut dyn Write, report: &mut dyn FnMut(u64)) -> Result<(u64, String), Copy> {
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 64 * 1024], 0);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copy::Read(error)),
        };
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n]).map_err(Copy::Write)?;
        bytes += n as u64;
        report(bytes);
    }
    let hex = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, hex))
}

fn io_error<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> DataError {
    let path = path.to_owned();
    move |error| DataError::Io { action, path, source: error.into() }
}

#[cfg(test)]
mod tests;

//! Uploads on disk: parts while they arrive, whole payloads until their round has ended.
//!
//! ```text
//! spool/RUN/ROUND/CLIENT-DIGEST.part   what has arrived of the payload with this SHA-256
//! spool/RUN/ROUND/CLIENT-DIGEST.payload   a whole payload, checked and durable
//! ```
//!
//! A part outlives its connection, and the coordinator, so that an upload goes on where it broke off. Only one connection
//! writes to a part: a newer one takes it over.
//!
//! Absent on purpose: who may upload what (the coordinator decides before a part is begun), and outcomes.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use nibble_codec::{DecodeError, Frame, Layout, PREFIX_BYTES};
use nibble_proto::crash;
use nibble_seed::{ClientId, RoundId};
use sha2::{Digest as _, Sha256};

use crate::{Chunks, Scratch, round::Digest};

/// Errors of the spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The file system failed.
    #[error("cannot keep uploads in {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another connection goes on with the same upload.
    #[error("another connection of this client has taken the upload over")]
    TakenOver,
    /// The round has ended meanwhile, and what belonged to it is gone.
    #[error("the round has ended meanwhile")]
    Over,
    /// A chunk does not begin where the last one ended.
    #[error("a chunk begins at byte {found}, but byte {expected} is next")]
    Offset {
        /// Where the next chunk must begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// More bytes than were announced.
    #[error("{found} bytes, but {expected} were announced")]
    TooLong {
        /// Bytes announced.
        expected: u64,
        /// Bytes there would be.
        found: u64,
    },
    /// The bytes are not those that were announced.
    #[error("the bytes that arrived do not have the SHA-256 that was announced; send them again from the start")]
    Digest,
    /// The payload is a good one, but not the one that was asked for.
    #[error("{0}")]
    Unexpected(String),
    /// The bytes are no payload that can be used.
    #[error("{0}")]
    Payload(#[from] DecodeError),
}

/// The directory of all uploads of one run.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// For each client the number of the connection that may write. A lock is held while bytes go to the disk, so there
    /// are several: clients do not wait for each other's.
    writers: [Mutex<HashMap<ClientId, u64>>; 64],
    next_writer: AtomicU64,
}

/// One update's place in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The round.
    pub round: RoundId,
    /// The client.
    pub client: ClientId,
    /// SHA-256 of the payload.
    pub digest: Digest,
    /// Bytes of the payload.
    pub bytes: u64,
}

/// An upload in progress, by one connection.
#[derive(Debug)]
pub struct Upload {
    spool: Arc<Spool>,
    place: Place,
    writer: u64,
    part: File,
    path: PathBuf,
    received: u64,
    sha: Sha256,
}

impl Spool {
    /// The spool in `directory`, which is made when needed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(directory: PathBuf) -> Result<Arc<Self>, SpoolError> {
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        Ok(Arc::new(Self {
            directory,
            writers: std::array::from_fn(|_| Mutex::default()),
            next_writer: AtomicU64::new(0),
        }))
    }

    /// Bytes of the update that have arrived so far.
    #[must_use]
    pub fn received(&self, place: &Place) -> u64 {
        fs::metadata(self.file(place, "part")).map_or(0, |part| part.len().min(place.bytes))
    }

    /// Goes on with an upload, or begins it. A part of another payload of the same client is thrown away; a connection
    /// that still writes loses the right to.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn resume(self: &Arc<Self>, place: Place) -> Result<Upload, SpoolError> {
        let path = self.file(&place, "part");
        let directory = self.round_directory(place.round);
        let mut writers = self.writers_of(place.client);
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let received = self.received(&place);
        if received == 0 {
            forget_parts(&directory, place.client).map_err(at(&directory))?;
        }
        let mut part = OpenOptions::new();
        let part = part.read(true).write(true).create(true).truncate(false).open(&path).map_err(at(&path))?;
        let mut sha = Sha256::new();
        part.set_len(received).and_then(|()| hash(&part, received, &mut sha)).map_err(at(&path))?;
        let writer = self.next_writer.fetch_add(1, Ordering::Relaxed);
        writers.insert(place.client, writer);
        Ok(Upload { spool: Arc::clone(self), place, writer, part, path, received, sha })
    }

    /// A whole payload, to be folded chunk by chunk.
    ///
    /// # Errors
    /// If it is not there, or its header does not fit the layout.
    pub fn payload<'a>(&self, place: &Place, layout: &'a Layout) -> Result<Spooled<'a>, SpoolError> {
        let path = self.file(place, "payload");
        let file = File::open(&path).map_err(at(&path))?;
        let frame = frame(&file, place.bytes, layout, &path)?;
        Ok(Spooled { file, path, frame })
    }

    /// Throws away all uploads of rounds before `round`: their outcomes are known.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget_before(&self, round: RoundId) -> Result<(), SpoolError> {
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))?.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if number.is_some_and(|number| number < round.0) {
                match fs::remove_dir_all(entry.path()) {
                    // An upload that was begun before the round closed ended meanwhile; what it left goes the next time.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    removed => removed.map_err(at(&entry.path()))?,
                }
            }
        }
        Ok(())
    }

    fn writers_of(&self, client: ClientId) -> MutexGuard<'_, HashMap<ClientId, u64>> {
        self.writers[client.0 as usize % self.writers.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round_directory(&self, round: RoundId) -> PathBuf {
        self.directory.join(round.to_string())
    }

    fn file(&self, place: &Place, extension: &str) -> PathBuf {
        let digest: String = place.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.round_directory(place.round).join(format!("{}-{digest}.{extension}", place.client))
    }
}

impl Upload {
    /// Bytes that have arrived: where the next chunk must begin.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they do not follow on those before, or are more than announced; nothing is then written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        if offset != self.received {
            return Err(SpoolError::Offset { expected: self.received, found: offset });
        }
        let end = offset + bytes.len() as u64;
        if end > self.place.bytes {
            return Err(SpoolError::TooLong { expected: self.place.bytes, found: end });
        }
        let writers = self.spool.writers_of(self.place.client);
        if writers.get(&self.place.client) != Some(&self.writer) {
            return Err(SpoolError::TakenOver);
        }
        self.part.write_all_at(bytes, offset).map_err(at(&self.path))?;
        drop(writers);
        self.sha.update(bytes);
        self.received = end;
        Ok(())
    }

    /// Checks that all bytes came, and that they are a payload of `layout` that `expected` accepts; then makes it
    /// durable under the name of a whole payload.
    ///
    /// From here on the bytes lie under a name of this upload's own: who comes after begins a part of its own.
    ///
    /// # Errors
    /// If they are not, and the bytes are then gone; or if another connection has taken the upload over.
    pub fn finish(
        mut self,
        layout: &Layout,
        expected: impl FnOnce(&Frame<'_>) -> Result<(), String>,
    ) -> Result<(), SpoolError> {
        self.claim()?;
        let checked = self.check(layout, expected);
        if let Err(error) = checked {
            fs::remove_file(&self.path).map_err(at(&self.path))?;
            return Err(error);
        }
        let whole = self.spool.file(&self.place, "payload");
        let keep = || {
            self.part.sync_all()?;
            fs::rename(&self.path, &whole)?;
            File::open(self.spool.round_directory(self.place.round))?.sync_all()?;
            File::open(&self.spool.directory)?.sync_all()?;
            crash::point("payload-kept");
            Ok(())
        };
        keep().map_err(over_or(&self.path))
    }

    /// Takes the part out of the reach of other connections.
    fn claim(&mut self) -> Result<(), SpoolError> {
        let mut writers = self.spool.writers_of(self.place.client);
        if writers.get(&self.place.client) != Some(&self.writer) {
            return Err(SpoolError::TakenOver);
        }
        let own = self.path.with_extension(format!("{}.finishing", self.writer));
        fs::rename(&self.path, &own).map_err(over_or(&self.path))?;
        writers.remove(&self.place.client);
        self.path = own;
        Ok(())
    }

    fn check(
        &self,
        layout: &Layout,
        expected: impl FnOnce(&Frame<'_>) -> Result<(), String>,
    ) -> Result<(), SpoolError> {
        let found = Digest::from(self.sha.clone().finalize());
        if self.received != self.place.bytes || found != self.place.digest {
            return Err(SpoolError::Digest);
        }
        let frame = frame(&self.part, self.received, layout, &self.path)?;
        expected(&frame).map_err(SpoolError::Unexpected)?;
        let (mut bytes, mut scratch) = (Vec::new(), nibble_codec::Scratch::default());
        for chunk in 0..layout.chunks() {
            let range = frame.chunk_bytes(chunk);
            let end = range.end.min(self.received as usize);
            bytes.resize(end.saturating_sub(range.start), 0);
            self.part.read_exact_at(&mut bytes, range.start as u64).map_err(at(&self.path))?;
            frame.check_chunk(chunk, &bytes, &mut scratch)?;
        }
        if self.received > frame.len_bytes() {
            return Err(DecodeError::Trailing { count: self.received - frame.len_bytes() }.into());
        }
        Ok(frame.check_length()?)
    }
}

/// A whole payload in the spool.
#[derive(Debug)]
pub struct Spooled<'a> {
    file: File,
    path: PathBuf,
    frame: Frame<'a>,
}

impl Chunks for Spooled<'_> {
    type Error = SpoolError;

    fn together(&self) -> usize {
        self.frame.together()
    }

    fn fold_chunk(&self, index: usize, weight: f64, scratch: &mut Scratch, sum: &mut [f64]) -> Result<(), SpoolError> {
        let range = self.frame.chunk_bytes(index);
        let Scratch { bytes, codec } = scratch;
        bytes.resize(range.len(), 0);
        self.file.read_exact_at(bytes, range.start as u64).map_err(at(&self.path))?;
        // The disk may have changed what was checked on arrival.
        Ok(self.frame.check_and_fold_chunk(index, bytes, weight, codec, sum)?)
    }

    fn decode_chunk(&self, index: usize, scratch: &mut Scratch, out: &mut [f32]) -> Result<(), SpoolError> {
        let range = self.frame.chunk_bytes(index);
        let Scratch { bytes, codec } = scratch;
        bytes.resize(range.len(), 0);
        self.file.read_exact_at(bytes, range.start as u64).map_err(at(&self.path))?;
        self.frame.check_chunk(index, bytes, codec)?;
        Ok(self.frame.decode_chunk(index, bytes, codec, out)?)
    }
}

/// The frame of the payload of `bytes` bytes in `file`, from its head.
fn frame<'a>(file: &File, bytes: u64, layout: &'a Layout, path: &Path) -> Result<Frame<'a>, SpoolError> {
    let read = |len: usize| {
        let mut head = vec![0; len.min(bytes as usize)];
        file.read_exact_at(&mut head, 0).map_err(at(path))?;
        Ok::<_, SpoolError>(head)
    };
    let head = Frame::head_bytes(&read(PREFIX_BYTES)?, layout)?;
    Ok(Frame::parse(&read(head)?, layout)?)
}

/// Hashes the first `bytes` of a part.
fn hash(part: &File, bytes: u64, sha: &mut Sha256) -> io::Result<()> {
    let mut rest = part.take(bytes);
    let mut buffer = vec![0; 65_536];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            read => sha.update(&buffer[..read]),
        }
    }
}

/// Removes what has arrived of any payload of `client`.
fn forget_parts(directory: &Path, client: ClientId) -> io::Result<()> {
    let prefix = format!("{client}-");
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".part")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The directory of a round that has ended is removed: what is not found was of such a round.
fn over_or(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => SpoolError::Over,
        _ => at(path)(error),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| SpoolError::Io { path: path.into(), error }
}

#[cfg(test)]
mod tests;

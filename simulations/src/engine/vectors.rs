//! A vector for each virtual client, e.g. its residual: in memory up to a cap, on disk past it.
//!
//! Files are never changed: a newer vector gets a new file, and files that the last checkpoint names stay until the next
//! one is durable, so a crash at any moment leaves what a checkpoint needs. A file is the vector as little-endian f32
//! with a CRC-32C behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use nibble_seed::ClientId;

use crate::{
    error::SimError,
    files::{from_bytes, to_bytes},
};

/// Vectors by client.
pub(super) struct Vectors {
    dir: PathBuf,
    cap_bytes: u64,
    memory_bytes: u64,
    clients: BTreeMap<ClientId, Slot>,
    /// Clients in memory by when they were last put: the first is spilled first.
    by_age: BTreeMap<u64, ClientId>,
    /// Files that the last checkpoint names.
    pinned: BTreeSet<u64>,
    /// Number of the next file, and of the next putting.
    next: u64,
}

struct Slot {
    memory: Option<(u64, Vec<f32>)>,
    /// The file that holds the same vector.
    file: Option<u64>,
}

impl Vectors {
    /// No vectors yet; what spills goes to `dir`, which is made when needed.
    pub(super) fn new(dir: PathBuf, cap_bytes: u64) -> Self {
        let (clients, by_age, pinned) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { dir, cap_bytes, memory_bytes: 0, clients, by_age, pinned, next: 0 }
    }

    /// The vectors that a checkpoint names; other files in `dir` are left-overs and removed.
    pub(super) fn restore(dir: PathBuf, cap_bytes: u64, files: &BTreeMap<u64, u64>) -> Result<Self, SimError> {
        let mut vectors = Self::new(dir, cap_bytes);
        for (&client, &file) in files {
            vectors.clients.insert(ClientId(client), Slot { memory: None, file: Some(file) });
            vectors.pinned.insert(file);
            vectors.next = vectors.next.max(file + 1);
        }
        vectors.sweep()?;
        Ok(vectors)
    }

    /// The client's vector, empty if it has none. It stays until it is replaced.
    pub(super) fn get(&self, client: ClientId) -> Result<Vec<f32>, SimError> {
        match self.clients.get(&client) {
            None => Ok(Vec::new()),
            Some(Slot { memory: Some((_, vector)), .. }) => Ok(vector.clone()),
            Some(Slot { file, .. }) => file.map_or(Ok(Vec::new()), |file| read(&self.path(file))),
        }
    }

    /// Takes the client's vector out, which the caller is about to replace.
    pub(super) fn take(&mut self, client: ClientId) -> Result<Vec<f32>, SimError> {
        let vector = match self.clients.get_mut(&client).and_then(|slot| slot.memory.take()) {
            Some((age, vector)) => {
                self.by_age.remove(&age);
                self.memory_bytes -= bytes_of(&vector);
                vector
            }
            None => self.get(client)?,
        };
        if let Some(file) = self.clients.remove(&client).and_then(|slot| slot.file) {
            self.discard(file)?;
        }
        Ok(vector)
    }

    /// Replaces the client's vector; what has not been touched longest moves to disk if memory runs out.
    pub(super) fn put(&mut self, client: ClientId, vector: Vec<f32>) -> Result<(), SimError> {
        self.take(client)?;
        if vector.is_empty() {
            return Ok(());
        }
        self.memory_bytes += bytes_of(&vector);
        let age = self.number();
        self.by_age.insert(age, client);
        self.clients.insert(client, Slot { memory: Some((age, vector)), file: None });
        while self.memory_bytes > self.cap_bytes {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.save(oldest)?;
            if let Some((_, vector)) = self.clients.get_mut(&oldest).and_then(|slot| slot.memory.take()) {
                self.memory_bytes -= bytes_of(&vector);
            }
        }
        Ok(())
    }

    /// Makes every vector durable and returns which file holds which client's, for a checkpoint to name.
    pub(super) fn save_all(&mut self) -> Result<BTreeMap<u64, u64>, SimError> {
        let clients: Vec<_> = self.clients.keys().copied().collect();
        clients.into_iter().try_for_each(|client| self.save(client))?;
        let files: BTreeMap<_, _> =
            self.clients.iter().filter_map(|(client, slot)| Some((client.0, slot.file?))).collect();
        for file in files.values().filter(|file| !self.pinned.contains(file)) {
            let path = self.path(*file);
            fs::File::open(&path).and_then(|file| file.sync_data()).map_err(SimError::io(path))?;
        }
        if !files.is_empty() {
            crate::files::sync_directory(&self.dir)?;
        }
        Ok(files)
    }

    /// The checkpoint that names `files` is durable: files of earlier ones may go.
    pub(super) fn checkpointed(&mut self, files: &BTreeMap<u64, u64>) -> Result<(), SimError> {
        self.pinned = files.values().copied().collect();
        self.sweep()
    }

    fn save(&mut self, client: ClientId) -> Result<(), SimError> {
        let file = self.number();
        let path = self.path(file);
        let Some(Slot { memory: Some((_, vector)), file: saved @ None }) = self.clients.get_mut(&client) else {
            return Ok(());
        };
        fs::create_dir_all(&self.dir).map_err(SimError::io(&self.dir))?;
        let mut bytes = to_bytes(vector);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        fs::write(&path, &bytes).map_err(SimError::io(&path))?;
        *saved = Some(file);
        Ok(())
    }

    /// Removes a file that nothing needs any more.
    fn discard(&self, file: u64) -> Result<(), SimError> {
        if self.pinned.contains(&file) {
            return Ok(());
        }
        let path = self.path(file);
        fs::remove_file(&path).map_err(SimError::io(path))
    }

    /// Removes every file that neither a checkpoint nor a client needs.
    fn sweep(&self) -> Result<(), SimError> {
        let needed: BTreeSet<_> =
            self.clients.values().filter_map(|slot| slot.file).chain(self.pinned.iter().copied()).collect();
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(()) };
        for entry in entries.flatten() {
            let path = entry.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
            if number.is_some_and(|number| !needed.contains(&number)) {
                fs::remove_file(&path).map_err(SimError::io(path))?;
            }
        }
        Ok(())
    }

    fn path(&self, file: u64) -> PathBuf {
        self.dir.join(format!("{file}.f32"))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

fn bytes_of(vector: &[f32]) -> u64 {
    size_of_val(vector) as u64
}

fn read(path: &Path) -> Result<Vec<f32>, SimError> {
    let bytes = fs::read(path).map_err(SimError::io(path))?;
    let damaged = || SimError::File {
        path: path.into(),
        problem: "the vector in it is damaged".into(),
        mend: "start the run afresh with --fresh".into(),
    };
    let (vector, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32c::crc32c(vector) != u32::from_le_bytes(*checksum) {
        return Err(damaged());
    }
    from_bytes(vector).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_in(dir: &Path) -> usize {
        fs::read_dir(dir).map_or(0, Iterator::count)
    }

    #[test]
    fn what_does_not_fit_is_kept_on_disk_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut vectors = Vectors::new(dir.path().join("spill"), 3 * 40);
        let vector = |client: u64| vec![client as f32 + 0.5; 10];
        for client in 0..10 {
            vectors.put(ClientId(client), vector(client)).unwrap();
            assert!(vectors.memory_bytes <= 120);
        }
        assert_eq!(files_in(&vectors.dir), 7);
        for client in 0..10 {
            assert_eq!(vectors.get(ClientId(client)).unwrap(), vector(client));
            assert_eq!(vectors.take(ClientId(client)).unwrap(), vector(client));
        }
        assert_eq!(files_in(&vectors.dir), 0, "no file outlives its vector");
        assert!(vectors.get(ClientId(99)).unwrap().is_empty());
    }

    #[test]
    fn a_checkpoint_survives_whatever_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut vectors = Vectors::new(dir.path().into(), 80);
        for client in 0..4 {
            vectors.put(ClientId(client), vec![client as f32; 10]).unwrap();
        }
        let files = vectors.save_all().unwrap();
        vectors.checkpointed(&files).unwrap();
        for client in 0..4 {
            vectors.put(ClientId(client), vec![-1.0; 10]).unwrap();
        }
        drop(vectors); // as a crash would
        let mut restored = Vectors::restore(dir.path().into(), 80, &files).unwrap();
        for client in 0..4 {
            assert_eq!(restored.take(ClientId(client)).unwrap(), vec![client as f32; 10]);
        }
        assert_eq!(files_in(dir.path()), 4, "the files of the checkpoint, and no left-overs");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut vectors = Vectors::new(dir.path().into(), 0);
        vectors.put(ClientId(0), vec![1.0; 4]).unwrap();
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = vectors.get(ClientId(0)).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains(".f32"), "{error}");
    }
}

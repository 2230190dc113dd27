//! The two slots of a directory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use nibble_codec::Layout;

use super::{
    Keeps, PendingUpdate, StateError, Summary,
    lock::Lock,
    model, own,
    read::{Contents, Wanted, read},
    write::{Record, write},
};

/// The state of one client on disk, locked while it is open.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// The slot that holds the state.
    slot: usize,
    sequence: u64,
    summary: Summary,
    _lock: Lock,
}

impl Store {
    /// Opens the state in `dir`, or starts one there.
    ///
    /// # Errors
    /// If another client has it, neither slot can be used, or the system refuses.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let lock = Lock::acquire(dir)?;
        if let Some((slot, Contents { sequence, summary, .. })) = newest(dir)? {
            return Ok(Self { dir: dir.into(), slot, sequence, summary, _lock: lock });
        }
        let summary =
            Summary { run: String::new(), layout: nothing(), keeps: Keeps::Residual, coordinates: 0, pending: None };
        // The first write goes to slot 0; see `newest` for what that makes of a lone, broken slot 0.
        let mut store = Self { dir: dir.into(), slot: 1, sequence: 0, summary: summary.clone(), _lock: lock };
        store.replace(summary, &[], &[])?;
        Ok(store)
    }

    /// What the state in `dir` holds, without locking it or changing anything; `None` before the first start.
    ///
    /// # Errors
    /// If neither slot can be used.
    pub fn peek(dir: &Path) -> Result<Option<(Summary, Vec<f32>)>, StateError> {
        let Some((slot, _)) = newest(dir)? else { return Ok(None) };
        let contents = slot_contents(dir, slot, Wanted::Vector)?;
        Ok(Some((contents.summary, contents.vector)))
    }

    /// What the state holds.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads the vector that is kept: see [`Store::settle`] and [`Store::pend`]. Empty if nothing is.
    ///
    /// # Errors
    /// If the file cannot be read or was damaged.
    pub fn vector(&self) -> Result<Vec<f32>, StateError> {
        Ok(slot_contents(&self.dir, self.slot, Wanted::Vector)?.vector)
    }

    /// Reads the pending update's payload. Empty if nothing is pending.
    ///
    /// # Errors
    /// If the file cannot be read or was damaged.
    pub fn payload(&self) -> Result<Bytes, StateError> {
        Ok(slot_contents(&self.dir, self.slot, Wanted::Payload)?.payload.into())
    }

    /// Keeps a vector, the residual or the control variate, which is empty or of `layout`, and nothing pending. Durable on
    /// return.
    ///
    /// # Errors
    /// If it cannot be written; the state is then as it was.
    pub fn settle(&mut self, run: &str, layout: &Layout, (keeps, vector): (Keeps, &[f32])) -> Result<(), StateError> {
        let (run, layout) = (run.to_owned(), layout.clone());
        let summary = Summary { run, layout, keeps, coordinates: vector.len() as u64, pending: None };
        self.replace(summary, vector, &[])
    }

    /// Keeps a pending update with its intent, which is empty or of `layout`, or with the control variate, as it is and, after that,
    /// as it will be if the update is accepted. Durable on return.
    ///
    /// # Errors
    /// If it cannot be written; the state is then as it was.
    pub fn pend(
        &mut self,
        run: &str,
        layout: &Layout,
        update: PendingUpdate,
        (keeps, vector): (Keeps, &[f32]),
        payload: &[u8],
    ) -> Result<(), StateError> {
        let (run, layout) = (run.to_owned(), layout.clone());
        let pending = Some(PendingUpdate { payload_bytes: payload.len() as u64, ..update });
        self.replace(Summary { run, layout, keeps, coordinates: vector.len() as u64, pending }, vector, payload)
    }

    /// The global model that was kept last; `None` if there is none that can be read.
    #[must_use]
    pub fn model(&self) -> Option<Vec<f32>> {
        model::read(&self.dir)
    }

    /// Keeps a global model. It may be lost, and then has to be sent again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_model(&self, parameters: &[f32]) -> Result<(), StateError> {
        model::write(&self.dir, parameters)
    }

    /// The tensors that are the client's own in `run`; `None` if no update has moved them yet.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn own(&self, run: &str) -> Result<Option<Vec<f32>>, StateError> {
        own::read(&self.dir, run)
    }

    /// Keeps what an update makes of them, before it is pending. Durable on return.
    ///
    /// # Errors
    /// If they cannot be written; they are then as they were.
    pub fn pend_own(&self, run: &str, payload_sha256: &[u8; 32], own: &[f32]) -> Result<(), StateError> {
        own::pend(&self.dir, run, payload_sha256, own)
    }

    /// Takes on what the pending update made of them, if it made anything. To be called before it is settled.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn settle_own(&self, payload_sha256: &[u8; 32]) -> Result<(), StateError> {
        own::settle(&self.dir, payload_sha256)
    }

    fn replace(&mut self, summary: Summary, vector: &[f32], payload: &[u8]) -> Result<(), StateError> {
        let (slot, sequence) = (1 - self.slot, self.sequence + 1);
        write(&slot_path(&self.dir, slot), &Record { sequence, summary: &summary, vector, payload })?;
        (self.slot, self.sequence, self.summary) = (slot, sequence, summary);
        Ok(())
    }
}

/// The layout of no tensors.
fn nothing() -> Layout {
    Layout::new([] as [(&str, Vec<usize>); 0]).expect("no two of no names are equal")
}

fn slot_path(dir: &Path, slot: usize) -> PathBuf {
    dir.join(format!("client.{slot}"))
}

fn slot_contents(dir: &Path, slot: usize, wanted: Wanted) -> Result<Contents, StateError> {
    let path = slot_path(dir, slot);
    let lost = |problem: String| StateError::Lost { path: path.clone(), problem };
    read(&path, wanted).map_err(lost)?.ok_or_else(|| lost("it is gone".into()))
}

/// The newest slot that can be used, and what it holds; `None` if nothing was ever kept here.
fn newest(dir: &Path) -> Result<Option<(usize, Contents)>, StateError> {
    let slots = [0, 1].map(|slot| read(&slot_path(dir, slot), Wanted::Summary));
    for (slot, found) in slots.iter().enumerate() {
        if let Err(problem) = found {
            tracing::warn!(file = %slot_path(dir, slot).display(), problem, "a state file cannot be used");
        }
    }
    let words = |problem: &Result<Option<Contents>, String>| match problem {
        Err(problem) => problem.clone(),
        Ok(_) => "it is not there".into(),
    };
    let [first, second] = &slots;
    // A state starts with an empty record in slot 0. While slot 1 was never written, a broken slot 0 held nothing more.
    let started = !matches!((first, second), (Ok(None) | Err(_), Ok(None)));
    let damaged = StateError::Damaged { dir: dir.into(), first: words(first), second: words(second) };
    let usable = slots.into_iter().enumerate().filter_map(|(slot, found)| Some((slot, found.ok()??)));
    match usable.max_by_key(|(_, contents)| contents.sequence) {
        None if started => Err(damaged),
        newest => Ok(newest),
    }
}

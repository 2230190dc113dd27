//! Reading a slot: nothing is believed before the length and the checksum of the whole were seen to be right.

use std::{
    error::Error,
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

use super::header::{HEADER_BYTES, Header, Keeps, Summary, TRAILER_BYTES, layout_from_bytes};

/// Bytes read at a time.
const TILE_BYTES: usize = 64 * 1024;

/// A record that passed its checks.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) sequence: u64,
    pub(super) summary: Summary,
    /// Empty unless asked for.
    pub(super) vector: Vec<f32>,
    /// Empty unless asked for.
    pub(super) payload: Vec<u8>,
}

/// What of a record is to be kept in memory. All of it is checked in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Summary,
    Vector,
    Payload,
}

/// The record at `path`; `None` if there is no such file.
pub(super) fn read(path: &Path, wanted: Wanted) -> Result<Option<Contents>, String> {
    match File::open(path) {
        Ok(file) => read_file(&file, wanted).map(Some).map_err(|problem| problem.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("it cannot be opened: {error}")),
    }
}

fn read_file(file: &File, wanted: Wanted) -> Result<Contents, Box<dyn Error>> {
    let found = file.metadata()?.len();
    let mut source = Checked { inner: BufReader::with_capacity(TILE_BYTES, file), crc: 0 };
    let mut bytes = [0; HEADER_BYTES];
    if found < HEADER_BYTES as u64 + TRAILER_BYTES {
        return Err(format!("it is cut short after {found} bytes").into());
    }
    source.read_exact(&mut bytes)?;
    let header = Header::parse(&bytes)?;
    // Lengths are held against the file before anything is allocated for them.
    if header.record_bytes() != Some(found) {
        return Err(format!("it has {found} bytes, which is not what its header announces").into());
    }
    let run = source.section(u64::from(header.run_bytes))?;
    let layout = source.section(u64::from(header.layout_bytes))?;
    let vector = match wanted {
        Wanted::Vector => source.floats(header.coordinates)?,
        _ => source.skip(header.coordinates * 4).map(|()| Vec::new())?,
    };
    let payload = match wanted {
        Wanted::Payload => source.section(header.payload_bytes())?,
        _ => source.skip(header.payload_bytes()).map(|()| Vec::new())?,
    };
    let checksum = source.crc;
    let mut stored = [0; TRAILER_BYTES as usize];
    source.read_exact(&mut stored)?;
    if checksum != u32::from_le_bytes(stored) {
        return Err("its checksum is wrong: it was damaged, or not written to the end".into());
    }
    let summary = summary(&header, run, &layout).ok_or("its fields contradict each other")?;
    Ok(Contents { sequence: header.sequence, summary, vector, payload })
}

/// What the fields mean; `None` if they contradict each other, which no record written here does.
fn summary(header: &Header, run: Vec<u8>, layout: &[u8]) -> Option<Summary> {
    let run = String::from_utf8(run).ok()?;
    let layout = layout_from_bytes(layout).filter(|layout| layout.hash() == header.layout_hash)?;
    let coordinates = header.coordinates;
    let (keeps, pending, one) = (header.keeps, header.pending, layout.coordinates() as u64);
    let whole = if keeps == Keeps::Control && pending.is_some() { one.checked_mul(2)? } else { one };
    let fits = coordinates == 0 || coordinates == whole;
    fits.then_some(Summary { run, layout, keeps, coordinates, pending })
}

/// Keeps the checksum of what was read.
struct Checked<R> {
    inner: R,
    crc: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..count]);
        Ok(count)
    }
}

impl<R: Read> Checked<R> {
    fn section(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::OutOfMemory)?];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn floats(&mut self, count: u64) -> io::Result<Vec<f32>> {
        let count = usize::try_from(count).map_err(|_| ErrorKind::OutOfMemory)?;
        let mut floats = Vec::with_capacity(count);
        self.tiles(count as u64 * 4, |tile| {
            floats.extend(tile.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
        })?;
        Ok(floats)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        self.tiles(len, |_| ())
    }

    fn tiles(&mut self, mut len: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut tile = vec![0; TILE_BYTES];
        while len > 0 {
            let count = TILE_BYTES.min(usize::try_from(len).unwrap_or(TILE_BYTES));
            self.read_exact(&mut tile[..count])?;
            each(&tile[..count]);
            len -= count as u64;
        }
        Ok(())
    }
}

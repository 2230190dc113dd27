//! The symbols of one chunk as bytes: interleaved rANS (Duda 2013; Giesen 2014) from the front, raw bits from the back.
//!
//! ```text
//! states: u32 for each lane | words: u16 ...                                        ... raw bits, read backwards
//! ```

use alloc::vec::Vec;

use super::{
    kernel::{LANES, LOW, MOST, Pushed, Reader, SHORT},
    keys::Key,
    raw_bits::{RawBits, RawSink},
    tables::{NARROWEST, Pops, Pushes},
};
use crate::{dither::Dither, simd::Kernels};

/// Symbols that a lane is worth: it costs two bytes.
const WORTH_A_LANE: usize = 2048;

/// The coordinates of a chunk, and which of them have a symbol.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Class of every coordinate.
    pub(super) classes: Vec<i8>,
    /// Those that have a symbol come first.
    keys: Vec<Key>,
    /// Their places, unless all have one.
    places: Vec<u32>,
    /// How many have a symbol.
    count: usize,
}

impl Chosen {
    /// Draws the dither, and who has a symbol, for the chunk whose classes are set.
    pub(super) fn draw(&mut self, kernels: Kernels, dither: Dither) {
        let Self { classes, keys, places, count } = self;
        *count = classes.len();
        keys.resize(*count, Key::default());
        kernels.keys(dither, classes, keys);
        if kernels.least(classes) < NARROWEST as i8 {
            places.resize(*count, 0);
            *count = kernels.choose(dither, classes, keys, places);
        }
    }

    fn keys(&self) -> &[Key] {
        &self.keys[..self.count]
    }

    /// Places of those that have a symbol, unless all have one.
    pub(super) fn places(&self) -> Option<&[u32]> {
        (self.count < self.classes.len()).then(|| &self.places[..self.count])
    }
}

/// Lanes of a chunk with so many symbols.
fn lanes(symbols: usize) -> usize {
    let lanes = (symbols / WORTH_A_LANE).clamp(1, LANES);
    1 << lanes.ilog2()
}

/// What the lanes of a chunk with so many symbols cost: of their states, three bytes say nothing.
pub(super) fn bytes_of_lanes(symbols: usize) -> usize {
    if symbols == 0 { 0 } else { 3 * lanes(symbols) }
}

/// Decodes the body of a chunk to the values, in steps, of the coordinates that have a symbol.
pub(super) fn decode(
    kernels: Kernels,
    tables: &Pops,
    chosen: &Chosen,
    body: &[u8],
    values: &mut Vec<f32>,
) -> Result<(), &'static str> {
    const LEFT_OVER: &str = "symbols: bytes left over";
    let keys = chosen.keys();
    values.resize(keys.len(), 0.0);
    if keys.is_empty() {
        return if body.is_empty() { Ok(()) } else { Err(LEFT_OVER) };
    }
    let lanes = lanes(keys.len());
    let (heads, rest) = body.split_at_checked(4 * lanes).ok_or(SHORT)?;
    let mut reader = Reader { states: [LOW; LANES], words: rest, raw: RawBits::new(rest) };
    for (state, head) in reader.states.iter_mut().zip(heads.as_chunks::<4>().0) {
        *state = u32::from_le_bytes(*head);
        if *state < LOW {
            return Err("state: below 2^16");
        }
    }
    kernels.pop(tables, keys, lanes, &mut reader, values)?;
    if reader.states.iter().any(|&state| state != LOW) {
        return Err("state: not where it began");
    }
    if !reader.raw.ends_at(rest.len() - reader.words.len()) {
        return Err(LEFT_OVER);
    }
    Ok(())
}

/// Encodes chunks.
#[derive(Debug, Default)]
pub(super) struct Writer {
    scaled: Vec<f32>,
    symbols: Vec<Pushed>,
    raw: RawSink,
    words: Vec<u16>,
}

impl Writer {
    /// Quantizes a chunk. `inverses` are what values are multiplied by, from the narrowest class down, so that they are in
    /// steps over the chance that they have a symbol. Whether all of them are in range.
    pub(super) fn quantize(
        &mut self,
        kernels: Kernels,
        tables: &Pushes,
        chosen: &Chosen,
        x: &[f32],
        inverses: &[f32; 33],
    ) -> bool {
        let (values, scale) = match chosen.places() {
            None => (x, inverses[0]),
            Some(places) => {
                self.scaled.clear();
                self.scaled.extend(places.iter().map(|&at| {
                    let (x, class) = (x[at as usize], i32::from(chosen.classes[at as usize]));
                    x * inverses[(NARROWEST - class).clamp(0, 32) as usize]
                }));
                (&self.scaled[..], 1.0)
            }
        };
        self.raw.clear();
        self.symbols.resize(chosen.count, Pushed::default());
        kernels.quantize(tables, chosen.keys(), values, scale, &mut self.symbols, &mut self.raw);
        self.raw.finish();
        f32::from_bits(kernels.magnitude_bits(values)) * scale < (MOST - 1) as f32
    }

    /// Appends what was quantized to `out`: the symbols from the last to the first, so that they are read from the first
    /// to the last.
    pub(super) fn write(&mut self, kernels: Kernels, tables: &Pushes, out: &mut Vec<u8>) {
        if self.symbols.is_empty() {
            return;
        }
        let lanes = lanes(self.symbols.len());
        let mut states = [LOW; LANES];
        self.words.resize(self.symbols.len(), 0);
        let count = kernels.push(tables, &self.symbols, lanes, &mut states, &mut self.words);
        out.extend(states[..lanes].iter().flat_map(|state| state.to_le_bytes()));
        out.extend(self.words[self.words.len() - count..].iter().flat_map(|word| word.to_le_bytes()));
        out.extend(self.raw.bytes());
    }
}

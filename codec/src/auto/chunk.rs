//! The symbols of one chunk as bytes: interleaved rANS (Duda 2013; Giesen 2014) from the front, raw bits from the back.
//!
//! ```text
//! heads of lanes | words: u16 ...                                                   ... raw bits, read backwards
//! ```

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    count::Counted,
    kernel::{LANES, LOW, MOST, Reader},
    keys::{Key, RUN_LENGTH},
    lanes::{MOST_LANES, Tail, bytes_of_lanes, lanes, put_heads, put_tail, read_heads},
    lookups::{Pops, Pushes},
    push::{Pushed, Word},
    raw_bits::{RawBits, RawSink},
    tables::NARROWEST,
};
use crate::{
    dither::Dither,
    simd::{Kernels, prefetch},
};

/// The coordinates of a chunk, and which of them have a symbol.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Class of every coordinate.
    pub(super) classes: Vec<i8>,
    /// Those that have a symbol come first.
    keys: Vec<Key>,
    /// Their places, unless all have one: for decoders.
    places: Vec<u32>,
    /// Their values, unless all have one: for encoders.
    values: Vec<f32>,
    /// How many have a symbol.
    count: usize,
    /// Whether that was drawn, for some of them.
    is_sampled: bool,
}

/// What an encoder drew of a chunk, kept for the next step that is tried.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The number of the plan that it was drawn for.
    plan: u64,
    keys: Vec<Key>,
    values: Vec<f32>,
}

impl Kept {
    /// Whether it was drawn for this plan.
    pub(super) fn is_of(&self, plan: u64) -> bool {
        self.plan == plan
    }

    /// Keys of what has a symbol, and values over the chance of it.
    pub(super) fn drawn(&self) -> (&[Key], &[f32]) {
        (&self.keys, &self.values)
    }

    /// Keeps what was drawn for a plan, for a vector of so many coordinates, if that is little enough to be faster read than
    /// drawn again.
    pub(super) fn keep(&mut self, plan: u64, chosen: &Chosen, coordinates: usize) {
        // Eight bytes for each that has a symbol: all of what fits into a cache, few of what is hardly ever written twice.
        let one_in = match coordinates {
            0..=0x4_0000 => 1,
            0x4_0001..=0x20_0000 => 2,
            _ => 5,
        };
        if chosen.is_sampled && one_in * chosen.count <= chosen.classes.len() {
            self.plan = plan;
            self.keys.clear();
            self.keys.extend_from_slice(chosen.keys());
            self.values.clear();
            self.values.extend_from_slice(&chosen.values[..chosen.count]);
        }
    }
}

impl Chosen {
    /// Keeps one run of coordinates in `every`, with their classes and what is in `x` of them.
    pub(super) fn thin<'a>(&mut self, x: &'a [f32], every: usize, some: &'a mut Vec<f32>) -> &'a [f32] {
        some.clear();
        let mut kept = 0;
        for start in (0..x.len()).step_by(RUN_LENGTH * every) {
            let end = (start + RUN_LENGTH).min(x.len());
            prefetch(&x[start..end]);
            some.extend_from_slice(&x[start..end]);
            self.classes.copy_within(start..end, kept);
            kept += end - start;
        }
        self.classes.truncate(kept);
        some
    }

    /// Of how many coordinates each that [`Chosen::thin`] keeps is one, of so many.
    pub(super) fn share(len: usize, every: usize) -> f64 {
        let whole = len / (RUN_LENGTH * every);
        let rest = (len % (RUN_LENGTH * every)).min(RUN_LENGTH);
        len as f64 / (whole * RUN_LENGTH + rest) as f64
    }

    /// Draws the dither, and who has a symbol, for the chunk whose classes are set, unless more than `most` have one.
    pub(super) fn draw(&mut self, kernels: Kernels, dither: Dither, most: usize) -> Result<(), &'static str> {
        let Self { classes, keys, places, count, .. } = self;
        let room_for = classes.len().min(most) + LANES;
        let keys = room(keys, room_for);
        let drawn = if kernels.least(classes) >= NARROWEST as i8 {
            kernels.keys(dither, 1, classes, &mut keys[..classes.len().min(most)]);
            (classes.len() <= most).then_some(classes.len())
        } else {
            kernels.choose_places(dither, classes, (keys, room(places, room_for)))
        };
        *count = drawn.ok_or("symbols: more than a chunk may have")?;
        Ok(())
    }

    /// Draws the same for the values `x` of the chunk whose classes are set, or of one run in `every` of it.
    pub(super) fn draw_values(&mut self, kernels: Kernels, dither: Dither, every: usize, x: &[f32]) {
        let Self { classes, keys, values, count, .. } = self;
        let every = every as u32;
        *count = classes.len();
        let keys = room(keys, *count + LANES);
        self.is_sampled = kernels.least(classes) < NARROWEST as i8;
        if self.is_sampled {
            let values = room(values, *count + LANES);
            let drawn = kernels.choose_values(dither, every, classes, x, (keys, values));
            let Some(drawn) = drawn else { unreachable!("there is room for all") };
            *count = drawn;
        } else {
            kernels.keys(dither, every, classes, &mut keys[..*count]);
        }
    }

    /// What was drawn of `x`: the keys of those that have a symbol, and their values over the chance of it.
    pub(super) fn drawn<'a>(&'a self, x: &'a [f32]) -> (&'a [Key], &'a [f32]) {
        (self.keys(), if self.is_sampled { &self.values[..self.count] } else { x })
    }

    fn keys(&self) -> &[Key] {
        &self.keys[..self.count]
    }

    /// Of a part of the coordinates, the places of those that have a symbol, and which these are, unless all have one.
    pub(super) fn places(&self, part: Range<usize>) -> Option<(&[u32], Range<usize>)> {
        if self.count == self.classes.len() {
            return None;
        }
        let places = &self.places[..self.count];
        let before = |end: usize| places.partition_point(|&place| (place as usize) < end);
        let which = before(part.start)..before(part.end);
        Some((&places[which.clone()], which))
    }
}

/// Bits of a body with what was drawn of a chunk, or of one coordinate in `share`, about.
pub(super) fn bits(kernels: Kernels, tables: &Pushes, (keys, values): (&[Key], &[f32]), scale: f32, share: f64) -> f64 {
    let Counted { symbols, raw } = kernels.count(tables, keys, values, scale);
    let lanes = bytes_of_lanes((share * keys.len() as f64) as usize) / share;
    symbols + 8.0 * (raw.div_ceil(8) as f64 + lanes)
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
    let (states, tail, rest) = read_heads(body, lanes)?;
    let mut reader = Reader { states, words: rest, raw: RawBits::new(rest) };
    let (main, tail) = keys.split_at_checked(keys.len() - tail.min(keys.len())).unwrap_or_default();
    let (main_values, tail_values) = values.split_at_mut(main.len());
    kernels.pop(tables, main, lanes, &mut reader, main_values)?;
    let Reader { states, words, raw } = reader;
    let ends = Tail::read(&states, lanes)?;
    let mut states = [LOW; MOST_LANES];
    states[0] = ends.state;
    let mut reader = Reader { states, words: ends.words(), raw };
    kernels.pop(tables, tail, 1, &mut reader, tail_values)?;
    if reader.states[0] != LOW {
        return Err("state: not where it began");
    }
    if reader.words.iter().any(|&byte| byte != 0) || !reader.raw.ends_at(rest.len() - words.len()) {
        return Err(LEFT_OVER);
    }
    Ok(())
}

/// The first `len` of what is kept in `all`, which never shrinks: what becomes longer is filled once.
fn room<T: Clone + Default>(all: &mut Vec<T>, len: usize) -> &mut [T] {
    if all.len() < len {
        all.resize(len, T::default());
    }
    &mut all[..len]
}

/// Encodes chunks.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Symbols of the chunk that was quantized come first.
    symbols: Vec<Pushed>,
    count: usize,
    raw: RawSink,
    words: Vec<Word>,
}

impl Writer {
    /// Quantizes what was drawn of a chunk, which is in steps once multiplied by `scale`. Whether all values are in range, if
    /// that is to be checked.
    pub(super) fn quantize(
        &mut self,
        kernels: Kernels,
        tables: &Pushes,
        (keys, values): (&[Key], &[f32]),
        scale: f32,
        check: bool,
    ) -> bool {
        self.raw.clear();
        self.count = keys.len();
        let symbols = room(&mut self.symbols, keys.len());
        kernels.quantize(tables, keys, values, scale, symbols, &mut self.raw);
        !check || f32::from_bits(kernels.magnitude_bits(values)) * scale < (MOST - 1) as f32
    }

    /// Appends what was quantized to `out`: the symbols from the last to the first, so that they are read from the first
    /// to the last.
    pub(super) fn write(&mut self, kernels: Kernels, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        let symbols = &self.symbols[..self.count];
        let lanes = lanes(symbols.len());
        let mut states = [LOW; MOST_LANES];
        let tail = put_tail(symbols, lanes, &mut states);
        let words = room(&mut self.words, symbols.len());
        let count = kernels.push(&symbols[..symbols.len() - tail], lanes, &mut states, words);
        put_heads(&states, lanes, tail, out);
        out.extend_from_slice(words[words.len() - count..].as_flattened());
        out.extend(self.raw.bytes());
    }
}

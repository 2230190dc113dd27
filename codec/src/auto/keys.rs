//! Which coordinates have a symbol, and from which table: their classes, their dither, and the draw of those below the step;
//! compiled once for each CPU feature set, as `kernel` is.
//!
//! Absent on purpose: values. A key says where a coordinate's symbol is looked up; `kernel` makes the symbol.

use super::{
    kernel::LANES,
    model::{Codes, ZERO},
    tables::{NARROWEST, Noise, UNDITHERED},
};
use crate::dither::{Dither, SAMPLE};

/// The table of a coordinate that has a symbol, and the 16 bits behind its dither.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Key(u32);

impl Key {
    /// The key of a coordinate of `class`, which is taken as the narrowest if it is narrower.
    #[inline(always)]
    pub(super) fn new(class: i32, noise: u16) -> Self {
        let table = super::tables::index(class, Noise::new(noise.into()).part());
        Self((table as u32) << 16 | u32::from(noise))
    }

    #[inline(always)]
    pub(super) fn table(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline(always)]
    pub(super) fn noise(self) -> Noise {
        Noise::new(self.0 & 0xffff)
    }

    /// Whether its q is sent with the sign turned: the tables are those of positive dither.
    #[inline(always)]
    pub(super) fn is_turned(self) -> bool {
        self.table() < UNDITHERED && self.noise().negative
    }
}

/// The classes of a part of a row, from what its row contributes and the codes of its columns.
#[inline(always)]
pub(crate) fn classes(row: i32, columns: &[i32], out: &mut [i8]) {
    for (out, &column) in out.iter_mut().zip(columns) {
        *out = Codes::class(row, column);
    }
}

/// The keys of the first coordinates of a chunk, with these classes, which are taken as the narrowest if they are narrower.
#[inline(always)]
pub(crate) fn keys(dither: Dither, classes: &[i8], out: &mut [Key]) {
    let (groups, rest) = out.as_chunks_mut::<32>();
    let (class_groups, rest_classes) = classes.as_chunks::<32>();
    for ((out, classes), group) in groups.iter_mut().zip(class_groups).zip(0..) {
        let noise = dither.group(group, 0);
        for at in 0..32 {
            out[at] = Key::new(classes[at].into(), noise[at]);
        }
    }
    let noise = dither.group(groups.len() as u32, 0);
    for ((out, &class), bits) in rest.iter_mut().zip(rest_classes).zip(noise) {
        *out = Key::new(class.into(), bits);
    }
}

/// 2^16 times the chance that a coordinate of `class` has a symbol.
#[inline(always)]
pub(crate) fn chance(class: i32) -> u32 {
    let below = (NARROWEST - class).max(0);
    // The class of zeros is so far below that nothing is left.
    const { assert!((NARROWEST - ZERO as i32) / 2 > 31) };
    let base = if below & 1 == 0 { 1u32 << 16 } else { 46_341 };
    if below < 64 { base >> (below >> 1) } else { 0 }
}

/// The least class.
#[inline(always)]
pub(crate) fn least(classes: &[i8]) -> i8 {
    classes.iter().fold(i8::MAX, |least, &class| least.min(class))
}

/// Draws which coordinates have a symbol. Moves their keys to the front, in their order, with their places; returns how
/// many there are. `compact` is [`compact`], or does the same.
#[inline(always)]
pub(crate) fn choose(
    dither: Dither,
    classes: &[i8],
    keys: &mut [Key],
    places: &mut [u32],
    compact: impl Fn(&[u32; LANES], u32, (&mut [Key], &mut [u32]), usize) -> usize,
) -> usize {
    let mut count = 0;
    for (classes, group) in classes.chunks(32).zip(0..) {
        let sample = dither.group(group, SAMPLE);
        let mut padded = [ZERO; 32];
        match classes.as_array::<32>() {
            Some(classes) => padded = *classes,
            None => padded[..classes.len()].copy_from_slice(classes),
        }
        for (half, (sample, classes)) in
            sample.as_chunks::<LANES>().0.iter().zip(padded.as_chunks::<LANES>().0).enumerate()
        {
            let mut chosen = [0; LANES];
            for lane in 0..LANES {
                chosen[lane] = u32::from(u32::from(sample[lane]) < chance(classes[lane].into()));
            }
            let start = 32 * group + (LANES * half) as u32;
            count = compact(&chosen, start, (keys, places), count);
        }
    }
    count
}

/// Moves the keys of those of the coordinates from `start` on that are chosen to place `count`, and on; returns the place
/// behind them.
#[inline(always)]
pub(crate) fn compact(
    chosen: &[u32; LANES],
    start: u32,
    (keys, places): (&mut [Key], &mut [u32]),
    mut count: usize,
) -> usize {
    let end = keys.len().min(start as usize + LANES);
    for (at, chosen) in (start as usize..end).zip(chosen) {
        keys[count] = keys[at];
        places[count] = at as u32;
        count += *chosen as usize;
    }
    count
}

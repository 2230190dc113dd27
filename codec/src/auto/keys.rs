//! Which coordinates have a symbol, and from which table: their classes, their dither, and the draw of those below the step;
//! compiled once for each CPU feature set, as `kernel` is.
//!
//! Absent on purpose: values. A key says where a coordinate's symbol is looked up; `kernel` makes the symbol.

use super::{
    kernel::LANES,
    model::{Codes, ZERO},
    push::Pushed,
    tables::{NARROWEST, UNDITHERED, raw_bits_of},
};
use crate::{
    dither::{Dither, SAMPLE, noise_of},
    simd::prefetch,
};

/// The table of a coordinate that has a symbol, and the 16 bits behind its dither.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Key(u32);

impl Key {
    /// The key of a coordinate of `class`, which is taken as the narrowest if it is narrower.
    #[inline(always)]
    pub(super) fn new(class: i32, noise: u32) -> Self {
        let table = super::tables::index(class, Noise::new(noise).part());
        Self((table as u32) << 16 | noise)
    }

    #[inline(always)]
    pub(super) fn table(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline(always)]
    pub(super) fn noise(self) -> Noise {
        Noise::new(self.0 & 0xffff)
    }

    /// The dither itself.
    #[inline(always)]
    pub(super) fn dither(self) -> f32 {
        noise_of(self.0 & 0xffff)
    }

    /// What its symbol stands for.
    #[inline(always)]
    pub(super) fn high(self, q: i32) -> i32 {
        if self.is_turned() { q.wrapping_neg() } else { q >> raw_bits_of(self.table()) }
    }

    /// Whether its q is sent with the sign turned: the tables are those of positive dither.
    #[inline(always)]
    pub(super) fn is_turned(self) -> bool {
        self.table() < UNDITHERED && self.noise().negative
    }
}

/// The dither u = ± (size + 1/2) / 2^16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) negative: bool,
    pub(super) size: u32,
}

impl Noise {
    #[inline(always)]
    pub(super) fn new(bits: u32) -> Self {
        let negative = bits < 0x8000;
        Self { negative, size: bits ^ if negative { 0x7fff } else { 0x8000 } }
    }

    #[inline(always)]
    pub(super) fn part(self) -> usize {
        (self.size >> 12) as usize
    }
}

/// The classes of a part of a row, from what its row contributes and the codes of its columns.
#[inline(always)]
pub(crate) fn classes(row: i32, columns: &[i32], out: &mut [i8]) {
    for (out, &column) in out.iter_mut().zip(columns) {
        *out = Codes::class(row, column);
    }
}

/// Coordinates that are counted in a row, where only one run in so many is: groups of noise, and fewer seeks than of one each.
const RUN: u32 = 8;
pub(super) const RUN_LENGTH: usize = RUN as usize * Dither::GROUP;

/// Which group of all is `group` of those of one run in `every`.
#[inline(always)]
fn spread_out(group: u32, every: u32) -> u32 {
    group / RUN * RUN * every + group % RUN
}

/// The keys of the coordinates of one run in `every` of a chunk, with these classes, which are taken as the narrowest if
/// they are narrower.
#[inline(always)]
pub(crate) fn keys(dither: Dither, every: u32, classes: &[i8], out: &mut [Key]) {
    let (groups, rest) = out.as_chunks_mut::<{ Dither::GROUP }>();
    let (class_groups, rest_classes) = classes.as_chunks::<{ Dither::GROUP }>();
    for ((out, classes), group) in groups.iter_mut().zip(class_groups).zip(0..) {
        let noise = dither.group(spread_out(group, every), 0);
        let halves = out.as_chunks_mut::<LANES>().0.iter_mut().zip(classes.as_chunks::<LANES>().0).zip(&noise);
        for ((out, classes), noise) in halves {
            for lane in 0..LANES {
                out[lane] = Key::new(classes[lane].into(), noise[lane]);
            }
        }
    }
    let noise = dither.group(spread_out(groups.len() as u32, every), 0);
    for ((out, &class), &noise) in rest.iter_mut().zip(rest_classes).zip(noise.as_flattened()) {
        *out = Key::new(class.into(), noise);
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

/// Draws which coordinates, of one run in `every`, have a symbol, and puts their keys into `keys`, in their order, and what
/// goes with them into `carried`; returns how many there are. Both have room for [`LANES`] more than there may be: nothing is
/// returned if there are more. `compact` is [`compact`], or does the same.
#[inline(always)]
pub(crate) fn choose<C: Carried>(
    dither: Dither,
    every: u32,
    classes: &[i8],
    (keys, carried): (&mut [Key], &mut [C]),
    carry: &impl Carry<C>,
    compact: impl Fn(&[u32; LANES], (&[Key; LANES], &[C; LANES]), (&mut [Key], &mut [C])) -> usize,
) -> Option<usize> {
    let (groups, rest) = classes.as_chunks::<{ Dither::GROUP }>();
    let mut last = [ZERO; Dither::GROUP];
    last[..rest.len()].copy_from_slice(rest);
    let mut count = 0;
    for (classes, group) in groups.iter().chain([&last]).zip(0..) {
        // Rows and columns of zeros take no dither.
        if classes.iter().fold(ZERO, |most, &class| most.max(class)) == ZERO {
            continue;
        }
        let at = spread_out(group, every);
        let [noise, sample] = [dither.group(at, 0), dither.group(at, SAMPLE)];
        let [first, second] = classes.as_chunks::<LANES>().0 else { continue };
        let drawn = [draw(first, &noise[0], &sample[0]), draw(second, &noise[1], &sample[1])];
        for ((some, depths, chosen), sixteen) in drawn.iter().zip(2 * group as usize..) {
            if count + LANES > keys.len() {
                return None;
            }
            let carry = carry.sixteen(sixteen, depths);
            count += compact(chosen, (some, &carry), (&mut keys[count..], &mut carried[count..]));
        }
    }
    (count + LANES <= keys.len()).then_some(count)
}

/// The keys of sixteen coordinates; how far their classes are below the narrowest, and which of them have a symbol.
#[inline(always)]
fn draw(
    classes: &[i8; LANES],
    noise: &[u32; LANES],
    sample: &[u32; LANES],
) -> ([Key; LANES], [u32; LANES], [u32; LANES]) {
    let [mut depths, mut chosen] = [[0; LANES]; 2];
    let mut some = [Key::default(); LANES];
    for lane in 0..LANES {
        let class = i32::from(classes[lane]);
        depths[lane] = (NARROWEST - class).clamp(0, DEPTHS as i32 - 1) as u32;
        chosen[lane] = u32::from(sample[lane] < chance(class));
        some[lane] = Key::new(class, noise[lane]);
    }
    (some, depths, chosen)
}

/// How far below the narrowest a class may be, and beyond that nothing has a symbol.
pub(crate) const DEPTHS: usize = 64;

/// One over the chance of a symbol, of every class that is so far below the narrowest; of no chance, zero.
pub(super) fn all_inverses() -> [f32; DEPTHS] {
    core::array::from_fn(|depth| match chance(NARROWEST - depth as i32) {
        0 => 0.0,
        chance => 65_536.0 / chance as f32,
    })
}

/// What [`all_inverses`] has at some depths.
#[inline(always)]
pub(crate) fn inverses(of: &[f32; DEPTHS], depths: &[u32; LANES]) -> [f32; LANES] {
    depths.map(|depth| of[depth as usize & (DEPTHS - 1)])
}

/// What may go with keys, or be looked up: 32 bits of any meaning.
pub(crate) trait Carried: Copy {}

impl Carried for u32 {}
impl Carried for f32 {}
impl Carried for Pushed {}

/// Where what goes with keys comes from.
pub(crate) trait Carry<C> {
    /// What goes with a sixteen of coordinates, by its number, whose classes are so far below the narrowest.
    fn sixteen(&self, number: usize, depths: &[u32; LANES]) -> [C; LANES];
}

/// What goes with the keys of a decoder: their places.
pub(crate) struct Places;

impl Carry<u32> for Places {
    #[inline(always)]
    fn sixteen(&self, number: usize, _: &[u32; LANES]) -> [u32; LANES] {
        let mut places = [0; LANES];
        for (place, at) in places.iter_mut().zip(LANES * number..) {
            *place = at as u32;
        }
        places
    }
}

/// What goes with the keys of an encoder: values over the chance that they have a symbol. `look_up` is [`inverses`], or does the
/// same.
pub(crate) struct Values<'a, F> {
    x: &'a [f32],
    inverses: [f32; DEPTHS],
    look_up: F,
}

impl<'a, F> Values<'a, F> {
    #[inline(always)]
    pub(crate) fn new(x: &'a [f32], look_up: F) -> Self {
        Self { x, inverses: all_inverses(), look_up }
    }
}

impl<F: Fn(&[f32; DEPTHS], &[u32; LANES]) -> [f32; LANES]> Carry<f32> for Values<'_, F> {
    #[inline(always)]
    fn sixteen(&self, number: usize, depths: &[u32; LANES]) -> [f32; LANES] {
        let (sixteens, rest) = self.x.as_chunks();
        let mut values = match sixteens.get(number) {
            Some(x) => {
                prefetch(x);
                *x
            }
            None => padded(rest),
        };
        let inverses = (self.look_up)(&self.inverses, depths);
        for lane in 0..LANES {
            values[lane] *= inverses[lane];
        }
        values
    }
}

/// The last few of a chunk, and then zeros.
#[cold]
fn padded(x: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..x.len()].copy_from_slice(x);
    padded
}

/// Puts the keys that are chosen, and what goes with them, to the front of `out`; returns how many there are.
#[inline(always)]
pub(crate) fn compact<C: Carried>(
    chosen: &[u32; LANES],
    (some, carry): (&[Key; LANES], &[C; LANES]),
    (keys, carried): (&mut [Key], &mut [C]),
) -> usize {
    let mut count = 0;
    for lane in 0..LANES {
        (keys[count], carried[count]) = (some[lane], carry[lane]);
        count += chosen[lane] as usize;
    }
    count
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::simd::{Backend, Kernels};
    use nibble_seed::Seed;

    /// On every backend, with classes that are sampled, wide or zeros, and a last group that is cut short.
    #[test]
    fn one_run_in_three_is_drawn_as_it_is_in_the_whole() {
        const EVERY: usize = 3;
        let classes: Vec<i8> =
            (0..1001i32)
                .map(|at| {
                    if at / 40 % 5 == 4 {
                        ZERO
                    } else {
                        (at / 7 * 5 % 20 - if at / 64 % 3 == 0 { 4 } else { 14 }) as i8
                    }
                })
                .collect();
        let x: Vec<f32> = (0..classes.len()).map(|at| at as f32 + 1.0).collect();
        let is_kept = |at: &usize| (at / RUN_LENGTH).is_multiple_of(EVERY);
        let (thin_classes, thin_x): (Vec<i8>, Vec<f32>) =
            (0..classes.len()).filter(is_kept).map(|at| (classes[at], x[at])).unzip();
        let draw = |kernels: Kernels, every: usize, classes: &[i8], x: &[f32]| {
            let mut keys = alloc::vec![Key::default(); classes.len() + LANES];
            let (mut values, mut places) = (alloc::vec![0.0; keys.len()], alloc::vec![0; keys.len()]);
            let dither = Dither::new(Seed(5), 65_536);
            let count = kernels.choose_values(dither, every as u32, classes, x, (&mut keys, &mut values)).unwrap();
            let drawn: Vec<_> = keys[..count].iter().map(|key| key.0).zip(values[..count].iter().copied()).collect();
            if every == 1 {
                assert_eq!(kernels.choose_places(dither, classes, (&mut keys, &mut places)), Some(count));
                let room = count + LANES - 1;
                let fewer = (&mut keys.clone()[..room], &mut places.clone()[..room]);
                assert_eq!(kernels.choose_places(dither, classes, fewer), None);
                for ((&place, &(key, value)), found) in places.iter().zip(&drawn).zip(&keys) {
                    let chance = chance(classes[place as usize].into()) as f32 / 65_536.0;
                    assert_eq!((found.0, x[place as usize] * (1.0 / chance)), (key, value));
                }
            }
            drawn
        };
        let expected = draw(Kernels::new(Backend::Reference), 1, &classes, &x);
        assert!(expected.len() > 200 && expected.len() < 900);
        let thin = draw(Kernels::new(Backend::Reference), EVERY, &thin_classes, &thin_x);
        assert!(thin.len() > 60 && thin.iter().all(|drawn| expected.contains(drawn)));
        for &backend in Backend::available() {
            assert_eq!(draw(Kernels::new(backend), 1, &classes, &x), expected, "{backend:?}");
            assert_eq!(draw(Kernels::new(backend), EVERY, &thin_classes, &thin_x), thin, "{backend:?}");
        }
    }
}

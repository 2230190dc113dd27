//! How many bits values take, without making their symbols: what each costs is looked up.
//!
//! Compiled once for each CPU feature set, as `kernel` is. Absent on purpose: bytes. `kernel` and `push` make those.

use super::{
    kernel::{self, LANES, SMALL, round_small},
    keys::Key,
    lookups::Pushes,
    raw_bits::bits_of_escape,
    tables::raw_bits_of,
};

/// Bits, of symbols and raw ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counted {
    /// About so many.
    pub(super) symbols: f64,
    pub(super) raw: usize,
}

/// Values whose costs are looked up before they are added.
const BLOCK: usize = 64 * LANES;

/// Counts the bits of values, which are in steps once multiplied by `scale`. Summed in sixteen interleaved sums, one order on
/// every machine. `look_up` is [`kernel::look_up`], or does the same.
#[inline(always)]
pub(crate) fn count(
    tables: &Pushes,
    keys: &[Key],
    values: &[f32],
    scale: f32,
    look_up: impl Fn(&[f32; Pushes::LEN], &[u32; LANES], &mut [f32; LANES]),
) -> Counted {
    let (mut sums, mut last, mut raw, mut block) = ([0.0; LANES], 0.0, 0, [0.0; BLOCK]);
    for (keys, values) in keys.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        let costs = &mut block[..keys.len()];
        raw += costs_of(tables, keys, values, scale, costs, &look_up);
        let (groups, rest) = costs.as_chunks::<LANES>();
        for group in groups {
            for lane in 0..LANES {
                sums[lane] += group[lane];
            }
        }
        last += rest.iter().sum::<f32>();
    }
    Counted { symbols: sums.iter().chain(&[last]).map(|&sum| f64::from(sum)).sum(), raw }
}

/// [`count`], each symbol as often as its weight says. Raw bits are not weighted.
#[inline(always)]
pub(crate) fn weigh(
    tables: &Pushes,
    keys: &[Key],
    values: &[f32],
    scale: f32,
    weights: &[f32],
    look_up: impl Fn(&[f32; Pushes::LEN], &[u32; LANES], &mut [f32; LANES]),
) -> Counted {
    let (mut sums, mut last, mut raw, mut block) = ([0.0; LANES], 0.0, 0, [0.0; BLOCK]);
    for ((keys, values), weights) in keys.chunks(BLOCK).zip(values.chunks(BLOCK)).zip(weights.chunks(BLOCK)) {
        let costs = &mut block[..keys.len()];
        raw += costs_of(tables, keys, values, scale, costs, &look_up);
        let ((groups, rest), (weights, rest_weights)) = (costs.as_chunks::<LANES>(), weights.as_chunks::<LANES>());
        for (group, weights) in groups.iter().zip(weights) {
            for lane in 0..LANES {
                sums[lane] += f64::from(group[lane] * weights[lane]);
            }
        }
        last += rest.iter().zip(rest_weights).map(|(cost, weight)| f64::from(cost * weight)).sum::<f64>();
    }
    Counted { symbols: sums.iter().sum::<f64>() + last, raw }
}

/// Puts what the symbols of values cost into `costs`; returns how many raw bits there are.
#[inline(always)]
fn costs_of(
    tables: &Pushes,
    keys: &[Key],
    values: &[f32],
    scale: f32,
    costs: &mut [f32],
    look_up: &impl Fn(&[f32; Pushes::LEN], &[u32; LANES], &mut [f32; LANES]),
) -> usize {
    let mut raw = keys.iter().map(|key| raw_bits_of(key.table())).sum::<u32>() as usize;
    let (groups, rest) = costs.as_chunks_mut::<LANES>();
    let (key_groups, rest_keys) = keys.as_chunks::<LANES>();
    let (value_groups, rest_values) = values.as_chunks::<LANES>();
    for ((out, keys), x) in groups.iter_mut().zip(key_groups).zip(value_groups) {
        let [mut special, mut places] = [[0u32; LANES]; 2];
        for lane in 0..LANES {
            let key = keys[lane];
            let value = x[lane] * scale + key.dither();
            let place = Pushes::place(key.table(), key.high(round_small(value)));
            places[lane] = if value.abs() < SMALL { place } else { Pushes::no_place(key.table()) };
        }
        look_up(tables.costs(), &places, out);
        for lane in 0..LANES {
            special[lane] = u32::from(out[lane] < 0.0);
        }
        if kernel::any(&special) {
            raw += costs_of_special(tables, keys, x, scale, out);
        }
    }
    raw + costs_of_each(tables, rest_keys, rest_values, scale, rest)
}

/// Costs of those of sixteen that have no symbol, or are huge; returns the bits of escapes.
#[cold]
fn costs_of_special(
    tables: &Pushes,
    keys: &[Key; LANES],
    values: &[f32; LANES],
    scale: f32,
    costs: &mut [f32; LANES],
) -> usize {
    let mut raw = 0;
    for lane in 0..LANES {
        if costs[lane] < 0.0 {
            let this = lane..lane + 1;
            raw += costs_of_each(tables, &keys[this.clone()], &values[this.clone()], scale, &mut costs[this]);
        }
    }
    raw
}

/// [`costs_of`], one after the other, and but for the raw bits of what is no escape.
fn costs_of_each(tables: &Pushes, keys: &[Key], values: &[f32], scale: f32, costs: &mut [f32]) -> usize {
    let mut raw = 0;
    for ((cost, &key), &value) in costs.iter_mut().zip(keys).zip(values) {
        let high = key.high(kernel::round(value * scale + key.dither()));
        *cost = tables.costs()[Pushes::place(key.table(), high) as usize & (Pushes::LEN - 1)];
        if *cost < 0.0 {
            let (escape, half) = tables.escape(key.table());
            raw += bits_of_escape(high, half) as usize;
            *cost = escape.bits();
        }
    }
    raw
}

//! What is done with the values that updates have at one coordinate: sixteen coordinates at a time, sorted by a network.
//!
//! The network is Batcher's odd-even merge exchange (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M): about
//! n log²(n) / 4 comparisons that do not depend on the values, so that lanes sort side by side. No order of the values is
//! seen after it, but that of -0 and +0.

use super::Columns;

const LANES: usize = 16;

/// Combines `rows`, one of the length of `out` after the other, at least one, into `out`.
pub(super) fn combine(rows: &[f32], how: Columns, out: &mut [f64]) {
    let len = out.len();
    if len == 0 {
        return;
    }
    let count = rows.len() / len;
    let network = network(count);
    let mut column = vec![[0.0f32; LANES]; count];
    for (at, out) in (0..len).step_by(LANES).zip(out.chunks_mut(LANES)) {
        for (lanes, row) in column.iter_mut().zip(rows.chunks_exact(len)) {
            lanes[..out.len()].copy_from_slice(&row[at..at + out.len()]);
        }
        for &(low, high) in &network {
            exchange(&mut column, low, high);
        }
        match how {
            Columns::Sum => add(&column, out),
            Columns::Median => {
                add(&column[(count - 1) / 2..=count / 2], out);
            }
            Columns::Trimmed { cut } => add(&column[cut..count - cut], out),
            Columns::AroundMedian { keep } => {
                for (lane, out) in out.iter_mut().enumerate() {
                    *out = around_median(&column, lane, keep);
                }
            }
        }
        let summed = match how {
            Columns::Sum | Columns::AroundMedian { .. } => 1,
            Columns::Median => 1 + (count + 1) % 2,
            Columns::Trimmed { cut } => count - 2 * cut,
        };
        out.iter_mut().for_each(|out| *out /= summed as f64);
    }
}

fn add(sorted: &[[f32; LANES]], out: &mut [f64]) {
    let mut sums = [0.0; LANES];
    for values in sorted {
        sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    out.copy_from_slice(&sums[..out.len()]);
}

/// The mean of the `keep` values closest to the median of a sorted lane; of two equally close ones it is the lower.
fn around_median(sorted: &[[f32; LANES]], lane: usize, keep: usize) -> f64 {
    let value = |index: usize| f64::from(sorted[index][lane]);
    let median = 0.5 * (value((sorted.len() - 1) / 2) + value(sorted.len() / 2));
    let (mut first, mut end) = (0, sorted.len());
    while end - first > keep {
        if median - value(first) > value(end - 1) - median {
            first += 1;
        } else {
            end -= 1;
        }
    }
    (first..end).map(value).sum::<f64>() / (end - first) as f64
}

/// Puts the lower values of two rows into the first.
fn exchange(rows: &mut [[f32; LANES]], low: usize, high: usize) {
    let (x, y) = (rows[low], rows[high]);
    for lane in 0..LANES {
        let swap = y[lane] < x[lane];
        rows[low][lane] = if swap { y[lane] } else { x[lane] };
        rows[high][lane] = if swap { x[lane] } else { y[lane] };
    }
}

/// The comparisons that sort `count` values, in order.
fn network(count: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let top = count.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            pairs.extend((0..count.saturating_sub(d)).filter(|i| i & p == r).map(|i| (i, i + d)));
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_sorts_every_sequence_of_zeros_and_ones() {
        // The 0-1 principle (Knuth 5.3.4, theorem Z): then it sorts everything.
        for count in 1..=12 {
            let network = network(count);
            for bits in 0..1u32 << count {
                let mut values: Vec<_> = (0..count).map(|i| bits >> i & 1).collect();
                for &(low, high) in &network {
                    if values[high] < values[low] {
                        values.swap(low, high);
                    }
                }
                assert!(values.is_sorted(), "{count} values, {bits:b}");
            }
        }
    }

    #[test]
    fn large_networks_sort_as_the_standard_library_does() {
        for count in [13, 64, 100, 129] {
            let mut values: Vec<_> = (0..count as u64).map(|i| i * 2_654_435_761 % 1_009).collect();
            let mut expected = values.clone();
            expected.sort_unstable();
            for (low, high) in network(count) {
                if values[high] < values[low] {
                    values.swap(low, high);
                }
            }
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn worked_by_hand() {
        // One coordinate of five updates: 1, 2, 3, 10, -100.
        let of = |rows: &[f32], how| {
            let mut out = [f64::NAN];
            combine(rows, how, &mut out);
            out[0]
        };
        let five = [10.0, 1.0, -100.0, 3.0, 2.0];
        assert_eq!(of(&five, Columns::Median), 2.0);
        assert_eq!(of(&five[..4], Columns::Median), 2.0, "(1 + 3) / 2");
        assert_eq!(of(&five, Columns::Trimmed { cut: 1 }), 2.0, "(1 + 2 + 3) / 3");
        assert_eq!(of(&five, Columns::Trimmed { cut: 0 }), -16.8);
        assert_eq!(of(&five, Columns::AroundMedian { keep: 4 }), 4.0, "(1 + 2 + 3 + 10) / 4");
        assert_eq!(of(&five, Columns::AroundMedian { keep: 2 }), 1.5, "of 1 and 3, equally close, the lower");
        assert_eq!(of(&[7.0], Columns::Median), 7.0);
        assert_eq!(of(&[f32::MAX; 3], Columns::Trimmed { cut: 0 }), f64::from(f32::MAX));
    }
}

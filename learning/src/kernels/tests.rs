//! The kernels against the loops they stand for, on every backend this CPU has.

use nibble_seed::Seed;

use super::{Backend, Dense, Entry, Row, Sparse, SumSquares, Transpose};

fn random(seed: u64, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| 2.0 * Seed(seed).unit_at(i) - 1.0).collect()
}

fn assert_same(backend: Backend, fast: &[f32], slow: &[f32]) {
    for (i, (fast, slow)) in fast.iter().zip(slow).enumerate() {
        if backend.is_fused() {
            assert_eq!(fast.to_bits(), slow.to_bits(), "{backend:?} {i}: {fast} {slow}");
        } else {
            assert!((fast - slow).abs() < 1e-4, "{backend:?} {i}: {fast} {slow}");
        }
    }
}

#[test]
fn dense_is_its_definition_bit_for_bit() {
    for (rows, columns, run, segments) in [
        (1, 16, 1, vec![0]),
        (9, 32, 7, vec![0]),
        (7, 64, 3, vec![0, 11]),
        (25, 80, 5, vec![4, 0]),
        (14, 48, 20, vec![2]),
    ] {
        for (row_stride, step) in [(run + 3, 1), (1, rows + 2)] {
            let a = random(1, 20 + rows * row_stride + run * step);
            let b = random(2, segments.len() * run * columns);
            let start = random(3, rows * columns);
            let mut slow = start.clone();
            for i in 0..rows {
                for n in 0..columns {
                    for (s, segment) in segments.iter().enumerate() {
                        for j in 0..run {
                            let a = a[segment + i * row_stride + j * step];
                            slow[i * columns + n] = a.mul_add(b[(s * run + j) * columns + n], slow[i * columns + n]);
                        }
                    }
                }
            }
            for backend in Backend::available() {
                let mut fast = start.clone();
                let (a, b, c, segments) = (&a, &b, &mut fast, &segments);
                backend.run(Dense { a, row_stride, step, segments, run, b, c, columns });
                assert_same(backend, &fast, &slow);
            }
        }
    }
}

#[test]
fn sparse_is_its_definition_bit_for_bit() {
    for width in [1usize, 5, 16, 80, 200, 784] {
        let stride = width.next_multiple_of(16);
        let b = random(4, 9 * stride);
        let values = random(5, 12);
        let entry = |i: usize| Entry { from: (i * 5 % 9 * stride) as u32, value: values[i] };
        let entries: Vec<Entry> = (0..12).map(entry).collect();
        let ends = [(7, 7), (0, 5), (5, 6), (6, 12)];
        let row = |(i, &(start, end)): (usize, &(u32, u32))| Row { to: (i * width) as u32, start, end };
        let rows: Vec<Row> = ends.iter().enumerate().map(row).collect();
        let start = random(6, 4 * width);
        let mut slow = start.clone();
        for row in &rows {
            for n in 0..width {
                let list = &entries[row.start as usize..row.end as usize];
                let sum = list.iter().fold(0.0, |sum, e| e.value.mul_add(b[e.from as usize + n], sum));
                let c = &mut slow[row.to as usize + n];
                *c = 0.3f32.mul_add(sum, *c);
            }
        }
        for backend in Backend::available() {
            let mut fast = start.clone();
            backend.run(Sparse { rows: &rows, entries: &entries, b: &b, c: &mut fast, width, scale: 0.3 });
            assert_same(backend, &fast, &slow);
        }
    }
}

#[test]
fn transpose_turns_rows_into_columns() {
    for (rows, columns) in [(1, 1), (8, 8), (9, 23), (32, 20), (3, 40)] {
        let (from_stride, to_stride) = (columns + 1, rows + 2);
        let from = random(7, rows * from_stride);
        for backend in Backend::available() {
            let mut to = vec![0.0; columns * to_stride];
            backend.run(Transpose { from: &from, from_stride, to: &mut to, to_stride, rows, columns });
            for i in 0..rows {
                for j in 0..columns {
                    assert_eq!(to[j * to_stride + i], from[i * from_stride + j]);
                }
            }
        }
    }
}

#[test]
fn a_sum_of_squares_is_the_same_on_every_backend_and_close_to_exact() {
    for len in [0, 1, 15, 16, 17, 1023, 1024, 1025, 200_003] {
        let x = random(9, len);
        let exact: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
        let mut fused = Vec::new();
        for backend in Backend::available() {
            let mut sum = 0.0;
            backend.run(SumSquares { x: &x, sum: &mut sum });
            assert!((sum - exact).abs() <= 1e-6 * exact, "{backend:?} of {len}: {sum}, not {exact}");
            fused.extend(backend.is_fused().then_some(sum));
        }
        assert!(fused.iter().all(|sum| *sum == fused[0]), "{len}: {fused:?}");
    }
}

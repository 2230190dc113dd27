//! Spreading tasks over threads.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Does tasks 0 to `tasks` once each, on `threads` threads with a state of their own, and returns the results in the order
/// of the tasks.
///
/// # Errors
/// That of the first task, in their order, that failed; after an error no further task is begun.
pub(super) fn spread<S, R: Send, E: Send>(
    threads: usize,
    tasks: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let run = || {
        let (mut state, mut done) = (state(), Vec::new());
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return done;
            }
            let result = work(&mut state, task);
            if result.is_err() {
                next.store(tasks, Ordering::Relaxed);
            }
            done.push((task, result));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(tasks)).map(|_| scope.spawn(run)).collect();
        let mine = run();
        others.into_iter().fold(mine, |mut all, thread| {
            all.extend(thread.join().expect("aggregation does not panic"));
            all
        })
    });
    all.sort_by_key(|(task, _)| *task);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_tasks_on_any_number_of_threads() {
        for threads in [0, 1, 3, 50] {
            let squares = spread(threads, 20, || (), |(), task| Ok::<_, ()>(task * task)).unwrap();
            assert!(squares.into_iter().enumerate().all(|(task, square)| square == task * task));
        }
        assert_eq!(spread(2, 0, || (), |(), _| Ok::<(), ()>(())).unwrap(), []);
        assert_eq!(spread(3, 9, || (), |(), task| if task < 4 { Ok(()) } else { Err(()) }), Err(()));
    }
}

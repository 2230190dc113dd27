//! Spreading work over threads, where there are any.

use alloc::vec::Vec;

/// Calls `work` for every item, each on a thread of its own; the first runs on this one. Without `std`, one after the other.
pub(crate) fn for_each<T: Send>(items: &mut [T], work: impl Fn(&mut T) + Sync) {
    let Some((first, others)) = items.split_first_mut() else { return };
    // Without company no scope, which would take memory.
    if others.is_empty() {
        return work(first);
    }
    #[cfg(feature = "std")]
    std::thread::scope(|scope| {
        for item in others {
            scope.spawn(|| work(item));
        }
        work(first);
    });
    #[cfg(not(feature = "std"))]
    {
        work(first);
        others.iter_mut().for_each(work);
    }
}

/// Calls `work` for every item, on as many threads, each with its share of them.
pub(crate) fn share<T: Send>(threads: usize, items: &mut [T], work: impl Fn(&mut T) + Sync) {
    let share = items.len().div_ceil(threads).max(1);
    if share >= items.len() {
        return items.iter_mut().for_each(work);
    }
    let mut shares: Vec<_> = items.chunks_mut(share).collect();
    for_each(&mut shares, |items| items.iter_mut().for_each(&work));
}

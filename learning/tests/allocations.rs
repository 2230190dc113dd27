//! A step allocates nothing: twice the samples, the same number of allocations.
#![allow(clippy::unwrap_used)] // a failing helper is a failing test
#![allow(unsafe_code)] // a counting allocator has to be one

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use ndarray::Array2;
use nibble_learning::data::{Dataset, Features, Samples};
use nibble_learning::{Model, SgdConfig, SgdTrainer, StepHook, Task, Trainer};
use nibble_seed::Seed;

struct Counting;

thread_local! {
    /// Of this thread: the test harness has others.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl StepHook for Nothing {
    fn on_step(&mut self, _step: u64, _parameters: &[f32], _gradient: &mut [f32]) {}
}

#[test]
fn a_step_allocates_nothing() {
    let features = Features::Bytes(Array2::from_shape_fn((40, 64), |(i, j)| (i * j) as u8));
    let samples = Samples { features, labels: (0..40).map(|i| i % 4).collect(), owners: None };
    let shape = (1, 8, 8);
    let data = Dataset { name: "test".to_owned(), classes: 4, shape, train: samples.clone(), test: samples };
    let data = Arc::new(data);
    let sgd = SgdConfig { batch: 4, ..SgdConfig::default() };
    let momentum = SgdConfig { momentum: 0.5, weight_decay: 0.1, ..sgd };
    for name in Model::names() {
        let mut trainer = SgdTrainer::new(Model::from_name(name, shape, 4).unwrap(), Arc::clone(&data)).unwrap();
        let global = trainer.init(Seed(0));
        let mut delta = vec![0.0; global.len()];
        let mut count = |samples: &[u32], sgd: &SgdConfig, hook: Option<&mut Nothing>| {
            let before = ALLOCATIONS.get();
            let hook = hook.map(|hook| hook as &mut dyn StepHook);
            trainer.train(&global, Task { samples, sgd, order: Seed(0), hook }, &mut delta).unwrap();
            ALLOCATIONS.get() - before
        };
        let all: Vec<u32> = (0..40).collect();
        let clipped = SgdConfig { clip_norm: Some(0.1), ..sgd };
        for sgd in [&sgd, &momentum, &clipped] {
            count(&all, sgd, Some(&mut Nothing)); // makes room
            assert_eq!(count(&all, sgd, None), count(&all[..20], sgd, None), "{name}");
            assert_eq!(count(&all, sgd, Some(&mut Nothing)), count(&all[..20], sgd, None), "{name} with a hook");
        }
        let before = ALLOCATIONS.get();
        trainer.evaluate(&global, 0..40).unwrap();
        trainer.evaluate(&global, 0..7).unwrap();
        let first = ALLOCATIONS.get() - before;
        let before = ALLOCATIONS.get();
        trainer.evaluate(&global, 0..40).unwrap();
        assert!(first > 0, "the first evaluation of {name} made room");
        assert_eq!(ALLOCATIONS.get(), before, "evaluating {name}");
    }
}

//! Nanoseconds per operation with a thousand, a hundred thousand and a million live timers.
//!
//! `cargo bench` takes about three minutes; `cargo bench -- --quick` less than one, and
//! `cargo bench -- 'reschedule/1000/'` measures the names that contain this.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use epoll_kit_bench_timers::{
    DelayQueue, HashWheel, Heap, Keeper, Population, SIZES, SortedMap, Took, Wheel, enter_runtime,
};
use std::time::Duration;

fn measure<T: Keeper>(criterion: &mut Criterion) {
    for size in SIZES {
        let mut population = None;
        for (name, operation) in Population::<T>::OPERATIONS {
            let mut group = criterion.benchmark_group(name);
            group.sampling_mode(SamplingMode::Flat);
            group.bench_function(BenchmarkId::new(size.to_string(), T::NAME), |bencher| {
                let population = population.get_or_insert_with(|| Population::<T>::new(size));
                bencher.iter_custom(|count| {
                    let asked = usize::try_from(count).expect("a count of 64 bits");
                    let Took { elapsed, count: done } = operation(population, asked);
                    elapsed.mul_f64(asked as f64 / done as f64)
                });
            });
            group.finish();
        }
    }
}

fn all(criterion: &mut Criterion) {
    let _entered = enter_runtime();
    measure::<Wheel>(criterion);
    measure::<DelayQueue>(criterion);
    measure::<SortedMap>(criterion);
    measure::<Heap>(criterion);
    measure::<HashWheel>(criterion);
}

fn configuration() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .without_plots()
}

criterion_group! { name = timers; config = configuration(); targets = all }
criterion_main!(timers);

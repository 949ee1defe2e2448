//! Nanoseconds per operation with a thousand, a hundred thousand and a million live timers.
//!
//! `cargo bench` takes about three minutes; `cargo bench -- --quick` less than one, and
//! `cargo bench -- 'reschedule/1000/'` measures the names that contain this.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use epoll_kit_bench_timers::{
    Contestant, DelayQueue, HashWheel, Heap, Population, SortedMap, Wheel, enter_runtime,
};
use std::time::Duration;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

type Operation<T> = fn(&mut Population<T>, usize) -> Duration;

fn operations<T: Contestant>() -> [(&'static str, Operation<T>); 5] {
    [
        ("insert", Population::insert),
        ("cancel", Population::cancel),
        ("reschedule", Population::reschedule),
        ("put off", Population::put_off),
        ("expire", Population::expire),
    ]
}

fn measure<T: Contestant>(criterion: &mut Criterion) {
    for size in SIZES {
        let mut population = None;
        for (name, operation) in operations::<T>() {
            let mut group = criterion.benchmark_group(name);
            group.sampling_mode(SamplingMode::Flat);
            group.bench_function(BenchmarkId::new(size.to_string(), T::NAME), |bencher| {
                let population = population.get_or_insert_with(|| Population::<T>::new(size));
                bencher.iter_custom(|count| {
                    operation(population, usize::try_from(count).expect("a count of 64 bits"))
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

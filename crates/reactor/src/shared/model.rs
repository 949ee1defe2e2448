//! A model of the ownership of sources: the real [`Ownership`] between a simulated epoll and threads that
//! loom runs in every order. A report that is lost leaves a thread waiting for ever, which loom finds. Two
//! threads that use one source fail at the cell that it is in, and so does one that does not see what another
//! has done to it.

use crate::shared::ownership::{Claim, Deferral, Held, Ownership, Pending};
use epoll_sys::Readiness;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Oneshot,
    Edge,
}

/// The kernel's entry of the one source that there is.
#[derive(Default)]
struct Entry {
    /// Messages that have arrived and were not read.
    unread: u32,
    /// Messages that were read.
    read: u32,
    /// The next arrival is reported.
    is_armed: bool,
    /// `true` if it is on the list that the next wait reports.
    is_reported: bool,
    /// The run queue: the news for the next holder of the source.
    queue: Vec<Pending>,
    is_stopped: bool,
    /// The number of times that a handler still parks the source.
    parks_left: u32,
    /// Parked sources that some thread is to unpark.
    jobs: u32,
}

/// The report of a wait.
enum Report {
    Event,
    /// The source is in the run queue.
    Queued(Pending),
}

struct Scene {
    trigger: Trigger,
    entry: Mutex<Entry>,
    changed: Condvar,
    slot: Ownership<Source>,
    generation: u32,
}

/// The source, which only its holder may touch.
#[derive(Default)]
struct Source {
    is_closed: bool,
}

type Lease<'a> = Held<'a, Source>;

impl Scene {
    /// Creates the state with a source that is idle and watched.
    fn new(trigger: Trigger) -> Arc<Self> {
        let slot = Ownership::vacant(Source::default());
        let (held, generation) = slot.occupy();
        assert!(held.release().is_ok());
        Arc::new(Self {
            trigger,
            entry: Mutex::new(Entry { is_armed: true, ..Entry::default() }),
            changed: Condvar::new(),
            slot,
            generation: generation.get(),
        })
    }

    fn arrive(&self) {
        let mut entry = self.entry.lock().unwrap();
        entry.unread += 1;
        entry.is_reported |= entry.is_armed;
        self.changed.notify_all();
    }

    /// `epoll_wait` and a look at the run queue: `None` at the stop, when nothing is queued.
    fn wait(&self) -> Option<Report> {
        let mut entry = self.entry.lock().unwrap();
        loop {
            if let Some(pending) = entry.queue.pop() {
                return Some(Report::Queued(pending));
            }
            if entry.is_stopped {
                return None;
            }
            if entry.is_reported {
                entry.is_reported = false;
                entry.is_armed = self.trigger == Trigger::Edge;
                return Some(Report::Event);
            }
            entry = self.changed.wait(entry).unwrap();
        }
    }

    /// Reads until the source is dry.
    fn read(&self, held: &mut Lease<'_>) {
        touch(held);
        let mut entry = self.entry.lock().unwrap();
        entry.read += entry.unread;
        entry.unread = 0;
        self.changed.notify_all();
    }

    /// `epoll_ctl(EPOLL_CTL_MOD)`.
    fn arm(&self, held: &mut Lease<'_>) {
        touch(held);
        let mut entry = self.entry.lock().unwrap();
        entry.is_armed = true;
        entry.is_reported |= entry.unread > 0;
        self.changed.notify_all();
    }

    /// `epoll_ctl(EPOLL_CTL_DEL)`: what no wait has fetched is not reported any more.
    fn delete(&self, held: &mut Lease<'_>) {
        touch(held);
        let mut entry = self.entry.lock().unwrap();
        (entry.is_armed, entry.is_reported) = (false, false);
    }

    fn stop(&self) {
        self.entry.lock().unwrap().is_stopped = true;
        self.changed.notify_all();
    }

    /// The data of its events.
    fn data(&self) -> u64 {
        u64::from(self.generation) << 32
    }

    /// Serves a source that the thread holds, as a lease does.
    fn serve(&self, mut held: Lease<'_>, note: Pending) {
        if note.has(Pending::CLOSE) {
            held.is_closed = true;
            held.vacate();
            return;
        }
        assert!(!held.is_parked(), "a parked source is reported");
        self.read(&mut held);
        if self.begin_job() {
            return self.park(held);
        }
        if self.trigger == Trigger::Oneshot {
            self.arm(&mut held);
        }
        // As a lease of a report is released, and then as any other one.
        if let Err(kept) = held.release_event(self.data()) {
            self.release(kept);
        }
    }

    /// Releases a source that is not parked, as the end of a lease does: what is noted is left to the run queue.
    fn release(&self, held: Lease<'_>) {
        if let Err((kept, note)) = held.release() {
            self.hand_out_again(kept, note);
        }
    }

    fn hand_out_again(&self, held: Lease<'_>, note: Pending) {
        // First: whoever takes it out of the queue claims the source.
        held.enqueue();
        self.entry.lock().unwrap().queue.push(note);
        self.changed.notify_all();
    }

    /// Hands a job to another thread, which unparks the source when it is done. `false`: there is none.
    fn begin_job(&self) -> bool {
        let mut entry = self.entry.lock().unwrap();
        let is_due = entry.parks_left > 0;
        if is_due {
            entry.parks_left -= 1;
            entry.jobs += 1;
            self.changed.notify_all();
        }
        is_due
    }

    /// Ends a lease that parks the source, as a lease does it.
    fn park(&self, mut held: Lease<'_>) {
        held.set_parked(true);
        self.delete(&mut held);
        self.release_parked(held);
    }

    /// Ends a lease of a source that is or was parked.
    fn release_parked(&self, mut held: Lease<'_>) {
        while let Err((kept, note)) = held.release() {
            held = kept;
            if !held.is_parked() && !note.readiness().is_empty() {
                return self.hand_out_again(held, note);
            }
            self.end_silence(&mut held, note);
        }
    }

    fn end_silence(&self, held: &mut Lease<'_>, note: Pending) {
        if held.is_parked() && note.has(Pending::UNPARK) {
            held.set_parked(false);
            self.arm(held);
        }
    }

    fn unpark(&self) {
        if let Claim::Held(mut held) = self.slot.claim(self.generation, Pending::UNPARK) {
            self.end_silence(&mut held, Pending::UNPARK);
            self.release_parked(held);
        }
    }

    /// Does the jobs of as many parked sources.
    fn work_on_jobs(&self, count: u32) {
        for _ in 0..count {
            let mut entry = self.entry.lock().unwrap();
            while entry.jobs == 0 {
                entry = self.changed.wait(entry).unwrap();
            }
            entry.jobs -= 1;
            drop(entry);
            self.unpark();
        }
    }

    fn work(&self) {
        while let Some(report) = self.wait() {
            self.serve_report(&report);
        }
    }

    /// Serves a report as a worker does: its wait looks at the source, and its next step claims it.
    fn serve_report(&self, report: &Report) {
        let note = Pending::ready(Readiness::IN);
        if let Report::Queued(pending) = *report {
            if let Some((held, more)) = self.slot.claim_queued(self.generation) {
                self.serve(held, pending.and(more));
            }
            return;
        }
        let is_idle = self.slot.is_idle(self.data());
        // Parked: it was fetched before.
        if !is_idle && self.slot.defer(self.generation, note) != Deferral::Idle {
            return;
        }
        if let Some(held) = self.slot.claim_event(self.data()) {
            self.serve(held, note);
        } else if let Claim::Held(held) = self.slot.claim(self.generation, note) {
            if held.is_parked() {
                // It was fetched before the source was parked.
                self.release_parked(held);
            } else {
                self.serve(held, note);
            }
        }
    }

    /// Closes the source if it is idle, as a thread does that gets it again.
    fn ask_to_close(&self) {
        if let Claim::Held(held) = self.slot.claim(self.generation, Pending::CLOSE) {
            self.serve(held, Pending::CLOSE);
        }
    }

    /// Leases the source by name, if nobody has it.
    fn lease(&self) -> Option<Lease<'_>> {
        match self.slot.claim_idle(self.generation) {
            Claim::Held(held) => Some(held),
            Claim::Deferred => None,
            Claim::Gone => panic!("it is not closed"),
        }
    }

    fn wait_until_read(&self, count: u32) {
        let mut entry = self.entry.lock().unwrap();
        while entry.read < count {
            entry = self.changed.wait(entry).unwrap();
        }
    }
}

fn touch(held: &mut Lease<'_>) {
    assert!(!held.is_closed);
    held.is_closed = false;
}

/// Every order with at most this many preemptions; more finds no others and takes hours.
const PREEMPTIONS: usize = 3;

fn explore(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(run);
}

/// Runs `body` beside so many threads that serve, and ends them.
fn beside_workers(scene: &Arc<Scene>, count: usize, body: impl FnOnce()) {
    let spawn = |_| {
        let scene = Arc::clone(scene);
        thread::spawn(move || scene.work())
    };
    let workers: Vec<_> = (0..count).map(spawn).collect();
    body();
    scene.stop();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

fn everything_that_arrives_is_read(trigger: Trigger) {
    explore(move || {
        let scene = Scene::new(trigger);
        beside_workers(&scene, 2, || {
            scene.arrive();
            scene.arrive();
            scene.wait_until_read(2);
        });
    });
}

#[test]
fn everything_that_arrives_is_read_oneshot() {
    everything_that_arrives_is_read(Trigger::Oneshot);
}

#[test]
fn everything_that_arrives_is_read_edge() {
    everything_that_arrives_is_read(Trigger::Edge);
}

fn a_close_that_was_asked_for_is_done_once_and_nothing_is_touched_after_it(trigger: Trigger) {
    explore(move || {
        let scene = Scene::new(trigger);
        beside_workers(&scene, 2, || {
            scene.arrive();
            scene.ask_to_close();
        });
        assert_eq!(scene.slot.occupant(), None);
        assert!(matches!(scene.slot.claim(scene.generation, Pending::NONE), Claim::Gone));
    });
}

#[test]
fn a_close_that_was_asked_for_is_done_oneshot() {
    a_close_that_was_asked_for_is_done_once_and_nothing_is_touched_after_it(Trigger::Oneshot);
}

#[test]
fn a_close_that_was_asked_for_is_done_edge() {
    a_close_that_was_asked_for_is_done_once_and_nothing_is_touched_after_it(Trigger::Edge);
}

/// A thread that always has the source handed out again hears of the question all the same.
#[test]
fn one_that_is_never_released_hears_that_it_is_to_be_closed() {
    explore(|| {
        let scene = Scene::new(Trigger::Edge);
        scene.lease().unwrap().enqueue();
        let revisiting = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || {
                loop {
                    let (mut held, note) = scene.slot.claim_queued(scene.generation).unwrap();
                    if note.has(Pending::CLOSE) {
                        return scene.serve(held, note);
                    }
                    touch(&mut held);
                    held.enqueue();
                    thread::yield_now();
                }
            })
        };
        scene.ask_to_close();
        revisiting.join().unwrap();
        assert_eq!(scene.slot.occupant(), None);
    });
}

/// A thread has an event of a source that is closed, and whose slot has another one by the time it is served. Nor
/// does a close that was asked for reach the other one.
#[test]
fn what_is_for_a_source_that_was_closed_does_not_reach_its_successor() {
    explore(|| {
        let scene = Scene::new(Trigger::Edge);
        scene.arrive();
        let late = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || {
                let report = scene.wait().unwrap();
                scene.serve_report(&report);
                scene.ask_to_close();
            })
        };
        scene.ask_to_close();
        if scene.slot.occupant().is_none() {
            let (mut successor, generation) = scene.slot.occupy();
            assert!(generation.get() != scene.generation);
            successor.is_closed = false;
            assert!(successor.release().is_ok(), "something is left to it");
            late.join().unwrap();
            let Claim::Held(mut successor) = scene.slot.claim_idle(generation.get()) else {
                panic!("somebody has it, or has closed it");
            };
            touch(&mut successor);
            assert!(successor.release().is_ok(), "something is left to it");
        } else {
            // The other thread had it, which closes it when it asks, or when it has served it.
            late.join().unwrap();
        }
    });
}

/// A source that waits in the queue goes to one of those that take it out of there, with what was left meanwhile.
#[test]
fn what_is_noted_around_a_revisit_is_served() {
    explore(|| {
        let scene = Scene::new(Trigger::Edge);
        beside_workers(&scene, 1, || {
            if let Some(mut held) = scene.lease() {
                touch(&mut held);
                held.enqueue();
                scene.arrive();
                let (held, note) = scene.slot.claim_queued(scene.generation).unwrap();
                scene.serve(held, note);
            } else {
                scene.arrive();
            }
            scene.wait_until_read(1);
        });
    });
}

/// A source is reported before the thread that inserts it has let go of it.
#[test]
fn what_is_reported_during_the_insertion_is_served() {
    explore(|| {
        let scene = Scene::new(Trigger::Oneshot);
        let mut held = scene.lease().unwrap();
        beside_workers(&scene, 1, || {
            scene.arrive();
            touch(&mut held);
            scene.release(held);
            scene.wait_until_read(1);
        });
    });
}

/// A thread that wants the source for something else, its timer, meets one that is told of it.
#[test]
fn a_lease_by_name_hides_no_report() {
    explore(|| {
        let scene = Scene::new(Trigger::Edge);
        beside_workers(&scene, 1, || {
            scene.arrive();
            if let Some(mut held) = scene.lease() {
                touch(&mut held);
                scene.release(held);
            }
            scene.wait_until_read(1);
        });
    });
}

/// The thread that does the job may be done before the handler has let go of the source, and what arrives
/// may meet the park, the silence or its end.
fn an_unpark_that_meets_a_park_is_not_lost(trigger: Trigger, workers: usize) {
    explore(move || {
        let scene = Scene::new(trigger);
        scene.entry.lock().unwrap().parks_left = 1;
        let working = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || scene.work_on_jobs(1))
        };
        beside_workers(&scene, workers, || {
            scene.arrive();
            scene.arrive();
            scene.wait_until_read(2);
        });
        // One read may have taken both, and the job still goes on.
        working.join().unwrap();
        assert!(!scene.lease().unwrap().is_parked());
    });
}

#[test]
fn an_unpark_that_meets_a_park_is_not_lost_oneshot() {
    an_unpark_that_meets_a_park_is_not_lost(Trigger::Oneshot, 1);
}

#[test]
fn an_unpark_that_meets_a_park_is_not_lost_edge() {
    an_unpark_that_meets_a_park_is_not_lost(Trigger::Edge, 1);
}

/// A thread that leases the source by name parks it while a worker may have an event of it.
fn a_park_by_name_hides_no_report(trigger: Trigger) {
    explore(move || {
        let scene = Scene::new(trigger);
        beside_workers(&scene, 1, || {
            scene.arrive();
            if let Some(held) = scene.lease() {
                scene.park(held);
                scene.unpark();
            }
            scene.wait_until_read(1);
        });
        assert!(!scene.lease().unwrap().is_parked());
    });
}

#[test]
fn a_park_by_name_hides_no_report_oneshot() {
    a_park_by_name_hides_no_report(Trigger::Oneshot);
}

#[test]
fn a_park_by_name_hides_no_report_edge() {
    a_park_by_name_hides_no_report(Trigger::Edge);
}

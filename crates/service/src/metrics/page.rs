//! The metrics of a service as a page of text. It is made of counters that any thread may read: no connection is
//! visited, and nobody is asked or waited for.
//!
//! The counters of a thread are read one after another while it goes on counting, so they may differ by what
//! happened meanwhile.

use super::process;
use super::text::{Kind, Text};
use crate::control::Control;
use crate::measures::{Histogram, Measures};
use crate::stats::{Outcomes, Stats};
use std::sync::Arc;

/// The counters of a thread.
pub(crate) struct OfThread {
    pub(crate) thread: usize,
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) measures: Arc<Measures>,
}

/// Everything that the page tells of.
pub(crate) struct Sources {
    control: Arc<Control>,
    threads: Vec<OfThread>,
    /// The name of connections that their protocol has finished.
    finished: &'static str,
    started: f64,
    extra: fn(&mut String),
}

impl Sources {
    pub(crate) fn new(
        control: Arc<Control>,
        threads: Vec<OfThread>,
        finished: &'static str,
        extra: fn(&mut String),
    ) -> Self {
        let started = process::start_time();
        Self { control, threads, finished, started, extra }
    }

    /// Returns whether new clients should come.
    pub(super) fn is_ready(&self) -> bool {
        self.control.is_ready()
    }

    /// Appends the page.
    pub(super) fn write(&self, page: &mut String) {
        let mut text = Text(page);
        self.write_process(&mut text);
        self.write_connections(&mut text);
        self.write_accepting(&mut text);
        self.write_turns(&mut text);
        (self.extra)(page);
    }

    fn write_process(&self, text: &mut Text<'_>) {
        let help = "Start time of the process since unix epoch in seconds.";
        text.family("process_start_time_seconds", Kind::Gauge, help).sample(&[], self.started);
        let help = "The version of epoll-service.";
        text.family("epoll_service_build_info", Kind::Gauge, help)
            .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
        let help = "1 if new clients should come, as /readyz says, and 0 otherwise.";
        text.family("epoll_service_ready", Kind::Gauge, help)
            .sample(&[], u8::from(self.is_ready()));
    }

    fn write_connections(&self, text: &mut Text<'_>) {
        let (open, closing) = self.open_and_closing();
        let is_draining = self.control.drain.draining().is_some();
        let (open, draining) = if is_draining { (0, open) } else { (open, 0) };
        let help = "Connections now: open, draining (open while the server drains) or closing (our half is \
            closed, and the peer's is awaited).";
        let mut family = text.family("epoll_service_connections", Kind::Gauge, help);
        for (state, count) in [("open", open), ("draining", draining), ("closing", closing)] {
            family.sample(&[("state", &state)], count);
        }
        let help = "The largest number of connections at once.";
        text.family("epoll_service_connections_max", Kind::Gauge, help)
            .sample(&[], self.control.admission.max());

        let stats: Vec<(usize, Stats)> =
            self.threads.iter().map(|of| (of.thread, of.outcomes.named(self.finished))).collect();
        let help = "Connections that were accepted and served, or begun.";
        let mut family = text.family("epoll_service_connections_opened_total", Kind::Counter, help);
        for (thread, stats) in &stats {
            family.sample(&[("thread", thread)], stats.opened);
        }
        let help = "Connections that were closed.";
        let mut family = text.family("epoll_service_connections_closed_total", Kind::Counter, help);
        for (thread, stats) in &stats {
            for (reason, count) in &stats.closed_by_reason {
                family.sample(&[("thread", thread), ("reason", reason)], count);
            }
        }
        let help = "Connections that were accepted and not served: by the limit of all, by the limit of \
            their address, because memory is short, for the header of the PROXY protocol (wrong, missing or late), \
            because the service declined them, or because the kernel would not watch them.";
        let mut family =
            text.family("epoll_service_connections_refused_total", Kind::Counter, help);
        for (thread, stats) in &stats {
            let causes = [
                ("limit", stats.refused),
                ("peer-limit", stats.refused_peer),
                ("memory", stats.refused_memory),
                ("header-wrong", stats.header_wrong),
                ("header-missing", stats.header_missing),
                ("header-late", stats.header_late),
                ("declined", stats.declined),
                ("unwatched", stats.unwatched),
            ];
            for (reason, count) in causes {
                family.sample(&[("thread", thread), ("reason", &reason)], count);
            }
        }
        let help = "Bytes received by connections that are closed.";
        let mut family = text.family("epoll_service_received_bytes_total", Kind::Counter, help);
        for (thread, stats) in &stats {
            family.sample(&[("thread", thread)], stats.received);
        }
        let help = "Bytes sent by connections that are closed.";
        let mut family = text.family("epoll_service_sent_bytes_total", Kind::Counter, help);
        for (thread, stats) in &stats {
            family.sample(&[("thread", thread)], stats.sent);
        }
    }

    /// Returns the number of connections whose own half is open, and of the others.
    fn open_and_closing(&self) -> (u64, u64) {
        let outcomes = || self.threads.iter().map(|of| &of.outcomes);
        // In this order: a connection lingers before that ends, perhaps in the hands of another thread.
        let ended: u64 = outcomes().map(|of| of.lingers_ended.get()).sum();
        let begun: u64 = outcomes().map(|of| of.lingers_begun.get()).sum();
        let in_use = self.control.admission.in_use();
        let closing = begun.saturating_sub(ended).min(in_use);
        (in_use - closing, closing)
    }

    fn write_accepting(&self, text: &mut Text<'_>) {
        let help = "Connections that were taken from the queues of listeners.";
        let mut family = text.family("epoll_service_accepted_total", Kind::Counter, help);
        for OfThread { thread, measures, .. } in &self.threads {
            family.sample(&[("thread", thread)], measures.accept.accepted.get());
        }
        let help = "Connections that could not be accepted: they had died in the queue (aborted), or were \
            closed for want of descriptors (shed).";
        let mut family = text.family("epoll_service_accept_errors_total", Kind::Counter, help);
        for OfThread { thread, measures, .. } in &self.threads {
            let errors = [("aborted", &measures.accept.aborted), ("shed", &measures.accept.shed)];
            for (reason, count) in errors {
                family.sample(&[("thread", thread), ("reason", &reason)], count.get());
            }
        }
        let help = "Pauses of listeners that could not accept.";
        let mut family = text.family("epoll_service_accept_pauses_total", Kind::Counter, help);
        for OfThread { thread, measures, .. } in &self.threads {
            family.sample(&[("thread", thread)], measures.accept.pauses.get());
        }
    }

    fn write_turns(&self, text: &mut Text<'_>) {
        const NANOSECONDS: f64 = 1e9;
        let of = |part: fn(&Measures) -> &Histogram| {
            self.threads.iter().map(move |of| (of.thread, part(&of.measures)))
        };
        let help = "Times from the end of a wait for events to the next wait.";
        let turns = of(|measures| &measures.turn_time);
        text.histograms("epoll_service_turn_seconds", help, NANOSECONDS, "thread", turns);
        let help = "Events that the kernel reported to a wait.";
        let turns = of(|measures| &measures.turn_events);
        text.histograms("epoll_service_turn_events", help, 1.0, "thread", turns);
        let help = "Times by which timers of connections fired late.";
        let timers = of(|measures| &measures.timer_lateness);
        let name = "epoll_service_timer_lateness_seconds";
        text.histograms(name, help, NANOSECONDS, "thread", timers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use crate::stats::Closed;
    use epoll_connection::{Awaits, CloseReason};
    use epoll_reactor::net::{Address, Peer};
    use epoll_shutdown::Signal;

    fn sources(threads: usize) -> Sources {
        let control = Arc::new(Control::new(
            &crate::Config::default(),
            Admission::new(9, None, threads),
            Vec::new(),
        ));
        let of = |thread| OfThread { thread, outcomes: Arc::default(), measures: Arc::default() };
        let extra = |text: &mut String| text.push_str("more 1\n");
        Sources::new(control, (0..threads).map(of).collect(), "own", extra)
    }

    fn page(sources: &Sources) -> String {
        let mut page = String::new();
        sources.write(&mut page);
        page
    }

    #[track_caller]
    fn says(page: &str, line: &str) {
        assert!(page.lines().any(|one| one == line), "{line} is not in:\n{page}");
    }

    #[test]
    fn every_family_is_there_once_and_what_the_program_adds_comes_last() {
        let page = page(&sources(2));
        let types: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let mut once = types.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!((once.len(), page.matches("# HELP ").count()), (types.len(), types.len()));
        let is_named = |line: &str| {
            line.starts_with('#') || line == "more 1" || types.iter().any(|of| line.starts_with(of))
        };
        assert!(page.lines().all(is_named), "{page}");
        assert!(page.ends_with("\nmore 1\n"));
        // Each reason is there before it has come, so that its rate is known when it does.
        says(&page, "epoll_service_connections_closed_total{thread=\"1\",reason=\"idle\"} 0");
        says(&page, "epoll_service_connections_max 9");
        says(&page, "epoll_service_ready 0");
    }

    #[test]
    fn what_each_thread_has_counted_is_told() {
        let sources = sources(2);
        let Sources { control, threads, .. } = &sources;
        let peer = Peer::from(&"127.0.0.1:1".parse::<Address>().unwrap());
        (0..3).for_each(|_| control.admission.admit(&peer).unwrap());
        threads[0].outcomes.opened.add(4);
        threads[0].outcomes.awaits(Awaits::Input, Some(Awaits::Close));
        threads[1].outcomes.closed(Closed::Over(CloseReason::Finished), 10, 20, 1);
        threads[1].measures.accept.pauses.add(5);
        let told = page(&sources);
        for line in [
            "epoll_service_connections{state=\"open\"} 2",
            "epoll_service_connections{state=\"draining\"} 0",
            "epoll_service_connections{state=\"closing\"} 1",
            "epoll_service_connections_opened_total{thread=\"0\"} 4",
            "epoll_service_connections_closed_total{thread=\"1\",reason=\"own\"} 1",
            "epoll_service_received_bytes_total{thread=\"1\"} 10",
            "epoll_service_sent_bytes_total{thread=\"1\"} 20",
            "epoll_service_accept_pauses_total{thread=\"1\"} 5",
            "epoll_service_turn_seconds_count{thread=\"1\"} 0",
        ] {
            says(&told, line);
        }
        // Another thread sees its end.
        threads[1].outcomes.awaits(Awaits::Close, None);
        says(&page(&sources), "epoll_service_connections{state=\"closing\"} 0");
    }

    #[test]
    fn open_connections_of_a_server_that_drains_are_draining() {
        let sources = sources(1);
        let control = &sources.control;
        let peer = Peer::from(&"127.0.0.1:1".parse::<Address>().unwrap());
        control.admission.admit(&peer).unwrap();
        control.set_serving();
        says(&page(&sources), "epoll_service_ready 1");
        let drain = epoll_shutdown::Drain::new(None);
        let mut coordinator =
            crate::drain::Coordinator::new(drain, std::time::Duration::ZERO, None);
        control.on_signal(Signal::TERM);
        coordinator.on_signal(Signal::TERM, &control.drain);
        let told = page(&sources);
        says(&told, "epoll_service_ready 0");
        says(&told, "epoll_service_connections{state=\"open\"} 0");
        says(&told, "epoll_service_connections{state=\"draining\"} 1");
    }
}

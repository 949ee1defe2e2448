//! The program: what it does with its settings, from the command line to the exit status.

use crate::args::Args;
use crate::echo::{EchoService, TlsEchoService};
use crate::escape::escaped;
use crate::reload::Reload;
use crate::settings::{Failure, Settings, describe};
use crate::signals::SignalLoop;
use crate::stats_file::StatsFile;
use crate::udp::{UdpControl, UdpEcho};
use crate::{listen, log, settings};
use anyhow::Context;
use clap::{CommandFactory, FromArgMatches};
use epoll_reactor::net::Address;
use epoll_service::{
    COUNTERS_TARGET, Config, DrainOutcome, Ended, Handle, Inherited, Restart, Server, Service,
    Setting, Signal, Signals, Supervisor, exit_status,
};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the program with the process's arguments and environment.
///
/// The exit status is 0 for help and when every connection finished after a signal to end, 1 when the
/// server cannot start or fails, 2 when the command line, the environment or the configuration file cannot be
/// understood, 3 when the drain's deadline cut connections, and 128 and the signal's number when a second signal
/// forced the end.
#[must_use]
pub fn run() -> ExitCode {
    let (args, settings) = match read() {
        Ok(read) => read,
        Err(Failure::Print(error)) => {
            // Help or the version, on stdout; a reader that went away is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(Failure::Wrong(message)) => {
            complain(&message);
            return ExitCode::from(2);
        }
    };
    if args.check {
        return check(&args, &settings);
    }
    let settings = Arc::new(settings);
    start_and_serve(&args, &settings).unwrap_or_else(|error| fail(&error, &settings))
}

/// Returns the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    settings::adapted(Args::command())
}

/// Reads the flags from all their sources, and checks what no single flag can tell.
fn read() -> Result<(Args, Settings), Failure> {
    let words: Vec<OsString> = env::args_os().collect();
    let settings = Settings::load(Args::command(), &words)?;
    let args = Args::from_arg_matches(&settings.matches);
    let args = args.map_err(|error| Failure::Wrong(describe(&error)))?;
    match args.contradiction() {
        None => Ok((args, settings)),
        Some(what) => Err(Failure::Wrong(settings.with_origins(&format!("error: {what}")))),
    }
}

/// Prints the settings, if the server could start with them as far as that can be known without listening.
fn check(args: &Args, settings: &Settings) -> ExitCode {
    if let Err(error) = check_files_and_names(args) {
        fail(&error, settings);
        return ExitCode::from(2);
    }
    let printed = io::stdout().lock().write_all(settings.to_toml().as_bytes());
    match printed.context("failed to print the settings") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, settings),
    }
}

/// Checks the files and the names that the settings name.
fn check_files_and_names(args: &Args) -> anyhow::Result<()> {
    listen::look_up(&args.listen, args.metrics)?;
    args.tls().map(drop)
}

/// Loads the settings anew, as a whole or not at all.
fn reload_all() -> Result<(Args, Settings), Failure> {
    let (args, settings) = read()?;
    match check_files_and_names(&args) {
        Ok(()) => Ok((args, settings)),
        Err(error) => Err(Failure::Wrong(settings.with_origins(&format!("error: {error:#}")))),
    }
}

/// Prints a line on stderr. An error is ignored: nobody may be reading.
fn complain(message: &str) {
    log::print_line(&format!("epoll-server: {message}"));
}

fn fail(error: &anyhow::Error, settings: &Settings) -> ExitCode {
    complain(&settings.with_origins(&format!("error: {error:#}")));
    ExitCode::FAILURE
}

fn exit_code(ended: &Ended) -> ExitCode {
    match ended {
        Ended { outcome: DrainOutcome::Forced(signal), .. } => ExitCode::from(exit_status(*signal)),
        Ended { cut: 0, .. } => ExitCode::SUCCESS,
        Ended { .. } => ExitCode::from(3),
    }
}

/// The signals that the server acts on.
struct AllSignals {
    /// The signals that end the server: at once, or when another process serves.
    ending: Signals,
    others: Arc<Signals>,
}

fn start_and_serve(args: &Args, settings: &Arc<Settings>) -> anyhow::Result<ExitCode> {
    // First of all: it takes variables out of the environment.
    let inherited = Inherited::from_env().context("failed to take over the sockets passed")?;
    // Before the first thread is started, which is that of the logs.
    let blocking = "failed to block signals";
    let signals = AllSignals {
        ending: Signals::block([Signal::TERM, Signal::INT, Signal::USR2]).context(blocking)?,
        others: Arc::new(Signals::block([Signal::HUP, Signal::USR1]).context(blocking)?),
    };
    // Dropped before `signals`: while lines are flushed, no signal takes its default action.
    let _flushed = log::start(args.log, args.log_format).context("failed to start the logs")?;
    log::report_panics();
    // The error is said here, before lines are flushed.
    let served = serve(args, settings, &signals, inherited);
    Ok(served.map_or_else(|error| fail(&error, settings), |ended| exit_code(&ended)))
}

fn serve(
    args: &Args,
    settings: &Arc<Settings>,
    signals: &AllSignals,
    inherited: Inherited,
) -> anyhow::Result<Ended> {
    let stats_file = args.stats_json.as_deref().map(StatsFile::create).transpose()?.map(Arc::new);
    let echo = EchoService { options: args.echo_options() };
    let tls = args.tls()?;
    let joins = inherited.is_from_predecessor();
    let start = |address| UdpEcho::start(address, args.udp_rate, joins);
    let udp = args.udp.map(start).transpose()?;
    let parts =
        Parts { args, settings, signals, stats_file: stats_file.as_ref(), udp: udp.as_ref() };
    let ended = match tls {
        None => run_service(echo, &parts, inherited)?,
        Some(tls) => run_service(TlsEchoService { echo, tls }, &parts, inherited)?,
    };
    let udp = udp.map(UdpEcho::end).transpose()?;
    if let Some(file) = &stats_file {
        file.write(&ended.threads, udp.as_ref())?;
    }
    Ok(ended)
}

/// The parts of a server, whatever its protocol.
#[derive(Clone, Copy)]
struct Parts<'a> {
    args: &'a Args,
    settings: &'a Arc<Settings>,
    signals: &'a AllSignals,
    stats_file: Option<&'a Arc<StatsFile>>,
    udp: Option<&'a UdpEcho>,
}

fn run_service<S: Service>(
    service: S,
    parts: &Parts<'_>,
    inherited: Inherited,
) -> anyhow::Result<Ended> {
    let Parts { args, settings, signals, stats_file, udp } = *parts;
    let config = Config {
        listen: listen::resolve(&args.listen, args.metrics, &inherited)?,
        restart: args.restart(),
        supervisor: Supervisor::from_env().context("failed to use NOTIFY_SOCKET")?,
        ..args.config()
    };
    let signal_loop = SignalLoop::new(Arc::clone(&signals.others));
    let signal_loop = signal_loop.context("failed to set up the event loop for signals")?;
    let server = Server::bind_inherited(service, &config, inherited).map_err(name_flag)?;
    let (addresses, metrics) = (server.addresses().to_vec(), server.metrics_address());
    let (handle, restart) = (server.handle(), config.restart);
    let mut reload = Reload::new(Arc::clone(settings));
    let (stats_file, datagrams) = (stats_file.cloned(), udp.map(UdpEcho::control));
    let on_signal = move |signal| {
        if signal == Signal::HUP && reload.has_file() {
            reload.reload(reload_all, |args| {
                take_over(args, restart.clone(), &handle, datagrams.as_deref());
            });
        } else {
            tracing::info!(target: COUNTERS_TARGET, %signal, "logging the counters");
            let file = stats_file.as_deref().filter(|_| signal == Signal::USR1);
            report_stats(&handle, file, datagrams.as_deref());
        }
    };
    let _end =
        signal_loop.start(on_signal).context("failed to start the thread that acts on signals")?;
    let udp = udp.map(UdpEcho::address);
    server.run(&signals.ending, || announce(&addresses, udp, metrics)).map_err(name_flag)
}

/// Changes what can change while the server runs.
fn take_over<S: Service>(
    args: &Args,
    restart: Option<Restart>,
    handle: &Handle<S>,
    udp: Option<&UdpControl>,
) {
    // It was bound as one that can be adjusted.
    if let Err(error) = handle.adjust(&args.adjustment(restart)) {
        tracing::error!(%error, "limits and timeouts not changed");
    }
    if let Some(udp) = udp {
        udp.set_rate(args.udp_rate);
    }
    log::set_level(args.log);
}

/// Logs the counters, and writes them to the file.
fn report_stats<S: Service>(
    handle: &Handle<S>,
    file: Option<&StatsFile>,
    udp: Option<&UdpControl>,
) {
    let Some(file) = file else { return handle.log_counters() };
    // Otherwise the server has ended, and its statistics are being written.
    if let Some(threads) = handle.stats() {
        if let Err(error) = file.write(&threads, udp.map(UdpControl::stats).as_ref()) {
            tracing::error!("{error:#}");
        }
    }
}

/// Names the flag that an error is about.
fn name_flag(error: epoll_service::Error) -> anyhow::Error {
    let context = match error.setting() {
        Some(Setting::Listen(address)) => format!("failed to listen at --listen {address}"),
        Some(Setting::Metrics(address)) => format!("failed to listen at --metrics {address}"),
        Some(Setting::Threads) => format!("{error} (--threads)"),
        Some(Setting::Pins) => format!("{error} (--pin)"),
        _ => return error.into(),
    };
    anyhow::Error::msg(error.io().to_string()).context(context)
}

/// Prints on stdout where the server listens, and where it serves metrics.
fn announce(addresses: &[Address], udp: Option<&Address>, metrics: Option<Address>) {
    let mut stdout = io::stdout().lock();
    for address in addresses {
        // Nobody may be reading; the server does not depend on it.
        let _ = writeln!(stdout, "listening on {}", escaped(&address.to_string()));
    }
    if let Some(address) = udp {
        let _ = writeln!(stdout, "listening on udp:{}", escaped(&address.to_string()));
    }
    if let Some(address) = metrics {
        let _ = writeln!(stdout, "metrics at {}", escaped(&address.to_string()));
    }
    let _ = stdout.flush();
}

//! A harness for tests that each run in a process of their own, as its first and only thread. What they are about
//! belongs to threads or to the process: the masks of signals, and who takes a signal.

use crate::output_of;
use crate::own_process::{CHILD, PATIENCE};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::process::{Command, ExitCode};

/// A test and its name.
pub type Test = (&'static str, fn());

/// Makes the `main` of a test with `harness = false` that runs these functions, each in a process of its own. Their names
/// are `module::function`. It takes the arguments of other tests and prints what they print.
#[macro_export]
macro_rules! in_own_processes {
    ($($module:ident::$name:ident,)*) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_in_own_processes(&[
                $((concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*
            ])
        }
    };
}

/// Runs the test that this process is there for, or each that the arguments choose in a process of its own.
///
/// # Panics
///
/// If this process is there for a test that is not among these, and as that test does.
#[must_use]
pub fn run_in_own_processes(tests: &[Test]) -> ExitCode {
    if let Some(name) = env::var_os(CHILD) {
        let (_, test) = tests.iter().find(|(known, _)| name == *known).expect("a known test");
        test();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // libtest reads this variable, and libtest-mimic does not.
    let threads = || env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    arguments.test_threads = arguments.test_threads.or_else(threads);
    let trial = |&(name, _): &Test| Trial::test(name, move || passes(name));
    libtest_mimic::run(&arguments, tests.iter().map(trial).collect()).exit_code()
}

/// Runs a test in a process of its own. The error is what it has printed.
fn passes(name: &str) -> Result<(), Failed> {
    // A shell starts jobs in the background with signals ignored, and what runs the tests may be one.
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(env::current_exe()?).env(CHILD, name);
    let output = output_of(&mut command, PATIENCE)?;
    let [printed, complained] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}:\n{printed}{complained}", output.status).into()),
    }
}

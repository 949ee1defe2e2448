//! Command lines that are wrong: one line that names the flag or the value, and status 2. What is
//! wrong with the machine or the server instead has status 1.

use crate::program::load;

#[test]
fn what_cannot_be_meant_is_refused() {
    for (args, named) in [
        (&["127.0.0.1:80", "--connections", "0"][..], "'0' for '--connections"),
        (&["127.0.0.1:80", "--requests", "0"], "'0' for '--requests"),
        (&["127.0.0.1:80", "--duration", "0s"], "'0s' for '--duration"),
        (&["127.0.0.1:80", "--duration", "-1s"], "'-1s' for '--duration"),
        (&["127.0.0.1:80", "--duration", "10"], "'10' for '--duration"),
        (&["127.0.0.1:80", "--size", "0"], "'0' for '--size"),
        (&["127.0.0.1:80", "--size", "2GiB"], "'2GiB' for '--size"),
        (&["127.0.0.1:80", "--size", "17179869184GiB"], "'17179869184GiB' for '--size"),
        (&["127.0.0.1:80", "--size", "99999999999999999999"], "for '--size"),
        (&["127.0.0.1:80", "--pipeline", "0"], "'0' for '--pipeline"),
        (&["127.0.0.1:80", "--pipeline", "70000"], "--pipeline 70000"),
        (&["127.0.0.1:80", "--pipeline", "60000", "--connections", "9000"], "--pipeline 60000"),
        (&["127.0.0.1:80", "--threads", "0"], "'0' for '--threads"),
        (&["127.0.0.1:80", "--threads", "51"], "--threads 51"),
        (&["127.0.0.1:80", "--threads", "9999", "--connections", "10000"], "--threads 9999"),
        (&["127.0.0.1:80", "--idle", "0"], "'0' for '--idle"),
        (&["127.0.0.1:80", "--timeout", "0s"], "'0s' for '--timeout"),
        (&["127.0.0.1:80", "--server-pid", "0"], "'0' for '--server-pid"),
        (&["127.0.0.1:80", "--server-pid", "all"], "'all' for '--server-pid"),
        (&["127.0.0.1:80", "--rate", "0"], "'0' for '--rate"),
        (&["127.0.0.1:80", "--rate", "-5"], "'-5' for '--rate"),
        (&["127.0.0.1:80", "--rate", "nan"], "'nan' for '--rate"),
        (&["127.0.0.1:80", "--rate", "inf"], "'inf' for '--rate"),
        (&["127.0.0.1:80", "--rate", "1e300"], "'1e300' for '--rate"),
        (&["127.0.0.1:80", "--churn", "--pipeline", "2"], "--pipeline"),
        (&["127.0.0.1:80", "--requests", "5", "--duration", "1s"], "--duration"),
        (&["127.0.0.1", "80", "5", "--connections", "5"], "--connections"),
        (&["127.0.0.1", "80", "5", "5", "--requests", "5"], "--requests"),
        (&["127.0.0.1", "80", "0"], "'0' for '[CONNECTIONS]'"),
        (&["127.0.0.1", "80", "1", "0"], "'0' for '[REQUESTS-PER-CONNECTION]'"),
        (&["127.0.0.1", "80", "5", "5", "--duration", "1s"], "--duration"),
        (
            &["127.0.0.1:80", "--requests-per-connection", "5", "--requests", "5"],
            "--requests-per-connection",
        ),
        (&["127.0.0.1:80", "--warmup", "0s"], "'0s' for '--warmup"),
        (&["127.0.0.1:80", "--ramp-up", "1s", "--churn"], "--ramp-up"),
        (&["127.0.0.1:80", "--interval", "9ms"], "'9ms' for '--interval"),
        (&["127.0.0.1:80", "--max-p99", "5"], "'5' for '--max-p99"),
        (&["127.0.0.1:80", "--max-errors", "-1"], "'-1' for '--max-errors"),
        (&["127.0.0.1:80", "--source", "127.0.0.2,here"], "'here' for '--source"),
        (&["unix:/a", "--source", "127.0.0.2"], "--source"),
        (&["127.0.0.1:80", "--protocol", "tls-echo"], "--protocol tls-echo: --tls-ca"),
        (&["127.0.0.1:80", "--insecure", "--tls-ca", "a"], "--tls-ca"),
        (&["127.0.0.1:80", "--protocol", "gopher"], "'gopher' for '--protocol"),
        (&["127.0.0.1:80", "--protocol", "http", "--path", "a b"], "'a b' for '--path"),
        (&["127.0.0.1:80", "--protocol", "resp", "--size", "1MiB"], "--size 1048576"),
        (&["127.0.0.1"], "'127.0.0.1' has no port"),
        (&["127.0.0.1:80", "5"], "'127.0.0.1:80' has a port already, but '5' is given"),
        (&["127.0.0.1", "0"], "'0' is no port"),
        (&["127.0.0.1:70000"], "'70000' is no port"),
        (&["::1"], "'::1'"),
        (&["unix:"], "'unix:'"),
        (&["unix:/a", "--congestion", "cubic"], "--congestion"),
        (&["127.0.0.1:80", "--udp", "--churn"], "'--udp' cannot be used with '--churn'"),
        (&["127.0.0.1:80", "--udp", "--ramp-up", "1s"], "--ramp-up"),
        (&["127.0.0.1:80", "--udp", "--idle", "5"], "--idle"),
        (&["127.0.0.1:80", "--udp", "--congestion", "reno"], "--congestion"),
        (&["127.0.0.1:80", "--udp", "--abort-on-error"], "--abort-on-error"),
        (&["127.0.0.1:80", "--udp", "--protocol", "resp"], "--udp: of the protocols only echo"),
        (&["127.0.0.1:80", "--udp", "--size", "7"], "--size 7: a datagram has 8 to 65507 bytes"),
        (&["127.0.0.1:80", "--udp", "--size", "65508"], "--size 65508"),
        (&["127.0.0.1:80", "--udp", "--rate", "9", "--pipeline", "2"], "--pipeline 2: with --udp"),
        (&["unix:/a", "--udp"], "--udp: a UNIX socket"),
        (&["127.0.0.1:80", "--no-such"], "'--no-such'"),
        (&[], "<HOST>"),
    ] {
        let output = load(args);
        output.complains(2, &[named]);
        assert_eq!(output.stdout, "", "{args:?}");
    }
}

#[test]
fn more_connections_than_descriptors_are_told_how_many_are_possible() {
    for args in [
        &["127.0.0.1:1", "--connections", "4000000000"][..],
        &["127.0.0.1:1", "--idle", "4000000000", "--json"],
    ] {
        load(args).complains(1, &["connections are too many", "room for"]);
    }
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    let args = ["127.0.0.1:1", "--server-pid", "4294967295"];
    load(&args).complains(1, &["no process 4294967295", "No such process"]);
}

#[test]
fn help_and_version_are_no_errors() {
    for (flag, part) in [("--help", "Exit status"), ("-h", "--rate"), ("--version", "epoll-load ")]
    {
        let output = load(&[flag]);
        assert_eq!(output.status, 0, "{output:?}");
        assert!(output.stdout.contains(part), "{output:?}");
    }
}

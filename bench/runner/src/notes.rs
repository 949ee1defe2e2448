//! Sentences that the reports of several suites share, and commands that are typed by hand.

/// Returns the notes on measuring in rounds; `again` is the label of the reference's second row, if any.
pub(crate) fn about_rounds(again: Option<&str>) -> String {
    let rounds = "In a round every contestant is measured once, in an order of its own, and a ratio is of \
                  two values of the same round: what disturbs the machine for longer than a round hits \
                  both and cancels out.";
    let noise = |again| {
        format!(
            " The row “{again}” is the reference measured against itself (A/A): how far its ratios are \
             from 1 is noise, and so is any smaller difference."
        )
    };
    rounds.to_owned() + &again.map(noise).unwrap_or_default()
}

/// Returns the note on the commands under the tables of servers.
pub(crate) fn about_commands() -> String {
    "The command under a table is for one round of our server with a level trigger, from the root of the \
     repository, when everything is built. Other modes have another word after --mode, other servers \
     are bench/target/release/peer-floor, peer-mio and so on, and servers with two threads have \
     --threads 2 and no taskset. By hand it is the machine's network, whose congestion control may not \
     be the one above."
        .to_owned()
}

/// Returns a command for a shell: the server at work, and the load on it.
pub(crate) fn by_hand(server: &str, load: &str) -> String {
    // What is started needs a moment to listen.
    format!("{server} --listen {BY_HAND} & sleep 1; {load}; kill $!")
}

/// The address of a server that is started by hand.
pub(crate) const BY_HAND: &str = "127.0.0.1:8080";

/// Returns the command that starts a program on this core by hand, if it has one.
pub(crate) fn pinned(core: Option<usize>) -> String {
    core.map_or_else(String::new, |core| format!("taskset -c {core} "))
}

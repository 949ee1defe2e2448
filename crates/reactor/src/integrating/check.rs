/// Runs `serve` with a client, whose peer sends words, takes the echoes, and ends.
fn check(serve: fn(Reactor<Client>) -> io::Result<()>) -> io::Result<()> {
    let (ours, theirs) = Stream::pair()?;
    let mut reactor: Reactor<Client> = Reactor::new()?;
    let client = Client { stream: ours, rest: Vec::new() };
    reactor.insert(client, Watch::level(Interest::IN))?;
    let mut peer = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
    peer.set_nonblocking(false)?;
    let peer = std::thread::spawn(move || -> io::Result<()> {
        // Longer than one read takes.
        for word in [vec![b'a'; 5], vec![b'b'; 10_000], vec![b'c'; 1]] {
            peer.write_all(&word)?;
            let mut echo = vec![0; word.len()];
            peer.read_exact(&mut echo)?;
            assert!(echo == word);
        }
        Ok(())
    });
    serve(reactor)?;
    peer.join().expect("its words come back")
}

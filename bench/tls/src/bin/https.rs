//! The example `http` over TLS 1.3, with one cipher suite and one group: `https ADDRESS CERTIFICATE KEY`.

#[path = "../../../../crates/service/examples/http/main.rs"]
#[expect(dead_code, reason = "the program around the protocol")]
mod http;

use epoll_kit_bench_tls::{Arguments, one_suite};
use epoll_service::{Config, Each, Server, Signal, Signals};
use epoll_tls::TlsConfig;
use http::Http;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::read()?;
    let address = arguments.address;
    let tls = TlsConfig::from(arguments.settings(one_suite())?);
    // Before there is a second thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let service = Each(move || tls.accept(Http::default()));
    let server = Server::bind(service, &Config::at([address.into()]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}

//! Echo over TLS: `cargo run -p epoll-tls --example tls_echo 127.0.0.1:0`.
//!
//! `CERTIFICATE KEY` are PEM files; without them it certifies itself, for `localhost` and for `echo.example`. After
//! them, `AUTHORITIES` is a PEM file too: clients then need a certificate of one of those. Try it with
//! `openssl s_client -connect ADDRESS`.

use epoll_connection::{Consumed, Context, Protocol};
use epoll_service::{Config, Each, Server, Signal, Signals};
use epoll_tls::{ClientCertificates, ConfigError, Identity, TlsConfig, TlsConfigBuilder};
use std::error::Error;

struct Echo;

impl Protocol for Echo {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::pass(input.len())
    }
}

/// Returns a certificate that certifies itself.
fn identity(name: &str) -> Result<Identity, Box<dyn Error>> {
    let own = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok(Identity::from_pem(own.cert.pem().as_bytes(), own.signing_key.serialize_pem().as_bytes())?)
}

fn identities(files: &[String]) -> Result<TlsConfigBuilder, Box<dyn Error>> {
    match files {
        [] => Ok(TlsConfig::builder(identity("localhost")?)
            .name("echo.example", identity("echo.example")?)),
        [certificate, key, ..] => {
            Ok(TlsConfig::builder(Identity::from_pem_files(certificate, key)?))
        }
        _ => Err("a certificate needs a key".into()),
    }
}

fn clients(tls: TlsConfigBuilder, authorities: &[String]) -> Result<TlsConfigBuilder, ConfigError> {
    authorities.iter().try_fold(tls, |tls, path| tls.clients(path, ClientCertificates::Required))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("usage: tls_echo ADDRESS [CERTIFICATE KEY [AUTHORITIES]]")?;
    let files: Vec<_> = args.collect();
    let tls = clients(identities(&files)?, files.get(2..).unwrap_or_default())?;
    let tls = tls.alpn(["echo"]).build()?;

    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let service = Each(move || tls.accept(Echo));
    let server = Server::bind(service, &Config::at([address.parse()?]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}

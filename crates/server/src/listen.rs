//! Where to listen: the values of `--listen`, and the sockets that a service manager, or the process before this
//! one, has passed.

use anyhow::{Context, ensure};
use epoll_reactor::net::{Address, ListenAddress, ListenAddressError};
use epoll_service::Inherited;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The port of 127.0.0.1 to listen at if nothing says where.
const DEFAULT_PORT: u16 = 8080;

/// One address, or several with commas, and maybe blanks, in between. A path may have commas in it: they separate only
/// where everything between them is an address, or has the colon of one.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(Vec<Listen>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Listen {
    At(ListenAddress),
    /// A socket that was passed, by its number or name.
    Passed(String),
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        let several: Result<_, _> = parts.iter().map(|part| part.parse()).collect();
        let is_one = parts.iter().skip(1).all(|part| !part.contains(':'));
        let one = |wrong| if is_one { text.parse().map_err(|_| wrong) } else { Err(wrong) };
        several.or_else(|wrong| one(wrong).map(|one| vec![one])).map(Self)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("fd:") {
            Some("") => Err(format!("'{text}' needs the number or the name of a descriptor")),
            Some(label) => Ok(Self::Passed(label.to_owned())),
            None => text
                .parse()
                .map(Self::At)
                .map_err(|error: ListenAddressError| format!("'{text}' is no address: {error}")),
        }
    }
}

/// Returns the addresses to listen at: those of the flags, or those of the sockets passed if there is no flag.
pub(crate) fn resolve(
    flags: &[Addresses],
    metrics: Option<Address>,
    inherited: &Inherited,
) -> anyhow::Result<Vec<Address>> {
    if flags.is_empty() {
        let failed =
            "failed to listen at the sockets passed (LISTEN_FDS; --listen fd:N chooses some)";
        let mut addresses = inherited.addresses().context(failed)?;
        // The socket of the metrics may have been passed as well.
        addresses.retain(|address| Some(*address) != metrics);
        if addresses.is_empty() {
            addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)).into());
            check_distinct(&addresses, metrics)?;
        }
        return Ok(addresses);
    }
    let mut addresses = Vec::new();
    for flag in flags.iter().flat_map(|several| &several.0) {
        match flag {
            Listen::At(address) => addresses.extend(look_up_one(address)?),
            Listen::Passed(label) => {
                let passed = inherited.addresses_of(label);
                let failed = || format!("failed to listen at --listen fd:{label}");
                addresses.extend(passed.with_context(failed)?);
            }
        }
    }
    check_distinct(&addresses, metrics)?;
    Ok(addresses)
}

/// Looks up the names among the addresses, as far as [`resolve`] does without sockets that were passed: a program that
/// only checks its settings has none.
pub(crate) fn look_up(flags: &[Addresses], metrics: Option<Address>) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for flag in flags.iter().flat_map(|several| &several.0) {
        if let Listen::At(address) = flag {
            addresses.extend(look_up_one(address)?);
        }
    }
    check_distinct(&addresses, metrics)
}

/// Checks that no address is there twice. To listen there would fail, but not say that this process is the other one.
fn check_distinct(addresses: &[Address], metrics: Option<Address>) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    // The kernel chooses another port for each port 0.
    let is_chosen = |address: &Address| address.inet().is_some_and(|inet| inet.port() == 0);
    for address in addresses.iter().filter(|address| !is_chosen(address)) {
        ensure!(seen.insert(*address), "--listen {address} is there twice");
    }
    if let Some(address) = metrics {
        ensure!(!seen.contains(&address), "--metrics {address} is an address of --listen as well");
    }
    Ok(())
}

fn look_up_one(address: &ListenAddress) -> anyhow::Result<Vec<Address>> {
    address.resolve().with_context(|| format!("failed to look up --listen {address}"))
}

/// Returns whether one of the addresses is the path of a UNIX socket that is bound.
pub(crate) fn has_path(flags: &[Addresses]) -> bool {
    flags.iter().flat_map(|several| &several.0).any(|flag| match flag {
        Listen::At(ListenAddress::Address(address)) => address.as_path().is_some(),
        Listen::At(_) | Listen::Passed(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Vec<Listen> {
        text.parse::<Addresses>().unwrap().0
    }

    #[test]
    fn commas_separate_addresses_but_not_a_path() {
        assert_eq!(listen("127.0.0.1:1,unix:/a,[::1]:2").len(), 3);
        assert_eq!(listen(":1,localhost:2,@a").len(), 3);
        let path = |path: &str| Listen::At(Address::unix(path).unwrap().into());
        assert_eq!(listen("unix:/a,b.sock"), [path("/a,b.sock")]);
        assert_eq!(listen("unix:/a, unix:/b"), [path("/a"), path("/b")]);
        for wrong in ["unix:/a,127.0.0.1:99999", "unix:/a,localhost:http", "unix:/a,:", "@a,b:"] {
            assert!(wrong.parse::<Addresses>().is_err(), "{wrong}");
        }
        let passed = |label: &str| Listen::Passed(label.to_owned());
        let [first, second, third] = &listen("fd:3,unix:/a,fd:http")[..] else {
            panic!("not three")
        };
        assert_eq!((first, third), (&passed("3"), &passed("http")));
        assert_eq!(second, &path("/a"));
        assert_eq!(listen("fd:a,b"), [passed("a,b")]);
    }

    #[test]
    fn a_path_is_found_among_other_addresses() {
        let has_path = |text: &str| has_path(&[text.parse().unwrap()]);
        assert!(has_path(":1,unix:/a") && !has_path(":1,@a,localhost:1,127.0.0.1:1,fd:http"));
    }

    #[test]
    fn an_address_that_is_there_twice_is_refused_unless_the_kernel_chooses_the_port() {
        let metrics = Some("127.0.0.1:9".parse().unwrap());
        for (flags, twice) in [
            (&["127.0.0.1:1,127.0.0.1:2,[::1]:1,@a,unix:/a,unix:a"][..], None),
            (&["127.0.0.1:0,127.0.0.1:0", "localhost:0"], None),
            (&["127.0.0.1:1", "[::1]:1,127.0.0.1:1"], Some("--listen 127.0.0.1:1 ")),
            (&["127.0.0.1:1", "localhost:1"], Some("--listen 127.0.0.1:1 ")),
            (&[":1,:1"], Some(":1 is there twice")),
            (&["unix:/a", "@b,unix:/a"], Some("--listen unix:/a ")),
            (&["unix:@a,@a"], Some("--listen unix:@a ")),
            (&["127.0.0.1:9"], Some("--metrics 127.0.0.1:9 is an address of --listen")),
        ] {
            let flags: Vec<_> = flags.iter().map(|flag| flag.parse().unwrap()).collect();
            let checked = look_up(&flags, metrics).map_err(|error| error.to_string());
            let resolved = resolve(&flags, metrics, &Inherited::default()).map(drop);
            assert_eq!(resolved.map_err(|error| error.to_string()), checked);
            match twice {
                None => assert_eq!(checked, Ok(())),
                Some(twice) => assert!(checked.unwrap_err().contains(twice), "{twice}"),
            }
        }
    }

    #[test]
    fn without_a_flag_and_without_a_socket_it_is_the_default() {
        let addresses = resolve(&[], None, &Inherited::default()).unwrap();
        assert_eq!(addresses, ["127.0.0.1:8080".parse().unwrap()]);
        let error = resolve(&[], Some(addresses[0]), &Inherited::default()).unwrap_err();
        assert!(error.to_string().contains("--metrics 127.0.0.1:8080 is an address of"), "{error}");
    }

    #[test]
    fn a_socket_that_was_not_passed_is_an_error_that_names_the_flag() {
        let flag = "unix:/a,fd:http".parse().unwrap();
        let error = resolve(&[flag], None, &Inherited::default()).unwrap_err();
        let (flag, cause) = (error.to_string(), error.root_cause().to_string());
        assert!(flag.ends_with("--listen fd:http") && cause.contains("LISTEN_FDS"), "{error:#}");
    }
}

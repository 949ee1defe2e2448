//! The configurations of the programs that are compared with: one thread, and nothing that is not asked for.

use super::tls;
use std::net::SocketAddr;

/// The only agreement that nginx accepts: that of our server, which is told so in `bench/tls`.
const ONE_SUITE: &str = "    ssl_protocols TLSv1.3;\n    ssl_ecdh_curve X25519;\n    \
                         ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n";

/// Returns the configuration of nginx for HTTP.
pub(crate) fn nginx(folder: &str, listen: SocketAddr) -> String {
    nginx_with(folder, &format!("    listen {listen} backlog=4096;\n"))
}

/// Returns the configuration of nginx for HTTPS. By default nginx caches no session, and sends tickets.
pub(crate) fn nginx_tls(folder: &str, listen: SocketAddr) -> String {
    let (certificate, key) = (tls::CERTIFICATE, tls::KEY);
    nginx_with(
        folder,
        &format!(
            "    listen {listen} ssl backlog=4096;\n    ssl_certificate {folder}/{certificate};\n    \
             ssl_certificate_key {folder}/{key};\n{ONE_SUITE}"
        ),
    )
}

/// Returns a configuration with one process. A process without a master does the same work for a request, and has
/// no privileges to drop, which a user namespace would not allow.
fn nginx_with(folder: &str, listen: &str) -> String {
    let kib = "x".repeat(1024);
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 3600s;\n\
         {folders}  default_type text/plain;\n  server {{\n{listen}\
         \x20   location = / {{ return 200 \"ok\"; }}\n    location = /1k {{ return 200 \"{kib}\"; }}\n\
         \x20 }}\n}}\n"
    )
}

/// Returns the configuration of HAProxy for a stream of bytes.
pub(crate) fn haproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n\
         \x20 timeout client 60s\n  timeout server 60s\nlisten proxy\n  bind {listen}\n\
         \x20 server backend {backend}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn assert_has(text: &str, parts: &[&str]) {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn configurations_ask_for_one_thread_and_name_the_addresses() {
        let one_thread = ["worker_processes 1;", "access_log off;"];
        let plain = nginx("/folder", address(81));
        assert_has(&plain, &one_thread);
        assert_has(&plain, &["listen 127.0.0.1:81 backlog"]);
        let tls = nginx_tls("/folder", address(81));
        assert_has(&tls, &one_thread);
        assert_has(&tls, &["listen 127.0.0.1:81 ssl ", "ssl_certificate_key /folder/key.pem;"]);
        let haproxy = haproxy(address(82), address(83));
        assert_has(
            &haproxy,
            &["nbthread 1\n", "bind 127.0.0.1:82\n", "server backend 127.0.0.1:83\n"],
        );
    }
}

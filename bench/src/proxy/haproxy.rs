//! HAProxy. It checks only the two signatures: no claims, no parameters, no replay.
//! Without checks it shows what forwarding alone costs.

use std::path::Path;
use std::process::Command;

use super::{Capacity, Name, Running, Site, free_address, version};
use crate::error::BenchError;

pub(crate) fn start(program: &Path, site: &Site, name: Name, capacity: Capacity) -> Result<Running, BenchError> {
    start_with(program, site, name, capacity, "")
}

/// Checks, and asks the upstream for this path instead.
pub(crate) fn start_rewriting(program: &Path, site: &Site, path: &str) -> Result<Running, BenchError> {
    let rules = format!("    http-request set-method GET\n    http-request set-path {path}\n");
    start_with(program, site, Name::HaProxy, Capacity::ORDINARY, &rules)
}

fn start_with(program: &Path, site: &Site, name: Name, capacity: Capacity, rules: &str) -> Result<Running, BenchError> {
    let address = free_address()?;
    let (certificate, core, user) = (site.path("chain-and-key.pem"), site.path("core.pem"), site.path("user.pem"));
    // The algorithm is an argument of `jwt_verify`, so the token's own `alg` does not matter. 1
    // means "verified".
    let checks = match name {
        Name::HaProxyBare => String::new(),
        Name::Countersign | Name::HaProxy | Name::Envoy => format!(
            "    http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify(\"RS256\",\"{core}\") -m int 1 }}\n    \
             http-request deny deny_status 403 unless {{ req.hdr(ucloud-signed-intent),jwt_verify(\"ES256\",\"{user}\") -m int 1 }}\n",
            core = core.display(),
            user = user.display(),
        ),
    };
    let streams = capacity.streams.map(|streams| format!("    tune.h2.max-concurrent-streams {streams}\n"));
    let configuration = format!(
        "global\n    nbthread {threads}\n    maxconn {connections_max}\n{streams}\
         defaults\n    mode http\n    option http-keep-alive\n    http-reuse always\n    timeout connect 5s\n    \
         timeout client 60s\n    timeout server 60s\n    timeout http-keep-alive 60s\n\
         frontend provider\n    bind {address} ssl crt {certificate} alpn h2,http/1.1\n{checks}{rules}    \
         default_backend instance\n\
         backend instance\n    server dummy unix@{upstream}\n",
        threads = capacity.threads,
        connections_max = capacity.connections_max(),
        streams = streams.unwrap_or_default(),
        certificate = certificate.display(),
        upstream = site.upstream.display(),
    );
    let file = site.write(&format!("haproxy-{}.cfg", address.port()), &configuration)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Running::start(
        name,
        version(program, "-v")?,
        command,
        address,
        &site.path(&format!("haproxy-{}.log", address.port())),
    )
}

//! Envoy: two `jwt_authn` providers, both required. It checks `exp` as well,
//! because it cannot be configured not to. Its cache of verified tokens (`jwt_cache_config`) stays
//! off, as by default.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Capacity, Name, Running, Site, free_address, version};
use crate::error::BenchError;
use crate::workload::Workload;

pub(crate) fn start(
    program: &Path,
    site: &Site,
    workload: &Workload,
    capacity: Capacity,
) -> Result<Running, BenchError> {
    let address = free_address()?;
    let file = site.write("envoy.json", &bootstrap(site, workload, address.port())?.to_string())?;
    let mut command = Command::new(program);
    command.arg("--config-path").arg(file);
    command.arg("--concurrency").arg(capacity.threads.to_string());
    command.args(["--disable-hot-restart", "--log-level", "error"]);
    Running::start(Name::Envoy, version(program, "--version")?, command, address, &site.path("envoy.log"))
}

fn bootstrap(site: &Site, workload: &Workload, port: u16) -> Result<Value, BenchError> {
    let verification = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {
            "core": {
                "issuer": "cloud.sdu.dk", "forward": true,
                "local_jwks": {"inline_string": workload.core.jwks().to_string()},
                "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
            },
            "intent": {
                "forward": true,
                "local_jwks": {"inline_string": workload.first.signer.jwks()?.to_string()},
                "from_headers": [{"name": "ucloud-signed-intent"}],
            },
        },
        "rules": [{
            "match": {"prefix": "/"},
            "requires": {"requires_all": {"requirements": [{"provider_name": "core"}, {"provider_name": "intent"}]}},
        }],
    });
    let connections = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "provider", "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{
            "name": "provider", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "instance"}}],
        }]},
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": verification},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            }},
        ],
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            // Envoy's server side uses at most TLS 1.2 unless a higher version is configured.
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{
                "certificate_chain": {"filename": site.path("chain.pem")},
                "private_key": {"filename": site.path("key.pem")},
            }],
        },
    });
    Ok(json!({"static_resources": {
        "listeners": [{
            "address": socket_address("127.0.0.1", port),
            "filter_chains": [{
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            }],
        }],
        "clusters": [{
            "name": "instance", "type": "STATIC",
            "load_assignment": {"cluster_name": "instance", "endpoints": [{"lb_endpoints": [{
                "endpoint": {"address": {"pipe": {"path": site.upstream}}},
            }]}]},
        }],
    }}))
}

fn socket_address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

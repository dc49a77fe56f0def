//! `[metrics]` and `[alarms]`: where metrics may be served, and what may be run.

use super::{check, said};
use crate::support::config_fixture::ConfigFixture;

const GOOD: &str = "listen = \"run/metrics.sock\"\nmode = \"0600\"";

/// Replaces the table.
fn refused(table: &str, want: &str) {
    check(GOOD, table, want);
}

#[test]
fn w01_metrics_are_served_to_this_machine_unless_the_site_says_otherwise() {
    let reach = "metrics.listen: is not a loop-back address, and metrics have neither TLS nor a password. Choose one \
                 such as \"127.0.0.1:9464\", or set metrics.anywhere = true if only your collectors reach this address";
    for address in ["0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464", "[2001:db8::1]:9464"] {
        refused(&format!("listen = \"{address}\""), reach);
        refused(&format!("listen = \"{address}\"\nanywhere = false"), reach);
    }
    for (table, want) in [
        ("listen = \"[::1]:9464\"", "metrics      at [::1]:9464, for this machine"),
        ("listen = \"127.0.0.2:9464\"\nanywhere = false", "metrics      at 127.0.0.2:9464, for this machine"),
        (
            "listen = \"0.0.0.0:9464\"\nanywhere = true",
            "metrics      at 0.0.0.0:9464, for every machine that reaches it",
        ),
    ] {
        let site = ConfigFixture::new();
        site.flip(GOOD, table);
        assert!(said(&site).contains(want), "{want}");
    }
}

#[test]
fn w01_what_is_no_place_for_metrics_is_refused() {
    refused(
        "mode = \"0600\"",
        "metrics.listen: is missing: where collectors find the metrics, such as \"127.0.0.1:9464\" or \"/run/ucloud/metrics.sock\"",
    );
    refused(
        "listen = \"localhost\"",
        "metrics.listen: is not an IP address with a port, such as \"0.0.0.0:8889\" or \"[::1]:8889\"",
    );
    refused("listen = \"127.0.0.1:0\"", "metrics.listen: needs a port: with 0 it would be another one at every start");
    // The gateway listens on 0.0.0.0:443 and [::1]:8889.
    refused("listen = \"127.0.0.1:443\"", "metrics.listen: is also the port of gateway.listen 0.0.0.0:443");
    refused("listen = \"[::1]:8889\"", "metrics.listen: is also the port of gateway.listen [::1]:8889");
    refused(
        &format!("listen = \"/run/{}\"", "x".repeat(120)),
        "metrics.listen: is longer than 107 bytes, so that the sockets in it would have no valid name",
    );
    for mode in ["660", "0888", "0", "rw", "00660"] {
        refused(
            &format!("listen = \"/run/m.sock\"\nmode = \"{mode}\""),
            "metrics.mode: is not four octal digits such as \"0660\"",
        );
    }
    refused(
        "listen = \"127.0.0.1:9464\"\nmode = \"0660\"",
        "metrics.mode: means nothing unless metrics.listen is the path of a socket",
    );
    refused(
        "listen = \"/run/m.sock\"\nanywhere = true",
        "metrics.anywhere: means nothing unless metrics.listen is an address",
    );
}

#[test]
fn w01_a_program_for_alarms_is_one_that_no_other_account_can_have_written() {
    let handed = "alarms       are logged, and handed to /usr/bin/env";
    assert!(said(&ConfigFixture::new()).contains(handed));
    let what = "a program and its arguments, such as [\"/usr/local/bin/alarm\"]";
    check("[\"/usr/bin/env\", \"true\"]", "[]", &format!("alarms.command: is empty: {what}"));
    check("/usr/bin/env", "env", "alarms.command[0]: has to begin with the absolute path of a program");
    let site = ConfigFixture::new();
    let program = site.path("core.pem").display().to_string();
    site.chmod("core.pem", 0o775);
    site.flip("/usr/bin/env", &program);
    let want = "alarms.command[0]: core.pem has mode 0775: others can write it; chmod go-w core.pem";
    assert!(site.placeless().contains(&want.to_owned()), "{:?}", site.placeless());
}

//! HTTP/2 as h2spec judges it: every rule of RFC 9113 and RFC 7541 that it knows, on a page and on
//! a refusal.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::honest::Honest;
use super::proxy::{self, Front};

/// Tests of h2spec that fail, and why that is as it should be.
const EXPLAINED: [(&str, &str); 4] = [
    ("Sends a second HEADERS frame without the END_STREAM flag", EARLY),
    ("closed: Sends a DATA frame after sending RST_STREAM frame", IN_FLIGHT),
    ("closed: Sends a HEADERS frame after sending RST_STREAM frame", IN_FLIGHT),
    ("Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream", IN_FLIGHT),
];

const EARLY: &str = "an answer that needs no body is sent before the body: the frame comes on a stream that is half closed \
                     by then, and what was announced is not read";

const IN_FLIGHT: &str = "the short answer was on its way before the frame was read (RFC 9113 section 5.1): h2spec takes \
                         its DATA for an answer to that frame";

/// Tests of the version that is installed.
const TESTS: usize = 145;

/// What h2spec finds wrong at that path.
async fn failures(honest: &Honest, path: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile-h2spec");
    assert!(program.exists(), "{} is not there: run tests/hostile/install", program.display());
    let port = honest.centre.address.port().to_string();
    let mut command = Command::new(program);
    command.args(["localhost", &port, path]).stdin(Stdio::null());
    let output = honest.asks_until("h2spec", command.kill_on_drop(true).output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(&format!("\n{TESTS} tests, ")),
        "it did not run: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let failed = said.split_once("\nFailures:").map_or("", |(_, failed)| failed);
    let names = failed.lines().filter_map(|line| line.trim().strip_prefix("× ")?.split_once(": "));
    names.map(|(_, name)| name.to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn s20_h2spec_finds_nothing_that_is_not_explained() {
    let (centre, _) = proxy::open(Front::Tls, "").await;
    let honest = Honest::at(centre).await;
    for path in ["/ucloud/hpc/connect", "/nothing"] {
        let found = failures(&honest, path).await;
        let (explained, wrong): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|name| EXPLAINED.iter().any(|(known, _)| name == known));
        assert!(wrong.is_empty(), "{path}: {wrong:#?}");
        println!("h2spec at {path}: {TESTS} tests, explained: {explained:?}");
    }
}

//! TLS as other people's tools judge it. What they find is explained here, each thing with its
//! reason, or it is a failure.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::honest::Honest;
use super::proxy::{self, Front};
use super::script;

/// Findings of testssl.sh that are as they should be, and why.
const EXPLAINED_TESTSSL: [(&str, &str); 2] = [
    ("engine_problem", "the machine's own openssl has no GOST, which testssl.sh would try"),
    (
        "cipher_order",
        "all that is offered is strong, so the client chooses, who knows what it does fast: as Mozilla has it",
    ),
];

/// Where sslyze finds Mozilla's profile broken, and why it is not the gateway that breaks it.
const EXPLAINED_SSLYZE: [(&str, &str); 2] = [
    ("certificate_path_validation", "the certificate was made for this test, by an authority that nobody knows"),
    ("maximum_certificate_lifespan", "the same: it lasts for two thousand years"),
];

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_testssl_finds_nothing_that_is_not_explained() {
    let (centre, _) = proxy::open(Front::Tls, "").await;
    let honest = Honest::at(centre).await;
    let directory = tempfile::tempdir().unwrap();
    let findings = directory.path().join("findings.json");
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"]);
    command.args(["--connect-timeout", "30", "--openssl-timeout", "30"]);
    command.args(["--protocols", "--standard", "--fs", "--server-preference", "--headers", "--vulnerable"]);
    command.arg("--jsonfile").arg(&findings).arg(honest.centre.origin()).stdin(Stdio::null());
    let output = honest.asks_until("testssl", command.kill_on_drop(true).output()).await;
    let output = output.expect("testssl is not installed: see ./test");
    let said = String::from_utf8_lossy(&output.stdout);
    let found = fs::read_to_string(&findings).unwrap_or_else(|why| panic!("{why}: {said}"));
    let found: Vec<Value> = serde_json::from_str(&found).unwrap_or_else(|why| panic!("{why}: {said}"));
    let severity =
        |id: &str| found.iter().find(|finding| finding["id"] == id).and_then(|finding| finding["severity"].as_str());
    // It did look, from the first of these sections to the last.
    for id in ["SSLv2", "TLS1_2", "TLS1_3", "cipherlist_NULL", "HSTS_time", "heartbleed", "RC4"] {
        assert_eq!(severity(id), Some("OK"), "{id}: {said}");
    }
    // Forward secrecy, which versions from 3.2 on call FS.
    assert_eq!(severity("PFS").or(severity("FS")), Some("OK"), "{said}");
    let is_bad = |finding: &&Value| !["OK", "INFO", "LOW", "DEBUG"].contains(&finding["severity"].as_str().unwrap());
    let is_explained = |finding: &Value| EXPLAINED_TESTSSL.iter().any(|(id, _)| finding["id"] == *id);
    let bad: Vec<&Value> = found.iter().filter(is_bad).filter(|finding| !is_explained(finding)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    println!("testssl.sh: {} findings, {} honest requests answered meanwhile", found.len(), honest.served());
}

/// In what sslyze finds that profile of Mozilla's broken.
async fn broken(honest: &Honest, profile: &str) -> Vec<String> {
    let mut command = Command::new(script::installed("sslyze"));
    command.args(["--mozilla_config", profile, &honest.centre.address.to_string()]).stdin(Stdio::null());
    let output = honest.asks_until("sslyze", command.kill_on_drop(true).output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let (_, judged) = said.split_once("Checking results against Mozilla's").unwrap_or_else(|| panic!("{said}"));
    assert!(judged.contains("Not compliant") || judged.contains("OK - Compliant"), "{said}");
    let of_line = |line: &str| Some(line.trim().strip_prefix("* ")?.split_once(':')?.0.to_owned());
    judged.lines().filter_map(of_line).collect()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_sslyze_finds_mozillas_profile_kept() {
    let (centre, _) = proxy::open(Front::Tls, "").await;
    let honest = Honest::at(centre).await;
    let mut found = broken(&honest, "intermediate").await;
    found.retain(|what| !EXPLAINED_SSLYZE.iter().any(|(known, _)| known == what));
    assert!(found.is_empty(), "{found:?}");
    // It does judge: of the stricter profile, without TLS 1.2, it says what is not kept.
    let found = broken(&honest, "modern").await;
    assert!(found.iter().any(|what| what == "tls_versions"), "{found:?}");
}

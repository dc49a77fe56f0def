//! Readiness: each check alone makes it fail, and strangers do not learn which.

use super::*;
use crate::tls::CurrentKey;

async fn status(test: &TestGateway, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n");
    let answer = test.raw(request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn failing(test: &TestGateway) -> Vec<&'static str> {
    test.gateway.checks().into_iter().filter(|(_, is_passed)| !is_passed).map(|(check, _)| check).collect()
}

/// Expects the checks that fail, and that a stranger learns only whether there are any.
async fn check(test: &TestGateway, want: &[&str]) {
    assert_eq!(failing(test), want);
    let expected = if want.is_empty() { (200, "{\"status\":\"ok\"}") } else { (503, "{\"status\":\"unavailable\"}") };
    let (code, body) = status(test, "/readyz").await;
    assert_eq!((code, body.as_str()), expected);
    assert_eq!(status(test, "/healthz").await.0, 200, "the loop runs");
}

#[tokio::test]
async fn w01_each_fault_of_the_server_makes_the_gateway_unready_and_its_end_ready() {
    let test = TestGateway::new().await;
    check(&test, &[]).await;
    for (health, want) in [
        (line::Health { store: false, log: true }, "key_store"),
        (line::Health { store: true, log: false }, "server_log"),
    ] {
        *test.health.lock().unwrap() = health;
        test.gateway.look(None).await;
        check(&test, &[want]).await;
    }
    *test.health.lock().unwrap() = line::Health { store: true, log: true };
    test.gateway.look(None).await;
    check(&test, &[]).await;
    test.gateway.readiness.stop();
    check(&test, &["running"]).await;
}

#[tokio::test(start_paused = true)]
async fn w01_a_server_that_does_not_answer_makes_the_gateway_unready() {
    let test = TestGateway::new().await;
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(failing(&test), [""; 0], "one look may be late");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(failing(&test), ["server", "key_store", "server_log"]);
}

#[tokio::test]
async fn w01_an_expired_certificate_and_a_full_disk_make_the_gateway_unready() {
    let test = TestGateway::new().await;
    for (year, want) in [(2020, &["certificate"][..]), (2120, &[])] {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let signing = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&signing).unwrap();
        let current =
            CurrentKey::new(Arc::new(rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], signing)));
        test.gateway.look(Some(&current)).await;
        check(&test, want).await;
    }
    let Ok(full) = File::options().append(true).open("/dev/full") else { return };
    let test = TestGateway::changed(|gateway| gateway.audit = DecisionLog::to(full)).await;
    let deed = Deed::browse("/1/a");
    let answer = test.core.send(&test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap()).await.unwrap();
    assert_eq!(answer.status, 503);
    check(&test, &["gateway_log"]).await;
}

#[tokio::test]
async fn w01_maintenance_is_no_reason_to_take_the_gateway_away() {
    let test = TestGateway::new().await;
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::ForAllBut(Default::default()));
    check(&test, &[]).await;
}

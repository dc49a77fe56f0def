//! Nothing unsigned reaches an instance, no client gets another's answer, and a client that shares
//! a connection with an attack is served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use countersign_portal::Deed;
use countersign_portal::core::{Flavour, username_header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::corpus::{self, Bait};
use super::honest::Honest;
use super::proxy::{self, Front};
use super::script::Script;
use crate::support::test_site::PROVIDER;

/// How long an attack may be without any answer before the next one follows. Some never get one: a
/// proxy waits for the rest.
const SILENCE: Duration = Duration::from_millis(150);

/// How long the gateway may take to end a connection that it has nothing more to say on.
const END: Duration = Duration::from_secs(30);

/// After so many that went wrong the rest is not tried.
const WRONG_SHOWN: usize = 5;

/// What an unsigned request would make.
const FOLDER: &str = "smuggled";

fn bait(honest: &Honest) -> Bait {
    let body =
        Deed::create_folder(&format!("/home/{FOLDER}")).body(&honest.alice.username, PROVIDER, Flavour::Core2).unwrap();
    Bait {
        host: honest.host(),
        token: honest.centre.core.token().unwrap(),
        username: username_header(&honest.alice.username),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// The statuses in what came back, and whose answer each is.
fn answers(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).filter(|answer| !answer.starts_with("100 ")).collect()
}

/// Of all that was attacked with nothing was done, and nothing but the honest requests was heard.
async fn nothing_was_done(honest: &Honest, before: (usize, usize)) {
    assert!(!honest.alice.home.join(FOLDER).exists(), "an unsigned request was done");
    honest.centre.until_judged(before.0 + honest.served(), "the instance heard of the honest requests alone").await;
    assert_eq!(honest.forwarded() - before.1, honest.served(), "the gateway let through what was not signed");
}

/// As a front would that took the attack for so many requests: it has put the next client's request
/// behind it, on the same connection.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_a_front_that_falls_for_it_gets_no_answer_out_of_turn() {
    let (centre, _) = proxy::open(Front::Nothing, "").await;
    let honest = Honest::at(centre).await;
    let before = (honest.centre.judged().len(), honest.forwarded());
    let mut wrong = Vec::new();
    for attack in corpus::all(&bait(&honest)) {
        let (next, marker) = honest.bytes();
        let bytes = [attack.bytes.as_slice(), next.as_bytes()].concat();
        let began = Instant::now();
        let came = honest.centre.core.endpoint().raw(&bytes, END).await.unwrap();
        let is_left_open = began.elapsed() >= END;
        let text = String::from_utf8_lossy(&came);
        let answers = answers(&text);
        let turns = answers.iter().enumerate().all(|(at, answer)| answer.contains(&marker) == (at == attack.seen));
        if answers.is_empty() || answers.len() > attack.seen + 1 || !turns || is_left_open {
            wrong.push(format!("{}: {} answers: {text}", attack.name, answers.len()));
        }
        if answers.len() > attack.seen {
            honest.was_served();
        }
        if wrong.len() >= WRONG_SHOWN {
            break; // each may have taken all the time that it could
        }
    }
    assert!(wrong.is_empty(), "at least {}: {}", wrong.len(), wrong.join("\n"));
    honest.asks("afterwards").await;
    nothing_was_done(&honest, before).await;
}

/// Who speaks to the gateway through a proxy does so on the one connection that the others have.
async fn shares_its_connection(honest: &Honest) {
    honest.asks("alone").await;
    let one = proxy::connections_to(honest.centre.address);
    let stranger = format!(
        "GET /ucloud/{PROVIDER}/intent/calls.json HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        honest.host()
    );
    let came = honest.centre.core.endpoint().raw(stranger.as_bytes(), END).await.unwrap();
    assert!(came.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&came));
    honest.asks("after a stranger").await;
    assert_eq!((one.len(), proxy::connections_to(honest.centre.address)), (1, one));
}

/// Attacks and honest requests take turns on one connection to the gateway.
async fn no_attack_gets_past(front: Front) {
    let (centre, _proxy) = proxy::open(front, "").await;
    let honest = Honest::at(centre).await;
    let before = (honest.centre.judged().len(), honest.forwarded());
    if front != Front::HaproxyTcp {
        shares_its_connection(&honest).await;
    }
    let mut statuses = BTreeMap::new();
    for attack in corpus::all(&bait(&honest)) {
        let name = &attack.name;
        let mut attacker = honest.centre.core.endpoint().open().await.unwrap();
        let _refused_meanwhile = attacker.write_all(&attack.bytes).await;
        let _refused_meanwhile = attacker.flush().await;
        let mut came = vec![0; 64 * 1024];
        let length = tokio::time::timeout(SILENCE, attacker.read(&mut came)).await.map_or(0, |read| read.unwrap_or(0));
        came.truncate(length);
        honest.asks(name).await;
        // Whatever there is by now for the attacker.
        let _nothing_more = tokio::time::timeout(Duration::from_millis(1), attacker.read_to_end(&mut came)).await;
        let text = String::from_utf8_lossy(&came);
        assert!(!text.contains("marker-"), "{name}: another's answer: {text}");
        *statuses.entry(text.get(9..12).unwrap_or("none").to_owned()).or_insert(0) += 1;
    }
    honest.asks("afterwards").await;
    nothing_was_done(&honest, before).await;
    println!(
        "{front:?}: {} attacks and as many honest requests; first answers to the attacks: {statuses:?}",
        honest.served() - 1
    );
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_attack_gets_past_nginx_and_the_gateway() {
    no_attack_gets_past(Front::Nginx).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_attack_gets_past_haproxy_and_the_gateway() {
    no_attack_gets_past(Front::HaproxyHttp).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_attack_gets_past_a_proxy_of_bytes_and_the_gateway() {
    no_attack_gets_past(Front::HaproxyTcp).await;
}

/// The same with requests of HTTP/2, which a proxy writes down as HTTP/1.1 for the gateway.
async fn no_downgrade_gets_past(front: Front) {
    let (centre, _proxy) = proxy::open(front, "").await;
    let honest = Honest::at(centre).await;
    let before = (honest.centre.judged().len(), honest.forwarded());
    let bait = bait(&honest);
    let (host, port) = bait.host.split_once(':').unwrap();
    let told = json!({
        "host": host, "port": port, "token": bait.token, "username": bait.username, "body": bait.body, "inner": bait.inner(),
    });
    let mut attacker = Script::start("downgrade.py");
    attacker.say(&told).await;
    let mut outcomes = BTreeMap::new();
    loop {
        attacker.say(&json!("next")).await;
        let outcome = attacker.hear().await;
        let Some(name) = outcome["name"].as_str() else { break };
        honest.asks(name).await;
        assert!(!name.contains("nothing wrong") || outcome["status"] == "482", "{outcome}");
        let kind = outcome["status"].as_str().or_else(|| outcome["ended"].as_str()).unwrap().to_owned();
        *outcomes.entry(kind).or_insert(0) += 1;
    }
    assert!(honest.served() > 100, "the attacks were made");
    honest.asks("afterwards").await;
    nothing_was_done(&honest, before).await;
    println!(
        "{front:?}: {} attacks and as many honest requests; what became of the attacks: {outcomes:?}",
        honest.served() - 1
    );
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_downgrade_of_http2_gets_past_nginx_and_the_gateway() {
    no_downgrade_gets_past(Front::Nginx).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_downgrade_of_http2_gets_past_haproxy_and_the_gateway() {
    no_downgrade_gets_past(Front::HaproxyHttp).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_no_bad_request_of_http2_gets_past_the_gateway() {
    no_downgrade_gets_past(Front::Tls).await;
}

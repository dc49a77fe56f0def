//! Calls to Core, against a fake Core with faults; and Core's calls to the server, on its private
//! socket.

use std::sync::{Arc, Mutex};

use countersign_keys::identity::{Origin, Uid, Username};
use countersign_keys::store::drives::CoreDriveId;
use countersign_keys::time::Timestamp;
use countersign_portal::core::{Control, ControlCall, Outage};
use countersign_portal::{CoreKeys, TestCertificate};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::client::{CoreCalls, CoreFailure, Told};
use super::outbox::{CoreClient, round};
use super::product_registration::{self, RegistrationFailure};
use super::schedule::Schedule;
use super::{drive_registration, drives};
use crate::http::endpoints::serve_gateway;
use crate::test_server::{ALICE, BOB, TEST, TestServer, user};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::server_protocol::DrivesReport;
use countersign_keys::store::registry::Authority;
use countersign_metrics::Counter;

const START: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

async fn server_with_core() -> (TestServer, Control, CoreCalls) {
    server_with_core_and("").await
}

/// With more configuration.
async fn server_with_core_and(more: &str) -> (TestServer, Control, CoreCalls) {
    let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
    let control = Control::start(Arc::clone(&keys)).await.unwrap();
    let test = TestServer::with_core(&control.origin(), &keys, Some(control.refresh_token()), more);
    let core = &test.server.config.core;
    let calls = CoreCalls::new(core.origin.clone(), core.refresh_token.clone().unwrap(), &core.ca).unwrap();
    (test, control, calls)
}

fn approved() -> ControlCall {
    ControlCall::Approved("alice#1".to_owned())
}

fn cleared() -> ControlCall {
    ControlCall::Cleared("alice#1".to_owned())
}

impl TestServer {
    async fn round(&self, client: &impl CoreClient, schedule: &mut Schedule, seconds: i64) {
        round(&self.server.records, client, schedule, at(seconds), &|| (), &Counter::new()).await.unwrap();
    }

    fn is_core_told(&self) -> bool {
        self.server.records.user(&user("alice#1")).unwrap().unwrap().connection.unwrap().core_told
    }

    fn outbox(&self) -> usize {
        self.server.records.outbox_after(None, 10).unwrap().len()
    }
}

#[tokio::test]
async fn core_is_told_of_connections_and_of_their_end() {
    let (test, control, calls) = server_with_core().await;
    test.connected().await;
    let mut schedule = Schedule::default();
    test.round(&calls, &mut schedule, 0).await;
    let mut said = vec![cleared(), approved()];
    assert_eq!((control.calls(), test.is_core_told(), test.outbox()), (said.clone(), true, 0));
    test.server.disconnect(Authority::Account(ALICE), user("alice#1"), &TEST).await.unwrap();
    test.round(&calls, &mut schedule, 0).await;
    said.push(cleared());
    assert_eq!((control.calls(), test.outbox()), (said, 0));
}

/// Core approved, the response was lost, and the server ended before it could record a failure. The
/// fake ends its process on a second approval, as Core does.
#[tokio::test]
async fn c04_an_approval_is_never_repeated_without_a_clearing() {
    let (test, control, calls) = server_with_core().await;
    test.connected().await;
    calls.tell(Told::Connected, &user("alice#1"), at(0)).await.unwrap();
    assert!(!test.is_core_told());
    test.round(&calls, &mut Schedule::default(), 0).await;
    assert_eq!((control.calls(), test.is_core_told()), (vec![approved(), cleared(), approved()], true));
    assert_eq!(control.take_death(), None);

    let again = calls.tell(Told::Connected, &user("alice#1"), at(0)).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(control.take_death(), Some("a user who is connected was approved again"));
}

#[tokio::test]
async fn core_is_told_when_it_is_back_and_of_a_repeated_approval_after_a_clearing() {
    let (test, control, calls) = server_with_core().await;
    test.connected().await;
    let mut schedule = Schedule::default();
    control.set_outage(Outage::Down);
    test.round(&calls, &mut schedule, 0).await;
    assert_eq!((test.is_core_told(), test.outbox()), (false, 1));
    control.set_outage(Outage::None);
    test.round(&calls, &mut schedule, 0).await;
    assert_eq!(control.calls(), [], "not before the wait is over");
    test.round(&calls, &mut schedule, 1).await;
    assert_eq!((control.calls(), test.is_core_told()), (vec![cleared(), approved()], true));
}

#[tokio::test]
async fn a_message_outlives_its_first_delivery() {
    let (test, control, calls) = server_with_core().await;
    test.connected().await;
    control.set_outage(Outage::Fails(3));
    test.round(&calls, &mut Schedule::default(), 0).await;
    control.set_outage(Outage::None);
    test.round(&calls, &mut Schedule::default(), 0).await;
    assert_eq!((control.calls(), test.is_core_told()), (vec![cleared(), approved()], true));
}

#[tokio::test]
async fn a_wrong_refresh_token_is_a_failure_for_everybody() {
    let keys = CoreKeys::generate("hpc").unwrap();
    let control = Control::start(Arc::new(keys)).await.unwrap();
    let test = TestServer::with_core(&control.origin(), &CoreKeys::generate("hpc").unwrap(), Some("wrong"), "");
    let core = &test.server.config.core;
    let calls = CoreCalls::new(core.origin.clone(), core.refresh_token.clone().unwrap(), &core.ca).unwrap();
    let failure = calls.tell(Told::Connected, &user("alice#1"), at(0)).await.unwrap_err();
    assert!(failure.is_general(), "{failure}");
    assert_eq!(failure.to_string(), "Core answered /auth/providers/refresh with status 401 Unauthorized");
}

/// Core over TLS, with a certificate signed by its own authority.
#[tokio::test]
async fn core_over_tls_is_believed_by_its_authority_alone_and_a_message_waits_until_it_is() {
    let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
    let certificate = TestCertificate::make("localhost").unwrap();
    let control = Control::start_over_tls(Arc::clone(&keys), &certificate).await.unwrap();
    let test = TestServer::with_core(&control.origin(), &keys, Some(control.refresh_token()), "");
    assert!(test.server.config.core.origin.is_https());
    test.connected().await;
    let calls = |authority: Option<&TestCertificate>, origin: &Origin| {
        let authority =
            authority.map(|made| CertificateDer::from_pem_slice(made.authority_pem.as_bytes()).unwrap().into_owned());
        let core = &test.server.config.core;
        CoreCalls::new(origin.clone(), core.refresh_token.clone().unwrap(), authority.as_slice()).unwrap()
    };
    let origin = test.server.config.core.origin.clone();
    let by_address = Origin::parse(&control.origin().replace("localhost", "127.0.0.1")).unwrap();
    let plain = Origin::parse(&control.origin().replace("https:", "http:")).unwrap();
    let stranger = TestCertificate::make("localhost").unwrap();
    let mut schedule = Schedule::default();
    let mut seconds = 0;
    for (what, untold) in [
        ("another authority", calls(Some(&stranger), &origin)),
        ("the system's authorities", calls(None, &origin)),
        ("another name", calls(Some(&certificate), &by_address)),
        ("no TLS", calls(Some(&certificate), &plain)),
    ] {
        let failure = untold.tell(Told::Connected, &user("alice#1"), at(seconds)).await.unwrap_err();
        assert!(failure.is_general(), "{what}: {failure}");
        test.round(&untold, &mut schedule, seconds).await;
        assert_eq!((control.calls(), test.is_core_told(), test.outbox()), (vec![], false, 1), "{what}");
        seconds += 100;
    }
    test.round(&calls(Some(&certificate), &origin), &mut schedule, seconds).await;
    assert_eq!((control.calls(), test.is_core_told(), test.outbox()), (vec![cleared(), approved()], true, 0));
}

/// Refuses some users, and records what it was told.
#[derive(Default)]
struct Refusing {
    refused: &'static [&'static str],
    told: Mutex<Vec<(Told, String)>>,
}

impl CoreClient for Refusing {
    async fn tell(&self, told: Told, username: &Username, _: Timestamp) -> Result<(), CoreFailure> {
        self.told.lock().unwrap().push((told, username.as_str().to_owned()));
        if self.refused.contains(&username.as_str()) {
            return Err(CoreFailure::Status { call: "test", status: http::StatusCode::BAD_REQUEST });
        }
        Ok(())
    }
}

#[tokio::test]
async fn one_users_message_does_not_hold_up_anothers_and_waits_ever_longer() {
    let test = TestServer::new("");
    test.connected().await;
    let bob = test.begun_at_core("bob#1").await;
    let code = bob.offer(&test).await.unwrap()["code"].as_str().unwrap().to_owned();
    test.approve(crate::test_server::BOB, "bob", &code).await.unwrap();
    let core = Refusing { refused: &["alice#1"], ..Refusing::default() };
    let mut schedule = Schedule::default();
    let mut tried_at = Vec::new();
    for second in 0..2000 {
        test.round(&core, &mut schedule, second).await;
        let told = std::mem::take(&mut *core.told.lock().unwrap());
        if told.iter().any(|(_, username)| username == "alice#1") {
            tried_at.push(second);
        }
        assert_eq!(told.contains(&(Told::Connected, "bob#1".to_owned())), second == 0);
    }
    assert_eq!(tried_at, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1623]);
    assert_eq!(test.outbox(), 1);
}

/// Sends a request to the private socket, as the gateway does.
async fn ask(test: &TestServer, head: &str, body: &str) -> (u16, String) {
    let path = test.directory.path().join("service.sock");
    if !path.exists() {
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(serve_gateway(Arc::clone(&test.server), listener));
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request =
        format!("{head}\r\nhost: instance\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn cores_calls_need_cores_token_whatever_the_gateway_has_done() {
    let keys = CoreKeys::generate("hpc").unwrap();
    let test = TestServer::with_core("https://cloud.example.org", &keys, None, "");
    let call = "POST /ucloud/hpc/integration/connect HTTP/1.1";
    let content = r#"{"username":"alice#1"}"#;
    let with = |token: String| format!("{call}\r\nauthorization: Bearer {token}");
    let (status, body) = ask(&test, &with(keys.core2_token(START).unwrap()), content).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"redirectTo":"https://hpc.example.org/ucloud/hpc/connect#"#), "{body}");
    assert_eq!(ask(&test, &with(keys.core1_token(START).unwrap()), content).await.0, 200);

    let unauthorized = r#"{"statusCode":401,"why":"a valid token of UCloud is needed","errorCode":"UNAUTHORIZED"}"#;
    let stranger = CoreKeys::generate("hpc").unwrap();
    for head in [
        call.to_owned(),
        with(keys.provider_token(START).unwrap()),
        with(keys.core2_token(START - 3600).unwrap()),
        with(keys.core2_token(START + 3600).unwrap()),
        with(stranger.core2_token(START).unwrap()),
    ] {
        let (status, body) = ask(&test, &head, content).await;
        assert_eq!((status, body.as_str()), (401, unauthorized), "{head}");
    }
    let token = keys.core2_token(START).unwrap();
    let twice = format!("{}\r\nauthorization: Bearer {token}", with(token.clone()));
    assert_eq!(ask(&test, &twice, content).await.0, 400);
    assert_eq!(ask(&test, &with(token.clone()), "{}").await.0, 400);
    assert_eq!(ask(&test, &with(token.clone()), &format!("{{\"username\":\"{}\"}}", "a".repeat(20_000))).await.0, 413);
    let odd = with(token).replace("integration/connect", "files/browse");
    assert_eq!(ask(&test, &odd, "{}").await.0, 404, "a user's call has no business here");
    assert_eq!(ask(&test, "GET /ucloud/other/connect HTTP/1.1", "").await.0, 404);
}

#[tokio::test]
async fn the_page_s_endpoints_are_for_anybody() {
    let test = TestServer::new("");
    assert_eq!(ask(&test, "GET /ucloud/hpc/connect HTTP/1.1", "").await.0, 404, "the page itself is the gateway's");
    let browser = test.begun_at_core("alice#1").await;
    let describe = "POST /ucloud/hpc/connect/describe HTTP/1.1";
    let ticket = json!({ "ticket": browser.ticket }).to_string();
    let (status, described) = ask(&test, describe, &ticket).await;
    assert_eq!(status, 200);
    assert!(described.contains(r#""state":"open""#), "{described}");
    let head = "POST /ucloud/hpc/connect/offer HTTP/1.1\r\nx-client-address: 192.0.2.9:1";
    let (status, offered) = ask(&test, head, &browser.offer_body(&test).await.to_string()).await;
    assert_eq!(status, 200, "{offered}");
    let offered: serde_json::Value = serde_json::from_str(&offered).unwrap();
    let offer = test.find(ALICE, offered["code"].as_str().unwrap()).await.unwrap();
    assert_eq!(offer.address, "192.0.2.9:1");
    assert_eq!(ask(&test, describe, &json!({ "ticket": "A".repeat(43) }).to_string()).await.0, 404);
    assert_eq!(ask(&test, "POST /ucloud/hpc/intents HTTP/1.1", "").await.0, 404, "the gateway's own");
}

const WITH_DRIVES: &str = "[[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\
                           [[drives]]\nid = \"home\"\npath = \"~\"\ntitle = \"Home\"\n\
                           [[drives]]\nid = \"work-{group}\"\npath = \"/projects/{group}\"\ntitle = \"Work of {group}\"\n";

/// A connected user of whom Core knows, whose account has reported these drives.
async fn server_with_drives(more: &str, ids: &[&str]) -> (TestServer, Control, CoreCalls, Schedule) {
    let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
    let control = Control::start(Arc::clone(&keys)).await.unwrap();
    let test = TestServer::with_core(&control.origin(), &keys, Some(control.refresh_token()), more);
    let core = &test.server.config.core;
    let calls = CoreCalls::new(core.origin.clone(), core.refresh_token.clone().unwrap(), &core.ca).unwrap();
    test.connected().await;
    test.report(ids).await;
    let mut drives = Schedule::default();
    drive_registration::round(&test.server, &calls, &mut drives, at(0)).await.unwrap();
    assert_eq!(control.drives(), [], "nobody has drives at Core who is not connected there");
    test.round(&calls, &mut Schedule::default(), 0).await;
    (test, control, calls, drives)
}

impl TestServer {
    /// Reports drives as the account's instance, and returns the answer.
    async fn report(&self, ids: &[&str]) -> Vec<(String, String)> {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        let table = drives::report(&self.server, ALICE, DrivesReport { ids }).await.unwrap();
        table.drives.into_iter().map(|drive| (drive.number.as_str().to_owned(), drive.id)).collect()
    }
}

#[tokio::test]
async fn drives_are_registered_once_core_knows_the_user_and_numbered_for_the_account() {
    let reported = ["home", "work-bio", "other", "work-../..", "work-"];
    let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &reported).await;
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    let at_core: Vec<_> = control
        .drives()
        .into_iter()
        .map(|drive| (drive.provider_generated_id, drive.title, drive.created_by, drive.product))
        .collect();
    let want = [("h-alice#1:home", "Home"), ("d-alice#1:work-bio", "Work of bio")]
        .map(|(id, title)| (id.to_owned(), title.to_owned(), "alice#1".to_owned(), "disk".to_owned()));
    assert_eq!(at_core, want, "what the configuration has not is not registered");
    let numbered = [("4711", "home"), ("4712", "work-bio")].map(|(number, id)| (number.to_owned(), id.to_owned()));
    assert_eq!(test.report(&reported).await, numbered);
    assert_eq!(test.report(&[]).await, numbered);
    let nobody_s = drives::report(&test.server, BOB, DrivesReport { ids: vec!["home".to_owned()] }).await.unwrap();
    assert_eq!(nobody_s.drives, [], "an account has drives for its own users alone");
    drive_registration::round(&test.server, &calls, &mut schedule, at(60)).await.unwrap();
    assert_eq!(control.drives().len(), 2, "once");
}

#[tokio::test]
async fn a_drive_whose_registration_was_not_heard_of_is_looked_for_first() {
    let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home"]).await;
    control.set_outage(Outage::Mute(1));
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    assert_eq!((control.drives().len(), test.report(&[]).await.len()), (1, 0));
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    assert_eq!(test.report(&[]).await.len(), 0, "not before the wait is over");
    // A new schedule, so that only the store is remembered.
    drive_registration::round(&test.server, &calls, &mut Schedule::default(), at(1)).await.unwrap();
    assert_eq!(test.report(&[]).await, [("4711".to_owned(), "home".to_owned())]);
    assert_eq!(control.drives().len(), 1);
}

impl TestServer {
    /// Another connected user of whom Core knows, whose account has reported these drives.
    async fn second_user(&self, calls: &CoreCalls, ids: &[&str]) {
        let bob = self.begun_at_core("bob#1").await;
        let code = bob.offer(self).await.unwrap()["code"].as_str().unwrap().to_owned();
        self.approve(BOB, "bob", &code).await.unwrap();
        self.round(calls, &mut Schedule::default(), 0).await;
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        drives::report(&self.server, BOB, DrivesReport { ids }).await.unwrap();
    }

    async fn numbers(&self, uid: Uid) -> Vec<(String, String)> {
        let table = drives::report(&self.server, uid, DrivesReport::default()).await.unwrap();
        table.drives.into_iter().map(|drive| (drive.number.as_str().to_owned(), drive.id)).collect()
    }
}

/// Core has one unique index of ids, over all users and all kinds of resources.
#[tokio::test]
async fn c01_two_users_have_a_home_each() {
    let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home", "work-bio"]).await;
    test.second_user(&calls, &["home", "work-bio"]).await;
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    let ids: Vec<String> = control.drives().into_iter().map(|drive| drive.provider_generated_id).collect();
    assert_eq!(ids, ["h-alice#1:home", "d-alice#1:work-bio", "h-bob#1:home", "d-bob#1:work-bio"]);
    assert_eq!((test.numbers(ALICE).await.len(), test.numbers(BOB).await.len()), (2, 2));
}

/// An installation from before ids had kind and owner keeps the drive under its old id.
#[tokio::test]
async fn c01_a_drive_under_its_old_id_is_carried_over() {
    let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home"]).await;
    control.register_drive("home", "alice#1");
    test.server.records.note_asked(&user("alice#1"), "home").unwrap();
    test.second_user(&calls, &["home"]).await;
    // Core refused bob's drive, because the id existed.
    test.server.records.note_asked(&user("bob#1"), "home").unwrap();
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    let at_core: Vec<(String, String)> =
        control.drives().into_iter().map(|drive| (drive.provider_generated_id, drive.created_by)).collect();
    let want = [("home", "alice#1"), ("h-bob#1:home", "bob#1")].map(|(id, of)| (id.to_owned(), of.to_owned()));
    assert_eq!(at_core, want);
    assert_eq!(test.numbers(ALICE).await, [("4711".to_owned(), "home".to_owned())]);
    assert_eq!(test.numbers(BOB).await, [("4712".to_owned(), "home".to_owned())]);
}

/// Core's 409: the id is this user's drive, or another user's and so none of this user.
#[tokio::test]
async fn c01_an_id_that_core_has_is_taken_for_done_only_if_it_is_this_users() {
    for (of, want) in [("alice#1", vec![("4711".to_owned(), "home".to_owned())]), ("mallory#1", vec![])] {
        let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home"]).await;
        control.register_drive("h-alice#1:home", of);
        drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
        assert_eq!((control.drives().len(), test.numbers(ALICE).await), (1, want), "{of}");
    }
}

#[tokio::test]
async fn w01_a_number_that_is_another_drives_is_refused_with_an_alarm() {
    let (test, _control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home"]).await;
    test.server.records.add_made_drive(&user("alice#1"), "made", &CoreDriveId::parse("4711").unwrap()).unwrap();
    assert_eq!(test.server.alarms.raised(Alarm::DriveNumber), 0);
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    assert_eq!(test.server.alarms.raised(Alarm::DriveNumber), 1);
    assert_eq!(test.numbers(ALICE).await, [("4711".to_owned(), "made".to_owned())]);
}

#[tokio::test]
async fn drives_wait_for_a_core_that_is_away_and_need_a_product() {
    let (test, control, calls, mut schedule) = server_with_drives(WITH_DRIVES, &["home"]).await;
    control.set_outage(Outage::Down);
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    control.set_outage(Outage::None);
    drive_registration::round(&test.server, &calls, &mut schedule, at(1)).await.unwrap();
    assert_eq!(control.drives().len(), 1);

    let without = WITH_DRIVES.replace("type = \"storage\"", "type = \"compute\"");
    let (test, control, calls, mut schedule) = server_with_drives(&without, &["home"]).await;
    drive_registration::round(&test.server, &calls, &mut schedule, at(0)).await.unwrap();
    assert_eq!(control.drives(), []);
}

const WITH_PRODUCTS: &str = "[[products]]\nname = \"disk\"\ncategory = \"storage\"\ntype = \"storage\"\n\
                             description = \"Home directories\"\n\
                             [[products]]\nname = \"node\"\ncategory = \"cluster\"\ntype = \"compute\"\n\
                             cpu = 64\nmemory_gb = 512\nprice = 64\n";

impl TestServer {
    async fn register_products(&self, calls: &CoreCalls) -> Result<(), RegistrationFailure> {
        let config = &self.server.config;
        product_registration::register(&config.provider.id, &config.served().products, calls, at(0)).await
    }
}

/// Core offers no provider without known products.
#[tokio::test]
async fn c02_products_are_registered_with_all_that_core_needs() {
    let (test, control, calls) = server_with_core_and(WITH_PRODUCTS).await;
    test.register_products(&calls).await.unwrap();
    let category = |name: &str, kind: &str, unit: &str, frequency: &str, suffix: bool| {
        json!({ "name": name, "provider": "hpc", "productType": kind, "allowSubAllocations": true,
                "accountingUnit": { "name": unit, "namePlural": unit, "floatingPoint": false,
                                    "displayFrequencySuffix": suffix },
                "accountingFrequency": frequency, "freeToUse": false })
    };
    let product = |name: &str, of: serde_json::Value, text: &str, price: i64, cpu: i64, memory: i64| {
        json!({ "type": if cpu == 0 { "storage" } else { "compute" }, "productType": of["productType"], "category": of,
                "name": name, "description": text, "price": price, "hiddenInGrantApplications": false, "cpu": cpu,
                "cpuModel": "", "memoryInGigs": memory, "memoryModel": "", "gpu": 0, "gpuModel": "" })
    };
    let want = [
        product("disk", category("storage", "STORAGE", "GB", "ONCE", false), "Home directories", 1, 0, 0),
        product("node", category("cluster", "COMPUTE", "Core", "PERIODIC_HOUR", true), "", 64, 64, 512),
    ];
    assert_eq!(control.products(), want);
    test.register_products(&calls).await.unwrap();
    assert_eq!(control.products(), want, "at each start");
}

/// Core would keep a category's old accounting, and charge users by other rules than the configured
/// ones.
#[tokio::test]
async fn c02_a_category_never_changes_its_accounting() {
    let changes =
        [("cpu = 64", "cpu = 64\nunit = \"Node\""), ("cpu = 64", "frequency = \"day\""), ("cpu = 64", "free = true")];
    for (was, is) in changes {
        let (test, control, calls) = server_with_core_and(WITH_PRODUCTS).await;
        test.register_products(&calls).await.unwrap();
        let before = control.products();
        let changed = TestServer::new(&WITH_PRODUCTS.replace(was, is));
        let provider = &changed.server.config.provider.id;
        let refused = product_registration::register(provider, &changed.server.config.served().products, &calls, at(0))
            .await
            .unwrap_err();
        assert!(matches!(&refused, RegistrationFailure::Changed { category, .. } if category == "cluster"), "{is}");
        assert!(refused.to_string().contains("new category"), "{refused}");
        assert_eq!(control.products(), before, "{is}");
    }
}

//! Tests of maintenance: a user who is not on the list is refused first, on every lane to an
//! instance.

use countersign_keys::identity::Username;
use countersign_portal::Deed;

use super::*;

fn only(names: &[&str]) -> Maintenance {
    Maintenance::ForAllBut(names.iter().map(|name| Username::parse(name).unwrap()).collect())
}

#[tokio::test]
async fn who_is_not_on_the_list_is_told_so_and_nothing_goes_upstream() {
    let test = TestGateway::new().await;
    let deed = Deed::browse("/1/a");
    let signed = || test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap();
    test.gateway.rules.change(|rules| rules.maintenance = only(&["bob"]));
    let unsigned = test.core.request("alice", &deed, None).unwrap();
    let kept = signed();
    for request in [&kept, &unsigned] {
        let answer = test.core.send(request).await.unwrap();
        assert_eq!(verdict(&answer), (404, "MAINTENANCE".to_owned()));
        assert!(answer.text("why").contains("maintenance"), "{answer:?}");
    }
    let (decision, reason) = test.last_decision();
    assert!(decision == "refuse" && reason.contains("maintenance"), "{decision} {reason}");
    assert_eq!(test.upstream_saw(), "");

    // The intent was not consumed: Core's next request with it passes.
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::None);
    assert_eq!(test.core.send(&kept).await.unwrap().status, 200);
    test.gateway.rules.change(|rules| rules.maintenance = only(&["alice"]));
    assert_eq!(test.core.send(&signed()).await.unwrap().status, 200);
}

#[tokio::test]
async fn cores_own_calls_go_on() {
    let test = TestGateway::new().await;
    test.gateway.rules.change(|rules| rules.maintenance = only(&[]));
    assert_eq!(test.core.retrieve_manifest().await.unwrap().status, 200);
    assert_eq!(test.core.init("alice").await.unwrap().status, 200);
}

#[tokio::test]
async fn no_lane_leads_to_an_instance_past_it() {
    let test = TestGateway::new().await;
    test.gateway.rules.change(|rules| rules.maintenance = only(&[]));
    let alice = Username::parse("alice").unwrap();
    let refused = test.gateway.connect_to_instance(&alice).await;
    assert!(matches!(refused, Err(crate::response::refusal::Refusal::Maintenance)));
    test.gateway.rules.change(|rules| rules.maintenance = Maintenance::None);
    assert!(test.gateway.connect_to_instance(&alice).await.is_ok());
}

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
    let trial = Trial::new().await;
    let deed = Deed::browse("/1/a");
    let signed = || trial.core.request("alice", &deed, Some(&trial.sign(&deed))).unwrap();
    trial.ingress.maintenance.set(only(&["bob"]));
    let unsigned = trial.core.request("alice", &deed, None).unwrap();
    let kept = signed();
    for request in [&kept, &unsigned] {
        let answer = trial.core.send(request).await.unwrap();
        assert_eq!(verdict(&answer), (404, "MAINTENANCE".to_owned()));
        assert!(answer.text("why").contains("maintenance"), "{answer:?}");
    }
    let (decision, reason) = trial.last_decision();
    assert!(decision == "refuse" && reason.contains("maintenance"), "{decision} {reason}");
    assert_eq!(trial.upstream_saw(), "");

    // The intent was not consumed: Core's next request with it passes.
    trial.ingress.maintenance.set(Maintenance::None);
    assert_eq!(trial.core.send(&kept).await.unwrap().status, 200);
    trial.ingress.maintenance.set(only(&["alice"]));
    assert_eq!(trial.core.send(&signed()).await.unwrap().status, 200);
}

#[tokio::test]
async fn cores_own_calls_go_on() {
    let trial = Trial::new().await;
    trial.ingress.maintenance.set(only(&[]));
    assert_eq!(trial.core.retrieve_manifest().await.unwrap().status, 200);
    assert_eq!(trial.core.init("alice").await.unwrap().status, 200);
}

#[tokio::test]
async fn no_lane_leads_to_an_instance_past_it() {
    let trial = Trial::new().await;
    trial.ingress.maintenance.set(only(&[]));
    let alice = Username::parse("alice").unwrap();
    let refused = trial.ingress.connect_to_instance(&alice).await;
    assert!(matches!(refused, Err(crate::response::refusal::Refusal::Maintenance)));
    trial.ingress.maintenance.set(Maintenance::None);
    assert!(trial.ingress.connect_to_instance(&alice).await.is_ok());
}

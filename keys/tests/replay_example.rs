//! The request that `examples/replay.rs` is run with is permitted once, and each stage refuses it
//! after a change to what that stage checks.

#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/replay.rs"]
mod replay;

use countersign_keys::verify::Class;

const FIXTURE: &str = include_str!("vectors/request.json");

#[test]
fn v35_a_replayed_request_is_permitted_once() {
    let [first, second] = replay::replay(FIXTURE).unwrap();
    assert_eq!(first, Ok(()));
    assert_eq!(second.unwrap_err().class(), Class::IntentReplayed);
}

#[test]
fn every_stage_refuses_a_replayed_request_that_was_changed() {
    let check = |find: &str, replace: &str, want: Class| {
        assert!(FIXTURE.contains(find), "{find}");
        let [first, _] = replay::replay(&FIXTURE.replacen(find, replace, 1)).unwrap();
        assert_eq!(first.unwrap_err().class(), want, "{replace}");
    };
    check("\"/ucloud/hpc/files/move\"", "\"/ucloud/hpc/files/format\"", Class::NotFound);
    check("w4ZsaWNlIzEyMzQ=", "w4ZsaWNlIzEyMzQ", Class::Malformed);
    check("Bearer eyJ", "Bearer eyK", Class::Unauthorised);
    check("UCloud-Signed-Intent", "X-Intent", Class::IntentRequired);
    check("\"state\": \"active\"", "\"state\": \"revoked\"", Class::IntentInvalid);
    check("\"now\": 1800000000", "\"now\": 1800000031", Class::IntentStale);
    check("/1/paper/thesis.tex", "/1/another/thesis.tex", Class::IntentInvalid);
}

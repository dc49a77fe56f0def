//! UCloud's page is told the choices of the user who asks, and of no other.

use serde_json::json;

use super::*;
use crate::test_server::{ALICE, BOB, TestServer, status};

const JOBS: &str = "[[drives]]\nid = \"home\"\npath = \"~\"\n[slurm]\ndrive = \"home\"\n";

fn choices(accounts: &[&str], modules: &[&str]) -> JobChoices {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    JobChoices { accounts: owned(accounts), modules: owned(modules) }
}

fn asked(server: &Server, username: &str) -> Vec<(String, Value)> {
    let answer = parameters(server, Username::parse(username).ok().as_ref());
    let one = |parameter: &Value| (parameter["name"].as_str().unwrap().to_owned(), parameter.clone());
    answer["parameters"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn a_user_is_offered_what_the_own_account_reported_and_the_site_asks() {
    for (asks, want) in [
        ("", &[][..]),
        ("ask_account = true\n", &["_injected_slurmAccount"]),
        ("ask_modules = true\n", &["_injected_modules"]),
        ("ask_account = true\nask_modules = true\n", &["_injected_slurmAccount", "_injected_modules"]),
    ] {
        let test = TestServer::new(&format!("{JOBS}{asks}"));
        test.connected().await;
        reported(&test.server, ALICE, choices(&["proja", "projb"], &["R/4.4"])).unwrap();
        let names: Vec<String> = asked(&test.server, "alice#1").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, want, "{asks}");
        for other in ["bob#1", "carol#1", "", "x"] {
            assert_eq!(asked(&test.server, other), [], "{other}");
        }
    }
}

#[tokio::test]
async fn the_parameters_have_ucloud_s_form() {
    let test = TestServer::new(&format!("{JOBS}ask_account = true\nask_modules = true\n"));
    test.connected().await;
    reported(&test.server, ALICE, choices(&["projb", "proja"], &["GCC/12.3.0", "R/4.4"])).unwrap();
    let [(_, account), (_, modules)] = &asked(&test.server, "alice#1")[..] else { panic!("two parameters") };
    assert_eq!(account["options"], json!([{"name": "proja", "value": "proja"}, {"name": "projb", "value": "projb"}]));
    assert_eq!((&account["type"], &account["optional"]), (&json!("enumeration"), &json!(true)));
    assert_eq!((&modules["type"], &modules["supportedModules"][1]["name"]), (&json!("modules"), &json!("R/4.4")));
    // One account is no choice.
    reported(&test.server, ALICE, choices(&["proja"], &[])).unwrap();
    assert_eq!(asked(&test.server, "alice#1"), []);
}

#[tokio::test]
async fn a_report_is_names_of_a_connected_account_and_no_more() {
    let test = TestServer::new(&format!("{JOBS}ask_account = true\n"));
    test.connected().await;
    assert_eq!(status(reported(&test.server, BOB, choices(&["a"], &[]))).0, 404);
    let long = "x".repeat(NAME_MAX + 1);
    for bad in ["", "a b", "a\nb", "é", long.as_str()] {
        assert_eq!(status(reported(&test.server, ALICE, choices(&[bad], &[]))).0, 400, "{bad}");
        assert_eq!(status(reported(&test.server, ALICE, choices(&[], &[bad]))).0, 400, "{bad}");
    }
    let many = vec!["m"; MODULES_MAX + 1];
    assert_eq!(status(reported(&test.server, ALICE, choices(&[], &many))).0, 400);
    let test = TestServer::new("");
    assert_eq!(status(reported(&test.server, ALICE, choices(&[], &[]))).0, 404);
}

#[tokio::test]
async fn the_site_s_text_is_read_each_time_and_left_out_if_it_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("readme.markdown");
    std::fs::write(&path, "# First").unwrap();
    let test = TestServer::new(&format!("{JOBS}readme = {path:?}\n"));
    assert_eq!(asked(&test.server, "bob#1")[0].1["description"], "# First");
    std::fs::write(&path, "# Second").unwrap();
    assert_eq!(asked(&test.server, "bob#1")[0].1["description"], "# Second");
    std::fs::write(&path, vec![b'x'; 1024 * 1024]).unwrap();
    assert_eq!(asked(&test.server, "bob#1"), []);
}

//! Tests of the updates that tell Core of the interfaces that a script names.

use super::*;

#[tokio::test]
async fn j07_core_is_told_each_target_of_a_running_job_once() {
    const WEB: &str = "[gateway.web]\nprefix = \"app-\"\nsuffix = \".apps.example.org\"\n";
    let target = |rank, kind, name: &str| Target { rank, kind, name: name.to_owned(), port: 8_001 };
    let targets = vec![target(0, InterfaceKind::Web, "Dash board"), target(1, InterfaceKind::Vnc, "Desktop")];
    for (tables, want) in [(WEB, 2), ("", 0)] {
        let site = Site { targets: targets.clone(), ..Site::with(false, tables).await };
        let id = site.core.add_job("alice#1", None);
        site.queue(&row(62, ALICE.0, "PENDING", "Priority"));
        site.report(ALICE, "alice#1", &id, 62).await.unwrap();
        let told = || -> Vec<String> {
            let statuses = site.job(&id).statuses;
            statuses.into_iter().filter(|status| status.starts_with("Target: ")).collect()
        };
        site.round().await;
        assert_eq!(told(), Vec::<String>::new(), "it waits");
        // Core cannot be reached when the job begins to run, and the server restarts.
        site.queue(&row(62, ALICE.0, "RUNNING", "None"));
        site.core.set_outage(Outage::Down);
        site.round().await;
        site.restart();
        site.core.set_outage(Outage::None);
        for _ in 0..4 {
            site.round().await;
        }
        site.restart();
        site.round().await;
        assert_eq!(told().len(), want, "{tables}");
        let lines = [
            r#"{"defaultName":null,"port":8001,"rank":0,"target":"Dash board","type":"WEB"}"#,
            r#"{"defaultName":null,"port":8001,"rank":1,"target":"Desktop","type":"VNC"}"#,
        ];
        assert!(told().iter().zip(lines).all(|(told, line)| told == &format!("Target: {line}")), "{:?}", told());
    }
}

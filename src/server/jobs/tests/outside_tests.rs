//! Jobs that users begin without UCloud: which are registered, once, and what is done with them.

use countersign_keys::store::jobs::Job;

use super::register::Registrar;
use super::*;

/// A machine on the partition of [`row`].
const MACHINE: &str = "[[products]]\nname = \"small\"\ncategory = \"small\"\ntype = \"compute\"\ncpu = 1\n\
                       memory_gb = 1\npartition = \"normal\"\n";

/// An account that no user is connected to.
const CAROL: Uid = Uid(1102);

struct Outside {
    site: Site,
    registrar: Registrar,
}

impl Outside {
    async fn new() -> Self {
        Self::with("").await
    }

    /// The same, with more tables.
    async fn with(tables: &str) -> Self {
        let site = Site::of("operator = true\nshow_outside = true", &format!("{MACHINE}{tables}")).await;
        let at = site.slurm.path().display().to_string();
        let script = format!(
            "case \"$*\" in *SubmitTime*) exec cat {at}/submitted ;; *Comment:*) exec cat {at}/comment ;;\n\
             *Name:*) exec cat {at}/name ;; *) exec cat {at}/queue ;; esac"
        );
        program(site.slurm.path(), "squeue", &script);
        let test = Self { site, registrar: Registrar::default() };
        test.set("comment", "\n");
        test.set("name", "thesis\n");
        test
    }

    fn set(&self, file: &str, text: &str) {
        fs::write(self.site.slurm.path().join(file), text).unwrap();
    }

    /// Puts these jobs into the queue.
    fn queue(&self, jobs: &[(u32, Uid, &str)]) {
        let rows = jobs.iter().map(|(id, uid, state)| row(*id, uid.0, state, "None")).collect::<String>();
        let submitted = jobs.iter().map(|(id, uid, _)| format!("{id}|{}|{NOW}\n", uid.0)).collect::<String>();
        self.site.queue(&rows);
        self.set("submitted", &submitted);
    }

    async fn round(&mut self) {
        let Self { site, registrar } = self;
        poller::round(&site.test.server, &site.commands).await.unwrap();
        registrar.round(&site.test.server, &site.client, &site.commands, site.now()).await;
        site.tell().await;
    }

    /// Two rounds, 20 s apart.
    async fn rounds(&mut self) {
        self.round().await;
        self.site.let_pass(20);
        self.round().await;
    }

    fn on_record(&self) -> Vec<Job> {
        self.site.test.server.jobs.lock().values().map(|tracked| tracked.job.clone()).collect()
    }

    fn names(&self) -> Vec<(String, String)> {
        let jobs = self.site.core.jobs();
        jobs.into_iter().map(|job| (job.created_by, job.provider_generated_id.unwrap_or_default())).collect()
    }
}

#[tokio::test]
async fn a_job_begun_without_ucloud_is_registered_once_and_told_to_its_end() {
    let mut test = Outside::new().await;
    test.queue(&[(62, ALICE, "RUNNING")]);
    test.round().await;
    test.site.let_pass(19);
    test.round().await;
    assert_eq!(test.names(), [], "it may be one of UCloud's, of which the report is on its way");
    test.site.let_pass(1);
    for _ in 0..3 {
        test.round().await;
    }
    assert_eq!(test.names(), [("alice#1".to_owned(), format!("slurm-62-{NOW}"))]);
    let job = test.site.core.jobs().remove(0);
    assert_eq!((job.name.as_str(), job.states.as_slice()), ("thesis (Slurm 62)", &["RUNNING".to_owned()][..]));
    test.site.restart();
    test.rounds().await;
    test.site.accounts(&record(62, ALICE.0, "COMPLETED", "0:0"));
    test.site.queue("");
    test.rounds().await;
    let ended = test.site.core.jobs();
    assert_eq!((ended.len(), ended[0].states.last().unwrap().as_str()), (1, "SUCCESS"));
    assert_eq!(test.on_record(), []);
}

#[tokio::test]
async fn what_is_not_a_connected_users_own_or_has_ended_or_is_marked_is_not_registered() {
    let mut test = Outside::new().await;
    // Carol is not connected, root is no user, one has ended, one has a partition of no product.
    test.queue(&[(62, CAROL, "RUNNING"), (63, Uid(0), "RUNNING"), (64, ALICE, "COMPLETED"), (65, ALICE, "PENDING")]);
    let queue = fs::read_to_string(test.site.slurm.path().join("queue")).unwrap();
    let elsewhere = row(65, ALICE.0, "PENDING", "None");
    test.site.queue(&queue.replace(&elsewhere, &elsewhere.replace("|normal|", "|other|")));
    test.rounds().await;
    assert_eq!(test.names(), []);
    // The comment has the form of an instance's tag.
    test.set("comment", "0123456789abcdef0123456789abcdef\n");
    test.queue(&[(66, BOB, "RUNNING")]);
    test.rounds().await;
    assert_eq!(test.names(), []);
    // One that UCloud started is on record.
    test.set("comment", "\n");
    let id = test.site.core.add_job("alice#1", None);
    test.queue(&[(67, ALICE, "RUNNING")]);
    test.site.report(ALICE, "alice#1", &id, 67).await.unwrap();
    test.rounds().await;
    assert_eq!(test.names(), [("alice#1".to_owned(), String::new())]);
    // Between the two looks the number became another account's.
    test.queue(&[(68, ALICE, "RUNNING")]);
    test.set("submitted", &format!("68|{}|{NOW}\n", BOB.0));
    test.rounds().await;
    assert_eq!(test.names().len(), 1);
}

#[tokio::test]
async fn a_user_whose_connection_has_expired_is_shown_no_further_job() {
    let mut test = Outside::with("[connection]\nexpires_after = \"2 days\"\n").await;
    test.queue(&[(62, ALICE, "RUNNING")]);
    test.rounds().await;
    assert_eq!(test.names(), [("alice#1".to_owned(), format!("slurm-62-{NOW}"))]);
    test.site.let_pass(3 * 86_400);
    test.queue(&[(62, ALICE, "RUNNING"), (63, ALICE, "RUNNING")]);
    test.rounds().await;
    assert_eq!(test.names(), [("alice#1".to_owned(), format!("slurm-62-{NOW}"))]);
}

#[tokio::test]
async fn a_site_that_does_not_ask_for_it_registers_nothing() {
    let site = Site::with(true, MACHINE).await;
    let mut registrar = Registrar::default();
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    for _ in 0..3 {
        site.round().await;
        site.let_pass(60);
        registrar.round(&site.test.server, &site.client, &site.commands, site.now()).await;
    }
    assert!(site.core.jobs().is_empty() && site.test.server.jobs.is_empty());
}

#[tokio::test]
async fn a_lost_answer_and_a_lost_record_register_nothing_twice() {
    let mut test = Outside::new().await;
    test.queue(&[(62, ALICE, "RUNNING")]);
    test.round().await;
    test.site.let_pass(20);
    test.site.core.set_outage(Outage::Mute(1));
    test.round().await;
    assert_eq!((test.names().len(), test.on_record().len()), (1, 0), "Core has it, and its answer was lost");
    // It ends before the registration is repeated.
    test.site.queue("");
    test.site.accounts(&record(62, ALICE.0, "FAILED", "3:0"));
    test.site.let_pass(30);
    test.round().await;
    test.round().await;
    let job = test.site.core.jobs().remove(0);
    assert_eq!((test.names().len(), job.state.as_str()), (1, "FAILURE"));
    // The server ends between registration and record: of one job that runs, and one that ends.
    test.queue(&[(70, ALICE, "RUNNING"), (71, BOB, "RUNNING")]);
    test.rounds().await;
    for job in test.on_record() {
        test.site.test.server.records.forget_job(&job.core_id, job.uid).unwrap();
    }
    test.site.restart();
    test.registrar = Registrar::default();
    test.queue(&[(70, ALICE, "RUNNING")]);
    test.site.accounts(&record(71, BOB.0, "COMPLETED", "0:0"));
    test.rounds().await;
    let mut unknown = reconcile::Unknown::new();
    let Outside { site, .. } = &test;
    reconcile::compare(&site.test.server, &site.client, &site.commands, &mut unknown, site.now()).await.unwrap();
    test.rounds().await;
    let states: Vec<String> = test.site.core.jobs().into_iter().map(|job| job.state).collect();
    assert_eq!((states, unknown.len()), (["FAILURE", "RUNNING", "SUCCESS"].map(str::to_owned).to_vec(), 0));
}

#[tokio::test]
async fn core_cannot_make_a_job_of_another_account_ones_own() {
    let mut test = Outside::new().await;
    test.queue(&[(62, BOB, "RUNNING")]);
    let id = test.site.core.add_registered_job("alice#1", &format!("slurm-62-{NOW}"));
    let mut unknown = reconcile::Unknown::new();
    let Outside { site, .. } = &test;
    reconcile::compare(&site.test.server, &site.client, &site.commands, &mut unknown, site.now()).await.unwrap();
    test.rounds().await;
    assert_eq!(test.site.job(&id).updates, 0, "nothing of bob's job is told of alice's");
}

#[tokio::test]
async fn accounts_take_turns_and_have_so_many_each() {
    let mut test = Outside::new().await;
    let mut jobs: Vec<(u32, Uid, &str)> = (100..300).map(|id| (id, ALICE, "RUNNING")).collect();
    jobs.push((900, BOB, "RUNNING"));
    test.queue(&jobs);
    test.rounds().await;
    let of = |test: &Outside, name: &str| test.names().iter().filter(|(created_by, _)| created_by == name).count();
    assert_eq!((of(&test, "alice#1"), of(&test, "bob#1")), (20, 1), "in one minute");
    for _ in 0..10 {
        test.site.let_pass(60);
        test.round().await;
    }
    assert_eq!((of(&test, "alice#1"), of(&test, "bob#1")), (100, 1));
}

#[tokio::test]
async fn a_job_begun_without_ucloud_is_neither_changed_nor_ended_for_it() {
    let mut test = Outside::new().await;
    test.queue(&[(62, ALICE, "RUNNING")]);
    test.rounds().await;
    let core_id = CoreJobId::parse(&test.site.core.jobs()[0].id).unwrap();
    let server = &test.site.test.server;
    let extend = JobExtend { core_id: core_id.clone(), minutes: 5 };
    assert_eq!(status(operator::extend(server, ALICE, extend).await).0, 403);
    let suspend = JobSuspend { core_id: core_id.clone(), suspend: true };
    assert_eq!(status(operator::suspend(server, ALICE, suspend).await).0, 403);
    test.site.core.remove_job(core_id.as_str());
    for _ in 0..6 {
        test.site.let_pass(200);
        test.round().await;
    }
    assert_eq!(test.site.done(), "", "UCloud has forgotten it, and it runs");
    assert!(test.site.core.jobs().is_empty());
}

//! Cases that a real Slurm does not show on demand: an `sbatch` that answers late, badly or not at
//! all. The programs here are scripts that write down how they are called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use countersign_applications::{Catalogue, Rendered};
use countersign_config::{
    Accept, Accounting, Applications, Asks, Frequency, Machine, Operator, Placement, Product, ProductKind, Slurm,
};
use countersign_keys::identity::{LinkName, ProviderId, Username};
use countersign_slurm::Commands;

use super::*;
use crate::account::OwnAccount;
use crate::direct::server_client::ServerClient;
use crate::drives::table::Drives;
use crate::files::Files;
use crate::jobs::Jobs;
use crate::jobs::interfaces::Interfaces;
use crate::jobs::record::JobLink;
use crate::jobs::relay::Relays;
use crate::jobs::store::JobRecords;

struct Bench {
    home: tempfile::TempDir,
    programs: tempfile::TempDir,
    site: Arc<Site>,
}

fn product() -> Product {
    Product {
        name: "small".to_owned(),
        category: "small".to_owned(),
        kind: ProductKind::Compute,
        description: String::new(),
        price: 1,
        accounting: Accounting {
            unit: "Core".to_owned(),
            unit_plural: "Cores".to_owned(),
            frequency: Frequency::Hour,
            is_free: false,
        },
        is_hidden: false,
        machine: Machine { cpu: 1, memory_gb: 1, ..Machine::default() },
        placement: Placement::default(),
        licence: None,
    }
}

impl Bench {
    /// A site whose `sbatch` is this shell script.
    fn new(sbatch: &str) -> Self {
        let (home, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let account = OwnAccount::in_tests(home.path());
        let provider = ProviderId::parse("hpc").unwrap();
        let slurm = Slurm {
            relay: None,
            commands: programs.path().to_owned(),
            config: None,
            drive: "home".to_owned(),
            job_folder: "ucloud-jobs".to_owned(),
            poll: Duration::from_secs(5),
            operator: Operator::NotGranted,
            time_max_h: 24,
            asks: Asks { account: true, modules: false },
            readme: None,
            shows_outside: false,
        };
        let applications = Applications { folder: home.path().join("none"), accept: [Accept::Approved].into() };
        let files = Files::new(Drives::new([("home".to_owned(), home.path().to_owned())]).unwrap());
        let site = Site {
            catalogue: Catalogue::at(&applications, account.uid()),
            commands: Commands::new(slurm.commands.clone(), None),
            slurm,
            products: vec![product()],
            records: JobRecords::of(&account, &provider),
            provider,
            server: ServerClient::at(home.path().join("no-server")),
            files,
            uid: account.uid().0,
            own_name: "alice".to_owned(),
            known_accounts: Mutex::default(),
            login: account.login(),
            relays: Relays::default(),
            relay_program: "/bin/false".into(),
            under_way: AtomicUsize::new(0),
        };
        let bench = Self { home, programs, site: Arc::new(site) };
        bench.program("sbatch", sbatch);
        bench.program("squeue", r#"echo '{"jobs":[]}'"#);
        bench.program("sacct", r#"echo '{"jobs":[]}'"#);
        bench.program("scancel", "");
        bench
    }

    /// A program that writes down its arguments and runs a script.
    fn program(&self, name: &str, script: &str) {
        let (path, calls) = (self.programs.path().join(name), self.programs.path().join(format!("{name}.calls")));
        let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$*\" >> {}\n{script}\n", calls.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `squeue` shows a job of this account with the tag of the record.
    fn show_job(&self, slurm_id: u32) {
        let uid = self.site.uid;
        let script = format!(
            r#"tag=$(sed -n 's/.*--comment=\([0-9a-f]*\).*/\1/p' {}); echo "{{\"jobs\":[{{\"job_id\":{slurm_id},\"user_id\":{uid},\"comment\":\"$tag\"}}]}}""#,
            self.programs.path().join("sbatch.calls").display()
        );
        self.program("squeue", &script);
    }

    fn calls(&self, name: &str) -> String {
        std::fs::read_to_string(self.programs.path().join(format!("{name}.calls"))).unwrap_or_default()
    }

    fn id() -> CoreJobId {
        CoreJobId::parse("7").unwrap()
    }

    /// A record of this process.
    async fn begun(&self) -> Record {
        self.begin(&self.site.records).await
    }

    /// A record of an earlier process of the account.
    async fn left_over(&self) -> Record {
        self.begin(&JobRecords::of(&OwnAccount::in_tests(self.home.path()), &self.site.provider)).await
    }

    async fn begin(&self, records: &JobRecords) -> Record {
        let record = self.record();
        records.begin(&Self::id(), record.clone()).await.unwrap();
        record
    }

    /// A record that is not written yet.
    fn record(&self) -> Record {
        let folder =
            JobFolder { drive: "home".to_owned(), within: self.site.slurm.job_folder.clone(), job: Self::id() };
        Record {
            username: Username::parse("alice#1234").unwrap(),
            project: None,
            application: ("hello".to_owned(), "1".to_owned()),
            tag: tag().unwrap(),
            begun_at: now().unwrap(),
            folder,
            nodes: 1,
            interfaces: Interfaces::default(),
            links: Vec::new(),
            state: RecordState::AboutToSubmit,
        }
    }

    fn prepared() -> Prepared {
        let script = "#!/bin/sh\necho hello\n".to_owned();
        let rendered = Rendered { shown: script.clone(), script, directives: Vec::new(), targets: Vec::new() };
        Prepared::of(("hello".to_owned(), "1".to_owned()), rendered, product(), 1, 10)
    }

    /// Starts the job. The outcome is that which Core is told.
    async fn start(&self) -> Result<String, JobsError> {
        let (tell, told) = oneshot::channel();
        let (site, record) = (Arc::clone(&self.site), self.begun().await);
        tokio::spawn(async move { site.start(Self::id(), record, Self::prepared(), tell).await });
        told.await.unwrap()
    }

    async fn state(&self) -> RecordState {
        self.site.records.read(&Self::id()).await.unwrap().unwrap().state
    }

    /// How many jobs have something left to do.
    fn unfinished(&self) -> usize {
        let folder = self.home.path().join(".local/state/countersign/hpc/jobs-unfinished");
        std::fs::read_dir(folder).unwrap().filter(|file| file.as_ref().unwrap().path().is_file()).count()
    }

    async fn until_ended(&self) -> Option<SlurmJobId> {
        for _ in 0..600 {
            if let RecordState::Ended { slurm_id } = self.state().await
                && self.unfinished() == 0
            {
                return slurm_id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the record is {:?}", self.state().await);
    }
}

fn slurm_id(number: u32) -> SlurmJobId {
    SlurmJobId::try_from(number).unwrap()
}

#[tokio::test]
async fn j05_a_submitted_job_is_on_record_before_core_is_told() {
    let bench = Bench::new("cat > \"$(dirname $0)/script\"; echo 42");
    assert!(bench.start().await.unwrap().starts_with("slurm/42/"));
    assert_eq!(bench.state().await, RecordState::Submitted { slurm_id: slurm_id(42) });
    let script = std::fs::read_to_string(bench.programs.path().join("script")).unwrap();
    assert_eq!(script, "#!/bin/sh\necho hello\n");
    let folder = std::fs::canonicalize(bench.home.path().join("ucloud-jobs/7")).unwrap();
    assert!(bench.calls("sbatch").contains(&format!("--chdir={}", folder.display())), "{}", bench.calls("sbatch"));
    assert_eq!(bench.unfinished(), 1, "the server has not heard of it");
}

#[tokio::test]
async fn j05_a_refusal_of_slurm_is_told_in_words_and_ends_the_record() {
    let bench = Bench::new("echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1");
    let why = bench.start().await.unwrap_err().to_string();
    assert!(why.starts_with("You may not use this kind of machine"), "{why}");
    assert_eq!(bench.until_ended().await, None);
    assert!(bench.calls("scancel").is_empty());
}

#[tokio::test]
async fn j05_a_job_of_which_core_was_not_told_is_cancelled() {
    // sbatch gets no answer, but slurmctld has the job.
    let bench = Bench::new(
        "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
    );
    bench.show_job(43);
    assert!(matches!(bench.start().await, Err(JobsError::Submit(SubmitFailure::Unknown(_)))));
    assert_eq!(bench.until_ended().await, Some(slurm_id(43)));
    assert_eq!(bench.calls("scancel"), "--quiet 43\n");

    // Core's connection is gone when sbatch answers.
    let bench = Bench::new("echo 44");
    bench.show_job(44);
    let (tell, told) = oneshot::channel();
    drop(told);
    let record = bench.begun().await;
    bench.site.start(Bench::id(), record, Bench::prepared(), tell).await;
    assert_eq!(bench.until_ended().await, Some(slurm_id(44)));
    assert_eq!(bench.calls("scancel"), "--quiet 44\n");
}

#[tokio::test]
async fn j05_a_request_that_is_abandoned_while_its_record_is_written_leaves_nothing_behind() {
    let bench = Bench::new("echo 44");
    bench.show_job(44);
    drop(bench.site.begin(Bench::id(), bench.record(), Bench::prepared()));
    // The record is written by another thread.
    let is_written = async || bench.site.records.read(&Bench::id()).await.is_ok_and(|record| record.is_some());
    while !is_written().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.until_ended().await, Some(slurm_id(44)));
    assert_eq!(bench.calls("scancel"), "--quiet 44\n");
}

#[tokio::test]
async fn j05_while_slurm_does_not_answer_nothing_is_concluded() {
    let bench = Bench::new("exit 1");
    bench.program("squeue", "exit 1");
    let record = bench.left_over().await;
    bench.site.settle_all().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.state().await, RecordState::AboutToSubmit);
    bench.program("squeue", r#"echo '{"jobs":[]}'"#);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.state().await, RecordState::AboutToSubmit, "slurmctld may still be taking a request");
    bench.program(
        "squeue",
        &format!(r#"echo '{{"jobs":[{{"job_id":45,"user_id":{},"comment":"{}"}}]}}'"#, bench.site.uid, record.tag),
    );
    assert_eq!(bench.until_ended().await, Some(slurm_id(45)));
    assert_eq!(bench.calls("scancel"), "--quiet 45\n");
}

#[tokio::test]
async fn j05_an_sbatch_that_outlives_its_instance_is_ended() {
    let bench = Bench::new("exit 1");
    let record = bench.left_over().await;
    let comment = format!("--comment={}", record.tag);
    let mut left = tokio::process::Command::new("/bin/sh");
    left.args(["-c", "read line", "sbatch", &comment]).stdin(std::process::Stdio::piped());
    let mut left = left.spawn().unwrap();
    bench.site.settle_all().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), left.wait()).await;
    assert!(ended.is_ok_and(|status| !status.unwrap().success()));
}

#[tokio::test]
async fn a_preview_says_that_an_application_is_not_approved_unless_the_job_brings_a_script() {
    let mut bench = Bench::new("");
    let applications =
        Applications { folder: bench.home.path().join("none"), accept: [Accept::Approved, Accept::Workflow].into() };
    let site = Arc::get_mut(&mut bench.site).unwrap();
    site.catalogue = Catalogue::at(&applications, countersign_keys::identity::Uid(site.uid));
    let preview = async |parameters: &str| {
        let text = format!(
            r#"{{"application":{{"name":"a","version":"1"}},"product":{{"id":"small","category":"small","provider":"hpc"}},"timeAllocation":{{"hours":1}},"parameters":{parameters}}}"#
        );
        bench.site.preview(&Username::parse("alice#1").unwrap(), &Json::parse(text.as_bytes(), 32).unwrap()).await
    };
    let refused = preview("{}").await;
    assert!(matches!(refused, Err(JobsError::NotApproved(_))), "{refused:?}");
    let own = preview(r#"{"w":{"type":"workflow","specification":{"language":"JINJA2","job":"echo mine"}}}"#).await;
    assert!(own.unwrap().rendered.shown.contains("echo mine"));
}

#[test]
fn what_core_says_of_a_job_is_a_number_and_an_application() {
    let check = |text: &str, want: Result<(&str, &str), &str>| {
        let json = Json::parse(text.as_bytes(), 16).unwrap();
        let read = FromCore::read(&json).map(|read| (read.id.as_str().to_owned(), read.invocation));
        let want = want.map(|(id, invocation)| (id.to_owned(), invocation.to_owned())).map_err(str::to_owned);
        assert_eq!(read.map_err(|error| error.to_string()), want, "{text}");
    };
    let job = |id: &str, application: &str| {
        format!(r#"{{"items":[{{"id":{id},"status":{{"resolvedApplication":{application}}}}}]}}"#)
    };
    let no_number = Err("the request does not have a number of the job");
    check(&job(r#""7""#, r#"{"invocation":{"tool":{}}}"#), Ok(("7", r#"{"tool":{}}"#)));
    for id in ["7", r#""../7""#, r#""-7""#, r#""""#, "null", r#""99999999999999999999""#] {
        check(&job(id, r#"{"invocation":{"tool":{}}}"#), no_number);
    }
    for application in ["null", "{}", r#"{"invocation":null}"#, r#"{"invocation":[]}"#] {
        check(&job(r#""7""#, application), Err("the request does not have the application"));
    }
    check(r#"{"items":[]}"#, Err("the request does not have a job"));
}

/// A folder of the user's in the place of the job's own.
#[tokio::test]
async fn the_folder_of_a_job_is_new() {
    let bench = Bench::new("echo 46");
    std::fs::create_dir_all(bench.home.path().join("ucloud-jobs/7")).unwrap();
    assert!(matches!(bench.start().await, Err(JobsError::Folder(_))));
    assert_eq!(bench.until_ended().await, None);
    assert!(bench.calls("sbatch").is_empty());
    assert!(Path::new(bench.home.path()).join("ucloud-jobs/7").exists());
}

#[tokio::test]
async fn j07_a_gateway_reaches_a_job_through_the_links_of_its_own_record_alone() {
    let bench = Bench::new("exit 1");
    let name = |text: &str| LinkName::parse(text).unwrap();
    let slurm_id = SlurmJobId::try_from(62).unwrap();
    let mut record = bench.begun().await.in_state(RecordState::Submitted { slurm_id });
    record.links = vec![JobLink { name: name("paper"), port: Some(8080) }];
    bench.site.records.replace(&Bench::id(), record.clone()).await.unwrap();
    let jobs = Jobs(Some(Arc::clone(&bench.site)));
    let refused =
        async |job: &str, link: &str| jobs.check_link(&CoreJobId::parse(job).unwrap(), &name(link)).await.unwrap_err();
    assert!(matches!(refused("8", "paper").await, JobsError::NoSuchJob));
    assert!(matches!(refused("7", "other").await, JobsError::NoSuchJob));
    // The record alone is not enough: the link may have been deleted.
    assert!(matches!(refused("7", "paper").await, JobsError::Server(_)));
    let ended = record.in_state(RecordState::Ended { slurm_id: Some(slurm_id) });
    bench.site.records.replace(&Bench::id(), ended).await.unwrap();
    assert!(matches!(refused("7", "paper").await, JobsError::Ended));
}

#[tokio::test]
async fn the_account_at_slurm_is_one_that_slurm_has_named() {
    let mut bench = Bench::new("echo 62");
    bench.program("sacctmgr", "printf 'proja\nprojb\n--uid=0\n'");
    let chosen = async |site: &Site, value: &str| {
        let text = format!(r#"{{"parameters":{{"_injected_slurmAccount":{value}}}}}"#);
        site.chosen_account(&Json::parse(text.as_bytes(), 8).unwrap()).await
    };
    let text = |account: &str| format!(r#"{{"type":"text","value":"{account}"}}"#);
    assert_eq!(chosen(&bench.site, &text("projb")).await.unwrap().as_deref(), Some("projb"));
    assert_eq!(chosen(&bench.site, &text("proja")).await.unwrap().as_deref(), Some("proja"));
    let asked = "--noheader --parsable2 --readonly show associations users=alice format=Account\n";
    assert_eq!(bench.calls("sacctmgr"), asked, "what Slurm has named is remembered");
    for nothing in ["null", r#"{"type":"text"}"#, &text("")] {
        assert_eq!(chosen(&bench.site, nothing).await.unwrap(), None, "{nothing}");
    }
    for bad in ["projc", "--uid=0", "proja "] {
        let refused = chosen(&bench.site, &text(bad)).await.unwrap_err().to_string();
        assert_eq!(refused, "you have no such account at Slurm", "{bad}");
    }
    assert!(chosen(&bench.site, r#"{"value":7}"#).await.is_err());
    // Where the site does not ask, no user chooses.
    Arc::get_mut(&mut bench.site).unwrap().slurm.asks = Asks::default();
    assert!(chosen(&bench.site, &text("proja")).await.is_err());
}

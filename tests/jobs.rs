//! Jobs on a real Slurm, as real accounts: what a user signed and the centre approved runs, and
//! nothing else does.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::time::Duration;

use crate::support::slurm::Slurm;
use crate::support::stream::{self, Browser, Terminal};
use crate::support::test_site::{PROVIDER, Part, Person, TestSite, said};
use countersign_portal::core::{JobDeed, applications, rewriting};
use countersign_portal::signer::Projection;
use countersign_portal::{Answer, Deed, DirectPage, jws, malicious};
use serde_json::{Value, json};

/// A centre with a Slurm of two nodes, and a connected user.
pub(crate) struct Site {
    pub(crate) slurm: Slurm,
    pub(crate) centre: TestSite,
    pub(crate) alice: Person,
}

impl Site {
    /// With the applications of the catalogue approved.
    async fn open() -> Self {
        let slurm = Slurm::start(&["alice", "bob"]).await;
        let centre = TestSite::open_with(&slurm.tables()).await;
        Self::of(slurm, centre).await
    }

    /// The same, with instances that the test starts and kills: the server would wait longer before
    /// each start.
    async fn open_with_static_instances() -> Self {
        let slurm = Slurm::start(&["alice", "bob"]).await;
        let centre = TestSite::open_with_static_instances(&slurm.tables()).await;
        Self::of(slurm, centre).await
    }

    pub(crate) async fn of(slurm: Slurm, centre: TestSite) -> Self {
        let alice = centre.connect("alice").await;
        centre.start_static_instance(&alice).await;
        let site = Self { slurm, centre, alice };
        site.until_served().await;
        for (name, version) in [("count", "2.1"), ("hello-native", "1.0")] {
            let refused = site.start("90001", name, version, json!({})).await;
            let told = (refused.status, refused.error_code());
            assert_eq!(told, (403, "APPLICATION_NOT_APPROVED".to_owned()), "{refused:?}");
            site.approve(name, version).await;
        }
        site
    }

    /// Waits until alice is served, by a gateway that may be starting.
    async fn until_served(&self) {
        let is_served = async || {
            let request = self.centre.signed(&self.alice, &Deed::browse("/home"));
            self.centre.core.invoke(&request).await.is_ok_and(|answer| answer.is_ok())
        };
        self.centre.until("alice is served", is_served).await;
    }

    /// Approves what waits under this name and version, as an administrator does.
    async fn approve(&self, name: &str, version: &str) {
        let listed = self.centre.run_as("root", &["apps", "pending", "--json"]).await;
        let pending: Value = serde_json::from_slice(&listed.stdout).unwrap_or_else(|_| panic!("{}", said(&listed)));
        let is_it = |one: &&Value| one["name"] == name && one["version"] == version;
        let waiting = pending.as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{pending}"));
        let digest = waiting["digest"].as_str().unwrap();
        let approved = self.centre.run_as("root", &["apps", "approve", name, version, digest, "--yes"]).await;
        assert!(approved.status.success(), "{}", said(&approved));
    }

    fn specification(name: &str, version: &str, parameters: Value) -> Value {
        json!({
            "application": {"name": name, "version": version}, "name": "my job", "replicas": 1, "hostname": "",
            "product": {"id": "small", "category": "small", "provider": PROVIDER}, "parameters": parameters,
            "resources": [], "timeAllocation": {"hours": 0, "minutes": 10, "seconds": 0}, "allowDuplicateJob": false,
        })
    }

    fn deed(number: &str, name: &str, version: &str, parameters: Value) -> Deed {
        Deed::StartJob {
            number: number.to_owned(),
            specification: Self::specification(name, version, parameters),
            script: None,
        }
    }

    pub(crate) async fn start(&self, number: &str, name: &str, version: &str, parameters: Value) -> Answer {
        self.centre.perform(&self.alice, &Self::deed(number, name, version, parameters)).await
    }

    pub(crate) fn numbers(count: u32) -> Value {
        json!({"numbers": {"type": "integer", "value": count}})
    }

    /// The rows of squeue for all jobs: number at Slurm, name, user, state.
    async fn queue(&self) -> Vec<[String; 4]> {
        let text = self.slurm.run(&["squeue", "-h", "-a", "-t", "all", "-o", "%A|%j|%u|%T"]).await;
        text.lines().filter_map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>().try_into().ok()).collect()
    }

    /// The states of the jobs of this name.
    async fn states(&self, number: &str) -> Vec<String> {
        self.queue().await.into_iter().filter(|row| row[1] == number).map(|row| row[3].clone()).collect()
    }

    async fn until_state(&self, number: &str, state: &str) {
        let what = format!("job {number} is {state}");
        self.centre.until(&what, async || self.states(number).await == [state]).await;
    }

    async fn terminate(&self, person: &Person, number: &str) -> Answer {
        self.centre.perform(person, &Deed::Job(JobDeed::Terminate(number.to_owned()))).await
    }

    async fn preview(&self, specification: &Value) -> Answer {
        let page = DirectPage::open(self.centre.core.endpoint().clone(), PROVIDER, &self.alice.username);
        // As the signer signs it, and as Core will pass it on.
        let item = json!({"specification": rewriting::signed_job(specification)});
        page.ask(&self.alice.key, "jobs.preview", &item).await.unwrap()
    }

    /// A follower of a job, as Core opens it.
    async fn follow(&self, person: &Person, number: &str) -> Browser {
        let path = format!("/ucloud/jobs.provider.{PROVIDER}/websocket");
        let mut socket = stream::rpc(&self.centre, person, &path).await;
        let item = Projection::new([("id", json!(number))]);
        let payload = json!({
            "type": "init", "job": {"id": number, "owner": {"createdBy": person.username, "project": null}},
        });
        let call = ("jobs.follow", &*format!("jobs.provider.{PROVIDER}.follow"));
        socket.say(stream::message(&self.centre, person, call, &item, &payload)).await;
        socket
    }
}

/// What a follower hears until its end: standard output, standard error, and the last message.
async fn heard(socket: &mut Browser) -> (String, String, Value) {
    let (mut stdout, mut stderr, mut last) = (String::new(), String::new(), Value::Null);
    while let Some(message) = socket.hear().await {
        last = serde_json::from_str(message.to_text().unwrap()).unwrap();
        stdout += last["payload"]["stdout"].as_str().unwrap_or_default();
        stderr += last["payload"]["stderr"].as_str().unwrap_or_default();
    }
    (stdout, stderr, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j02_a_job_is_started_watched_and_ended_by_its_user_alone() {
    let site = Site::open().await;
    let bob = site.centre.connect("bob").await;
    let answer = site.start("54112", "count", "2.1", Site::numbers(600)).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", site.centre.last_words());
    site.until_state("54112", "RUNNING").await;
    let of_alice: Vec<_> = site.queue().await.into_iter().filter(|row| row[1] == "54112").collect();
    assert_eq!(of_alice.len(), 1);
    assert_eq!(of_alice[0][2], "alice", "{of_alice:?}");

    let folder = site.alice.home.join("ucloud-jobs/54112");
    site.centre.until("the job writes", async || folder.join("stdout.txt").exists()).await;
    let mut log = site.follow(&site.alice, "54112").await;
    let first: Value = serde_json::from_str(log.hear().await.unwrap().to_text().unwrap()).unwrap();
    assert_eq!(first["payload"]["rank"], 0, "{first}");

    // Another user's signature is good for nothing here, whatever Core says of the owner.
    let refused = site.terminate(&bob, "54112").await;
    assert_eq!(refused.status, 404, "{refused:?}");
    let (stdout, stderr, last) = heard(&mut site.follow(&bob, "54112").await).await;
    assert_eq!((stdout.as_str(), stderr.as_str(), &last["status"]), ("", "", &json!(404)), "{last}");
    assert_eq!(site.states("54112").await, ["RUNNING"]);

    let ended = site.terminate(&site.alice, "54112").await;
    assert!(ended.is_ok(), "{ended:?}");
    site.until_state("54112", "CANCELLED").await;
    let (_, _, last) = heard(&mut log).await;
    assert_eq!((&last["status"], &last["payload"]["stdout"]), (&json!(200), &Value::Null), "{last}");
    assert!(site.terminate(&site.alice, "54112").await.is_ok(), "it has ended already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j02_a_log_is_followed_to_its_last_byte() {
    let site = Site::open().await;
    assert!(site.start("1", "count", "2.1", Site::numbers(3)).await.is_ok(), "{}", site.centre.last_words());
    let (stdout, stderr, last) = heard(&mut site.follow(&site.alice, "1").await).await;
    assert_eq!(stdout, "1\n2\n3\n", "{last}");
    assert_eq!(stderr, "number 1\nnumber 2\nnumber 3\n");
    assert_eq!(last["status"], 200);
    let (again, _, _) = heard(&mut site.follow(&site.alice, "1").await).await;
    assert_eq!(again, "1\n2\n3\n", "also after its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j01_what_runs_is_the_script_that_the_user_saw() {
    let site = Site::open().await;
    let specification = Site::specification("count", "2.1", Site::numbers(2));
    let shown = site.preview(&specification).await;
    assert!(shown.is_ok(), "{shown:?}");
    let text = shown.text("script");
    assert!(text.contains("seq 1"), "{text}");
    let digest = jws::base64url(&jws::sha256(text.as_bytes()));
    assert_eq!(shown.text("sha256"), digest);
    let deed = |number: &str, script: &str| Deed::StartJob {
        number: number.to_owned(),
        specification: specification.clone(),
        script: Some(script.to_owned()),
    };
    let answer = site.centre.perform(&site.alice, &deed("1", &digest)).await;
    assert!(answer.is_ok(), "{answer:?}");
    site.until_state("1", "COMPLETED").await;

    let other = jws::base64url(&jws::sha256(b"#!/bin/sh\n"));
    let refused = site.centre.perform(&site.alice, &deed("2", &other)).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (403, "ANOTHER_SCRIPT"), "{refused:?}");
    assert!(site.states("2").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j03_core_chooses_neither_program_nor_script_nor_defaults() {
    let site = Site::open().await;
    let count = applications::resolved("count", "2.1");
    let changed = |pointer: &str, value: Value| {
        let mut changed = count.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        changed
    };
    let attacks = [
        ("another script", applications::swapped(&count, "touch ~/from-core\n")),
        ("another default", changed("/invocation/parameters/0/defaultValue", json!("1; touch ~/from-core"))),
        ("an environment", changed("/invocation/environment", json!({"PATH": {"type": "word", "word": "/tmp"}}))),
        ("directives", changed("/invocation/sbatch", json!({"chdir": {"type": "word", "word": "/"}}))),
        ("modules", changed("/invocation/tool/tool/description/requiredModules", json!(["evil"]))),
        (
            "load instructions",
            changed(
                "/invocation/tool/tool/description/loadInstructions",
                json!({"type": "Native", "applications": [{"name": "x", "version": "1"}]}),
            ),
        ),
        ("another backend", changed("/invocation/tool/tool/description/backend", json!("DOCKER"))),
    ];
    for (at, (what, application)) in attacks.into_iter().enumerate() {
        let number = (100 + at).to_string();
        let request = site.centre.signed(&site.alice, &Site::deed(&number, "count", "2.1", Site::numbers(1)));
        let request = malicious::another_application(request, &application);
        let refused = site.centre.core.invoke(&request).await.unwrap();
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (403, "APPLICATION_NOT_APPROVED"),
            "{what}: {refused:?}"
        );
        assert!(site.states(&number).await.is_empty(), "{what}");
    }
    // An unsigned change of what the user signed never reaches the instance's judgement.
    let request = site.centre.signed(&site.alice, &Site::deed("200", "count", "2.1", Site::numbers(1)));
    let request =
        request.altered(|body| body["items"][0]["specification"]["parameters"]["numbers"]["value"] = json!(9));
    assert_eq!(site.centre.core.invoke(&request).await.unwrap().error_code(), "INTENT_INVALID");
    assert!(!site.alice.home.join("from-core").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j03_a_job_is_started_once_under_its_number_and_no_other() {
    let site = Site::open().await;
    assert!(site.start("7", "hello-native", "1.0", json!({})).await.is_ok(), "{}", site.centre.last_words());
    // Core repeats the number, with a new signature of the user.
    let again = site.start("7", "hello-native", "1.0", json!({})).await;
    assert_eq!(again.status, 409, "{again:?}");
    // Core replays the signed request under another number.
    let request = site.centre.signed(&site.alice, &Site::deed("8", "hello-native", "1.0", json!({})));
    assert!(site.centre.core.invoke(&request).await.unwrap().is_ok());
    let replayed = site.centre.core.invoke(&malicious::another_job(request, "9")).await.unwrap();
    assert_eq!(replayed.error_code(), "INTENT_REPLAYED");
    for bad in ["", "../7", "7/..", "-1", "+9", "99999999999999999999", "9\n"] {
        let request = site.centre.signed(&site.alice, &Site::deed(bad, "hello-native", "1.0", json!({})));
        let refused = site.centre.core.invoke(&request).await.unwrap();
        assert_eq!(refused.status, 400, "{bad:?}: {refused:?}");
    }
    assert_eq!(site.states("7").await.len() + site.states("8").await.len(), 2);
    assert!(site.states("9").await.is_empty());
    assert_eq!(fs::read_dir(site.alice.home.join("ucloud-jobs")).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j03_parameters_are_values_and_never_commands() {
    let site = Site::open().await;
    let evil = [
        "x\n#SBATCH --array=1-100\n",
        "'; touch ~/evil; '",
        "$(touch ~/evil)",
        "`touch ~/evil`",
        "\"; touch ~/evil; \"",
        "\\",
        "a\nb",
        "-n",
        "--help",
        "${HOME}",
        "{{ ucloud }}",
        "{% raw %}",
    ];
    for (at, text) in evil.iter().enumerate() {
        let number = (300 + at).to_string();
        let parameters = json!({"word": {"type": "text", "value": text}});
        let answer = site.start(&number, "hello-native", "1.0", parameters).await;
        if text.contains('\n') {
            assert_eq!(answer.status, 400, "{text:?}: {answer:?}");
            assert!(site.states(&number).await.is_empty(), "{text:?}");
            continue;
        }
        assert!(answer.is_ok(), "{text:?}: {answer:?}");
        let (stdout, stderr, _) = heard(&mut site.follow(&site.alice, &number).await).await;
        assert_eq!((stdout.as_str(), stderr.as_str()), (format!("hello {text}\n").as_str(), ""), "{text:?}");
        assert_eq!(site.states(&number).await, ["COMPLETED"], "one job: {text:?}");
    }
    assert!(!site.alice.home.join("evil").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j04_a_shell_in_a_job_is_a_step_of_it() {
    let site = Site::open().await;
    assert!(site.start("5", "count", "2.1", Site::numbers(600)).await.is_ok(), "{}", site.centre.last_words());
    site.until_state("5", "RUNNING").await;
    let session = |kind: &str, number: &str| Deed::Job(JobDeed::Session(number.to_owned(), 0, kind.to_owned()));
    for (kind, number) in [("WEB", "5"), ("VNC", "5"), ("", "5"), ("SHELL", "6")] {
        let refused = site.centre.perform(&site.alice, &session(kind, number)).await;
        assert_eq!(refused.status, 404, "{kind} {number}: {refused:?}");
    }
    let mut shell = Terminal::open_for(&site.centre, &site.alice, &session("SHELL", "5")).await;
    let slurm_id = &site.queue().await.into_iter().find(|row| row[1] == "5").unwrap()[0];
    let said = shell.run("echo $SLURM_JOB_ID on $SLURMD_NODENAME; id -un; tty").await;
    assert!(said.starts_with(&format!("{slurm_id} on n")) && said.contains("\nalice\n/dev/pts/"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j02_a_job_is_lengthened_and_suspended_by_its_user_alone() {
    let site = Site::open().await;
    let bob = site.centre.connect("bob").await;
    assert!(site.start("6", "count", "2.1", Site::numbers(600)).await.is_ok(), "{}", site.centre.last_words());
    site.until_state("6", "RUNNING").await;
    let perform = async |person: &Person, deed: JobDeed| site.centre.perform(person, &Deed::Job(deed)).await;
    let limit = async || {
        let text = site.slurm.run(&["squeue", "-h", "-a", "-t", "all", "-o", "%j|%l"]).await;
        text.lines().find_map(|line| line.strip_prefix("6|").map(str::to_owned)).unwrap()
    };
    let longer = |minutes| JobDeed::Extend("6".to_owned(), minutes);
    assert_eq!(limit().await, "10:00");
    assert_eq!(perform(&bob, longer(5)).await.status, 404);
    for suspend in [JobDeed::Suspend("6".to_owned()), JobDeed::Unsuspend("6".to_owned())] {
        assert_eq!(perform(&bob, suspend).await.status, 404);
    }
    // More than the site's limit of one hour, and what is no time.
    for (minutes, status) in [(51, 400), (-5, 400), (0, 482)] {
        let refused = perform(&site.alice, longer(minutes)).await;
        assert_eq!(refused.status, status, "{minutes}: {refused:?}");
    }
    assert_eq!(limit().await, "10:00");
    let lengthened = perform(&site.alice, longer(5)).await;
    assert!(lengthened.is_ok(), "{lengthened:?}\n{}", site.centre.last_words());
    assert_eq!(limit().await, "15:00");
    let suspended = perform(&site.alice, JobDeed::Suspend("6".to_owned())).await;
    assert!(suspended.is_ok(), "{suspended:?}\n{}", site.centre.last_words());
    site.until_state("6", "SUSPENDED").await;
    assert!(perform(&site.alice, JobDeed::Unsuspend("6".to_owned())).await.is_ok());
    site.until_state("6", "RUNNING").await;
    let attached = perform(&site.alice, JobDeed::Attach("6".to_owned(), "/home/data".to_owned())).await;
    assert!(!attached.is_ok() && !attached.text("why").is_empty(), "{attached:?}");
}

/// Kills the instance, and each fourth time the server and with it the gateway, at many points of
/// submissions. Each job that Core was told of runs once; none runs that is not on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j05_kills_of_instance_and_server_start_no_job_twice_and_lose_none() {
    let site = Site::open_with_static_instances().await;
    let mut told = Vec::new();
    for round in 0..kills() {
        let number = (1_000 + round).to_string();
        let request = site.centre.signed(&site.alice, &Site::deed(&number, "count", "2.1", Site::numbers(600)));
        let sending = site.centre.core.send(&request);
        let killing = async {
            // From before the record to after the answer: a submission takes about 100 ms here.
            tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % 160))).await;
            if round % 4 == 3 {
                site.centre.kill(Part::Server);
            } else {
                site.centre.kill_static_instances().await;
            }
        };
        let (answer, ()) = tokio::join!(sending, killing);
        told.push((number, answer.is_ok_and(|answer| answer.is_ok())));
        site.centre.start_static_instance(&site.alice).await;
        site.until_served().await;
    }
    let unfinished = site.alice.home.join(format!(".local/state/countersign/{PROVIDER}/jobs-unfinished"));
    site.centre
        .until("nothing is left to settle", async || {
            fs::read_dir(&unfinished).is_ok_and(|mut left| left.next().is_none())
        })
        .await;
    let records = site.alice.home.join(format!(".local/state/countersign/{PROVIDER}/jobs"));
    for (number, was_told) in &told {
        let states = site.states(number).await;
        let runs =
            states.iter().filter(|state| matches!(state.as_str(), "RUNNING" | "PENDING" | "CONFIGURING")).count();
        let record = fs::read_to_string(records.join(number)).unwrap_or_default();
        assert!(states.len() <= 1, "{number} was submitted {} times", states.len());
        assert!(states.is_empty() || !record.is_empty(), "{number} is not on record");
        if *was_told {
            assert_eq!(runs, 1, "{number} was lost: {states:?} {record}");
        }
        let is_submitted = record.contains("submitted");
        assert_eq!(runs == 1, is_submitted, "{number}: {states:?} {record}");
    }
    assert!(told.iter().any(|(_, was_told)| *was_told) && told.iter().any(|(_, was_told)| !was_told), "{told:?}");
}

/// How often one of them is killed.
fn kills() -> u32 {
    std::env::var("COUNTERSIGN_KILLS").map_or(100, |kills| kills.parse().unwrap())
}

//! The usage of jobs, from accounting's rows to Core's books, with failures in between.

use std::collections::BTreeMap;

use countersign_keys::identity::Project;
use countersign_keys::store::usage::{JobUsage, Owner};
use countersign_portal::core::BookedUsage;

use super::*;
use crate::accounting::listing;
use crate::accounting::reporter::{Reached, Reporter};
use crate::core::product_registration::register;
use countersign_ipc::server_protocol::UsageList;

/// Machines of three categories, counted in core-hours, core-hours and GPU-minutes.
const TABLES: &str = "[accounting]\nevery_s = 60\njob_max = 1000000\n\
    [[products]]\nname = \"small\"\ncategory = \"small\"\ntype = \"compute\"\ncpu = 1\npartition = \"normal\"\n\
    [[products]]\nname = \"node\"\ncategory = \"node\"\ntype = \"compute\"\ncpu = 64\nprice = 64\npartition = \"whole\"\n\
    [[products]]\nname = \"gpu\"\ncategory = \"gpu\"\ntype = \"compute\"\ncpu = 8\ngpu = 1\nunit = \"GPU\"\n\
    frequency = \"minute\"\npartition = \"gpu\"\n";

const HOUR: i64 = 3_600;

struct Books {
    site: Site,
    reporter: Reporter,
}

/// A row of accounting. `id` may be a task: `64|62_7`.
fn run(id: &str, uid: Uid, state: &str, start: i64, elapsed_s: i64, place: &str) -> String {
    let names = if id.contains('|') { id.to_owned() } else { format!("{id}|{id}") };
    let (partition, tres) = place.split_once(' ').unwrap();
    let end = if state == "RUNNING" { "Unknown".to_owned() } else { (start + elapsed_s).to_string() };
    format!("{names}|{uid}|{state}|{start}|{start}|{end}|{elapsed_s}|{partition}|day|centre|{tres}\n")
}

const ONE: &str = "normal billing=1,cpu=1,mem=1G,node=1";

impl Books {
    async fn new() -> Self {
        let site = Site::with(false, TABLES).await;
        let at = site.slurm.path().display().to_string();
        let script = format!("case \"$*\" in *Partition*) exec cat {at}/usage ;; *) exec cat {at}/accounts ;; esac");
        program(site.slurm.path(), "sacct", &script);
        let config = &site.test.server.config;
        register(&config.provider.id, &config.served().products, &site.client, site.now()).await.unwrap();
        let books = Self { site, reporter: Reporter::default() };
        books.runs("");
        books
    }

    fn runs(&self, rows: &str) {
        fs::write(self.site.slurm.path().join("usage"), rows).unwrap();
    }

    fn record(&self, slurm_id: u32, uid: Uid, name: &str) {
        let at = Timestamp::from_seconds(NOW - 300 * 86_400);
        let usage = JobUsage::new((slurm_id, uid), &CoreJobId::parse("54112").unwrap(), &user(name), None, at, at);
        self.site.test.server.records.add_usage(&usage).unwrap();
    }

    async fn round(&mut self) -> Reached {
        let Self { site, reporter } = self;
        reporter.round(&site.test.server, &site.client, &site.commands, site.now()).await.unwrap()
    }

    fn booked(&self) -> Vec<BookedUsage> {
        self.site.core.usage().all()
    }

    /// Owner and units of each share.
    fn shares(&self) -> Vec<(String, i64)> {
        self.booked().into_iter().map(|booked| (booked.owner, booked.usage)).collect()
    }

    fn stored(&self) -> Vec<JobUsage> {
        self.site.test.server.records.usages().unwrap()
    }
}

#[tokio::test]
async fn a_job_is_reported_while_it_runs_and_to_its_end_each_figure_once() {
    let mut books = Books::new().await;
    let id = books.site.core.add_job("alice#1", None);
    books.site.queue(&row(62, ALICE.0, "PENDING", "Priority"));
    books.site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    books.runs(&format!("62|62|{ALICE}|PENDING|{NOW}|Unknown|Unknown|0|normal|day|centre|\n"));
    books.round().await;
    assert_eq!(books.booked(), []);
    books.runs(&run("62", ALICE, "RUNNING", NOW, 2 * HOUR + 1_799, ONE));
    for _ in 0..3 {
        assert_eq!(books.round().await, Reached::Yes);
    }
    let scope = format!("slurm-62-{NOW}");
    let share =
        |usage| BookedUsage { owner: "alice#1".to_owned(), category: "small".to_owned(), scope: scope.clone(), usage };
    assert_eq!((books.booked(), books.site.core.usage().items()), (vec![share(2)], 1));
    books.runs(&run("62", ALICE, "COMPLETED", NOW, 4 * HOUR - 1, ONE));
    books.site.let_pass(4 * HOUR);
    books.round().await;
    assert_eq!((books.booked(), books.stored().len()), (vec![share(3)], 1));
    // The job stays on record until Core was told of its end.
    books.site.let_pass(2 * HOUR);
    books.round().await;
    assert_eq!(books.stored().len(), 1);
    books.site.queue("");
    books.site.accounts(&record(62, ALICE.0, "COMPLETED", "0:0"));
    books.site.round().await;
    books.round().await;
    books.round().await;
    assert_eq!((books.stored().len(), books.site.core.usage().items()), (0, 2));
    let total = books.site.test.server.records.usage_total("small", &Owner::User(user("alice#1"))).unwrap();
    assert_eq!((total.jobs, total.told, total.rest), (1, 3, 999_722_222), "what is left goes to the next job");
}

#[tokio::test]
async fn usage_of_a_project_is_the_projects_only_if_core_says_so() {
    let mut books = Books::new().await;
    let at = Timestamp::from_seconds(NOW - 9 * HOUR);
    let project = Project::parse("b7a1-4c").unwrap();
    let of_project = books.site.core.add_job("alice#1", Some("b7a1-4c"));
    let own = books.site.core.add_job("alice#1", None);
    let of_bob = books.site.core.add_job("bob#1", Some("b7a1-4c"));
    let mut rows = String::new();
    for (slurm_id, core_id) in (62..).zip([of_project, own, of_bob, "99999".to_owned()]) {
        let core_id = CoreJobId::parse(&core_id).unwrap();
        let usage = JobUsage::new((slurm_id, ALICE), &core_id, &user("alice#1"), Some(&project), at, at);
        books.site.test.server.records.add_usage(&usage).unwrap();
        let place = "gpu cpu=16,gres/gpu:h100=2,gres/gpu=2,node=2";
        rows += &run(&slurm_id.to_string(), ALICE, "COMPLETED", NOW - 9 * HOUR, HOUR, place);
    }
    books.runs(&rows);
    books.site.core.set_outage(Outage::Fails(1));
    assert_eq!(books.round().await, Reached::No);
    assert_eq!(books.booked(), [], "not before Core has answered");
    books.round().await;
    let share = |owner: &str| (owner.to_owned(), 120);
    assert_eq!(books.shares(), [share("alice#1"), share("alice#1"), share("alice#1"), share("b7a1-4c")]);
    books.round().await;
    assert_eq!((books.stored().len(), books.site.core.usage().items()), (0, 4));
}

#[tokio::test]
async fn accounting_that_does_not_answer_postpones_and_loses_nothing() {
    let mut books = Books::new().await;
    books.record(62, ALICE, "alice#1");
    let sacct = fs::read(books.site.slurm.path().join("sacct")).unwrap();
    program(books.site.slurm.path(), "sacct", "echo 'sacct: error: Problem talking to the database' >&2; exit 1");
    books.runs(&run("62", ALICE, "COMPLETED", NOW - 9 * HOUR, 2 * HOUR, ONE));
    for _ in 0..5 {
        books.site.let_pass(40 * 86_400);
        books.round().await;
    }
    assert_eq!((books.booked().len(), books.stored().len()), (0, 1));
    fs::write(books.site.slurm.path().join("sacct"), sacct).unwrap();
    books.round().await;
    assert_eq!(books.shares(), [("alice#1".to_owned(), 2)]);
    assert_eq!(books.stored().len(), 0);
}

#[tokio::test]
async fn one_line_that_cannot_be_read_keeps_no_other_job_away() {
    let mut books = Books::new().await;
    for id in 62..70 {
        books.record(id, ALICE, "alice#1");
    }
    let rows: Vec<String> = (62..70).map(|id| run(&id.to_string(), ALICE, "RUNNING", NOW, HOUR, ONE)).collect();
    // Like Slurm's program, this one prints the rows of the jobs that were asked for.
    let at = books.site.slurm.path().display().to_string();
    let script = format!(
        "while [ \"$1\" != --jobs ]; do shift; done\n\
         for id in $(echo \"$2\" | tr , ' '); do\n\
         if [ $id = 65 ]; then echo \"65|65|nonsense\"; else grep \"^$id|\" {at}/usage; fi; done; exit 0"
    );
    program(books.site.slurm.path(), "sacct", &script);
    books.runs(&rows.concat());
    books.round().await;
    assert_eq!((books.booked().len(), books.stored().len()), (7, 8));
}

#[tokio::test]
async fn a_lost_acknowledgement_repeats_a_report_without_effect() {
    let mut books = Books::new().await;
    books.record(62, ALICE, "alice#1");
    books.runs(&run("62", ALICE, "RUNNING", NOW, 5 * HOUR, ONE));
    // Core books, and the server is killed before it hears of it.
    books.site.core.set_outage(Outage::Mute(1));
    assert_eq!(books.round().await, Reached::No);
    assert_eq!(books.stored()[0].told, None);
    books.reporter = Reporter::default();
    assert_eq!(books.round().await, Reached::Yes);
    assert_eq!((books.shares(), books.site.core.usage().items()), (vec![("alice#1".to_owned(), 5)], 2));
    // Core is away for some time, in which the job ends.
    books.site.core.set_outage(Outage::Down);
    books.runs(&run("62", ALICE, "COMPLETED", NOW, 7 * HOUR, ONE));
    for _ in 0..4 {
        books.site.let_pass(6 * HOUR);
        assert_eq!(books.round().await, Reached::No);
    }
    books.runs("");
    books.reporter = Reporter::default();
    books.site.core.set_outage(Outage::None);
    books.round().await;
    assert_eq!((books.shares(), books.stored().len()), (vec![("alice#1".to_owned(), 7)], 0));
}

#[tokio::test]
async fn an_item_that_core_refuses_keeps_no_other_away_and_waits() {
    let mut books = Books::new().await;
    let names = ["alice#1", "gone#1", "bob#1", "lost#1"];
    for (id, name) in (62..).zip(names) {
        books.record(id, ALICE, name);
    }
    let rows: Vec<String> = (62..66).map(|id| run(&id.to_string(), ALICE, "RUNNING", NOW, HOUR, ONE)).collect();
    books.runs(&rows.concat());
    for name in ["gone#1", "lost#1"] {
        books.site.core.usage().set_known(name, false);
    }
    books.round().await;
    assert_eq!(books.shares(), [("alice#1".to_owned(), 1), ("bob#1".to_owned(), 1)]);
    let items = books.site.core.usage().items();
    books.site.core.usage().set_known("gone#1", true);
    books.round().await;
    assert_eq!(books.site.core.usage().items(), items, "it is set aside for an hour");
    books.site.let_pass(HOUR);
    books.round().await;
    assert_eq!(books.shares().len(), 3);
    assert_eq!(books.stored().len(), 4, "what Core refuses is not forgotten");
}

#[tokio::test]
async fn a_figure_above_the_limit_is_held_with_one_alarm_until_the_limit_is_raised() {
    let mut books = Books::new().await;
    for id in 62..65 {
        books.record(id, ALICE, "alice#1");
    }
    let much = format!("whole billing=1,cpu={},mem=1G,node=1", u64::MAX);
    let rows = [
        run("62", ALICE, "COMPLETED", NOW - 9 * HOUR, HOUR, "normal cpu=1000001,node=1"),
        run("63", ALICE, "COMPLETED", NOW - 9 * HOUR, HOUR, "normal cpu=1000000,node=1"),
        run("64", ALICE, "COMPLETED", NOW - 9 * HOUR, HOUR, &much),
    ];
    books.runs(&rows.concat());
    for _ in 0..3 {
        books.round().await;
    }
    assert_eq!(books.shares(), [("alice#1".to_owned(), 1_000_000)]);
    assert_eq!(books.site.test.server.alarms.raised(Alarm::UsageHeld), 2);
    assert!(books.stored().iter().all(|usage| usage.is_held && !usage.is_settled));
    let server = &books.site.test.server;
    assert_eq!(status(listing::list(server, ALICE, UsageList::default()).await), (403, "FORBIDDEN"));
    let page = listing::list(server, Uid(0), UsageList::default()).await.unwrap();
    let rows: Vec<_> = page.rows.iter().map(|row| (&*row.category, &*row.unit, row.reported, row.held)).collect();
    assert_eq!(rows, [("node", "Core-hours", 0, 0), ("small", "Core-hours", 1_000_000, 1_000_001)]);
    assert_eq!((&page.rows[1].held_jobs, page.rows[1].done, page.unknown), (&vec![62], 1, 0));
    let after = Some((page.rows[0].category.clone(), page.rows[0].owner.clone()));
    let second = listing::list(server, Uid(0), UsageList { after }).await.unwrap();
    assert_eq!((second.rows.as_slice(), second.more), (&page.rows[1..], false));
    // The administrator mends what was wrong.
    books.runs(&run("62", ALICE, "COMPLETED", NOW - 9 * HOUR, HOUR, "normal cpu=7,node=1"));
    books.round().await;
    assert_eq!(books.shares(), [("alice#1".to_owned(), 7), ("alice#1".to_owned(), 1_000_000)]);
}

#[tokio::test]
async fn nothing_is_done_on_cores_answers() {
    let mut books = Books::new().await;
    books.record(62, ALICE, "alice#1");
    books.runs(&run("62", ALICE, "RUNNING", NOW, HOUR, ONE));
    books.site.core.usage().set_locked("alice#1");
    assert_eq!(books.round().await, Reached::Yes);
    assert_eq!((books.shares().len(), books.site.done()), (1, String::new()));
}

#[tokio::test]
async fn of_another_accounts_job_nothing_is_charged() {
    let mut books = Books::new().await;
    books.record(62, ALICE, "alice#1");
    books.runs(&run("62", BOB, "RUNNING", NOW, HOUR, ONE));
    books.round().await;
    assert_eq!((books.booked().len(), books.stored().len()), (0, 0));
}

#[tokio::test]
async fn without_the_table_nothing_is_recorded() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    assert!(site.test.server.records.usages().unwrap().is_empty());
}

/// Numbers that look arbitrary and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % end.unsigned_abs()).unwrap()
    }
}

/// Moments at which local times change their day or their distance from UTC: both changes of
/// Europe's summer time, midnights of UTC and of Copenhagen, and a new year.
const MOMENTS: [i64; 6] = [1_774_746_000, 1_792_890_000, 1_792_886_400, 1_792_879_200, 1_798_761_600, 1_790_000_000];

#[tokio::test]
async fn what_is_reported_of_a_thousand_jobs_is_accountings_own_sum() {
    let mut books = Books::new().await;
    let mut numbers = Numbers(7);
    let (mut rows, mut want) = (String::new(), BTreeMap::<(String, &str), u64>::new());
    let mut next = 1_000_u32;
    for job in 0..1_000_usize {
        let (uid, name) = [(ALICE, "alice#1"), (BOB, "bob#1")][job % 2];
        let (id, moment) = (next, MOMENTS[job % MOMENTS.len()]);
        let (category, count, period_s, place) = match job % 5 {
            0 => ("node", 128, 3_600, "whole billing=128,cpu=128,mem=1.50T,node=2".to_owned()),
            1 => ("gpu", 2, 60, "gpu cpu=16,gres/gpu:h100=2,gres/gpu=2,node=2".to_owned()),
            _ => ("small", 1 + job % 7, 3_600, format!("normal cpu={},mem=4G,node=1", 1 + job % 7)),
        };
        let tasks = if job % 11 == 0 { 5 } else { 1 };
        let requeued = if job % 7 == 0 { 2 } else { 0 };
        for task in 0..tasks {
            let own = id + 1 + task;
            let names = match tasks {
                1 => id.to_string(),
                // The last task has the number of the array.
                _ if task == tasks - 1 => format!("{id}|{id}_{task}"),
                _ => format!("{own}|{id}_{task}"),
            };
            next = own.max(id);
            let mut start = moment - numbers.below(3 * 86_400);
            for again in 0..=requeued {
                let elapsed = numbers.below(4 * 86_400);
                let state = if again < requeued { "REQUEUED" } else { ["COMPLETED", "FAILED", "TIMEOUT"][job % 3] };
                rows += &run(&names, uid, state, start, elapsed, &place);
                let seconds = u64::try_from(elapsed).unwrap() * u64::try_from(count).unwrap();
                *want.entry((name.to_owned(), category)).or_default() += seconds * (3_600 / period_s);
                start += elapsed + numbers.below(5_000);
            }
        }
        next += 1;
        books.record(id, uid, name);
    }
    books.runs(&rows);
    books.round().await;
    assert_eq!((books.booked().len(), books.stored().len()), (1_000, 0));
    let mut sums = BTreeMap::<(String, &str), i64>::new();
    for BookedUsage { owner, category, usage, .. } in books.booked() {
        let category = ["small", "node", "gpu"].into_iter().find(|known| *known == category).unwrap();
        *sums.entry((owner, category)).or_default() += usage;
    }
    // GPU-minutes are whole sixtieths of GPU-hours here, so each sum is less than a unit below.
    let want = want.into_iter().map(|(key, seconds)| (key, i64::try_from(seconds / 3_600).unwrap()));
    assert_eq!(sums, want.collect());
    assert_eq!(sums.len(), 6);
}

//! Accounting's rows, and the usage that follows from them.

use countersign_config::{Accounting, Frequency, Machine, Placement};
use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_slurm::{Allocated, JobState};

use super::*;

const ME: u32 = 1001;
const BEGUN: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(BEGUN + seconds)
}

fn job(slurm_id: u32) -> JobUsage {
    let (core_id, username) = (CoreJobId::parse("54112").unwrap(), Username::parse("alice#1").unwrap());
    JobUsage::new((slurm_id, Uid(ME)), &core_id, &username, None, at(0), at(0))
}

fn number(number: u32) -> SlurmJobId {
    SlurmJobId::try_from(number).unwrap()
}

/// A run of ten seconds on one processor, `after` seconds after the job was submitted.
fn run(id: u32, whole: u32, state: JobState, after: i64) -> Run {
    let is_final = state.is_final() || state == JobState::Requeued;
    Run {
        id: number(id),
        whole: number(whole),
        uid: ME,
        state,
        submit: Some(BEGUN + after),
        start: Some(BEGUN + after),
        end: is_final.then_some(BEGUN + after + 10),
        elapsed_s: 10,
        partition: "normal".to_owned(),
        qos: "day".to_owned(),
        account: "centre".to_owned(),
        allocated: Allocated { cpus: 1, gpus: 0, nodes: 1 },
    }
}

fn waiting(id: u32, whole: u32, after: i64) -> Run {
    Run {
        start: None,
        end: None,
        elapsed_s: 0,
        allocated: Allocated::default(),
        ..run(id, whole, JobState::Pending, after)
    }
}

fn product(name: &str, placement: Placement, cpu: i64, gpu: i64) -> Product {
    Product {
        name: name.to_owned(),
        category: name.to_owned(),
        kind: ProductKind::Compute,
        description: String::new(),
        price: 1,
        accounting: Accounting {
            unit: "Core".to_owned(),
            unit_plural: "Core".to_owned(),
            frequency: Frequency::Minute,
            is_free: false,
        },
        is_hidden: false,
        machine: Machine { cpu, gpu, ..Machine::default() },
        placement,
        licence: None,
    }
}

fn on(partition: &str) -> Placement {
    Placement { partition: Some(partition.to_owned()), ..Placement::default() }
}

/// The seconds that are counted for a job, and whether they are the last.
fn seconds(slurm_id: u32, runs: &[Run], now: i64) -> (u64, bool) {
    let products = [product("small", on("normal"), 1, 0)];
    let Look::Used(used) = look(&job(slurm_id), runs, &products, at(now)) else { panic!("{runs:?}") };
    let exact = |seconds: u64| Rate::of(&products[0]).exact([Taken { count: 1, seconds }]);
    ((0..1_000).find(|seconds| exact(*seconds) == Some(used.exact)).unwrap(), used.is_last)
}

#[test]
fn every_run_of_a_job_that_was_put_back_counts_and_the_last_ends_it() {
    let lost = run(62, 62, JobState::NodeFail, 0);
    assert_eq!(seconds(62, &[lost.clone(), waiting(62, 62, 20)], 9_000), (10, false));
    let runs = [run(62, 62, JobState::Requeued, 0), lost, run(62, 62, JobState::Running, 40)];
    assert_eq!(seconds(62, &runs, 9_000), (30, false));
    let runs = [run(62, 62, JobState::Requeued, 0), run(62, 62, JobState::Completed, 40)];
    assert_eq!(seconds(62, &runs, 50 + SETTLED_AFTER_S - 1), (20, false), "it may be put back");
    assert_eq!(seconds(62, &runs, 50 + SETTLED_AFTER_S), (20, true));
}

#[test]
fn the_tasks_of_an_array_are_one_figure() {
    let tasks =
        [run(63, 62, JobState::Completed, 0), run(64, 62, JobState::Failed, 5), run(62, 62, JobState::Completed, 9)];
    assert_eq!(seconds(62, &tasks, 9_000), (30, true));
    let rest = [tasks[0].clone(), waiting(62, 62, 0)];
    assert_eq!(seconds(62, &rest, 9_000), (10, false), "tasks wait");
    let products = [product("small", on("normal"), 1, 0)];
    assert_eq!(look(&job(64), &tasks[1..2], &products, at(9_000)), Look::PartOf(number(62)));
}

#[test]
fn another_accounts_rows_and_those_of_an_earlier_job_of_the_number_do_not_count() {
    let products = [product("small", on("normal"), 1, 0)];
    let theirs = Run { uid: 1002, ..run(62, 62, JobState::Completed, 0) };
    let early = Run { uid: 0, ..waiting(62, 62, 0) };
    let check = |runs: &[Run], want: &Look| assert_eq!(&look(&job(62), runs, &products, at(9_000)), want);
    check(&[], &Look::Unknown);
    check(std::slice::from_ref(&early), &Look::Unknown);
    check(&[early, theirs.clone()], &Look::Foreign);
    check(&[waiting(62, 62, 0)], &Look::NotStarted);
    let cancelled = Run { state: JobState::Cancelled { by: None }, end: Some(BEGUN), ..waiting(62, 62, 0) };
    check(&[cancelled], &Look::NeverRan);
    let earlier = run(62, 62, JobState::Completed, -SLACK_S - 1);
    check(std::slice::from_ref(&earlier), &Look::Unknown);
    assert_eq!(seconds(62, &[theirs, earlier, run(62, 62, JobState::Completed, 0)], 9_000), (10, true));
}

#[test]
fn the_product_follows_from_what_slurm_says() {
    let placed = |partition: Option<&str>, qos: Option<&str>| Placement {
        partition: partition.map(str::to_owned),
        qos: qos.map(str::to_owned),
        ..Placement::default()
    };
    let products = [
        product("any", Placement::default(), 1, 0),
        product("large", placed(Some("normal"), None), 64, 0),
        product("small", placed(Some("normal"), None), 2, 0),
        product("gpu", placed(Some("normal"), None), 2, 1),
        product("night", placed(Some("normal"), Some("night")), 1, 0),
        product("other", placed(Some("other"), None), 1, 0),
    ];
    let check = |partition: &str, qos: &str, (nodes, cpus, gpus), want: &str| {
        let (partition, qos) = (partition.to_owned(), qos.to_owned());
        let allocated = Allocated { cpus, gpus, nodes };
        let run = Run { partition, qos, allocated, ..run(62, 62, JobState::Running, 0) };
        assert_eq!(product_of(&products, &run).map(|product| product.name.as_str()), Some(want), "{run:?}");
    };
    check("normal", "day", (1, 2, 0), "small");
    check("normal", "day", (3, 6, 0), "small");
    check("normal", "day", (1, 64, 0), "large");
    check("normal", "day", (1, 2, 1), "gpu");
    check("normal", "day", (1, 7, 0), "large"); // the first of those that fit equally badly
    check("normal", "night", (1, 2, 0), "night");
    check("urgent", "day", (1, 2, 0), "any");
    assert_eq!(product_of(&products[5..], &run(62, 62, JobState::Running, 0)), None);
    let none = look(&job(62), &[run(62, 62, JobState::Running, 0)], &products[5..], at(1));
    assert_eq!(none, Look::NoProduct);
}

#[test]
fn what_a_job_is_charged_for_does_not_change() {
    let small = product("small", on("normal"), 1, 0);
    let products = [small.clone(), product("other", on("other"), 1, 0)];
    let Look::Used(used) = look(&job(62), &[run(62, 62, JobState::Running, 0)], &products, at(1)) else { panic!() };
    let scope = format!("slurm-62-{BEGUN}");
    assert_eq!(used.charged, Charged { product: "small".into(), category: "small".into(), scope });
    let charged = JobUsage { charged: Some(used.charged.clone()), ..job(62) };
    let moved = Run { partition: "other".to_owned(), ..run(62, 62, JobState::Running, 50) };
    let Look::Used(later) = look(&charged, std::slice::from_ref(&moved), &products, at(60)) else { panic!() };
    assert_eq!(later.charged, used.charged);
    assert_eq!(look(&charged, &[moved], &products[1..], at(60)), Look::NoProduct, "the site has dropped it");
}

#[test]
fn a_figure_that_does_not_fit_is_none() {
    let mut small = product("small", on("normal"), 1, 0);
    small.price = i64::MAX;
    let long = Run { elapsed_s: u64::MAX, ..run(62, 62, JobState::Running, 0) };
    assert!(matches!(look(&job(62), &[long], &[small], at(1)), Look::TooMuch(_)));
}

#[test]
fn of_a_category_without_periods_the_present_use_counts() {
    let mut once = product("small", on("normal"), 1, 0);
    once.accounting.frequency = Frequency::Once;
    let whole = |runs: &[Run]| {
        let look = look(&job(62), runs, std::slice::from_ref(&once), at(9_000));
        if let Look::Used(used) = look { used.whole } else { panic!("{look:?}") }
    };
    let running = Run { allocated: Allocated { cpus: 4, gpus: 0, nodes: 1 }, ..run(62, 62, JobState::Running, 40) };
    assert_eq!(whole(&[run(62, 62, JobState::Requeued, 0), running]), 4);
    assert_eq!(whole(&[run(62, 62, JobState::Completed, 0)]), 0);
}

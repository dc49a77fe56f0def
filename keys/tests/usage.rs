//! A job's usage is on record until it is counted, once for each job of an account.

use countersign_keys::identity::{CoreJobId, Project, Uid, Username};
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::usage::{JobUsage, Owner, UsageTotal};
use countersign_keys::time::Timestamp;

fn usage(slurm_id: u32, core_id: &str) -> JobUsage {
    let at = |seconds: i64| Timestamp::from_seconds(1_800_000_000 + seconds);
    let (core_id, username) = (CoreJobId::parse(core_id).unwrap(), Username::parse("alice#1").unwrap());
    JobUsage::new((slurm_id, Uid(1100)), &core_id, &username, None, at(9), at(1))
}

#[test]
fn a_job_is_charged_once_and_counted_with_its_removal() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Registry::new(SledStore::open(directory.path()).unwrap());
    let registry = open();
    let first = usage(62, "7");
    assert_eq!(first.submitted, first.recorded, "no job was submitted after it was recorded");
    registry.add_usage(&first).unwrap();
    registry.add_usage(&usage(62, "8")).unwrap();
    assert_eq!(registry.usages().unwrap(), std::slice::from_ref(&first), "the same job under another id of Core's");
    let told = JobUsage { figure: Some(3), told: Some(3), ..first };
    let total = registry.usage_total("small", &told.owner).unwrap();
    assert_eq!(total, UsageTotal::new("small", &told.owner));
    registry.settle_usage(&JobUsage { is_settled: true, ..told.clone() }, &UsageTotal { rest: 5, ..total }).unwrap();
    drop(registry);
    let registry = open();
    let settled = registry.usages().unwrap().remove(0);
    assert!(settled.is_settled);
    let total = registry.usage_total("small", &settled.owner).unwrap();
    assert_eq!(total.rest, 5);
    registry.finish_usage(&settled, &UsageTotal { jobs: 1, told: 3, ..total.clone() }).unwrap();
    assert_eq!(registry.usages().unwrap(), []);
    assert_eq!(registry.usage_totals().unwrap(), [UsageTotal { jobs: 1, told: 3, ..total }]);
    // A project of the user's name has a total of its own.
    let project = Owner::Project(Project::parse("alice#1").unwrap());
    assert_eq!(registry.usage_total("small", &project).unwrap().jobs, 0);
}

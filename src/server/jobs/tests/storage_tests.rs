//! The usage of drives, from a program of the site to Core's books.

use countersign_portal::core::BookedUsage;

use super::*;
use crate::accounting::storage::Storage;
use crate::core::product_registration::register;

struct Drives {
    site: Site,
    storage: Storage,
    /// The site's program, what it was asked, and its answers by account.
    directory: tempfile::TempDir,
}

impl Drives {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = directory.path().display().to_string();
        let script = format!(
            "line=$(cat); echo \"$line\" >>{at}/asked\n\
             account=$(echo \"$line\" | sed 's/.*\"account\":\"\\([a-z]*\\)\".*/\\1/')\n\
             [ -e {at}/$account ] || exit 1\nexec cat {at}/$account"
        );
        program(directory.path(), "usage", &script);
        let tables = format!(
            "[[products]]\nname = \"disk\"\ncategory = \"disk\"\ntype = \"storage\"\n\
             [accounting]\nstorage_command = [\"{at}/usage\"]\n"
        );
        let site = Site::with(false, &tables).await;
        let config = &site.test.server.config;
        register(&config.provider.id, &config.served().products, &site.client, site.now()).await.unwrap();
        for name in ["alice#1", "bob#1"] {
            site.test.server.records.add_drives(&user(name), &["home".to_owned()]).unwrap();
        }
        Self { site, storage: Storage::default(), directory }
    }

    fn set(&self, account: &str, answer: &str) {
        fs::write(self.directory.path().join(account), answer).unwrap();
    }

    async fn round(&mut self) {
        let Self { site, storage, .. } = self;
        let reports = site.test.server.config.accounting.as_ref().unwrap();
        storage.round(&site.test.server, &site.client, reports, site.now()).await.unwrap();
    }

    fn shares(&self) -> Vec<(String, String, i64)> {
        let share = |booked: BookedUsage| (booked.owner, booked.scope, booked.usage);
        self.site.core.usage().all().into_iter().map(share).collect()
    }
}

#[tokio::test]
async fn a_drive_is_reported_when_it_changes_and_once_an_hour() {
    let mut drives = Drives::new().await;
    drives.set("alice", "{\"usageInBytes\": 7499999999}");
    drives.set("bob", "{\"usageInBytes\":0}");
    for _ in 0..3 {
        drives.round().await;
        drives.site.let_pass(300);
    }
    let share = |name: &str, units| (name.to_owned(), format!("drive-h-{name}:home"), units);
    assert_eq!(drives.shares(), [share("alice#1", 7), share("bob#1", 0)]);
    assert_eq!(drives.site.core.usage().items(), 2);
    let asked = fs::read_to_string(drives.directory.path().join("asked")).unwrap();
    assert!(asked.starts_with("{\"drive\":\"home\",\"path\":null,\"account\":\"alice\",\"uid\":1100}"), "{asked}");
    drives.set("alice", "{\"usageInBytes\": 7500000000}");
    drives.round().await;
    assert_eq!((drives.shares()[0].2, drives.site.core.usage().items()), (8, 3));
    drives.site.let_pass(3_600);
    drives.round().await;
    assert_eq!(drives.site.core.usage().items(), 5);
    // The user deletes the drive.
    drives.site.test.server.records.forget_drive(&user("alice#1"), "home").unwrap();
    drives.round().await;
    assert_eq!(drives.shares(), [share("alice#1", 0), share("bob#1", 0)]);
    assert_eq!(drives.site.test.server.records.drive_usages().unwrap().len(), 1);
}

#[tokio::test]
async fn a_program_that_does_not_answer_changes_nothing() {
    let mut drives = Drives::new().await;
    drives.set("bob", "{\"usageInBytes\": 2000000000}");
    drives.round().await;
    assert_eq!(drives.shares().len(), 1, "alice's failed, and bob's is reported");
    drives.set("alice", "{\"usageInBytes\": 3000000000}");
    drives.site.core.set_outage(Outage::Mute(1));
    drives.round().await;
    drives.round().await;
    assert_eq!(drives.shares().iter().map(|share| share.2).collect::<Vec<_>>(), [3, 2]);
    for bad in ["", "7", "{\"usageInBytes\": -1}", "{\"usageInBytes\": 1.5}", "{\"usageInBytes\": 1, \"x\": 1}"] {
        drives.set("alice", bad);
        drives.site.let_pass(4_000);
        drives.round().await;
        assert_eq!(drives.shares()[0].2, 3, "{bad}");
    }
}

#[tokio::test]
async fn a_drive_that_core_refuses_keeps_no_other_away() {
    let mut drives = Drives::new().await;
    drives.set("alice", "{\"usageInBytes\": 3000000000}");
    drives.set("bob", "{\"usageInBytes\": 2000000000}");
    drives.site.core.usage().set_known("alice#1", false);
    drives.round().await;
    assert_eq!(drives.shares().len(), 1);
    drives.site.core.usage().set_known("alice#1", true);
    drives.round().await;
    assert_eq!(drives.shares().len(), 2);
}

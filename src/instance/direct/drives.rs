//! Lists the user's drives with the provider's titles, for the signer. UCloud's Core names a drive
//! by a number, which tells a person nothing. None of this comes from Core.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::drives::table::Drives;
use countersign_config::Drive;

#[derive(Debug)]
pub(super) struct DirectDrives {
    configured: Vec<Drive>,
    drives: Arc<Drives>,
}

impl DirectDrives {
    /// Takes the configured drives, and the table that also has those that the user made.
    pub(super) fn new(configured: &[Drive], drives: &Arc<Drives>) -> Self {
        Self { configured: configured.to_vec(), drives: Arc::clone(drives) }
    }

    /// Each drive's id, UCloud's numbers for it, its title, and whether its folder can start
    /// programs. If it can, the signer asks before every change on the drive.
    pub(super) async fn list(&self) -> Value {
        self.drives.numbers().report().await;
        let listed: Vec<Value> = self.drives.table().ids().iter().map(|id| self.listed(id)).collect();
        json!({ "drives": listed })
    }

    fn listed(&self, id: &str) -> Value {
        let title = self.configured.iter().find_map(|drive| drive.title_of(id));
        json!({
            "id": id,
            "numbers": self.drives.numbers().numbers_of(id),
            "title": title.unwrap_or_else(|| id.to_owned()),
            "startup": self.drives.is_startup(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_config::DriveRoot;

    #[tokio::test]
    async fn s16_a_drive_is_called_what_the_provider_calls_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("bin")).unwrap();
        let drive = |id: &str, title: &str, path: &str| Drive {
            id: id.to_owned(),
            root: DriveRoot::Home(path.into()),
            title: title.to_owned(),
            product: None,
        };
        let configured = [drive("home", "Home", ""), drive("tools", "Tools", "bin")];
        let folders =
            configured.iter().zip(["", "bin"]).map(|(drive, path)| (drive.id.clone(), home.path().join(path)));
        let drives = Arc::new(Drives::new(folders).unwrap().with_home(home.path()));
        let listed = DirectDrives::new(&configured, &drives).list().await;
        let want = json!({ "drives": [
            { "id": "home", "numbers": [], "title": "Home", "startup": false },
            { "id": "tools", "numbers": [], "title": "Tools", "startup": true },
        ] });
        assert_eq!(listed, want);
    }
}

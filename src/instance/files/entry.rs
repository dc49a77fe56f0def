//! Describes one file in UCloud's terms: its `ProviderFile`, member by member.

use std::collections::BTreeMap;

use nix::sys::stat::FileStat;
use serde::Serialize;

use super::path::UcloudPath;
use super::resolve::Kind;

const PERMISSIONS: u32 = 0o777;

/// UCloud's `ProviderFile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderFile {
    id: String,
    created_at: i64,
    legacy_sensitivity: &'static str,
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    r#type: &'static str,
    icon: &'static str,
    size_in_bytes: i64,
    size_including_children_in_bytes: Option<i64>,
    file_count: Option<i64>,
    directory_count: Option<i64>,
    modified_at: i64,
    accessed_at: i64,
    unix_mode: u32,
    unix_owner: u32,
    unix_group: u32,
    metadata: Metadata,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Metadata {
    metadata: BTreeMap<String, ()>,
}

impl ProviderFile {
    /// Describes what was found at a path. To UCloud everything except a folder is a file.
    pub(crate) fn describe(path: &UcloudPath, stat: &FileStat) -> Self {
        let is_folder = Kind::of(stat) == Kind::Folder;
        let name = path.inside().last().map_or([].as_slice(), |name| name.as_bytes());
        let icon = match name {
            b"Trash" if is_folder => "DIRECTORY_TRASH",
            b"Jobs" if is_folder => "DIRECTORY_JOBS",
            _ => "",
        };
        let modified_at = milliseconds(stat.st_mtime, stat.st_mtime_nsec);
        Self {
            id: path.to_string(),
            // Few file systems record when a file was made, and Core uses the other time anyway.
            created_at: modified_at,
            legacy_sensitivity: "",
            status: Status {
                r#type: if is_folder { "DIRECTORY" } else { "FILE" },
                icon,
                size_in_bytes: stat.st_size,
                size_including_children_in_bytes: None,
                file_count: None,
                directory_count: None,
                modified_at,
                accessed_at: milliseconds(stat.st_atime, stat.st_atime_nsec),
                unix_mode: stat.st_mode & PERMISSIONS,
                unix_owner: stat.st_uid,
                unix_group: stat.st_gid,
                metadata: Metadata { metadata: BTreeMap::new() },
            },
        }
    }
}

/// Milliseconds since 1970, rounded down.
pub(super) fn milliseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// The literal of docs/ucloud-wire.md for a file of 12 bytes; owner and group are the test's.
    #[test]
    fn json_is_exactly_ucloud_s() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "twelve bytes").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
        let times = std::fs::FileTimes::new().set_modified(time).set_accessed(time);
        std::fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
        let mut stat = nix::sys::stat::stat(&file).unwrap();
        (stat.st_uid, stat.st_gid) = (1001, 1001);
        let path = UcloudPath::parse("/123/dir/a.txt").unwrap();
        let want = concat!(
            r#"{"id":"/123/dir/a.txt","createdAt":1700000000000,"legacySensitivity":"","#,
            r#""status":{"type":"FILE","icon":"","#,
            r#""sizeInBytes":12,"sizeIncludingChildrenInBytes":null,"fileCount":null,"directoryCount":null,"#,
            r#""modifiedAt":1700000000000,"accessedAt":1700000000000,"unixMode":420,"unixOwner":1001,"unixGroup":1001,"#,
            r#""metadata":{"metadata":{}}}}"#
        );
        assert_eq!(serde_json::to_string(&ProviderFile::describe(&path, &stat)).unwrap(), want);
    }

    #[test]
    fn icons() {
        let check = |path: &str, kind: fn(&std::path::Path), want: &str| {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("x");
            kind(&at);
            let stat = nix::sys::stat::stat(&at).unwrap();
            let file = ProviderFile::describe(&UcloudPath::parse(path).unwrap(), &stat);
            assert_eq!(file.status.icon, want, "{path}");
        };
        let folder = |at: &std::path::Path| std::fs::create_dir(at).unwrap();
        let file = |at: &std::path::Path| std::fs::write(at, "").unwrap();
        check("/1/Trash", folder, "DIRECTORY_TRASH");
        check("/1/Jobs", folder, "DIRECTORY_JOBS");
        check("/1/deeper/Trash", folder, "DIRECTORY_TRASH");
        check("/1/trash", folder, "");
        check("/1/Trash", file, "");
        check("/Trash", folder, "");
    }

    #[test]
    fn times() {
        assert_eq!(milliseconds(1, 999_999_999), 1999);
        assert_eq!(milliseconds(-1, 500_000_000), -500);
        assert_eq!(milliseconds(i64::MAX, 0), i64::MAX);
    }
}

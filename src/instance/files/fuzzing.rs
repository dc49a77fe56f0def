//! Fuzz targets for paths, names and browse parameters: each has one spelling, and none leads out
//! of a drive.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::os::unix::ffi::OsStrExt as _;

use super::browse::Listing;
use super::path::{NAME_BYTES_MAX, Name, PATH_BYTES_MAX, UcloudPath};
use super::request::{Browse, ConflictPolicy};

pub fn path(text: &str) {
    if let Ok(path) = UcloudPath::parse(text) {
        let spelt = path.to_string();
        assert!(text == spelt || text.strip_suffix('/') == Some(&spelt), "two spellings of {spelt}");
        assert_eq!(UcloudPath::parse(&spelt).as_ref(), Ok(&path));
        let relative = path.relative();
        let relative = relative.as_bytes();
        assert!(relative.len() <= PATH_BYTES_MAX && !relative.contains(&0) && !relative.starts_with(b"/"));
        assert!(
            relative == b"." || !relative.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b".."))
        );
        assert_eq!(path.inside().len(), spelt.matches('/').count() - 1);
    }
    if let Ok(name) = Name::parse(text) {
        assert_eq!(name.text(), text);
    }
    let _ = ConflictPolicy::parse(text);
}

/// Takes bytes as a name from a file system.
pub fn name(bytes: &[u8], number: u32) {
    let Ok(name) = Name::from_bytes(bytes.to_vec()) else { return };
    assert_eq!(Name::parse(&name.text()).as_ref(), Ok(&name), "a name that cannot be said");
    let numbered = name.numbered(number);
    assert!(numbered.as_bytes().len() <= NAME_BYTES_MAX);
    assert_eq!(Name::from_bytes(numbered.as_bytes().to_vec()), Ok(numbered));
}

pub fn browse(items: i64, next: Option<&str>, sort_by: &str, direction: &str, extension: Option<&str>) {
    let request = Browse {
        path: "/home".to_owned(),
        items_per_page: items,
        next: next.map(str::to_owned),
        sort_by: sort_by.to_owned(),
        sort_direction: direction.to_owned(),
        filter_hidden_files: false,
        filter_by_file_extension: extension.map(str::to_owned),
    };
    let Ok(listing) = Listing::parse(&request) else { return };
    let other = Browse { next: None, ..request };
    assert!(Listing::parse(&other).is_ok());
    listing.holds();
}

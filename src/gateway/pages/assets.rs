//! The scripts and styles of the pages, compiled into the program: no request opens a file.
//!
//! Serves only the files in this list; a test checks that it has every file of `web/js` and
//! `web/css`. Their common path contains one hash of all files, so that modules can import each
//! other by relative paths and caches may keep them for ever. The icon's path has its own hash.

use std::collections::HashMap;

use countersign_keys::identity::ProviderId;
use countersign_keys::jws::sha256;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap};
use http::{HeaderValue, Method};

use crate::pages::document::{Document, name_of};
use crate::response::{Answer, CROSS_ORIGIN_RESOURCE_POLICY};
use countersign_config::Logo as Icon;

/// A year, the longest that caches honour. New content gets a new path.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// For an asset that is opened as a page.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// For an SVG that is opened as a page.
const IMAGE: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'");

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/", $path)).as_slice())),*]
    };
}

/// By path below `web/`.
const FILES: &[(&str, &[u8])] = &files![
    "css/style.css",
    "js/approval.js",
    "js/ask.js",
    "js/base64url.js",
    "js/call-descriptions.js",
    "js/changes.js",
    "js/clock.js",
    "js/confusables.js",
    "js/connect.js",
    "js/connection.js",
    "js/digest.js",
    "js/direct.js",
    "js/display.js",
    "js/dom.js",
    "js/drives.js",
    "js/enrolment.js",
    "js/errors.js",
    "js/intent.js",
    "js/jcs.js",
    "js/jws.js",
    "js/key-pair.js",
    "js/keyname.js",
    "js/keys.js",
    "js/language.js",
    "js/messages.js",
    "js/packed-table.js",
    "js/page.js",
    "js/passkeys.js",
    "js/places.js",
    "js/provider.js",
    "js/qr.js",
    "js/quiet.js",
    "js/relative-time.js",
    "js/review-script.js",
    "js/review.js",
    "js/session.js",
    "js/signer-window.js",
    "js/signer.js",
    "js/storage.js",
    "js/table.js",
    "js/user-requests.js",
    "js/user-side.js",
    "js/webauthn.js",
];

/// Documents by whole path.
#[derive(Clone, Debug)]
pub(crate) struct Assets {
    folder: String,
    icon_path: String,
    by_path: HashMap<String, Document>,
}

impl Assets {
    pub(crate) fn new(provider: &ProviderId, icon: &Icon) -> Self {
        let folder = format!("/ucloud/{provider}/web/{}", name_of(&hash_of(FILES)));
        let documents = FILES
            .iter()
            .map(|(path, content)| (format!("{folder}/{path}"), Document::new(content.to_vec(), content_type(path))));
        let mut by_path: HashMap<_, _> = documents.collect();
        let name = name_of(&sha256(&[&icon.content]));
        let icon_path = format!("/ucloud/{provider}/web/{name}/icon.{}", icon.kind.extension());
        by_path.insert(icon_path.clone(), Document::from(icon));
        Self { by_path, folder, icon_path }
    }

    /// Path of the icon: the site's logo, or the built-in one.
    pub(crate) fn icon(&self) -> &str {
        &self.icon_path
    }

    /// The path in front of `js/…` and `css/…`.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Answers a request for an asset; `None` if the path is not one. Compares paths exactly:
    /// nothing is decoded or folded.
    pub(crate) fn answer(&self, method: &Method, target: &http::Uri, asked: &HeaderMap) -> Option<Answer> {
        let document = self.by_path.get(target.path()).filter(|_| method == Method::GET && target.query().is_none())?;
        let mut answer = document.answer(asked);
        let headers = answer.headers_mut();
        if self.icon_path == target.path() {
            of_image(headers, &FOR_GOOD);
            return Some(answer);
        }
        headers.insert(CACHE_CONTROL, FOR_GOOD);
        headers.insert(CONTENT_SECURITY_POLICY, NO_PAGE);
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        Some(answer)
    }
}

/// Sets the headers of the logo, which is public because UCloud's page shows it too. It may use
/// styles and nothing else, even when it is opened as a page.
pub(crate) fn of_image(headers: &mut HeaderMap, kept: &HeaderValue) {
    headers.insert(CACHE_CONTROL, kept.clone());
    headers.insert(CONTENT_SECURITY_POLICY, IMAGE);
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

/// Hashes the digests of each path and content. They have a fixed length, so the boundaries are
/// unambiguous.
fn hash_of(files: &[(&str, &[u8])]) -> [u8; 32] {
    let digests: Vec<u8> =
        files.iter().flat_map(|(path, content)| [sha256(&[path.as_bytes()]), sha256(&[content])]).flatten().collect();
    sha256(&[&digests])
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn files_below(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path, found);
            } else {
                let web = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web"));
                found.insert(path.strip_prefix(web).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_pages_is_in_the_list() {
        let mut there = BTreeSet::new();
        for folder in ["js", "css"] {
            files_below(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web")).join(folder), &mut there);
        }
        let listed: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, there, "left: the list in this file; right: what stands in web/js and web/css");
        for path in &listed {
            assert_ne!(content_type(path), "application/octet-stream", "{path}: what is it?");
            let is_plain =
                path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.'));
            assert!(is_plain, "{path}: the gateway takes no such path");
        }
    }

    #[test]
    fn the_hash_is_that_of_every_path_and_content() {
        let check = |other: &[(&str, &[u8])], is_same: bool| {
            let one: &[(&str, &[u8])] = &[("js/a.js", b"a"), ("js/b.js", b"b")];
            assert_eq!(hash_of(one) == hash_of(other), is_same, "{other:?}");
        };
        check(&[("js/a.js", b"a"), ("js/b.js", b"b")], true);
        check(&[("js/a.js", b"a"), ("js/b.js", b"c")], false);
        check(&[("js/a.js", b"a"), ("js/c.js", b"b")], false);
        check(&[("js/a.js", b"a")], false);
        check(&[("js/a.js", b"aj"), ("s/b.js", b"b")], false);
    }
}

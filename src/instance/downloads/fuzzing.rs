//! Fuzz entry for downloads: the name under which the browser saves the file, and the requested
//! ranges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::File;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::{HeaderMap, IF_RANGE, RANGE};

use super::{Outgoing, RequestedRange, requested_range};
use countersign_ipc::attachment;

/// A file name survives encoding, whatever it contains, and adds nothing to the header.
pub fn name(name: &str) {
    let said = attachment::write(name);
    assert!(HeaderValue::from_str(&said).is_ok_and(|value| value.to_str().is_ok()), "{said:?}");
    let rest = said.strip_prefix("attachment; filename=\"").unwrap();
    let (plain, full) = rest.split_once('"').unwrap();
    assert!(!plain.contains(['\\', '/', '%', ';']) || !plain.contains('"'));
    let full = full.strip_prefix("; filename*=UTF-8''").unwrap();
    assert!(full.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\;,'()/<>@:=[]{}?*".contains(&byte)), "{full}");
    let mut bytes = full.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        } else {
            byte
        });
    }
    assert_eq!(read, name.as_bytes());
    // The gateway reads no more than the name from it, and writes that in one line.
    if let Some(name) = attachment::read(said.as_bytes()) {
        assert!(name.len() <= 255 && !name.contains(['/', '\\', '\r', '\n', '\0']));
        assert_eq!(attachment::read(attachment::write(&name).as_bytes()), Some(name));
    }
}

/// Parses a `Content-Disposition` from any sender.
pub fn disposition(value: &[u8]) {
    if let Some(read) = attachment::read(value) {
        name(&read);
    }
}

/// Every part that is sent lies within the file.
pub fn ranges(length: u64, range: &[u8], condition: Option<&[u8]>) {
    let mut headers = HeaderMap::new();
    let Ok(range) = HeaderValue::from_bytes(range) else { return };
    headers.insert(RANGE, range);
    if let Some(condition) = condition.and_then(|condition| HeaderValue::from_bytes(condition).ok()) {
        headers.insert(IF_RANGE, condition);
    }
    let now = SystemTime::UNIX_EPOCH;
    let file = Outgoing::fuzzed(File::open("/dev/null").unwrap(), length, now);
    if let RequestedRange::Part(range) = requested_range(&file, &headers, now) {
        assert!(range.start() <= range.end() && *range.end() < length, "{range:?}");
    }
}

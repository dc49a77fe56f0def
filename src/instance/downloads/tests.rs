//! Tests of the ranges, names and tags of downloads.

use http_body_util::BodyExt as _;

use super::*;
use crate::drives::table::Drives;
use crate::files::operations::Location;

const CONTENT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A folder that contains one file with this name and content.
fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, Outgoing) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), content).unwrap();
    let opened = Outgoing::open(&place(&directory, name)).unwrap();
    (directory, opened)
}

fn place(directory: &tempfile::TempDir, name: &str) -> Location {
    let drives = Drives::new([("home".to_owned(), directory.path().to_owned())]).unwrap();
    drives.open(&drives.parse(&format!("/home/{name}")).unwrap()).unwrap()
}

async fn ask(content: &[u8], headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let (_directory, file) = file("f", content);
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let (head, body) = plain(file, &headers.collect::<HeaderMap>()).into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_range_is_what_rfc_9110_says() {
    let check = async |range: &str, want: (u16, &str, &[u8])| {
        let (status, headers, body) = ask(CONTENT, &[("range", range)]).await;
        let of = headers.get("content-range").map_or("", |value| value.to_str().unwrap());
        assert_eq!((status, of, body.as_slice()), want, "{range}");
    };
    check("bytes=0-0", (206, "bytes 0-0/36", b"0")).await;
    check("bytes=10-12", (206, "bytes 10-12/36", b"abc")).await;
    check("bytes=33-", (206, "bytes 33-35/36", b"xyz")).await;
    check("bytes=33-1000", (206, "bytes 33-35/36", b"xyz")).await;
    check("bytes=-3", (206, "bytes 33-35/36", b"xyz")).await;
    check("bytes=-1000", (206, "bytes 0-35/36", CONTENT)).await;
    check("lines=0-1", (200, "", CONTENT)).await;
    check("bytes=5-3", (200, "", CONTENT)).await;
    // Several ranges would need their own content type.
    for several in ["bytes=0-5,3-9", "bytes=0-1,10-12,-2", "bytes=-3,33-", "bytes=0-0,-36"] {
        check(several, (200, "", CONTENT)).await;
    }
    for beyond in ["bytes=36-", "bytes=99-100", "bytes=-0"] {
        let (status, headers, _) = ask(CONTENT, &[("range", beyond)]).await;
        assert_eq!((status, headers["content-range"].to_str().unwrap()), (416, "bytes */36"), "{beyond}");
    }
    let many = (0..17).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(",");
    assert_eq!(ask(CONTENT, &[("range", &format!("bytes={many}"))]).await.0, 416);
    assert_eq!(ask(b"", &[("range", "bytes=0-0")]).await.0, 416);
    assert_eq!(ask(b"", &[]).await.0, 200);
}

#[tokio::test]
async fn a_range_of_another_content_is_the_whole_of_this_one() {
    let (_directory, file) = file("f", CONTENT);
    let (tag, modified) = (file.tag.clone(), file.modified);
    let date = httpdate::fmt_http_date(modified);
    let check = |condition: &str, age: u64, want: bool| {
        let headers = [("range", "bytes=0-0"), ("if-range", condition)];
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let now = modified + Duration::from_secs(age);
        let is_part = matches!(requested_range(&file, &headers.collect::<HeaderMap>(), now), RequestedRange::Part(_));
        assert_eq!(is_part, want, "{condition} after {age} s");
    };
    check(&tag, 0, true);
    check(&format!("W/{tag}"), 0, false);
    check("\"other\"", 0, false);
    check(&date, 60, true);
    check(&date, 59, false);
    check("Sun, 06 Nov 1994 08:49:37 GMT", 60, false);
    check("nonsense", 60, false);
}

#[tokio::test]
async fn another_content_has_another_tag_though_length_and_time_are_the_same() {
    let (directory, first) = file("f", b"one");
    let time = std::fs::metadata(directory.path().join("f")).unwrap().modified().unwrap();
    std::fs::write(directory.path().join("f"), b"two").unwrap();
    std::fs::File::options().write(true).open(directory.path().join("f")).unwrap().set_modified(time).unwrap();
    let second = Outgoing::open(&place(&directory, "f")).unwrap();
    assert_ne!(first.tag, second.tag);
}

#[tokio::test]
async fn a_file_that_became_shorter_ends_the_answer_early() {
    let (directory, file) = file("f", &vec![b'x'; 3 * 1024 * 1024]);
    let body = plain(file, &HeaderMap::new()).into_body();
    std::fs::File::options().write(true).open(directory.path().join("f")).unwrap().set_len(10).unwrap();
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn what_is_no_file_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    nix::unistd::mkfifo(&directory.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("out")).unwrap();
    for name in ["folder", "pipe", "out", "none"] {
        assert!(Outgoing::open(&place(&directory, name)).is_err(), "{name}");
    }
}

//! Inputs of an instance: paths and names, the parameters of a browse, names and ranges of
//! downloads, the frames of an upload, SSH keys, and the output of a shell.
#![no_main]

use arbitrary::Arbitrary;
use countersign::fuzzing::instance;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Path(&'a str),
    Name(&'a [u8], u32),
    Browse(i64, Option<&'a str>, Sort<'a>, Option<&'a str>),
    Download(&'a str),
    Ranges(u64, &'a [u8], Option<&'a [u8]>),
    Typed(u16, Vec<(Option<u16>, Option<u16>)>),
    Upload(Vec<Message<'a>>),
    Frame(&'a [u8]),
    SshKey(&'a str),
    Shown(Vec<&'a [u8]>),
}

#[derive(Arbitrary, Debug)]
enum Sort<'a> {
    Known(u8, u8),
    Other(&'a str, &'a str),
}

#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Listing(i32, i64, i64, &'a str),
    More(i32, i64, i64, &'a str),
    Skip(i32),
    Close,
    Chunk(i32, &'a [u8]),
}

fn frame(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        match message {
            Message::Listing(id, size, modified, path) | Message::More(id, size, modified, path) => {
                if matches!(message, Message::Listing(..)) {
                    bytes.push(4);
                }
                bytes.extend(id.to_be_bytes());
                bytes.extend(size.to_be_bytes());
                bytes.extend(modified.to_be_bytes());
                bytes.extend((path.len() as u32).to_be_bytes());
                bytes.extend(path.as_bytes());
            }
            Message::Skip(id) => {
                bytes.push(3);
                bytes.extend(id.to_be_bytes());
            }
            Message::Close => bytes.push(6),
            Message::Chunk(id, content) => {
                bytes.push(2);
                bytes.extend(id.to_be_bytes());
                bytes.extend(*content);
            }
        }
    }
    bytes
}

const SORTS: [&str; 4] = ["", "PATH", "MODIFIED_AT", "SIZE"];
const DIRECTIONS: [&str; 3] = ["", "ascending", "descending"];

fuzz_target!(|input: Input<'_>| match input {
    Input::Path(text) => instance::files::path(text),
    Input::Name(bytes, number) => instance::files::name(bytes, number),
    Input::Browse(items, next, sort, extension) => {
        let (by, direction) = match sort {
            Sort::Known(by, direction) => (SORTS[usize::from(by) % 4], DIRECTIONS[usize::from(direction) % 3]),
            Sort::Other(by, direction) => (by, direction),
        };
        instance::files::browse(items, next, by, direction, extension);
    }
    Input::Download(name) => instance::downloads::name(name),
    Input::Ranges(length, range, condition) => instance::downloads::ranges(length, range, condition),
    Input::Typed(length, ranges) => {
        let number = |number: Option<u16>| number.map(|number| number.to_string()).unwrap_or_default();
        let ranges: Vec<String> =
            ranges.iter().map(|(first, last)| format!("{}-{}", number(*first), number(*last))).collect();
        instance::downloads::ranges(length.into(), format!("bytes={}", ranges.join(",")).as_bytes(), None);
    }
    Input::Upload(messages) => instance::upload::frame(&frame(&messages)),
    Input::Frame(bytes) => instance::upload::frame(bytes),
    Input::SshKey(text) => instance::ssh_keys::key(text),
    Input::Shown(pieces) => instance::terminal::shown(&pieces),
});

//! Fuzz targets of the messages between processes: they round-trip, and unknown members are
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::gateway_protocol::{FromGateway, FromServer};
use super::server_protocol as m;
use super::session_headers;

/// Parses the bytes as every type of message.
pub fn message(bytes: &[u8]) {
    gateway_line::<FromGateway>(bytes);
    gateway_line::<FromServer>(bytes);
    for read in [
        closed::<m::Find>,
        closed::<m::Offer>,
        closed::<m::Approve>,
        closed::<m::Approved>,
        closed::<m::Start>,
        closed::<m::Started>,
        closed::<m::Await>,
        closed::<m::Awaited>,
        closed::<m::ConnectList>,
        closed::<m::Connections>,
        closed::<m::Remove>,
        closed::<m::Removed>,
        closed::<m::KeysList>,
        closed::<m::Keys>,
        closed::<m::KeyAdd>,
        closed::<m::KeyRevoke>,
        closed::<m::Whoami>,
        closed::<m::DrivesReport>,
        closed::<m::DriveTable>,
        closed::<m::TaskBegun>,
        closed::<m::TaskNumber>,
        closed::<m::TaskTold>,
        closed::<m::TaskKnown>,
        closed::<m::Empty>,
        same::<m::Refused>,
    ] {
        read(bytes);
    }
}

/// A message on the control channel is one line.
fn gateway_line<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_value(&read).unwrap();
    assert!(!written.to_string().contains('\n'));
    // serde ignores further members of a message that consists of its tag alone, so they have no
    // effect.
    if written.as_object().is_some_and(|members| members.len() > 1) { closed::<T>(bytes) } else { same::<T>(bytes) }
}

fn same<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&read).unwrap();
    let again: T = serde_json::from_slice(&written).expect("what one process writes the other reads");
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
}

/// Checks that the message also has no unknown members.
fn closed<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    same::<T>(bytes);
    if serde_json::from_slice::<T>(bytes).is_err() {
        return;
    }
    // serde also reads an array of the members in their order; no process writes one.
    let Ok(Value::Object(mut members)) = serde_json::from_slice(bytes) else { return };
    members.insert("more than there is".to_owned(), Value::Null);
    let more = serde_json::to_vec(&members).unwrap();
    assert!(serde_json::from_slice::<T>(&more).is_err(), "{}", String::from_utf8_lossy(&more));
}

/// Parses the headers of a chunk, as gateway and instance do.
pub fn piece(head: &[(&str, &[u8])]) {
    let mut headers = HeaderMap::new();
    for (name, value) in head {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let Ok(piece) = session_headers::piece(&headers) else { return };
    let said = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    for (name, number) in
        [(session_headers::OFFSET, piece.offset), (session_headers::TOTAL, piece.total), ("content-length", piece.size)]
    {
        let written = number.unwrap().to_string();
        assert!(said(name) == [written.as_str()] || (said(name).is_empty() && written == "0"), "{name}: {headers:?}");
    }
    let digest = piece.digest.map(|digest| digest.to_header());
    assert_eq!(digest.as_deref().into_iter().collect::<Vec<_>>(), said(session_headers::CONTENT_DIGEST));
}

//! A message of UCloud's RPC protocol (`docs/ucloud-wire.md`, section 4), as received and as
//! forwarded.
//!
//! Serialises the forwarded message from what was verified. Refuses unknown and duplicate members.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use countersign_keys::policy::Permit;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::response::refusal::{Refusal, SocketRejection};

/// Longest name of a stream, in bytes. Clients use numbers.
const STREAM_ID_MAX: usize = 128;

/// Concurrent streams of one socket.
const STREAMS_MAX: usize = 64;

/// A client's message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written<'m> {
    /// The call's name on the wire.
    #[serde(borrow)]
    pub(crate) call: Cow<'m, str>,
    /// The client's name for the messages that belong together.
    #[serde(borrow)]
    pub(crate) stream_id: Cow<'m, str>,
    #[serde(borrow)]
    payload: &'m RawValue,
    /// Core's token, if the socket's own head has none or an older one.
    #[serde(default)]
    bearer: Option<String>,
    #[serde(default)]
    signed_intent: Option<String>,
    /// Core's trace of causes; ignored.
    #[serde(default, rename = "causedBy")]
    _caused_by: Option<IgnoredAny>,
    /// The project according to Core; ignored. The intent's project counts, and the payload's if it
    /// shows one.
    #[serde(default, rename = "project")]
    _project: Option<IgnoredAny>,
}

/// A payload that ends a stream instead of beginning one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Cancel<'m> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'m, str>,
    #[serde(borrow)]
    pub(crate) stream_id: Cow<'m, str>,
}

impl<'m> Written<'m> {
    /// Parses a message; `Ok(None)` for a keep-alive.
    pub(crate) fn read(text: &'m str) -> Result<Option<Self>, Refusal> {
        if text == r#"{"ping":"pong"}"# {
            return Ok(None);
        }
        let written: Self = serde_json::from_str(text).map_err(|_error| SocketRejection::Message("not of the form"))?;
        if written.stream_id.len() > STREAM_ID_MAX {
            return Err(SocketRejection::Message("the name of its stream is too long").into());
        }
        Ok(Some(written))
    }

    pub(crate) fn payload(&self) -> &'m [u8] {
        self.payload.get().as_bytes()
    }

    /// Core's token, if the message has one.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref().filter(|bearer| !bearer.is_empty())
    }

    /// The user's intent, if the message has one.
    pub(crate) fn intent(&self) -> Option<&str> {
        self.signed_intent.as_deref().filter(|intent| !intent.is_empty())
    }

    /// The stream that the message ends, if it does only that.
    pub(crate) fn cancels(&self) -> Option<Cancel<'m>> {
        let cancel: Cancel<'m> = serde_json::from_str(self.payload.get()).ok()?;
        (cancel.kind == "cancel").then_some(cancel)
    }
}

/// A message for an instance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rewritten<'p> {
    call: &'p str,
    stream_id: &'p str,
    payload: &'p RawValue,
    bearer: &'p str,
    signed_intent: Option<&'p str>,
    project: Option<&'p str>,
}

/// Serialises a permitted message: the verified bytes, and what the instance needs to verify them
/// again.
pub(crate) fn permitted(permit: &Permit<'_, '_>, written: &Written<'_>) -> serde_json::Result<String> {
    serde_json::to_string(&Rewritten {
        call: &written.call,
        stream_id: &written.stream_id,
        payload: serde_json::from_slice(permit.items().bytes())?,
        bearer: permit.token().expose(),
        signed_intent: Some(permit.intent()),
        project: None,
    })
}

/// Serialises the end of a stream. Needs no intent, since the stream belongs to this socket.
pub(crate) fn cancelled(cancel: &Cancel<'_>, written: &Written<'_>) -> serde_json::Result<String> {
    let payload = serde_json::value::to_raw_value(cancel)?;
    serde_json::to_string(&Rewritten {
        call: &written.call,
        stream_id: &written.stream_id,
        payload: &payload,
        bearer: "",
        signed_intent: None,
        project: None,
    })
}

/// The open streams of a socket.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashSet<String>>);

impl Streams {
    /// Begins a stream, within the limit. A client may reuse a name; today's Core uses one name for
    /// all.
    pub(crate) fn begin(&self, stream_id: &str) -> Result<Beginning<'_>, Refusal> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= STREAMS_MAX && !streams.contains(stream_id) {
            return Err(Refusal::TooMany);
        }
        let is_new = streams.insert(stream_id.to_owned());
        Ok(Beginning { streams: self, new: is_new.then(|| stream_id.to_owned()) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn has(&self, stream_id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(stream_id)
    }

    pub(crate) fn end(&self, stream_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(stream_id);
    }

    /// Reads an instance's message: a response is the last of its stream.
    pub(crate) fn hear(&self, text: &str) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Said<'s> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'s, str>,
            #[serde(borrow)]
            stream_id: Cow<'s, str>,
        }
        if let Ok(said) = serde_json::from_str::<Said<'_>>(text)
            && said.kind == "response"
        {
            self.end(&said.stream_id);
        }
    }
}

/// A stream whose first message has not reached the instance. Dropping it takes the stream back.
#[derive(Debug)]
pub(crate) struct Beginning<'s> {
    streams: &'s Streams,
    new: Option<String>,
}

impl Beginning<'_> {
    /// Keeps the stream.
    pub(crate) fn done(mut self) {
        self.new = None;
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        if let Some(stream_id) = &self.new {
            self.streams.end(stream_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: bool) {
        assert_eq!(Written::read(text).is_ok_and(|written| written.is_some()), want, "{text}");
    }

    #[test]
    fn both_cores_write_messages() {
        let core_2 = r#"{"call":"files.provider.hpc.streamingSearch","streamId":"ignored","payload":{"query":"x"},"bearer":"","project":null}"#;
        let written = Written::read(core_2).unwrap().unwrap();
        assert_eq!(
            (written.call.as_ref(), written.stream_id.as_ref()),
            ("files.provider.hpc.streamingSearch", "ignored")
        );
        assert_eq!((written.payload(), written.bearer(), written.intent()), (&br#"{"query":"x"}"#[..], None, None));
        let core_1 = r#"{"call":"c","streamId":"0","payload":{"a": [1]},"bearer":"a.b.c","causedBy":"x","project":"p","signedIntent":"d.e.f"}"#;
        let written = Written::read(core_1).unwrap().unwrap();
        assert_eq!(
            (written.payload(), written.bearer(), written.intent()),
            (&br#"{"a": [1]}"#[..], Some("a.b.c"), Some("d.e.f"))
        );
        assert!(written.cancels().is_none());
    }

    #[test]
    fn v53_what_two_readers_might_read_otherwise_is_refused() {
        check(r#"{"call":"c","streamId":"0","payload":{}}"#, true);
        check(r#"{"call":"c","streamId":"0","payload":{},"payload":{}}"#, false);
        check(r#"{"call":"c","streamId":"0","payload":{},"pay\u006coad":{}}"#, false);
        check(r#"{"call":"c","streamId":"0","payload":{},"signedIntent":"a","signedIntent":"b"}"#, false);
        check(r#"{"call":"c","streamId":"0","payload":{},"Call":"d"}"#, false);
        check(r#"{"call":"c","streamId":"0","payload":{},"type":"x"}"#, false);
        check(r#"{"call":"c","streamId":0,"payload":{}}"#, false);
        check(r#"{"call":"c","payload":{}}"#, false);
        check(r#"{"call":"c","streamId":"0","payload":{}} {}"#, false);
        check(r#"[{"call":"c","streamId":"0","payload":{}}]"#, false);
        check("", false);
        check("null", false);
        check(&format!(r#"{{"call":"c","streamId":"{}","payload":{{}}}}"#, "x".repeat(129)), false);
        assert!(Written::read(r#"{"ping":"pong"}"#).unwrap().is_none());
    }

    #[test]
    fn a_stream_is_cancelled_by_its_name_alone() {
        let cancels = |payload: &str| {
            let text = format!(r#"{{"call":"c","streamId":"1","payload":{payload}}}"#);
            Written::read(&text).unwrap().unwrap().cancels().map(|cancel| cancel.stream_id.into_owned())
        };
        assert_eq!(cancels(r#"{"type":"cancel","streamId":"0"}"#), Some("0".to_owned()));
        assert_eq!(cancels(r#"{"type":"init","streamId":"0"}"#), None);
        assert_eq!(cancels(r#"{"type":"cancel"}"#), None);
        assert_eq!(cancels(r#"{"type":"cancel","streamId":"0","job":{}}"#), None);
    }

    #[test]
    fn streams_are_counted_until_they_end() {
        let streams = Streams::default();
        for number in 0..STREAMS_MAX {
            streams.begin(&number.to_string()).unwrap().done();
        }
        assert!(streams.begin("one more").is_err());
        assert!(streams.begin("0").is_ok(), "it is there already");
        streams.hear(r#"{"type":"message","streamId":"0","payload":{}}"#);
        assert!(streams.begin("one more").is_err());
        streams.hear(r#"{"type":"response","streamId":"0","status":200,"payload":{}}"#);
        drop(streams.begin("one more").unwrap());
        streams.begin("another").unwrap().done();
        assert!(streams.begin("one more").is_err());
        streams.hear("no JSON at all");
    }
}

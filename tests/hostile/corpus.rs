//! Bytes with which an attacker would slip a request past a proxy, or get another user's answer.
//! The tricks of one head and one request are in `src/gateway/tests/corpus.rs`; these are about
//! where one message ends and the next begins.
//!
//! Every attack is something that a reader in front of the gateway, if it falls for the trick,
//! takes for a known number of requests. Inside is one more, which Core might send: with Core's own
//! token, for a user, unsigned. None of it may be forwarded by anybody.

/// What an attack is made of.
pub(crate) struct Bait {
    /// Of the provider, as clients name it.
    pub(crate) host: String,
    /// Core's token: an attacker who has taken Core over has it.
    pub(crate) token: String,
    /// `Ucloud-Username`'s value.
    pub(crate) username: String,
    /// The body of a request that makes a folder.
    pub(crate) body: String,
}

/// One attack.
pub(crate) struct Attack {
    /// As tests print it.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// How many requests a front that falls for it takes it for.
    pub(crate) seen: usize,
}

/// `Transfer-Encoding` as some readers understand it and some do not. `\r\n` is added at the end.
const CODINGS: [(&str, &str); 24] = [
    ("as it should be", "Transfer-Encoding: chunked"),
    ("space before the colon", "Transfer-Encoding : chunked"),
    ("tab before the colon", "Transfer-Encoding\t: chunked"),
    ("tab", "Transfer-Encoding:\tchunked"),
    ("vertical tab", "Transfer-Encoding:\x0bchunked"),
    ("form feed behind", "Transfer-Encoding: chunked\x0c"),
    ("no space", "Transfer-Encoding:chunked"),
    ("in capitals", "TRANSFER-ENCODING: CHUNKED"),
    ("an unknown one", "Transfer-Encoding: xchunked"),
    ("quoted", "Transfer-Encoding: \"chunked\""),
    ("with a parameter", "Transfer-Encoding: chunked;q=1"),
    ("identity first", "Transfer-Encoding: identity, chunked"),
    ("identity last", "Transfer-Encoding: chunked, identity"),
    ("twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("an unknown one behind", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
    ("an unknown one before", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    ("folded", "Transfer-Encoding:\r\n chunked"),
    ("in a folded line", "X-A: a\r\n Transfer-Encoding: chunked"),
    ("behind a line feed", "X-A: a\nTransfer-Encoding: chunked"),
    ("behind a carriage return", "X-A: a\rTransfer-Encoding: chunked"),
    ("ended by NUL", "Transfer-Encoding: chunked\0"),
    ("begun by NUL", "\0Transfer-Encoding: chunked"),
    ("with an underscore", "Transfer_Encoding: chunked"),
    ("taken back", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"),
];

/// Two lengths in one head: `{a}` is the one, `{b}` the other.
const LENGTHS: [(&str, &str); 14] = [
    ("twice", "Content-Length: {a}\r\nContent-Length: {b}"),
    ("twice, the other way", "Content-Length: {b}\r\nContent-Length: {a}"),
    ("in a list", "Content-Length: {a}, {b}"),
    ("with a sign", "Content-Length: +{a}"),
    ("minus", "Content-Length: -{a}"),
    ("with zeros, twice", "Content-Length: 0{a}\r\nContent-Length: {b}"),
    ("hexadecimal", "Content-Length: 0x{a}"),
    ("beyond 64 bits", "Content-Length: 1844674407370955161{a}"),
    ("space before the colon", "Content-Length : {a}\r\nContent-Length: {b}"),
    ("folded", "Content-Length:\r\n {a}\r\nContent-Length: {b}"),
    ("with an underscore", "Content_Length: {a}\r\nContent-Length: {b}"),
    ("behind a carriage return", "X-A: a\rContent-Length: {a}\r\nContent-Length: {b}"),
    ("behind a line feed", "X-A: a\nContent-Length: {a}\r\nContent-Length: {b}"),
    ("taken back", "Connection: Content-Length\r\nContent-Length: {a}"),
];

/// Bodies in chunks that are read differently; `{size}` is the length of the request inside, in
/// hexadecimal, and `{inner}` that request.
const CHUNKS: [(&str, &str); 14] = [
    ("all good", "{size}\r\n{inner}\r\n0\r\n\r\n"),
    ("an extension with a line feed", "2;\nxx\r\n{size}\r\n{inner}\r\n0\r\n\r\n"),
    ("an extension that hides a chunk", "2;a=\"\r\nxx\r\n0\r\n\r\n{inner}"),
    ("a long extension", "0;{long}\r\n\r\n{inner}"),
    ("sizes with a sign", "+0\r\n\r\n{inner}"),
    ("sizes like C's", "0x0\r\n\r\n{inner}"),
    ("a space behind the size", "0 \r\n\r\n{inner}"),
    ("a size beyond 64 bits", "10000000000000000\r\n{inner}\r\n0\r\n\r\n"),
    ("a size of zeros", "000000000000000000000\r\n\r\n{inner}"),
    ("a line feed alone behind the size", "0\n\r\n{inner}"),
    ("line feeds alone", "0\n\n{inner}"),
    ("no end of the data", "2\r\nxx0\r\n\r\n{inner}"),
    ("a trailer that is a length", "0\r\nContent-Length: 5\r\n\r\n{inner}"),
    ("a trailer that is an intent", "0\r\nUCloud-Signed-Intent: a.b.c\r\nAuthorization: Bearer a.b.c\r\n\r\n{inner}"),
];

impl Bait {
    /// The lines that make a request one of Core's for the user, for the first line `line`.
    fn head(&self, line: &str) -> String {
        let Self { host, token, username, .. } = self;
        format!("{line}\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUcloud-Username: {username}\r\n")
    }

    /// The request inside: whole, and unsigned.
    pub(crate) fn inner(&self) -> String {
        let head = self.head("POST /ucloud/hpc/files/folder HTTP/1.1");
        format!("{head}Content-Length: {}\r\n\r\n{}", self.body.len(), self.body)
    }

    /// The beginning of a request that would swallow the head of the next request.
    fn mouth(&self) -> String {
        format!("{}X-Swallowed: ", self.head("POST /ucloud/hpc/files/folder HTTP/1.1"))
    }

    /// The two requests around it: one that anybody may make and whose body is read, and one of
    /// Core's.
    fn outers(&self) -> [(&'static str, String); 2] {
        let host = &self.host;
        [
            (
                "a stranger's",
                format!("POST /ucloud/hpc/intents HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/jwt\r\n"),
            ),
            ("Core's", self.head("POST /ucloud/hpc/files/trash HTTP/1.1")),
        ]
    }
}

/// Every attack, made of that bait.
pub(crate) fn all(bait: &Bait) -> Vec<Attack> {
    let mut all = Vec::new();
    for (whose, outer) in bait.outers() {
        let mut add = |seen: usize, name: String, text: String| {
            all.push(Attack { name: format!("{name}, {whose}"), bytes: text.into_bytes(), seen });
        };
        let (inner, mouth) = (bait.inner(), bait.mouth());
        for (how, coding) in CODINGS {
            for (what, hidden) in [("a request", &inner), ("a beginning", &mouth)] {
                let body = format!("0\r\n\r\n{hidden}");
                add(
                    1,
                    format!("CL.TE {how}: {what}"),
                    format!("{outer}Content-Length: {}\r\n{coding}\r\n\r\n{body}", body.len()),
                );
                add(1, format!("TE.CL {how}: {what}"), te_cl(&outer, coding, hidden));
            }
        }
        for (how, lengths) in LENGTHS {
            let lengths = lengths.replace("{a}", &inner.len().to_string()).replace("{b}", "0");
            add(1, format!("CL.CL {how}"), format!("{outer}{lengths}\r\n\r\n{inner}"));
        }
        for (how, chunks) in CHUNKS {
            let body = chunks.replace("{size}", &format!("{:x}", inner.len())).replace("{long}", &"a".repeat(20_000));
            add(
                1,
                format!("chunks: {how}"),
                format!("{outer}Transfer-Encoding: chunked\r\n\r\n{}", body.replace("{inner}", &inner)),
            );
        }
        let length = format!("Content-Length: {}", inner.len());
        for expect in
            ["100-continue", "\r\n 100-continue", "y 100-continue", "100-continue, 100-continue", "100-Continue"]
        {
            add(1, format!("Expect: {expect:?}"), format!("{outer}Expect: {expect}\r\n{length}\r\n\r\n{inner}"));
            add(
                2,
                format!("Expect: {expect:?}, and no body"),
                format!("{outer}Expect: {expect}\r\nContent-Length: 0\r\n\r\n{inner}"),
            );
        }
        add(2, "two in one breath".into(), format!("{outer}Content-Length: 2\r\n\r\n{{}}{inner}"));
        add(3, "three in one breath".into(), format!("{outer}Content-Length: 2\r\n\r\n{{}}{inner}{inner}"));
        add(2, "and the beginning of another".into(), format!("{outer}Content-Length: 2\r\n\r\n{{}}{mouth}"));
        add(2, "a body that nobody announced".into(), format!("{outer}\r\n{inner}"));
        let version = |version: &str| outer.replacen("HTTP/1.1", version, 1);
        for keep in ["Connection: keep-alive", "Connection: keep-alive, Content-Length", "Keep-Alive: 300"] {
            add(1, format!("HTTP/1.0, {keep}"), format!("{}{keep}\r\n{length}\r\n\r\n{inner}", version("HTTP/1.0")));
            add(
                1,
                format!("HTTP/1.0 in chunks, {keep}"),
                format!("{}{keep}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", version("HTTP/1.0")),
            );
        }
        for odd in ["HTTP/1.2", "HTTP/1.1x", "HTTP/1.1\r", "HTTP/01.1", "HTTP/1.1 HTTP/1.1", "http/1.1", "HTTP/2.0"] {
            add(1, format!("version {odd:?}"), format!("{}{length}\r\n\r\n{inner}", version(odd)));
        }
        for breaks in ["\r\n\r\n", "\n", "\r", "\0", "\x20\r\n"] {
            add(1, format!("{breaks:?} before the first line"), format!("{breaks}{outer}{length}\r\n\r\n{inner}"));
        }
        add(1, "line feeds alone".into(), format!("{outer}{length}\r\n\r\n").replace("\r\n", "\n") + &inner);
        add(1, "an end of line feeds alone".into(), format!("{outer}{length}\n\n{inner}"));
        add(1, "an end in carriage returns".into(), format!("{outer}X-A: a\r\r\n\r\n{inner}"));
        add(1, "a header without a name".into(), format!("{outer}: a\r\n{length}\r\n\r\n{inner}"));
        add(1, "a folded host".into(), format!("{outer}Host:\r\n elsewhere\r\n{length}\r\n\r\n{inner}"));
        add(1, "a second host".into(), format!("{outer}Host: elsewhere\r\n{length}\r\n\r\n{inner}"));
        add(
            1,
            "an absolute target".into(),
            format!("{}{length}\r\n\r\n{inner}", outer.replacen(" /", " http://elsewhere.example/", 1)),
        );
        add(
            1,
            "an absolute target of no scheme".into(),
            format!("{}{length}\r\n\r\n{inner}", outer.replacen(" /", " //elsewhere.example/", 1)),
        );
        for line in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            "Connection: Upgrade\r\nUpgrade: h2c",
            "Upgrade: h2c",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c",
            "Connection: Upgrade\r\nUpgrade: TLS/1.2",
        ] {
            let upgrade = line.split("Upgrade: ").last().unwrap_or_default();
            add(
                1,
                format!("an upgrade to {upgrade:?}"),
                format!("{outer}{line}\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{inner}"),
            );
            add(
                1,
                format!("an upgrade to {upgrade:?} with a body"),
                format!("{outer}{line}\r\n{length}\r\n\r\n{inner}"),
            );
        }
        let get = outer.replacen("POST", "GET", 1);
        add(1, "GET with a body".into(), format!("{get}{length}\r\n\r\n{inner}"));
        add(1, "HEAD with a body".into(), format!("{}{length}\r\n\r\n{inner}", get.replacen("GET", "HEAD", 1)));
        add(1, "CONNECT".into(), format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}", host = bait.host));
    }
    all
}

/// A body that ends behind the last chunk for one reader, and behind the first line of the first
/// chunk for another.
fn te_cl(outer: &str, coding: &str, hidden: &str) -> String {
    let size = format!("{:x}\r\n", hidden.len());
    format!("{outer}Content-Length: {}\r\n{coding}\r\n\r\n{size}{hidden}\r\n0\r\n\r\n", size.len())
}

//! Tests over TLS and HTTP/2, including ambiguities of its frames.
//!
//! A client of another library connects to the whole gateway over real sockets.

use countersign_portal::Deed;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::{CurrentKey, acceptor};

/// A gateway behind TLS, and a client that trusts it.
pub(super) struct Tls {
    pub(super) test: TestGateway,
    pub(super) address: std::net::SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Tls {
    pub(super) async fn new() -> Self {
        let test = TestGateway::new().await;
        let made = rcgen::generate_simple_self_signed(vec!["hpc.example.org".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let certificate = made.cert.der().clone();
        let key = CurrentKey::new(Arc::new(CertifiedKey::new(vec![certificate.clone()], key)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor { tls: Some(acceptor(key).unwrap()), ..test.acceptor.clone() };
        tokio::spawn(listener::accept(listener, acceptor));
        Self { test, address, certificate }
    }

    pub(super) async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![alpn.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect(ServerName::try_from("hpc.example.org").unwrap(), stream).await.unwrap()
    }

    pub(super) async fn http2(&self) -> SendRequest<Full<Bytes>> {
        self.http2_with().await
    }

    /// A connection for bodies of another type.
    async fn http2_with<B>(&self) -> SendRequest<B>
    where
        B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A valid request in HTTP/2.
    pub(super) fn good(&self, deed: &Deed) -> http::request::Builder {
        http::Request::post(format!("https://hpc.example.org{}", self.test.core.path(deed.operation())))
            .header("authorization", format!("Bearer {}", self.test.core.token().unwrap()))
            .header("ucloud-username", "YWxpY2U=")
            .header("ucloud-signed-intent", self.test.sign(deed))
    }

    pub(super) fn body(deed: &Deed) -> Full<Bytes> {
        Full::from(deed.body("alice", "hpc", countersign_portal::Flavour::Core2).unwrap())
    }
}

#[tokio::test]
async fn a_request_over_tls_is_answered_with_hsts() {
    let tls = Tls::new().await;
    let (head, body) = tls.test.good_head(&Deed::trash("/1/a"));
    let mut stream = tls.connect(b"http/1.1").await;
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=63072000\r\n"));
    assert!(
        !tls.test.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.contains("strict-transport")
    );
}

#[tokio::test]
async fn v07_a_refusal_arrives_although_its_request_was_not_read_to_the_end() {
    let tls = Tls::new().await;
    let rest = vec![b'x'; 4 * 1024 * 1024];
    let (head, body) = tls.test.good_head(&Deed::trash("/1/a"));
    let head = head.replace(&format!("Content-Length: {}", body.len()), &format!("Content-Length: {}", rest.len()));
    for (status, header) in [(431, format!("X-Long: {}", "a".repeat(60_000))), (413, "X-Short: a".to_owned())] {
        let mut stream = tls.connect(b"http/1.1").await;
        let head = format!("{head}{header}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&rest).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn many_requests_at_once_on_one_http2_connection() {
    let tls = Tls::new().await;
    let sender = tls.http2().await;
    let answers = (0..40).map(|number| {
        let deed = Deed::trash(&format!("/1/{number}"));
        let request = tls.good(&deed).body(Tls::body(&deed)).unwrap();
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.headers()["strict-transport-security"], "max-age=63072000");
            (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        let (status, body) = answer.await.unwrap();
        assert_eq!((status, body.as_ref()), (200, b"{\"ok\":true}".as_slice()));
    }
}

#[tokio::test]
async fn v55_no_trick_of_http2_reaches_the_instance() {
    let tls = Tls::new().await;
    let deed = Deed::trash("/1/a");
    let long = "a".repeat(40_000);
    let other_host = |request: http::request::Builder| request.header("host", "other.example.org");
    let cases: Vec<(&str, u16, http::request::Builder)> = vec![
        ("two intents", 400, tls.good(&deed).header("ucloud-signed-intent", "a.b.c")),
        ("two tokens", 400, tls.good(&deed).header("authorization", "Bearer a.b.c")),
        ("another Host", 400, other_host(tls.good(&deed))),
        ("length beyond the limit", 413, tls.good(&deed).header("content-length", "99999999")),
        ("trailer", 400, tls.good(&deed).header("trailer", "ucloud-username")),
        ("content-encoding", 400, tls.good(&deed).header("content-encoding", "gzip")),
        ("long head", 431, tls.good(&deed).header("x-a", &long)),
        ("encoded path", 400, tls.good(&deed).uri("https://hpc.example.org/ucloud/hpc/%66iles/trash")),
        ("CONNECT", 400, tls.good(&deed).method("CONNECT").uri("hpc.example.org:443")),
    ];
    for (name, status, request) in cases {
        let length_is_false = name == "length beyond the limit";
        let body = if length_is_false { Full::from(vec![b'x'; 80_000]) } else { Tls::body(&deed) };
        let answer = tls.http2().await.send_request(request.body(body).unwrap()).await;
        // A stream that breaks the protocol itself is reset without a response.
        if let Ok(answer) = answer {
            assert_eq!(answer.status().as_u16(), status, "{name}");
        }
        assert_eq!(tls.test.upstream_saw(), "", "{name}");
    }
    let good = tls.good(&deed).body(Tls::body(&deed)).unwrap();
    assert_eq!(tls.http2().await.send_request(good).await.unwrap().status(), 200);
}

/// HTTP/1.1 would need chunks, which are refused (see the corpus).
#[tokio::test]
async fn v30_fields_after_a_body_override_nothing() {
    let tls = Tls::new().await;
    let deed = Deed::trash("/1/a");
    let with = |trailers: &[(&'static str, &'static str)]| {
        let trailers: http::HeaderMap =
            trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Box::pin(Tls::body(&deed).with_trailers(async move { Some(Ok(trailers)) }))
    };
    for trailers in [
        &[("ucloud-username", "Ym9i")][..],
        &[("ucloud-signed-intent", "a.b.c")],
        &[("content-encoding", "gzip")],
        &[("x-any", "1")],
    ] {
        let request = tls.good(&deed).body(with(trailers)).unwrap();
        let answer = tls.http2_with().await.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 400, "{trailers:?}");
        assert_eq!(tls.test.last_decision(), ("refuse".to_owned(), "body: trailers after the body".to_owned()));
        assert_eq!(tls.test.upstream_saw(), "", "{trailers:?}");
    }
}

#[tokio::test]
async fn without_tls_the_port_of_tls_says_nothing() {
    let tls = Tls::new().await;
    let mut stream = TcpStream::connect(tls.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: hpc.example.org\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

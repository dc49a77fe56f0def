//! Toward a provider with TLS, the stand-in believes in one authority and one name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_portal::core::POLLED;
use countersign_portal::{Core, CoreKeys, Endpoint, TestCertificate};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

async fn provider(certificate: &TestCertificate) -> SocketAddr {
    let (listener, acceptor) = listening(certificate, &[]).await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut bytes = [0; 4096];
                while matches!(stream.read(&mut bytes).await, Ok(1..)) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

/// A provider that speaks HTTP/2 to those who offer it, and what each request was: its connection's
/// number, its version, and whom it was for.
async fn multiplexing_provider(
    certificate: &TestCertificate,
) -> (SocketAddr, mpsc::UnboundedReceiver<(usize, http::Version, String)>) {
    let (listener, acceptor) = listening(certificate, &[b"h2", b"http/1.1"]).await;
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                    let authority = request.uri().authority().map(ToString::to_string);
                    tell.send((number, request.version(), host.or(authority).unwrap())).unwrap();
                    async { Ok::<_, Infallible>(http::Response::new(Full::new(b"{}".as_slice()))) }
                });
                let _cut =
                    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, told)
}

async fn listening(certificate: &TestCertificate, protocols: &[&[u8]]) -> (TcpListener, TlsAcceptor) {
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn the_named_certificate_is_believed_and_no_other() {
    let certificate = TestCertificate::make("localhost").unwrap();
    let address = provider(&certificate).await;
    let keys = Arc::new(CoreKeys::generate("k8").unwrap());
    let core =
        |name: &str, authority: &str| Core::new(Arc::clone(&keys), Endpoint::tls(address, name, authority).unwrap());
    let right = core("localhost", &certificate.authority_pem);
    assert!(right.retrieve_manifest().await.unwrap().is_ok());
    assert_eq!(right.endpoint().origin(), format!("https://localhost:{}", address.port()));
    let wrong_name = core("other.example.org", &certificate.authority_pem);
    assert!(wrong_name.retrieve_manifest().await.is_err());
    let stranger = TestCertificate::make("localhost").unwrap();
    assert!(core("localhost", &stranger.authority_pem).retrieve_manifest().await.is_err());
}

#[tokio::test]
async fn over_tls_core2_has_one_connection_of_http_2() {
    let certificate = TestCertificate::make("localhost").unwrap();
    let (address, mut told) = multiplexing_provider(&certificate).await;
    let endpoint = Endpoint::tls(address, "localhost", &certificate.authority_pem).unwrap();
    let core = Core::new(Arc::new(CoreKeys::generate("k8").unwrap()), endpoint.clone());
    let (one, other) = tokio::join!(core.retrieve_manifest(), core.retrieve_products("jobs"));
    assert!(one.unwrap().is_ok() && other.unwrap().is_ok());
    core.poll().await.unwrap();
    for _ in 0..2 + POLLED.len() {
        assert_eq!(told.recv().await.unwrap(), (1, http::Version::HTTP_2, format!("localhost:{}", address.port())));
    }
    // A WebSocket, and bytes that no library writes, are HTTP/1.1 on a connection of their own.
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(endpoint.raw(bytes, Duration::from_secs(5)).await.unwrap().starts_with(b"HTTP/1.1 200"));
    assert_eq!(told.recv().await.unwrap(), (2, http::Version::HTTP_11, "x".to_owned()));
}

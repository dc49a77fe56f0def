//! Toward a provider with TLS, the stand-in believes in one authority and one name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_portal::{Core, CoreKeys, Endpoint, TestCertificate};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

async fn provider(certificate: &TestCertificate) -> SocketAddr {
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
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
